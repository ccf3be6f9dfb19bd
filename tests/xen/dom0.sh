# SPDX-License-Identifier: LGPL-2.1-or-later
# What a scenario in dom0 has to hand; see README.

# step TEXT: says what comes next. A scenario that fails is reported with its last step.
step() {
	echo "$*" >/run/step
	echo "# $(cut -d " " -f 1 /proc/uptime) $scenario: $*" >&2
}

# fail TEXT: ends the scenario.
fail() {
	step "$*"
	exit 1
}

# not COMMAND...: ends the scenario if the command succeeds, which "! COMMAND" would not.
not() {
	! "$@"
}

# note TEXT: a line in the report, whether the scenario passes or not.
note() {
	echo "# $scenario: $*" >&9
}

# guest_create NAME FUNCTION: a paused guest that will run FUNCTION, of type $guest_type (pv or pvh).
# Its domid is in $domid.
guest_type=pv
guest_create() {
	cat >"/run/$1.cfg" <<-END
		name = "$1"
		type = "$guest_type"
		memory = 192
		vcpus = 1
		kernel = "/guest/vmlinux"
		ramdisk = "/guest/initramfs"
		extra = "console=hvc0 rdinit=/init random.trust_cpu=on loglevel=5 guest=$2"
		on_crash = "destroy"
	END
	xl create -p "/run/$1.cfg"
	domid=$(xl domid "$1")
}

# guest_start NAME FUNCTION: the same, running.
guest_start() {
	guest_create "$1" "$2"
	xl unpause "$1"
}

# heard DOMID KEY [VALUE]: waits until the guest has reported KEY; prints the value.
heard() {
	await_key 300 "/local/domain/$1/data/test/$2" "${3-}"
}

# tell DOMID KEY VALUE: what the guest gets by told KEY.
tell() {
	xenstore-write "/local/domain/$1/data/told/$2" "$3"
}

domain_gone() {
	! xenstore-exists "/local/domain/$1"
}

# count_calls FUNCTION COMMAND...: how often COMMAND made the kernel enter FUNCTION (say
# privcmd_ioctl), in the whole of dom0. Fails as COMMAND does, whose output is lost.
count_calls() {
	trace=/sys/kernel/tracing
	function=$1
	shift
	echo "p:count/$function $function" >$trace/kprobe_events
	echo >$trace/trace
	echo 1 >$trace/events/count/enable
	"$@" >/dev/null || called=failed
	echo 0 >$trace/events/count/enable
	grep -c "($function" $trace/trace || :
	echo >$trace/kprobe_events
	[ "${called-}" != failed ]
}
