/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The state file as such: an sqlite database with the records of a domain in the order of
 * the changes. Nothing here knows what a record is, nor what to do when something fails.
 *
 * The records lie in a log (daemon/statelog.h), whose blocks are rows. There is room for
 * two: while one is in use, the other can be begun anew and filled with a snapshot, at
 * once or in the course of many commits, until it takes the place of the first.
 *
 * sqlite makes a commit happen wholly or not at all. It does not notice a damaged byte in
 * a value, so a chain of checksums goes through the blocks; it begins with all that the
 * row about the owner says.
 */
#ifndef QDB_STATEFILE_H
#define QDB_STATEFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/statelog.h"

struct sqlite3;
struct sqlite3_stmt;

/* Whose state it is. */
struct statefile_owner {
	const char *name;
	int domid;
	uint64_t generation;
	const char *boot; /* the run of the machine, or "" if it is the same in any */
};

enum statefile_statement {
	STATEFILE_BEGIN,
	STATEFILE_COMMIT,
	STATEFILE_PUT,
	STATEFILE_CHOOSE,
	STATEFILE_STATEMENTS
};

struct statefile {
	struct sqlite3 *db;
	struct sqlite3_stmt *statements[STATEFILE_STATEMENTS];
	uint64_t seed;  /* for the owner */
	uint64_t epoch; /* how many logs were begun before the current one */
	bool lacks_wal; /* as the owner's row has it: see statefile_begin_wal() */
	int wal_frames; /* in the write-ahead log */
	struct statelog current;
	struct statelog next;
};

enum statefile_sync {
	STATEFILE_SYNC_PROCESS, /* a commit survives the end of this process */
	STATEFILE_SYNC_DISK,    /* and a power failure */
};

enum statefile_result {
	STATEFILE_FINE,
	STATEFILE_FAILED,  /* for now: disk full, input/output, memory */
	STATEFILE_DAMAGED, /* nothing in it can be relied on */
	STATEFILE_NEWER,   /* of a version of this program that is to come */
	STATEFILE_FOREIGN, /* of another domain */
};

/*
 * Opens the file, which exists: with `create` it is empty and becomes this domain's,
 * otherwise it must be of this name and domid, and owner->generation is what it says.
 * After any result but STATEFILE_FINE nothing is left to do but statefile_close(), and
 * the file is as it was.
 */
enum statefile_result statefile_open(struct statefile *f, const char *path,
				     struct statefile_owner *owner,
				     enum statefile_sync sync, bool create);
void statefile_close(struct statefile *f);

/* Why the last call has failed: a text that lasts until the next one. */
const char *statefile_error(const struct statefile *f);

/*
 * Gives all pieces to `take`, in order, until that returns something negative. Returns
 * STATEFILE_DAMAGED also if it did.
 */
enum statefile_result statefile_read(struct statefile *f,
				     int (*take)(const uint8_t *bytes, size_t len,
						 void *context),
				     void *context);

/*
 * Adds a piece of 1 to STATELOG_MAX_PIECE bytes; that is a commit of its own, except
 * between begin and commit. All of these return false on failure. After
 * statefile_rollback() nothing of the commit has happened, and the next one must begin a
 * log and use it.
 */
bool statefile_append(struct statefile *f, const uint8_t *bytes, size_t len);
bool statefile_begin(struct statefile *f);
bool statefile_commit(struct statefile *f);
void statefile_rollback(struct statefile *f);

/* Between begin and commit: a new log, which pieces can be added to, and its use. */
bool statefile_begin_log(struct statefile *f);
bool statefile_append_next(struct statefile *f, const uint8_t *bytes, size_t len);
bool statefile_use_log(struct statefile *f);

/*
 * Moves everything out of the write-ahead log, and begins that anew. The file then says
 * that its log is missing; with the log, that says otherwise at once. So one that has
 * lost its log is known, and one into which some other program has moved the log is
 * whole.
 */
bool statefile_begin_wal(struct statefile *f);

/* Does that when the log is long. */
void statefile_go_on_with_wal(struct statefile *f);

/* In the end: everything is in the file alone. */
bool statefile_end_wal(struct statefile *f);

/* For a new file, before anything else is in it. */
bool statefile_first_wal(struct statefile *f);

#endif
