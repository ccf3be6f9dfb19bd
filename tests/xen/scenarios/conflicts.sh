# SPDX-License-Identifier: LGPL-2.1-or-later
# Both ends change the same at once, and end up with the same.

scenario_conflicts() {
	step "start a pair"
	pair_start conflicts
	fill conflicts
	same "$domid" conflicts
	pids="$(daemon_pid conflicts) $(inside "$domid" "pidof qubesdb-daemon")"
	step "1,000 operations on the same entries and directories, half of them at either end"
	inside "$domid" "qdb-conflict vm 25 >/tmp/conflict 2>&1 &"
	note "in dom0: $(timeout 300 qdb-conflict dom0 conflicts 25)"
	await_in_vm="await_line 60 /tmp/conflict operations= && cat /tmp/conflict"
	[ "$(inside "$domid" "$await_in_vm")" = operations=500 ]
	step "both ends are equal"
	same "$domid" conflicts
	note "entries left: $(grep -c ^/conflict/ /logs/here), by VM: $(grep -c "= vm" /logs/here)"
	step "no daemon has ended"
	[ "$(daemon_pid conflicts) $(inside "$domid" "pidof qubesdb-daemon")" = "$pids" ]
	kill -0 "$(daemon_pid conflicts)"
}
