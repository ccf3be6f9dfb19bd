# SPDX-License-Identifier: LGPL-2.1-or-later
# How guests and daemons end, and what is left of them and of the others.

# ends_with NAME COMMAND...: the daemon for NAME has ended and cleaned up within 5 s of it.
ends_with() {
	name=$1
	shift
	"$@"
	start=$(cut -d . -f 1 /proc/uptime)
	await_poll 60 daemon_gone "$name"
	seconds=$(($(cut -d . -f 1 /proc/uptime) - start))
	[ $seconds -le 5 ] || fail "the daemon for $name ended after $seconds s only"
}

scenario_two() {
	step "start two pairs"
	pair_create left
	left=$domid
	pair_create right
	right=$domid
	fill left
	fill right
	qubesdb-write -d left /who left
	qubesdb-write -d right /who right
	for domid in $left $right; do
		xl unpause "$domid"
		inside "$domid" agent
	done
	step "each has its own namespace"
	[ "$(inside "$left" "qubesdb-read /who")" = left ]
	[ "$(inside "$right" "qubesdb-read /who")" = right ]
	inside "$left" "qubesdb-write /only/here x"
	same "$left" left
	same "$right" right
	not qubesdb-read -q -d right /only/here
	step "destroy one of them"
	domid=$left
	ends_with left xl destroy left
	step "the other goes on"
	same "$right" right
	step "shut the other down from inside"
	domid=$right
	ends_with right power_off "$right"
}

power_off() {
	tell "$1" "do/$(count "/run/turn.$1")" "poweroff -f"
	await_poll 60 domain_gone "$1"
}

scenario_death() {
	step "destroy a paused guest that never ran"
	pair_create paused
	ends_with paused xl destroy paused
	step "destroy a guest that never connected"
	pair_create alone
	xl unpause alone
	inside "$domid" true
	ends_with alone xl destroy alone
	step "destroy a guest that was connected, and is paused"
	pair_start stopped
	xl pause stopped
	ends_with stopped xl destroy stopped
	step "a domain that does not exist"
	not daemon stopped
}

# dom0 can share no memory: the daemon does not start and says why; one that runs waits until it can.
scenario_exhausted() {
	limit=/sys/module/xen_gntalloc/parameters/limit
	before=$(cat $limit)
	step "no daemon starts without memory to share"
	guest_create exhausted serve
	for pages in 0 1 2; do
		echo $pages >$limit
		not daemon exhausted
		grep "No space left on device" /logs/qubesdb.exhausted.log
		rm /logs/qubesdb.exhausted.log
	done
	step "one that runs goes on, and waits"
	echo "$before" >$limit
	daemon exhausted
	fill exhausted
	xl unpause exhausted
	inside "$domid" agent
	same "$domid" exhausted
	pid=$(daemon_pid exhausted)
	echo 0 >$limit
	inside "$domid" "killall -9 qubesdb-daemon"
	await_line 60 /logs/qubesdb.exhausted.log "No space left on device"
	echo "$before" >$limit
	inside "$domid" agent
	same "$domid" exhausted
	[ "$(daemon_pid exhausted)" = "$pid" ]
}

scenario_restart() {
	step "start a pair"
	pair_start restart
	fill restart
	same "$domid" restart
	step "the agent is killed"
	inside "$domid" "killall -9 qubesdb-daemon"
	qubesdb-write -d restart /mark/away x
	inside "$domid" agent
	same "$domid" restart
	step "dom0's daemon is killed"
	inside "$domid" "qdb-pingpong pong </dev/null >/tmp/pong 2>&1 &"
	kill -9 "$(daemon_pid restart)"
	daemon restart
	same "$domid" restart
	step "a watch from before it fires"
	qdb-pingpong ping restart 3
	step "another takes over while dom0's daemon runs"
	old=$(daemon_pid restart)
	daemon restart
	await_poll 60 no_process "$old"
	[ "$(daemon_pid restart)" != "$old" ]
	same "$domid" restart
}

no_process() {
	! kill -0 "$1"
}

# Old and new daemon of one name overlap, and neither takes anything from the other.
scenario_reboot() {
	step "start a pair"
	pair_start reboot
	fill reboot
	same "$domid" reboot
	old=$(daemon_pid reboot)
	step "the guest starts again while its daemon is held up"
	kill -STOP "$old"
	xl destroy reboot
	pair_create reboot
	fill reboot
	kill -CONT "$old"
	await_poll 60 no_process "$old"
	xl unpause reboot
	inside "$domid" agent
	same "$domid" reboot
}

scenario_resume() {
	step "start a pair, with a program in the guest that watches"
	pair_start resume
	fill resume
	same "$domid" resume
	qubesdb-rm -d resume /pong
	inside "$domid" "qdb-pingpong pong </dev/null >/tmp/pong 2>&1 &"
	timeout 60 qubesdb-read -d resume -w /pong
	step "save the guest"
	before=$domid
	ends_with resume xl save resume /run/resume.save
	step "restore it, paused, under another domid"
	xl restore -p /run/resume.save
	rm /run/resume.save
	domid=$(xl domid resume)
	[ "$domid" != "$before" ]
	mv "/run/turn.$before" "/run/turn.$domid"
	daemon resume
	fill resume
	qubesdb-write -d resume /qubes-timezone Mars/Olympus
	step "the agent comes back"
	xl unpause resume
	in_step "$domid" resume
	[ "$(inside "$domid" "qubesdb-read /qubes-timezone")" = Mars/Olympus ]
	step "the watch of a program that never noticed fires"
	note "round trip after restore: $(qdb-pingpong ping resume 50)"
	[ "$(inside "$domid" "pidof qubesdb-daemon | wc -w")" = 1 ]
	same "$domid" resume
	step "destroy the restored guest"
	ends_with resume xl destroy resume
}

# The same where the guest is not told of a lost ring by a fault.
scenario_resume_pvh() {
	guest_type=pvh
	scenario_resume
}
