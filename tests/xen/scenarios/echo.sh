# SPDX-License-Identifier: LGPL-2.1-or-later
# The floor: libxenvchan alone, both ends blocking. What the round trips of the daemons are
# compared with.

scenario_echo() {
	step "create the guest"
	guest_create echo echo
	step "publish the vchan before the guest runs"
	vchan-echo server "$domid" "data/vchan/$domid/200" 1000 >/run/echo.out &
	server=$!
	await_key 60 "data/vchan/$domid/200/event-channel"
	xl unpause echo
	step "exchange messages"
	calls=$(count_calls privcmd_ioctl heard "$domid" ended 0)
	wait $server
	floor=$(sed -n 's/.*median_us=\([0-9]*\).*/\1/p' /run/echo.out)
	note "bare libxenvchan round trip: $(tail -n 1 /run/echo.out)"
	note "privcmd calls in dom0 from the guest's start to the last round trip: $calls"
	[ "$calls" = 0 ]
	step "count the calls of a program that makes some"
	[ "$(count_calls privcmd_ioctl xl list)" -gt 0 ]
	[ -n "$floor" ]
}

guest_echo() {
	vchan-echo client 0 "/local/domain/0/data/vchan/$(xenstore-read domid)/200"
}
