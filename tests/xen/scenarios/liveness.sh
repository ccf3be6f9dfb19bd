# SPDX-License-Identifier: LGPL-2.1-or-later
# What libxenvchan tells one end of the other's death: the facts under the transport's design.
# README has them in words.

# probe_server: in dom0, for $domid; its lines go to /logs/server.
probe_server() {
	xenstore-rm "data/vchan/$domid/200" 2>/dev/null || :
	: >/logs/server
	vchan-probe server "$domid" "data/vchan/$domid/200" >>/logs/server &
	server=$!
	await_key 60 "data/vchan/$domid/200/event-channel"
}

look() {
	: >/logs/server
	kill -USR1 "$server"
	await_line 60 /logs/server "open="
	sed 's/.*open=//; s/ .*//' /logs/server
}

server_sees() {
	[ "$(look)" = "$1" ]
}

# The client in the guest: started, killed, made to look at its ring, told of the server's death; and
# what the guest's kernel has complained of.
guest_probe() {
	report hypercalls "$(vchan-probe hypercalls)"
	rm /dev/xen/privcmd
	turn=0
	while :; do
		turn=$((turn + 1))
		case $(told "$turn") in
		connect)
			: >/tmp/client
			vchan-probe client 0 200 >>/tmp/client 2>&1 &
			await_line 60 /tmp/client "open=1"
			;;
		kill)
			kill -9 $!
			;;
		look)
			: >/tmp/client
			kill -USR1 $! && await_line 60 /tmp/client "open="
			;;
		faults)
			faults=$(dmesg | grep -oE "WARNING: .* at [^ ]*|kernel BUG at [^ ]*|BUG: .*|Fixing recursive.*")
			report "$turn" "0 $(echo "$faults" | sed "s/CPU.* at //" | sort | uniq -c | tr -s " \n" " ,")"
			continue
			;;
		closed)
			await_line 60 /tmp/client "event open=0"
			;;
		esac
		report "$turn" "$? $(tail -n 1 /tmp/client)"
	done
}

order() {
	turn=$((${turn:-0} + 1))
	tell "$domid" "$turn" "$1"
	answer=$(heard "$domid" "$turn")
	[ "${answer%% *}" = 0 ] || fail "the guest could not $1: $answer"
}

scenario_liveness() {
	step "start the guest"
	guest_start liveness probe
	step "a guest's hypercalls are refused"
	answer=$(heard "$domid" hypercalls)
	note "in the guest: $answer"
	[ "$answer" = "evtchn_status=-1/Operation not permitted domain_info=-1/Operation not permitted" ]

	step "a client connects without privcmd"
	probe_server
	grep -q "open=2" /logs/server
	order connect
	await_line 60 /logs/server "event open=1"
	step "the server is told of a killed client"
	order kill
	await_line 60 /logs/server "event open=0"
	kill -9 $server

	step "the client is told of a killed server"
	probe_server
	order connect
	await_line 60 /logs/server "event open=1"
	kill -9 $server
	order closed

	step "nobody is told of a destroyed guest"
	probe_server
	order kill
	order connect
	await_line 60 /logs/server "event open=1"
	: >/logs/server
	xenstore-watch @releaseDomain >/run/released &
	await_line 60 /run/released releaseDomain
	: >/run/released
	xl destroy liveness
	await_line 60 /run/released releaseDomain
	note "after xl destroy the server sees: $(cat /logs/server) open=$(look)"
}
