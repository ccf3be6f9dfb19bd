/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Nothing that was acknowledged is lost when a daemon of dom0 ends: the next one finds it
 * in the state file. This decides what a file is good for and when it is written.
 *
 * The daemon commits at the end of each turn of its loop, before anything leaves: no
 * client and no VM ever hears of a change that is not in the file.
 *
 * A file that this daemon cannot use is never changed. It is moved to PATH.aside, where
 * only the newest is kept, and the domain starts empty with a new generation, so that a
 * VM that has been there before sends what it holds.
 *
 * When a commit fails the daemon goes on without, and says so in the log. It tries again,
 * less and less often, up to once a minute, to write the whole state, and only then
 * watches its changes again.
 */
#ifndef QDB_STATE_H
#define QDB_STATE_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "daemon/core/domain.h"
#include "daemon/installed.h"
#include "daemon/statefile.h"

struct state {
	char *path; /* NULL: nothing is kept */
	struct statefile_owner owner;
	enum statefile_sync sync;
	struct domain *domain;
	struct statefile file;
	bool is_open;
	bool is_failing; /* the file does not have everything */
	unsigned delay_s;
	struct event retry;
	struct installed installed[2]; /* the file and its write-ahead log */
	int fd;                        /* holds the claim */
	bool is_new;                   /* the file has just been created */
	size_t snapshot_size;          /* bytes of records, of the last snapshot */
	size_t log_size;               /* and since */
	bool in_snapshot;              /* the next one has begun */
	struct journal_cursor cursor;  /* how far it is */
	size_t next_snapshot_size;
	size_t next_log_size;
};

void state_init(struct state *s);

/*
 * Takes the domain over from a daemon that serves it and from the file at `path`; what it
 * cannot do it logs. `name` is kept by reference.
 */
void state_open(struct state *s, const char *path, const char *name, int domid,
		enum statefile_sync sync, struct domain *d, struct event_base *base);

/* Commits what has changed. After that, all that waits may leave, persisted or not. */
void state_commit(struct state *s);

/* The file stays for the next daemon. */
void state_close(struct state *s);

/* The domain has gone, and its state with it. */
void state_remove(struct state *s);

#endif
