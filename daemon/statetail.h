/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What was committed since the last snapshot: a file beside the state file, to which each
 * commit adds one piece by one system call. The state file, which is a database, is only
 * written to when a snapshot is; that costs a hundred times as much.
 *
 *	bytes  0  checksum of the piece and of its place in the file
 *	       8  its length
 *	      12  a tag, which tells whose piece it is and of which epoch
 *	      16  the piece, up to the next multiple of 16
 *
 * A new epoch begins with each snapshot, from the beginning of the file, over what the
 * one before has left. Its first piece is empty, so that a file in which nothing can be
 * found is known for damaged. Checksum and tag come from a secret number, which is in
 * the database: nobody can write a value that would be taken for a piece.
 *
 * Pieces are written one after the other. So a piece that is not valid is the end, or was
 * under way when the daemon was killed, and if there is a valid one behind it the file is
 * damaged. A file that was cut is known by its size: that is a multiple of a large number
 * and leaves room behind the last piece. What remains unnoticed is damage to the last
 *one.
 */
#ifndef QDB_STATETAIL_H
#define QDB_STATETAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct statetail {
	int fd;         /* -1: there is none */
	bool sync;      /* a piece survives a power failure */
	uint64_t seed;  /* of the state */
	uint64_t epoch; /* the seed of it */
	off_t at;       /* where the next piece goes */
	off_t size;     /* of the file */
};

#define STATETAIL_NONE \
	{ \
		.fd = -1 \
	}

/*
 * The tail of the state at `path`, which exists or is created with nothing in it. 0, or a
 * negative errno: then there is still none. -EPERM: it is not an ordinary file.
 */
int statetail_open(struct statetail *t, const char *path);
int statetail_create(struct statetail *t, const char *path);
void statetail_close(struct statetail *t);

/*
 * Gives the pieces of `epoch` to `take`, in order, as long as that does not return
 * something negative, and leaves `at` behind them; 0 if the epoch has not begun. The file
 * is not changed. A `blank` one is not damaged. 0, -EBADMSG (damaged, or `take` said so),
 * or another negative errno.
 */
int statetail_read(struct statetail *t, uint64_t epoch, bool blank,
		   int (*take)(const uint8_t *bytes, size_t len, void *context),
		   void *context);

/* Begins an epoch. 0 or a negative errno. */
int statetail_begin(struct statetail *t, uint64_t epoch);

/* Adds a piece of 1 to STATELOG_MAX_PIECE bytes, wholly or not at all. The same. */
int statetail_append(struct statetail *t, const uint8_t *bytes, size_t len);

#endif
