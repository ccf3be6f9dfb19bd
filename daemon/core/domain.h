/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Everything that this daemon knows of its one domain (VM): the namespace, who watches
 * it, and the replica that keeps it equal to the other end's. Every change of the
 * namespace passes through here, whoever makes it, so that none is seen by watchers or by
 * the peer without the other.
 *
 * The core does no I/O. The daemon puts bytes into sessions and the replica, and takes
 * bytes out of those that the core marks as active; before that, it commits what the
 * journal holds. One thread.
 */
#ifndef QDB_DOMAIN_H
#define QDB_DOMAIN_H

#include "daemon/core/counters.h"
#include "daemon/core/gather.h"
#include "daemon/core/journal.h"
#include "daemon/core/namespace.h"
#include "daemon/core/replica.h"
#include "daemon/core/status.h"
#include "daemon/core/watch.h"
#include "protocol/many.h"

struct session;
TAILQ_HEAD(session_list, session);

/*
 * What the daemon around it does, if that is not NULL. It adds to the status: items of
 * its own, and of a client, whose section and session_owner() it is given. And it logs a
 * request of that client, with the type and the size of the answer, and a change that the
 * peer asks for, with the type of the answer.
 */
struct host {
	void (*add_items)(struct status *st, void *context);
	void (*add_client)(struct status *st, const char *section, const void *owner);
	void (*trace)(const void *owner, const struct message *m, enum qdb_msg answer,
		      size_t answer_len);
	void (*trace_peer)(const struct message *m, enum qdb_msg answer);
	void *context;
};

struct domain {
	struct namespace entries;
	struct watch_index watches;
	struct replica replica;
	struct journal journal; /* everything that changes, for the state file */
	struct account connections;
	struct gatherings gatherings;
	struct session_list sessions; /* all, the newest last */
	uint64_t last_serial;         /* of a session */
	struct session_list active;   /* have output that the daemon has not seen */
	struct counters counters;
	/*
	 * What has been done so far beside looking requests up, in no exact unit: each
	 * message queued, watcher told, entry that went, was spared, or came in one
	 * request with others, is about one.
	 */
	uint64_t work;
	size_t busy; /* clients that have more to do than the last turn has let them */
	struct host host;
	bool is_tracing; /* the host gets the requests, and the peer's */
	bool serving;    /* false: requests wait for the first dump */
};

/* `id` is a number that no other daemon has: the replica's. */
void domain_init(struct domain *d, enum replica_role role, uint64_t id);

/* All sessions must have been freed. */
void domain_free(struct domain *d);

/*
 * A local client changes the namespace. The path is an entry's (or, in domain_remove(), a
 * directory's) and valid, as is the value. With nothing changed on failure,
 * domain_write() gives 0, -EDQUOT or -ENOMEM; domain_remove() these or -ENOENT.
 */
int domain_write(struct domain *d, const char *path, size_t len, const char *value,
		 size_t value_len);
int domain_remove(struct domain *d, const char *path, size_t len);

/*
 * A local client writes all entries in the data of a CMD_WRITE_MANY, or none: 0, -EDQUOT,
 * -ENOMEM, or -EINVAL for data that may not be written. Then `e` is the entry to blame,
 * with path_len 0 if there is none.
 */
int domain_write_many(struct domain *d, const char *bytes, size_t len,
		      struct many_entry *e);

/*
 * The peer changes the namespace. `spared`, with the path of an entry and `context`,
 * tells which entries are to stay as they are; it may be NULL. domain_apply_write() gives
 * 0, -EDQUOT or -ENOMEM. That there is nothing to remove is no error.
 */
int domain_apply_write(struct domain *d, const char *path, size_t len, const char *value,
		       size_t value_len);
void domain_apply_remove(struct domain *d, const char *path, size_t len,
			 bool (*spared)(const struct entry *, void *), void *context);

#endif
