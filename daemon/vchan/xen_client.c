/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The VM's end: waits until the server has published a ring for this domain, and maps it.
 * It never asks the hypervisor for anything, for a VM may not; libxenvchan and xenstore
 * are all it needs.
 *
 * A VM that was saved wakes up as another domain, without its mappings. The kernel then
 * sets the watches in xenstore anew, so each of them fires: that is when the own id is
 * read again, and the ring touched, which xen_island.c makes safe.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/vchan/xen.h"

#define OWN_DOMID "domid"
#define TOKEN "qubesdb"

/* The server publishes both keys of a ring at once. */
static void key_of(const struct xen_vchan *v, char *key, size_t size)
{
	snprintf(key, size, "%s/event-channel", v->path);
}

static char *read_key(const struct xen_vchan *v, const char *key)
{
	return xs_read(v->store, XBT_NULL, key, NULL);
}

static int read_own_domid(const struct xen_vchan *v)
{
	char *value = read_key(v, OWN_DOMID);
	const int domid = value ? atoi(value) : -1;

	free(value);
	return domid;
}

static int watch(struct xen_vchan *v, const char *path)
{
	int r;

	if (xs_watch(v->store, path, TOKEN))
		return 0;
	r = -errno;
	log_error("cannot watch %s in xenstore: %s", path, strerror(-r));
	return r;
}

/* Where the ring for the present domain id will be. */
static int watch_for_ring(struct xen_vchan *v)
{
	const struct vchan_address *a = &v->common.address;
	char key[sizeof(v->path) + 16];

	v->own_domid = read_own_domid(v);
	if (v->own_domid < 0) {
		log_error("xenstore does not tell this domain's id");
		return -ENOENT;
	}
	snprintf(v->path, sizeof(v->path), "/local/domain/%d/data/vchan/%d/%d",
		 a->remote_domid, v->own_domid, a->port);
	key_of(v, key, sizeof(key));
	return watch(v, key);
}

static int begin(struct xen_vchan *v)
{
	int r = watch(v, OWN_DOMID);

	return r < 0 ? r : watch_for_ring(v);
}

static int attempt(struct xen_vchan *v)
{
	char key[sizeof(v->path) + 16], *value;
	struct libxenvchan *ring;
	int r;

	key_of(v, key, sizeof(key));
	value = read_key(v, key);
	free(value);
	if (!value)
		return 0;
	r = xen_island_open(&v->island);
	if (r < 0)
		return r;
	ring = libxenvchan_client_init(NULL, v->common.address.remote_domid, v->path);
	if (!ring || libxenvchan_is_open(ring) != 1) {
		libxenvchan_close(ring);
		xen_island_clear(&v->island);
		return -ECONNREFUSED;
	}
	if (xen_island_settle(&v->island, ring) < 0)
		log_warning("this process would not outlive that the VM is saved");
	r = xen_ring_begin(v, ring);
	if (r == 0)
		xen_ring_look(v);
	return r;
}

static void store_changed(struct xen_vchan *v)
{
	char key[sizeof(v->path) + 16];
	const int domid = read_own_domid(v);

	if (domid >= 0 && domid != v->own_domid) {
		log_info("this is now domain %d", domid);
		key_of(v, key, sizeof(key));
		xs_unwatch(v->store, key, TOKEN);
		watch_for_ring(v);
	}
	if (v->ring)
		xen_ring_offer(v);
	else
		xen_attempt(v);
}

/* Closing the event channel of a ring that was lost makes Linux kill the process. */
static void close_ring(struct xen_vchan *v)
{
	libxenvchan_is_open(v->ring);
	if (v->island.sunk)
		v->ring->event = NULL;
	libxenvchan_close(v->ring);
	xen_island_clear(&v->island);
}

static void nothing(struct xen_vchan *v)
{
	(void)v;
}

const struct xen_end xen_client = {
	.begin = begin,
	.store_changed = store_changed,
	.attempt = attempt,
	.connected = nothing,
	.close_ring = close_ring,
	.end = nothing,
};
