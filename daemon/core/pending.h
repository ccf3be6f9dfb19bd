/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which events wait for a client that does not read, so that none is queued twice. The
 * same event is one of the same path for the same watch. A watch is always a prefix of
 * the path that it fires for (watch.h), so its length tells which one it is.
 *
 * This holds no event, only the position at which it was queued, and as long as it waits
 * there: it costs a client nothing until it stalls. What it costs then is charged like
 * the output itself.
 */
#ifndef QDB_PENDING_H
#define QDB_PENDING_H

#include <sys/queue.h>

#include "daemon/core/pathmap.h"
#include "daemon/core/quota.h"

struct pending_event;
TAILQ_HEAD(pending_events, pending_event);

/* Must not be moved. */
struct pending {
	struct pathmap map;
	struct pending_events queue; /* the oldest first */
	struct account memory;       /* bytes, below the account of its user's output */
};

void pending_init(struct pending *p);

/* Nothing that was queued so far may stand for a later event any more. */
void pending_forget(struct pending *p);

/*
 * The event is about to be queued at `position`, which only ever grows. False if it waits
 * already. Without memory, or quota, it is not remembered.
 */
bool pending_add(struct pending *p, const char *path, size_t len, size_t watch_len,
		 uint64_t position);

/* What was queued before `position` has been taken, at least in part. */
void pending_taken(struct pending *p, uint64_t position);

#endif
