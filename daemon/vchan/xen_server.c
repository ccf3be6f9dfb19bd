/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dom0's end: publishes a ring in xenstore and waits until the VM has mapped it. Each
 * ring serves one connection; its keys are removed when that has come.
 *
 * Nothing in a ring tells that its VM was destroyed. xenstore says whenever some domain
 * has ended, and then the hypervisor is asked about this one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define __XEN_TOOLS__ 1
#include <xenctrl.h>

#include "daemon/log.h"
#include "daemon/vchan/xen.h"

#define DOMAIN_ENDED "@releaseDomain"
#define RING_SIZE 4096

static const char *const devices[] = {"/dev/xen/evtchn", "/dev/xen/gntalloc"};

/* One that is being saved may go on; one that has crashed stays until it is destroyed. */
static bool has_shut_down(uint32_t flags)
{
	const uint32_t reason = flags >> XEN_DOMINF_shutdownshift;

	return flags & XEN_DOMINF_shutdown &&
	       (reason & XEN_DOMINF_shutdownmask) != SHUTDOWN_suspend &&
	       (reason & XEN_DOMINF_shutdownmask) != SHUTDOWN_crash;
}

/* The list begins with the first domain of this id or a higher one. */
static bool is_gone(const struct xen_vchan *v)
{
	const uint32_t domid = (uint32_t)v->common.address.remote_domid;
	xc_domaininfo_t info;
	const int n = xc_domain_getinfolist(v->control, domid, 1, &info);

	if (n < 0)
		return false;
	return n == 0 || info.domain != domid || info.flags & XEN_DOMINF_dying ||
	       has_shut_down(info.flags);
}

static int begin(struct xen_vchan *v)
{
	int r;

	v->control = xc_interface_open(NULL, NULL, 0);
	if (!v->control || !xs_watch(v->store, DOMAIN_ENDED, "")) {
		r = -errno;
		log_error("cannot watch over domain %d: %s; may this user open "
			  "/dev/xen/privcmd?",
			  v->common.address.remote_domid, strerror(-r));
		return r;
	}
	if (is_gone(v)) {
		log_error("there is no domain %d; xl list tells which there are",
			  v->common.address.remote_domid);
		return -ESRCH;
	}
	snprintf(v->path, sizeof(v->path), "data/vchan/%d/%d",
		 v->common.address.remote_domid, v->common.address.port);
	return 0;
}

static void store_changed(struct xen_vchan *v)
{
	if (is_gone(v))
		v->common.handlers->gone(v->common.context);
}

/* The library must not be tried without them: failing, it frees what it never set. */
static int check_devices(void)
{
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
		int fd = open(devices[i], O_RDWR | O_CLOEXEC);

		if (fd < 0) {
			const int r = -errno;

			log_error("cannot open %s: %s; is its module loaded, and may "
				  "this user open it?",
				  devices[i], strerror(-r));
			return r;
		}
		close(fd);
	}
	return 0;
}

/*
 * If it fails later, it unmaps buffers whose addresses it never set either, and loses the
 * errno. What is freed here malloc gives to it next: it finds no addresses there.
 */
static void clear_what_it_never_sets(void)
{
	struct libxenvchan *next = malloc(sizeof(*next));

	if (next)
		explicit_bzero(next, sizeof(*next));
	free(next);
}

static int attempt(struct xen_vchan *v)
{
	struct libxenvchan *ring;
	int r = check_devices();

	if (r < 0)
		return r;
	clear_what_it_never_sets();
	errno = 0;
	ring = libxenvchan_server_init(NULL, v->common.address.remote_domid, v->path,
				       RING_SIZE, RING_SIZE);
	if (!ring) {
		r = errno ? -errno : -EIO;
		log_error("cannot share memory with domain %d: %s; has xen_gntalloc "
			  "reached its limit?",
			  v->common.address.remote_domid, strerror(-r));
		return r;
	}
	return xen_ring_begin(v, ring);
}

/* Makes the change in one transaction, again if others were in the way. */
static void transact(struct xen_vchan *v,
		     void (*change)(const struct xen_vchan *v, xs_transaction_t t))
{
	xs_transaction_t t;
	bool done = false;

	while (!done && (t = xs_transaction_start(v->store)) != XBT_NULL) {
		change(v, t);
		done = xs_transaction_end(v->store, t, false) || errno != EAGAIN;
	}
}

/* Another daemon for this VM may have published its own ring there meanwhile. */
static bool keys_are_ours(const struct xen_vchan *v, xs_transaction_t t)
{
	char key[sizeof(v->path) + 16], *value;
	bool ours;

	snprintf(key, sizeof(key), "%s/event-channel", v->path);
	value = xs_read(v->store, t, key, NULL);
	ours = value && strtoul(value, NULL, 10) == v->ring->event_port;
	free(value);
	return ours;
}

static void remove_keys(const struct xen_vchan *v, xs_transaction_t t)
{
	if (keys_are_ours(v, t))
		xs_rm(v->store, t, v->path);
}

/* What is forgotten here libxenvchan_close() would remove, whosever it is. */
static void withdraw_keys(struct xen_vchan *v)
{
	transact(v, remove_keys);
	free(v->ring->xs_path);
	v->ring->xs_path = NULL;
}

static void close_ring(struct xen_vchan *v)
{
	if (v->ring->xs_path)
		withdraw_keys(v);
	libxenvchan_close(v->ring);
}

/* Servers of other ports share the directory. */
static void remove_directory(const struct xen_vchan *v, xs_transaction_t t)
{
	char directory[sizeof(v->path)], **names;
	unsigned n;

	snprintf(directory, sizeof(directory), "data/vchan/%d",
		 v->common.address.remote_domid);
	names = xs_directory(v->store, t, directory, &n);
	if (names && n == 0)
		xs_rm(v->store, t, directory);
	free(names);
}

static void end(struct xen_vchan *v)
{
	if (v->path[0] != '\0')
		transact(v, remove_directory);
	if (v->control)
		xc_interface_close(v->control);
}

const struct xen_end xen_server = {
	.begin = begin,
	.store_changed = store_changed,
	.attempt = attempt,
	.connected = withdraw_keys,
	.close_ring = close_ring,
	.end = end,
};
