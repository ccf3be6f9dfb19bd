/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The replica's connection to the other end: moves bytes between it and a vchan. */
#ifndef QDB_LINK_H
#define QDB_LINK_H

#include <event2/event_struct.h>
#include <time.h>

#include "daemon/core/domain.h"
#include "daemon/vchan/vchan.h"

struct link {
	struct replica *replica;
	struct vchan *vchan;
	bool connected;
	bool broken;     /* writing failed: read what is left, then end */
	bool is_waiting; /* answers for what they can leave with, or all for memory */
	struct event overdue; /* they have waited long enough */
	unsigned delay_ms;
	size_t refused_before[REPLICA_REFUSALS]; /* when this link began */
	bool told[REPLICA_REFUSALS];             /* of it, that there are more */
	bool is_live;                            /* the dump of this link is over */
	time_t connected_since;                  /* wall clock, as the next one */
	time_t last_resync;                      /* the last dump was over, or 0 */
	size_t links;                            /* so far */
	const char *last_fault;                  /* why one was given up, or NULL */
	size_t begun; /* links since `since_ms`, at most a minute */
	uint64_t since_ms;
	size_t remembered;     /* links that are not forgotten yet */
	uint64_t forgotten_ms; /* when one was, or should have been */
	uint64_t moved;        /* bytes, either way, on all links */
	void (*gone)(void *context);
	void *context;
};

/*
 * Waits for the peer at `address`. `gone` is called if its domain ceases to exist. 0 or a
 * negative errno, with the reason logged.
 */
int link_open(struct link *l, struct replica *replica,
	      const struct vchan_transport *transport, struct event_base *base,
	      const struct vchan_address *address, void (*gone)(void *), void *context);

/*
 * Sends what the replica has and ends a link that failed: to be called at the end of each
 * turn of the event loop. Returns whether there is more to do without waiting.
 */
bool link_turn(struct link *l);

/*
 * Goes on with what the last turn has left, and takes what must not stay in the vchan: to
 * be called in each turn before what it has changed is committed.
 */
void link_resume(struct link *l);

/* Whether nothing would be lost if it were closed now. */
bool link_is_settled(const struct link *l);

/* A number that changes when bytes have come, were sent, or were taken by the peer. */
uint64_t link_passed(const struct link *l);

void link_close(struct link *l);

#endif
