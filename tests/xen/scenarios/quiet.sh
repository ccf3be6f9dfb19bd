# SPDX-License-Identifier: LGPL-2.1-or-later
# What a connected pair does not do: ask the hypervisor or xenstore, wake up, or grow.

# switches PID: how often the threads of the process have run.
switches() {
	cat /proc/"$1"/task/*/status | awk '/ctxt_switches/ { n += $2 } END { print n }'
}

# idle PID: fails if it runs within some seconds. It is about time, so there is no event.
idle() {
	before=$(switches "$1")
	sleep 5
	after=$(switches "$1")
	echo "ran $((after - before)) times"
	[ "$before" = "$after" ]
}

# size PID: descriptors, mappings, and memory in use in KiB.
size() {
	echo "$(ls /proc/"$1"/fd | wc -l) $(wc -l </proc/"$1"/maps) $(awk '/^VmRSS/ { print $2 }' /proc/"$1"/status)"
}

# same_size BEFORE AFTER: fails if there are more descriptors, event channels or grants, several
# mappings or 200 KiB more.
same_size() {
	echo "$1 $2" | awk '{ exit !($6 <= $1 && $7 <= $2 + 4 && $8 <= $3 + 200 && $9 <= $4 && $10 <= $5) }'
}

# What xenstored was asked and what it said; its trace tells of its own accounting too.
xenstore_messages() {
	grep -c -e "^IN " -e "^OUT " /logs/xenstored || :
}

# at_rest DOMID: waits until the guest has asked for its next command, which it does after the answer
# to the last; the request made here is served after that one.
at_rest() {
	next=$(($(cat "/run/turn.$1") + 1))
	await_line 60 /logs/xenstored "READ (data/told/do/$next"
	xenstore-read domid >/dev/null
}

scenario_quiet() {
	step "start a pair"
	pair_start quiet
	pingpong "$domid" quiet 2 >/dev/null
	step "the trace of xenstore works"
	messages=$(xenstore_messages)
	xenstore-read domid
	[ "$(xenstore_messages)" -gt "$messages" ]
	step "no hypercall and nothing of xenstore in 100 round trips"
	inside "$domid" "qubesdb-rm /pong; qdb-pingpong pong </dev/null >/tmp/pong 2>&1 &"
	timeout 60 qubesdb-read -d quiet -w /pong
	at_rest "$domid"
	messages=$(xenstore_messages)
	calls=$(count_calls privcmd_ioctl qdb-pingpong ping quiet 100)
	asked=$(($(xenstore_messages) - messages))
	note "over 100 round trips: $calls hypercalls through privcmd, $asked messages in xenstored's trace"
	[ "$calls" = 0 ]
	[ "$asked" = 0 ]
	step "an idle pair sleeps"
	in_step "$domid" quiet
	note "idle in dom0: $(idle "$(daemon_pid quiet)")"
	idle "$(daemon_pid quiet)"
	note "idle in the guest: $(inside "$domid" 'idle $(pidof qubesdb-daemon)')"
	inside "$domid" 'idle $(pidof qubesdb-daemon)'
}

# grants: how many pages this dom0 shares now, as Xen tells.
grants() {
	xl dmesg -c >/dev/null
	xl debug-keys g
	xl dmesg | awk '/grant-table for/ { mine = / d0 / || / d0$/ } mine && /\[0x/ { n++ } END { print n + 0 }'
}

# event_channels: how many of them have been bound by programs here.
event_channels() {
	grep -c evtchn: /proc/interrupts || :
}

# The long form has more turns than rings fit into what dom0 may share (1024 pages, of gntalloc).
# churn TURNS: that many connections that are closed at once, at either end.
churn() {
	turns=$1
	step "start a pair"
	pair_start churn
	fill churn
	same "$domid" churn
	pid=$(daemon_pid churn)
	path="/local/domain/0/data/vchan/$domid/111"
	step "a guest that connects and closes"
	inside "$domid" "killall -9 qubesdb-daemon; vchan-churn client 0 $path 5"
	inside "$domid" agent
	same "$domid" churn
	before="$(size "$pid") $(event_channels) $(grants)"
	inside "$domid" "killall -9 qubesdb-daemon"
	inside "$domid" "(vchan-churn client 0 $path $turns; report churned \$?) >/tmp/churn 2>&1 &"
	[ "$(await_key 800 "/local/domain/$domid/data/test/churned")" = 0 ]
	inside "$domid" agent
	same "$domid" churn
	after="$(size "$pid") $(event_channels) $(grants)"
	note "dom0's daemon, descriptors, mappings, KiB, event channels and grants before and after $turns connections: $before, $after"
	same_size "$before" "$after"
	step "a server that closes whatever connects"
	closing_server 5
	before=$(inside "$domid" 'echo $(size $(pidof qubesdb-daemon)) $(event_channels) 0')
	closing_server "$turns"
	after=$(inside "$domid" 'echo $(size $(pidof qubesdb-daemon)) $(event_channels) 0')
	note "the agent, before and after as many: $before, $after"
	same_size "$before" "$after"
}

# closing_server TURNS: one takes the daemon's place for so many connections.
closing_server() {
	kill "$(daemon_pid churn)"
	await_poll 60 daemon_ended churn
	vchan-churn server "$domid" "data/vchan/$domid/111" "$1"
	daemon churn
	same "$domid" churn
}

scenario_churn() {
	churn 50
}

scenario_churn_1000() {
	churn 1000
}
