# SPDX-License-Identifier: LGPL-2.1-or-later
# What the scenarios with both daemons share; and the first of them.

# daemon NAME: dom0's daemon for the guest in $domid; returns when it serves.
daemon() {
	qubesdb-daemon --log-dir=/logs "$domid" "$1"
}

daemon_pid() {
	cat "/var/run/qubes/qubesdb.$1.pid"
}

# pair_create NAME: a paused guest that does what dom0 says, and dom0's daemon for it.
pair_create() {
	guest_create "$1" serve
	daemon "$1"
}

# pair_start NAME: the same, running, when its agent has the namespace.
pair_start() {
	pair_create "$1"
	xl unpause "$1"
	inside "$domid" agent
}

# count FILE: how often it was called for this file.
count() {
	n=$(($(cat "$1" 2>/dev/null || echo 0) + 1))
	echo $n | tee "$1"
}

# inside DOMID COMMAND: runs it in the guest. Prints what it printed; fails if it failed.
inside() {
	turn=$(count "/run/turn.$1")
	tell "$1" "do/$turn" "$2"
	answer=$(heard "$1" "did/$turn")
	printf '%s\n' "${answer#* }"
	return "${answer%% *}"
}

# A realistic namespace.
fill() {
	name=$1
	set --
	while IFS="	" read -r path value; do
		set -- "$@" "$path" "$value"
	done </test/namespace.tsv
	qubesdb-write -d "$name" -- "$@"
}

# in_step DOMID NAME: waits until either side has what the other wrote.
in_step() {
	mark=$(count /run/marks)
	qubesdb-write -d "$2" "/mark/down/$mark" x
	inside "$1" "timeout 60 qubesdb-read -w /mark/down/$mark && qubesdb-write /mark/up/$mark x"
	timeout 60 qubesdb-read -d "$2" -w "/mark/up/$mark"
}

# namespace [-d NAME]: all of it.
namespace() {
	qubesdb-multiread "$@" -f /
}

# same DOMID NAME: fails unless both sides have the same namespace, and a large one.
same() {
	in_step "$1" "$2" >/dev/null
	here=$(namespace -d "$2" | tee /logs/here | md5sum)
	[ "$(wc -l </logs/here)" -gt 100 ]
	there=$(inside "$1" "namespace | md5sum")
	[ "$here" = "$there" ]
}

# pingpong DOMID NAME COUNT: prints "median_us=N max_us=N".
pingpong() {
	qubesdb-rm -d "$2" /pong
	inside "$1" "qubesdb-rm /pong; qdb-pingpong pong </dev/null >/tmp/pong 2>&1 &" >/dev/null
	timeout 60 qubesdb-read -d "$2" -w /pong >/dev/null
	qdb-pingpong ping "$2" "$3"
}

# ---- in the guest ----

# No hypercall is needed, so there is nothing to make one with.
agent() {
	rm -f /dev/xen/privcmd
	qubesdb-daemon --log-dir=/tmp 0 || return
	tail -f /tmp/qubesdb.dom0.log >/dev/hvc0 2>&1 &
}

guest_serve() {
	turn=1
	while :; do
		command=$(told "do/$turn") || continue
		output=$(eval "$command" 2>&1)
		report "did/$turn" "$? $output"
		turn=$((turn + 1))
	done
}

# ---- the scenario ----

scenario_sync() {
	step "start dom0's daemon for a paused guest"
	pair_create sync
	fill sync
	step "run the guest and its agent"
	xl unpause sync
	inside "$domid" agent
	step "the guest has dom0's namespace"
	same "$domid" sync
	step "writes and removals arrive both ways"
	qubesdb-write -d sync /from/dom0 "one two"
	qubesdb-rm -d sync /qubes-firewall/
	inside "$domid" "qubesdb-write /from/vm three; qubesdb-rm /qubes-iptables-error"
	same "$domid" sync
	[ "$(inside "$domid" "qubesdb-read /from/dom0")" = "one two" ]
	[ "$(qubesdb-read -d sync /from/vm)" = three ]
	not qubesdb-read -q -d sync /qubes-iptables-error
	step "watches fire both ways"
	note "round trip through both daemons: $(pingpong "$domid" sync 200)"
	step "end dom0's daemon"
	kill "$(daemon_pid sync)"
	await_poll 60 daemon_ended sync
	step "the guest's end is the end of its state"
	daemon sync
	xl destroy sync
	await_poll 60 daemon_gone sync
}

scenario_sync_pvh() {
	guest_type=pvh
	scenario_sync
}

# daemon_left NAME: the files of the daemon for NAME that are there, but for its state.
daemon_left() {
	find /var/run/qubes -name "qubesdb.$1.*" ! -name "*.state*"
}

# Of the daemon for NAME nothing but its state is left: no process, socket, pidfile, and no keys for
# the guest in $domid.
daemon_ended() {
	[ -z "$(daemon_left "$1")" ] &&
		! pgrep -f "qubesdb-daemon.* $domid $1" >/dev/null &&
		! xenstore-exists "data/vchan/$domid"
}

# Nor is that.
daemon_gone() {
	daemon_ended "$1" && [ "$(echo /var/run/qubes/qubesdb."$1".*)" = "/var/run/qubes/qubesdb.$1.*" ]
}
