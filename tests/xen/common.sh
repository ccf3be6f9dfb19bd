# SPDX-License-Identifier: LGPL-2.1-or-later
# Shared by dom0 and the guests. Key names are relative to the domain's own home in xenstore.

PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/usr/lib/xen-4.17/bin:/bin:/sbin
export PATH LD_LIBRARY_PATH=/usr/local/lib:/usr/lib

mount_basics() {
	mount -t proc proc /proc
	mount -t sysfs sysfs /sys
	[ -c /dev/null ] || mount -t devtmpfs devtmpfs /dev
	mkdir -p /dev/pts /run /var/log /tmp
	mount -t devpts devpts /dev/pts
	ln -sf /run /var/run
}

# await_watch SECONDS PATH COMMAND...: waits until COMMAND succeeds; looks again whenever xenstore
# says that PATH changed. Fails when the time is over.
await_watch() (
	seconds=$1 path=$2
	shift 2
	fifo=/tmp/await.$(cut -d ' ' -f 4 /proc/self/stat).$(tr -d - </proc/sys/kernel/random/uuid)
	mkfifo "$fifo"
	timeout "$seconds" xenstore-watch "$path" >"$fifo" 2>/dev/null &
	watcher=$!
	met=1
	while read -r _; do
		"$@" && met=0 && break
	done <"$fifo"
	kill $watcher 2>/dev/null
	rm -f "$fifo"
	return $met
)

# await_key SECONDS PATH [VALUE]: waits until PATH exists (and has the value), prints it.
await_key() {
	await_watch "$1" "$2" key_is "$2" "${3-}" && xenstore-read "$2"
}

key_is() {
	value=$(xenstore-read "$1" 2>/dev/null) && { [ -z "$2" ] || [ "$value" = "$2" ]; }
}

# await_line SECONDS FILE PATTERN: waits for a line in a growing file. No event tells of one: polls.
await_line() {
	await_poll "$1" grep -q -e "$3" "$2"
}

# await_poll SECONDS COMMAND...: for what nothing announces.
await_poll() (
	turns=$(($1 * 10))
	shift
	while [ $turns -gt 0 ]; do
		"$@" 2>/dev/null && return 0
		usleep 100000
		turns=$((turns - 1))
	done
	return 1
)
