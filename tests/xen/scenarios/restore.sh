# SPDX-License-Identifier: LGPL-2.1-or-later
# Save and restore, as a vchan's client sees it: its ring is gone, and it must not touch it.

scenario_restore() {
	step "start the guest"
	guest_start restore probe
	heard "$domid" hypercalls
	step "connect"
	probe_server
	order connect
	await_line 60 /logs/server "event open=1"
	order look
	step "save"
	before=$domid
	xl save restore /run/restore.save
	[ "$(look)" = 1 ]
	kill -9 $server
	step "restore under another domid"
	xl restore /run/restore.save
	rm /run/restore.save
	domid=$(xl domid restore)
	[ "$domid" != "$before" ]
	step "the client sees its ring gone, and connects to a new server"
	probe_server
	order look
	note "the client after the restore: $answer"
	await_line 60 /logs/server "event open=1"
	order look
	order faults
	note "complaints of the guest's kernel so far: $answer"
	step "the server finds the client's end in the ring"
	order kill
	await_poll 60 server_sees 0
	order faults
	note "complaints of the guest's kernel after the end: $answer"
}
