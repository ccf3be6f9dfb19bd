/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The VM's end: waits until the server has published a ring for this domain, and maps it.
 * It never asks the hypervisor for anything, for a VM may not; libxenvchan and xenstore
 * are all it needs.
 *
 * A ring stays published until the server has noticed its client, and that may have come
 * and gone by then. Another one that joined it would be taken for the same. So a ring is
 * looked at before it is joined, and one that has had a client is left for the next one.
 *
 * A VM that was saved wakes up as another domain, without its mappings. The kernel then
 * sets the watches in xenstore anew, so each of them fires: that is when the own id is
 * read again, and the ring given up or, should the id be the same, touched, which
 * xen_island.c makes safe.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xengnttab.h>

#include "daemon/log.h"
#include "daemon/vchan/xen.h"

#define OWN_DOMID "domid"
#define RING_TOKEN "ring"

#define NO_CLIENT_YET 2

/* The server publishes both keys of a ring at once. */
static void key_of(const struct xen_vchan *v, const char *name, char *key, size_t size)
{
	snprintf(key, size, "%s/%s", v->path, name);
}

static int read_number(const struct xen_vchan *v, const char *key)
{
	char *value = xs_read(v->store, XBT_NULL, key, NULL);
	const int number = value ? atoi(value) : -1;

	free(value);
	return number;
}

static int watch(struct xen_vchan *v, const char *path, const char *token)
{
	int r;

	if (xs_watch(v->store, path, token))
		return 0;
	r = -errno;
	log_error("cannot watch %s in xenstore: %s; may this VM read it?", path,
		  strerror(-r));
	return r;
}

/* Where the ring for the present domain id will be. */
static int watch_for_ring(struct xen_vchan *v)
{
	const struct vchan_address *a = &v->common.address;
	char key[sizeof(v->path) + 16];

	v->own_domid = read_number(v, OWN_DOMID);
	if (v->own_domid < 0) {
		log_error("xenstore does not tell this domain's id: there is no %s",
			  OWN_DOMID);
		return -ENOENT;
	}
	snprintf(v->path, sizeof(v->path), "/local/domain/%d/data/vchan/%d/%d",
		 a->remote_domid, v->own_domid, a->port);
	key_of(v, "event-channel", key, sizeof(key));
	return watch(v, key, RING_TOKEN);
}

static int begin(struct xen_vchan *v)
{
	int r = watch(v, OWN_DOMID, XEN_IDENTITY);

	return r < 0 ? r : watch_for_ring(v);
}

/* Whether nobody has ever joined this ring, or a negative errno. */
static int is_untouched(const struct xen_vchan *v, int ring_ref)
{
	const uint32_t server = (uint32_t)v->common.address.remote_domid;
	const volatile struct vchan_interface *shared = NULL;
	xengnttab_handle *grants = xengnttab_open(NULL, 0);
	int r = -ECONNREFUSED;

	if (grants)
		shared = xengnttab_map_grant_ref(grants, server, (uint32_t)ring_ref,
						 PROT_READ);
	if (shared) {
		r = shared->cli_live == NO_CLIENT_YET;
		xengnttab_unmap(grants, (void *)(uintptr_t)shared, 1);
	}
	if (grants)
		xengnttab_close(grants);
	return r;
}

static int join(struct xen_vchan *v)
{
	struct libxenvchan *ring =
		libxenvchan_client_init(NULL, v->common.address.remote_domid, v->path);
	int r;

	if (!ring || libxenvchan_is_open(ring) != 1) {
		libxenvchan_close(ring);
		xen_island_clear(&v->island);
		return -ECONNREFUSED;
	}
	if (xen_island_settle(&v->island, ring) < 0)
		log_warning("this process would not outlive that the VM is saved; start "
			    "it again after that");
	r = xen_ring_begin(v, ring);
	if (r == 0)
		xen_ring_look(v);
	return r;
}

static int attempt(struct xen_vchan *v)
{
	char key[sizeof(v->path) + 16];
	int ring_ref, r;

	key_of(v, "ring-ref", key, sizeof(key));
	ring_ref = read_number(v, key);
	if (ring_ref < 0)
		return 0;
	r = xen_island_open(&v->island);
	if (r < 0)
		return r;
	r = is_untouched(v, ring_ref);
	if (r > 0)
		return join(v);
	xen_island_clear(&v->island);
	return r;
}

/* The ring is lost then; a PVH guest's reads as anything, and raises no signal. */
static bool is_another(struct xen_vchan *v)
{
	const int domid = read_number(v, OWN_DOMID);

	if (domid < 0 || domid == v->own_domid)
		return false;
	if (v->ring)
		xen_island_sink(&v->island);
	return true;
}

static void look_who_this_is(struct xen_vchan *v)
{
	char key[sizeof(v->path) + 16];

	v->may_be_another = false;
	if (is_another(v)) {
		key_of(v, "event-channel", key, sizeof(key));
		xs_unwatch(v->store, key, RING_TOKEN);
		watch_for_ring(v);
		log_info("this is now domain %d", v->own_domid);
	}
	if (v->ring)
		xen_ring_offer(v);
}

static void store_changed(struct xen_vchan *v)
{
	if (v->may_be_another)
		look_who_this_is(v);
	if (!v->ring && !v->is_pausing)
		xen_attempt(v);
}

/*
 * Closing the event channel of a ring that was lost makes Linux kill the process. The
 * watch that tells of it may not have been heard yet.
 */
static void close_ring(struct xen_vchan *v)
{
	is_another(v);
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
