/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The state file as such: an sqlite database with a snapshot of a domain, and beside it
 * what was committed since (daemon/statetail.h); both as records in the order of the
 * changes. Nothing here knows what a record is, nor what to do when something fails.
 *
 * The snapshot lies in a log (daemon/statelog.h), whose blocks are rows. There is room
 * for two: while one is in use, the other can be begun anew and filled, at once or in the
 * course of many commits, until it takes the place of the first. With that an epoch ends,
 * and what is beside the database belongs to the one before and means nothing any more.
 *
 * sqlite makes a commit happen wholly or not at all. It does not notice a damaged byte in
 * a value, so a chain of checksums goes through the blocks; it begins with all that the
 * row about the owner says. Nor does it notice that its write-ahead log is lost or
 * damaged, and takes an older snapshot; then the tail is of an epoch that is to come.
 */
#ifndef QDB_STATEFILE_H
#define QDB_STATEFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/statelog.h"
#include "daemon/statetail.h"

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
	const char *path;     /* kept by reference */
	uint64_t secret;      /* of the state, and in it */
	uint64_t seed;        /* of all checksums */
	uint64_t epoch;       /* how many snapshots there were */
	bool has_tail;        /* as the owner's row has it: else the database has all */
	size_t snapshot_size; /* bytes of records */
	struct statelog next; /* the snapshot that is to come */
	struct statetail tail;
	int error; /* of the tail, if that has failed last; a negative errno */
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
 * the file is as it was. `path` is kept by reference.
 */
enum statefile_result statefile_open(struct statefile *f, const char *path,
				     struct statefile_owner *owner,
				     enum statefile_sync sync, bool create);
void statefile_close(struct statefile *f);

/* Why the last call has failed: a text that lasts until the next one. */
const char *statefile_error(const struct statefile *f);

/*
 * Gives all pieces to `take`, in order, until that returns something negative. Returns
 * STATEFILE_DAMAGED also if it did. The file is still as it was.
 */
enum statefile_result statefile_read(struct statefile *f,
				     int (*take)(const uint8_t *bytes, size_t len,
						 void *context),
				     void *context);

/* After reading: makes sure that pieces can be added. All of these return false on
 * failure. */
bool statefile_go_on(struct statefile *f);

/* Commits a piece of 1 to STATELOG_MAX_PIECE bytes. */
bool statefile_append(struct statefile *f, const uint8_t *bytes, size_t len);

/* How long the tail is by now, in bytes. */
size_t statefile_appended(const struct statefile *f);

/*
 * A snapshot: one or more commits, of which the first begins it and the last one ends it
 * by statefile_use() instead of statefile_commit(). What is appended in the meantime must
 * be added to it as well. After statefile_rollback() nothing of the commit has happened,
 * and the snapshot must begin again.
 */
bool statefile_begin(struct statefile *f);
void statefile_begin_snapshot(struct statefile *f);
bool statefile_add(struct statefile *f, const uint8_t *bytes, size_t len);
bool statefile_commit(struct statefile *f);
bool statefile_use(struct statefile *f);
void statefile_rollback(struct statefile *f);

/*
 * In the end, instead of statefile_use(): everything is in the database alone, and what
 * is beside it can go.
 */
bool statefile_end(struct statefile *f);

#endif
