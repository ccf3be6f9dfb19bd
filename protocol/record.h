/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the state file of a domain holds (daemon/state.h): the changes of its namespace,
 * one record each. They are read with the same distrust as messages: a file may be
 * damaged, or not be ours.
 *
 *	bytes  0     type
 *	       1     length of the path
 *	       2, 3  length of the value, low byte first
 *	       4...  path, value
 *
 * In RECORD_PEER there is no path, and the value is a struct record_peer, each number
 * with its low byte first, the flags as bits of one byte. In RECORD_SENT, _UNANSWERED and
 * _SETTLED the value is what they have of a struct record_sent: the number in 8 bytes,
 * the count in 2 or 4. A RECORD_SENT without a path, as most are, is about the
 * RECORD_WRITE right before it.
 */
#ifndef QDB_RECORD_H
#define QDB_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/qubesdb.h"

#define RECORD_HEADER_SIZE 4
#define RECORD_MAX_SIZE (RECORD_HEADER_SIZE + QDB_MAX_PATH + QDB_MAX_DATA)

enum record_type {
	RECORD_WRITE = 1,     /* an entry has this value, dom0 wrote it */
	RECORD_WRITE_BY_PEER, /* the same, but the VM did */
	RECORD_REMOVE,        /* an entry has gone */
	RECORD_PEER,          /* how far the conversation with the VM has come */
	RECORD_OWED,          /* dom0 has changed an entry, and is to tell the VM */
	RECORD_SENT,          /* dom0 tells it, of an entry or a directory */
	RECORD_UNANSWERED,    /* dom0 has told it, by the operation of this number */
	RECORD_SETTLED,       /* what was owed and sent before is no matter any more */
};

/* See struct replica (daemon/core/replica.h). */
struct record_peer {
	uint64_t id;
	uint64_t processed;
	bool served_legacy;
	bool peer_is_known;
};

/*
 * Operations of dom0. Their numbers are those that the VM counts by, and go round: in
 * RECORD_UNANSWERED that of the one that is meant, in RECORD_SETTLED that of the last one
 * that was sent. RECORD_SENT is always the next one, and has none.
 */
struct record_sent {
	uint64_t operation;
	uint32_t unanswered; /* in RECORD_SENT, if there are more, RECORD_MOST_UNANSWERED
			      */
};

#define RECORD_MOST_UNANSWERED 0xffff

struct record {
	enum record_type type;
	const char *path; /* not terminated, an entry's if the type does not say more */
	size_t path_len;
	const char *value; /* valid; no more than the type says */
	size_t value_len;
	union {
		struct record_peer peer;
		struct record_sent sent;
	};
};

/* Writes it to `out`, which has room for RECORD_MAX_SIZE bytes; returns its size. */
size_t record_encode(uint8_t *out, const struct record *r);

/*
 * Reads the record at `bytes`, of which there are `len`, and returns its size; 0 if there
 * is none: then the bytes are damaged. `r` points into them.
 */
size_t record_decode(struct record *r, const uint8_t *bytes, size_t len);

#endif
