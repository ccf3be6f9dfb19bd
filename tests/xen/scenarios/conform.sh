# SPDX-License-Identifier: LGPL-2.1-or-later
# The conformance suite of the transports, its server in dom0 and its client in a guest. Their two
# lines to each other go through xenstore.

# send_lines PATH: each line of the input becomes the next key below PATH.
send_lines() {
	sent=0
	while read -r line; do
		sent=$((sent + 1))
		xenstore-write "$1/$sent" "$line"
	done
}

# receive_lines PATH: prints them.
receive_lines() {
	received=1
	xenstore-watch "$1" | while read -r _; do
		while line=$(xenstore-read "$1/$received" 2>/dev/null); do
			echo "$line"
			received=$((received + 1))
		done
	done
}

# conform_end END DOMID IN OUT: plays one end; its lines come from IN and go to OUT.
conform_end() {
	mkfifo /tmp/conform.in /tmp/conform.out
	receive_lines "$3" >/tmp/conform.in &
	send_lines "$4" </tmp/conform.out &
	conform "--end=$1" --vchan=xen "--domid=$2" --limit=300 --reconnects=50 </tmp/conform.in >/tmp/conform.out
}

scenario_conform() {
	step "start the guest"
	guest_start conform conform
	step "run all cases"
	: >/logs/conform
	tail -f /logs/conform | while read -r line; do echo "# conform: $line"; done >&9 &
	home=/local/domain/$domid/data/conform
	if ! conform_end server "$domid" "$home/up" "$home/down" 2>>/logs/conform; then
		fail "$(tail -n 1 /logs/conform)"
	fi
	[ "$(heard "$domid" ended)" = 0 ]
	step "nothing is left in xenstore"
	! xenstore-exists "data/vchan/$domid"
}

guest_conform() {
	rm -f /dev/xen/privcmd
	conform_end client 0 data/conform/down data/conform/up
}
