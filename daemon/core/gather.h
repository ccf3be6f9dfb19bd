/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The data of requests to write many entries, until all of it has come. Each has room for
 * the longest request, but all together for no more than QUOTA_GATHERED: when that is
 * full, the one to which nothing has been added for the longest time is given up, so that
 * those who stop in the middle do not keep others from being served.
 */
#ifndef QDB_GATHER_H
#define QDB_GATHER_H

#include <stdbool.h>
#include <sys/queue.h>

#include "daemon/core/quota.h"

struct gathering {
	char *bytes; /* `used` of them */
	size_t used;
	size_t size;
	int refused; /* 0, or why it has no bytes: -EDQUOT or -ENOMEM */
	TAILQ_ENTRY(gathering) all;
};

/* Must not be moved, nor a gathering that has bytes. */
struct gatherings {
	TAILQ_HEAD(, gathering) all; /* those that have bytes */
	struct account bytes;
};

void gatherings_init(struct gatherings *all);

/* Zeroed, a gathering is empty. What does not fit is dropped, with all before it. */
void gather_add(struct gatherings *all, struct gathering *g, const char *bytes,
		size_t len);

/* Makes it an empty one. */
void gather_end(struct gatherings *all, struct gathering *g);

#endif
