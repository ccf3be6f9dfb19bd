/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Nothing that was acknowledged is lost when a daemon of dom0 ends: the next one finds it
 * in the state file. This decides what a file is good for and when it is written.
 *
 * The daemon commits at the end of each turn of its loop, before anything leaves: no
 * client and no VM ever hears of a change that is not in the file.
 *
 * A file that this daemon cannot use is never changed. It is moved out of the way
 * (aside.h), and the domain starts empty with a new generation, so that a VM that has
 * been there before sends what it holds.
 *
 * When a commit fails, the whole state is tried at once. If that fails too the daemon
 * goes on without, says so in the log, and marks the file as out of date: a daemon that
 * believed an earlier state would bring back what was removed since. It tries again, less
 * and less often, up to once a minute, and only then watches its changes again.
 *
 * A file that can be read but not written to when the daemon starts is believed, and
 * written to later; it is out of date from the first change on.
 */
#ifndef QDB_STATE_H
#define QDB_STATE_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "daemon/core/domain.h"
#include "daemon/installed.h"
#include "daemon/statefile.h"

/* The database, its write-ahead log, an index of that, which others may have made, and
 * what was committed since the last snapshot. */
enum { STATE_DATABASE, STATE_WAL, STATE_INDEX, STATE_TAIL, STATE_FILES };

/* What tells one run of the machine from another, as text. */
#define STATE_BOOT_SIZE 37

struct state {
	char *path;        /* NULL: nothing is kept */
	const char *spare; /* a directory for a moment */
	struct statefile_owner owner;
	char boot[STATE_BOOT_SIZE];
	enum statefile_sync sync;
	struct domain *domain;
	struct statefile file;
	bool is_open;
	bool is_failing;  /* the file does not have everything */
	bool is_copy;     /* the entries are those of the file, or of a copy of it */
	bool is_current;  /* of which nothing has changed since */
	bool is_anothers; /* a daemon of another name has the file */
	bool is_given_up; /* for a signal, before there was one */
	unsigned delay_s;
	struct event retry;
	struct installed installed[STATE_FILES];
	int fd;                       /* holds the claim */
	bool is_read_only;            /* the file system, or the file */
	bool is_new;                  /* the file is empty, and this daemon made it */
	bool in_snapshot;             /* one has begun, and is in use when it is done */
	struct journal_cursor cursor; /* how far it is */
};

/* While all files can be read. */
void state_init(struct state *s);

/*
 * Takes the domain over from a daemon that serves it and from the file at `path`; what it
 * cannot do it logs. A file that can only be read is copied to the directory `spare` for
 * that. `name` and `spare` are kept by reference. 0, or -EINTR if a signal that is held
 * back (signals.h) has come before that: nothing is kept then, and the file is as it was.
 */
int state_open(struct state *s, const char *path, const char *spare, const char *name,
	       int domid, enum statefile_sync sync, struct domain *d,
	       struct event_base *base);

/* Commits what has changed. After that, all that waits may leave, persisted or not. */
void state_commit(struct state *s);

/* The file stays for the next daemon. */
void state_close(struct state *s);

/* The domain has gone, and its state with it. */
void state_remove(struct state *s);

#endif
