/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What Xen's libraries need once the daemon serves. Each ring has the devices opened anew
 * and, in dom0, its own connection to xenstore; and a daemon that has lost xenstore opens
 * it again, with a thread that reads it and is cancelled at its end.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <xenstore.h>
#include <xenstore_lib.h>

#include "daemon/sandbox.h"
#include "daemon/vchan/xen.h"

/* The kernel's _IOC_TYPE, by which a driver knows the requests that are meant for it. */
#define REQUESTS_OF(driver) \
	{ \
		"ioctl", SANDBOX_IF_MASKED, 1, (driver) << 8, 0xff00 \
	}

static const struct sandbox_call calls[] = {
	REQUESTS_OF('E'),                       /* evtchn */
	REQUESTS_OF('G'),                       /* gntdev, gntalloc */
	REQUESTS_OF('P'),                       /* privcmd */
	{"ioctl", SANDBOX_IF_EQUAL, 1, TCGETS}, /* a logger looks for a terminal */
	{"pipe2"},

	/* A thread, but no process. clone3 hides which; without it libc takes clone. */
	{"clone", SANDBOX_IF_MASKED, 0, CLONE_THREAD, CLONE_THREAD},
	{"clone3", SANDBOX_FAILS, 0, ENOSYS},
	{"rseq"},
	{"sched_getaffinity"},
	{"set_robust_list"},
	{NULL},
};

static void *leave(void *result)
{
	pthread_exit(result);
}

/* libc loads a library when the first thread ends like this, or is cancelled. */
static void load_what_ends_threads(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, leave, NULL) == 0)
		pthread_join(thread, NULL);
}

/* The library takes the socket where there is one, as in dom0, and else a device. */
static bool connects_to_xenstore(const struct vchan_address *address)
{
	struct stat there;

	return address->end == VCHAN_SERVER ||
	       (stat(xs_daemon_socket(), &there) == 0 && S_ISSOCK(there.st_mode));
}

void xen_confine(struct sandbox *s, const struct vchan_address *address)
{
	load_what_ends_threads();
	sandbox_allow_device(s, "/dev/xen");
	sandbox_allow_device(s, "/proc/xen");
	if (connects_to_xenstore(address))
		sandbox_allow_calls(s, sandbox_connecting);
	sandbox_allow_calls(s, calls);
}
