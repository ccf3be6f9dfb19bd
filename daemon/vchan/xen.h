/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the Xen transport share. See xen.c. */
#ifndef QDB_VCHAN_XEN_H
#define QDB_VCHAN_XEN_H

#include <event2/event_struct.h>
#include <xenstore.h>

#include "daemon/vchan/vchan.h"
#include "daemon/vchan/xen_island.h"

struct xen_vchan;

/* The token of the watch that fires when this domain may have become another one. */
#define XEN_IDENTITY "identity"

/* How the two ends find each other. */
struct xen_end {
	/* Sets watches in xenstore. 0 or a negative errno, with the reason logged. */
	int (*begin)(struct xen_vchan *v);
	/* Something that is watched may have changed. */
	void (*store_changed)(struct xen_vchan *v);
	/* There is no ring: makes one, or waits for store_changed(). A negative errno
	 * asks for another attempt later. */
	int (*attempt)(struct xen_vchan *v);
	/* The peer has connected. */
	void (*connected)(struct xen_vchan *v);
	/* Closes v->ring. */
	void (*close_ring)(struct xen_vchan *v);
	/* The last call. */
	void (*end)(struct xen_vchan *v);
};

struct xen_vchan {
	struct vchan common;
	const struct xen_end *end;
	struct xs_handle *store;
	struct libxenvchan *ring; /* NULL: none, an attempt will be made */
	bool connected;
	bool listening;  /* as vchan_listen_to() says */
	bool is_pausing; /* as vchan_restart() says */
	bool unread;     /* nothing will tell of what may be there to read */
	uint32_t consumed;
	uint32_t produced;
	unsigned retry_ms;
	struct event store_event;
	struct event ring_event;
	struct event offer;
	struct event retry;

	char path[64];                     /* of the ring's keys in xenstore */
	struct xc_interface_core *control; /* the server's */
	int own_domid;                     /* the client's */
	bool may_be_another;               /* since own_domid was read */
	struct xen_island island;
};

extern const struct xen_end xen_server;
extern const struct xen_end xen_client;

/* See vchan_confine(). */
void xen_confine(struct sandbox *s, const struct vchan_address *address);

/* Takes over a new ring. 0, or a negative errno and the ring is closed. */
int xen_ring_begin(struct xen_vchan *v, struct libxenvchan *ring);

/* Looks whether a peer has connected to the ring, and tells the caller of the vchan. */
void xen_ring_look(struct xen_vchan *v);

/* ready() is called in the next turn, if it is wanted at all. */
void xen_ring_offer(struct xen_vchan *v);

/* Makes an attempt now, and later again if need be. */
void xen_attempt(struct xen_vchan *v);

#endif
