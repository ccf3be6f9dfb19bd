/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What has changed in a domain since its state was last committed, as records for the
 * state file, and back from there. Kept only in dom0, and only if there is a state file:
 * otherwise it costs nothing.
 *
 * A change that finds no room here is not lost: the namespace itself has it, and the
 * state is then written as a whole.
 */
#ifndef QDB_JOURNAL_H
#define QDB_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/record.h"

/*
 * Changes of one turn of the loop beyond this are committed as a whole state, in bytes.
 * To remove all entries that there may be, and to owe that, takes less.
 */
#define JOURNAL_SIZE (16u * 1024u * 1024u)

struct domain;
struct replica;

struct journal {
	bool enabled;
	bool incomplete; /* only the whole state tells what has changed */
	uint8_t *bytes;
	size_t used;
	size_t size;
	size_t last;             /* where the last record begins */
	struct record_peer peer; /* as last recorded */
};

void journal_free(struct journal *j);

/* An entry gets this value, or goes. */
void journal_write(struct journal *j, const char *path, size_t len, const char *value,
		   size_t value_len, bool by_peer);
void journal_remove(struct journal *j, const char *path, size_t len);

/*
 * dom0 owes this entry to the VM; it has just sent an operation on this entry or
 * directory; and all that no longer matters. See struct changes.
 */
void journal_owed(struct journal *j, const char *path, size_t len);
void journal_sent(struct journal *j, const struct replica *r, const char *path,
		  size_t len);
void journal_settled(struct journal *j, const struct replica *r);

/*
 * Completes what is to be committed, and returns whether there is anything: j->used bytes
 * at j->bytes or, if j->incomplete is set, the whole state.
 */
bool journal_prepare(struct journal *j, const struct replica *r);

/* It is committed. */
void journal_committed(struct journal *j);

/* It could not be committed: next time, it shall be the whole state. */
void journal_failed(struct journal *j);

/*
 * The whole state, piece by piece. It may change in between: who replays the
 * pieces, and the changes where they came, has the state as it is after the last piece.
 */
struct journal_cursor {
	bool has_begun;
	bool in_changes; /* has had all entries */
	bool is_done;
	size_t len;
	char path[QDB_MAX_PATH]; /* of the last one */
};

/*
 * Returns the size of the next piece in `out`, at most `room`, which is RECORD_MAX_SIZE
 * or more. A piece may be empty, if what it would have had is gone.
 */
size_t journal_snapshot(struct domain *d, struct journal_cursor *c, uint8_t *out,
			size_t room);

/*
 * Puts records into a domain that nobody uses yet. 0, -EINVAL (damaged), -ENOMEM or
 * -EDQUOT; on failure part of them are in it. An entry may go that has not come: the
 * change came before the piece that would have had it. What is owed and sent beyond the
 * quotas is forgotten, as it is in a daemon that runs.
 */
int journal_replay(struct domain *d, const uint8_t *bytes, size_t len);

#endif
