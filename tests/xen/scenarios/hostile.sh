# SPDX-License-Identifier: LGPL-2.1-or-later
# A guest that attacks dom0's daemon through the ring. After each attack the daemon is still there and
# idle, has used CPU in proportion to what it was given to do, has stayed within its memory and its
# descriptors, and has served its local clients all the time; and an honest agent gets the namespace.

cpu_ticks() {
	awk '{ print $14 + $15 }' "/proc/$1/stat"
}

peak_kib() {
	awk '/^VmHWM/ { print $2 }' "/proc/$1/status"
}

uses_no_cpu() {
	ticks=$(cpu_ticks "$1")
	usleep 300000
	[ "$(cpu_ticks "$1")" = "$ticks" ]
}

descriptors() {
	ls "/proc/$1/fd" | wc -l
}

# number KEY FILE: of KEY=NUMBER in it.
number() {
	sed -n "s/.*$1=\([0-9]*\).*/\1/p" "$2"
}

# victim NAME: a guest to attack from, and a daemon; what a round trip costs that in $cost, in
# thousandths of a tick.
victim() {
	step "start a guest and its daemon"
	pair_create "$1"
	fill "$1"
	xl unpause "$1"
	inside "$domid" true
	daemon=$(daemon_pid "$1")
	open=$(descriptors "$daemon")
	ticks=$(cpu_ticks "$daemon")
	qdb-steady "$1" 1000 >/run/steady
	cost=$(($(cpu_ticks "$daemon") - ticks + 1))
	peak=$(peak_kib "$daemon")
	note "undisturbed: $(cat /run/steady), $cost ticks, peak $peak KiB"
}

# attacked NAME ATTACK KIB [TIMES]: all of it; the daemon may grow by KIB.
attacked() {
	step "$2: attack"
	ticks=$(cpu_ticks "$daemon")
	qdb-steady "$1" 0 >/run/steady 2>/logs/steady &
	steady=$!
	inside "$domid" "begin_attack $2 ${4-}"
	await_key 500 "/local/domain/$domid/data/test/$2" >/run/work
	kill $steady
	wait $steady || fail "$2: $(cat /logs/steady)"
	work=$(number work /run/work)
	used=$(($(cpu_ticks "$daemon") - ticks))
	allowed=$((20 + 4 * (work + $(number round_trips /run/steady)) * cost / 1000))
	note "$2: $(cat /run/work /run/steady | tr '\n' ' ')ticks=$used of $allowed, peak $(peak_kib "$daemon") KiB"
	[ -n "$work" ] && [ $used -le $allowed ]
	step "$2: the daemon has noticed what is wrong with a ring"
	[ "$(number unnoticed /run/work)" = 0 ]
	step "$2: the daemon has not grown"
	[ "$(peak_kib "$daemon")" -le $((peak + $3)) ]
	step "$2: it comes to rest while the guest holds the ring"
	await_poll 60 uses_no_cpu "$daemon"
	step "$2: it holds no more descriptors than before"
	[ "$(descriptors "$daemon")" -le $((open + 4)) ]
	step "$2: an honest agent connects"
	inside "$domid" end_attack
	qubesdb-rm -d "$1" /h/ 2>/dev/null
	inside "$domid" agent
	same "$domid" "$1"
	inside "$domid" "killall -9 qubesdb-daemon"
	[ "$(daemon_pid "$1")" = "$daemon" ]
}

scenario_hostile_bytes() {
	victim bytes
	attacked bytes garbage 2048
	attacked bytes one_byte 2048
	attacked bytes half_message 2048
	attacked bytes lengths 2048
}

scenario_hostile_ring() {
	victim ring
	attacked ring indices 2048
	attacked ring scribble 2048
	attacked ring storm 2048
}

scenario_hostile_churn() {
	victim churn
	attacked churn churn 2048 100
}

scenario_hostile_churn_1000() {
	victim churn
	attacked churn churn 2048
}

scenario_hostile_unread() {
	victim unread
	attacked unread flood_unread 1024
}

# 46 MiB, of which a VM may have the quota vm-bytes. It has to be the first that the daemon hears of its
# VM: later on, one that never answers is not listened to.
scenario_hostile_flood() {
	victim flood
	attacked flood flood 8192
}

# ---- in the guest ----

begin_attack() {
	vchan-hostile "$@" >/tmp/hostile 2>&1 </dev/null &
	echo $! >/tmp/hostile.pid
	{
		await_line 500 /tmp/hostile work=
		report "$1" "$(grep work= /tmp/hostile)"
	} >/dev/null 2>&1 </dev/null &
}

end_attack() {
	kill -9 "$(cat /tmp/hostile.pid)"
}
