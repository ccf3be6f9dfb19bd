/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Address space in which a guest's mappings of another domain's memory lie alone, so that
 * the process outlives their loss. See xen_island.c.
 */
#ifndef QDB_VCHAN_XEN_ISLAND_H
#define QDB_VCHAN_XEN_ISLAND_H

#include <libxenvchan.h>
#include <stdbool.h>
#include <stdint.h>

struct xen_island {
	char *base; /* NULL: there is none */
	int gntdev;
	uint64_t ring_index; /* of the ring's mapping, as gntdev counts */
	volatile bool sunk;
	struct xen_island *next;
};

/*
 * Leaves a hole in the address space that the next small mappings of this process go to,
 * until xen_island_settle() or xen_island_clear(). 0 or a negative errno.
 */
int xen_island_open(struct xen_island *i);

/*
 * The client end of `ring` has been mapped there: closes the hole around it. From now on
 * touching the ring is safe: if it is lost, it reads as zeros and `sunk` is set. Returns
 * -ENOSPC if it lies elsewhere.
 */
int xen_island_settle(struct xen_island *i, const struct libxenvchan *ring);

/* Does to a ring that is known to be lost what its first touch does in a PV guest. */
void xen_island_sink(struct xen_island *i);

/* Nothing in it is needed any more. */
void xen_island_clear(struct xen_island *i);

#endif
