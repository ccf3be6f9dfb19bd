# SPDX-License-Identifier: LGPL-2.1-or-later
# What a connected VM costs, beside libxenvchan alone in the same guest.

median() {
	sed -n 's/.*median_us=\([0-9]*\).*/\1/p'
}

scenario_latency() {
	step "start dom0's daemon for a paused guest"
	pair_create latency
	fill latency
	alone=$(qdb-pingpong write latency 500)
	note "local write without a peer: $alone"
	step "measure libxenvchan alone"
	vchan-echo server "$domid" "data/vchan/$domid/200" 500 >/run/echo.out &
	server=$!
	await_key 60 "data/vchan/$domid/200/event-channel"
	xl unpause latency
	inside "$domid" "vchan-echo client 0 /local/domain/0/data/vchan/$domid/200"
	wait $server
	note "bare libxenvchan round trip: $(tail -n 1 /run/echo.out)"
	step "measure with a peer"
	inside "$domid" agent
	connected=$(qdb-pingpong write latency 500)
	note "local write with a peer: $connected"
	round_trip=$(pingpong "$domid" latency 500)
	note "round trip through both daemons: $round_trip"
	[ "$(echo "$round_trip" | median)" -le $((4 * $(median </run/echo.out))) ]
	[ $((10 * $(echo "$connected" | median))) -le $((15 * $(echo "$alone" | median))) ]
}
