# SPDX-License-Identifier: LGPL-2.1-or-later
# What a connected VM costs, beside libxenvchan alone in the same guest. What is compared is measured
# right after each other, and so five times over; the middle one of the five ratios counts.

ROUNDS="1 2 3 4 5"

median() {
	sed -n 's/.*median_us=\([0-9]*\).*/\1/p'
}

# bare COUNT: the median of that many round trips of libxenvchan alone.
bare() {
	path=data/vchan/$domid/200
	vchan-echo server "$domid" "$path" "$1" >/run/echo &
	server=$!
	await_key 60 "$path/event-channel" >/dev/null
	inside "$domid" "vchan-echo client 0 /local/domain/0/$path" >/dev/null
	wait $server
	median </run/echo
}

# ratios: those of one round, in hundredths, go to /run/local and /run/both.
ratios() {
	inside "$domid" "killall -9 qubesdb-daemon"
	alone=$(qdb-pingpong write latency 300 | median)
	inside "$domid" agent
	connected=$(qdb-pingpong write latency 300 | median)
	round_trip=$(pingpong "$domid" latency 200 | median)
	bare=$(bare 200)
	note "local write without and with a peer $alone and $connected us," \
		"round trip without and with daemons $bare and $round_trip us"
	echo $((100 * connected / alone)) >>/run/local
	echo $((100 * round_trip / bare)) >>/run/both
}

# at_most LIMIT FILE: the middle one of its numbers is.
at_most() {
	middle=$(sort -n "$2" | sed -n 3p)
	note "$(basename "$2"): $(tr '\n' ' ' <"$2")hundredths, of which $middle counts, and $1 are allowed"
	[ "$middle" -le "$1" ]
}

scenario_latency() {
	step "start a pair"
	pair_start latency
	fill latency
	same "$domid" latency
	rm -f /run/local /run/both
	for round in $ROUNDS; do
		step "measure, round $round"
		ratios
	done
	step "a local write takes half as long again, with a peer"
	at_most 150 /run/local
	step "a round trip takes four times as long as libxenvchan alone"
	at_most 400 /run/both
}
