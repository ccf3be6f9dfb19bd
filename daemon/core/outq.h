/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages on their way to one peer, encoded, in order. They leave in runs of whole
 * messages, because a receiver must never see a part of one (see session.c and
 * sending.c).
 */
#ifndef QDB_OUTQ_H
#define QDB_OUTQ_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/quota.h"
#include "protocol/message.h"

struct outq {
	uint8_t *buf;
	size_t size;
	size_t start; /* buf[start..end) waits to be sent */
	size_t end;
	size_t limit;
	size_t torn;            /* rest of a message of which the front is gone already */
	uint64_t sent;          /* bytes that have ever been consumed */
	struct account *shared; /* or NULL: see outq_share() */
	size_t unshared;
};

/* An empty queue that holds at most the bytes that `quota` allows. */
void outq_init(struct outq *q, enum quota quota);
void outq_free(struct outq *q);

/*
 * What an empty queue will hold beyond `unshared` bytes is charged to an account that it
 * has together with others.
 */
void outq_share(struct outq *q, size_t unshared, struct account *shared);

/* Drops what has not been sent. */
void outq_clear(struct outq *q);

size_t outq_used(const struct outq *q);

/* Appends a message. 0, or -EDQUOT or -ENOMEM with nothing appended. */
int outq_add(struct outq *q, enum qdb_msg type, const char *path, size_t path_len,
	     const char *data, size_t data_len);

/*
 * The position behind the last message, as a count of bytes since the queue was created.
 * outq_rewind() takes back what was added since, if nothing was consumed meanwhile.
 */
uint64_t outq_position(const struct outq *q);
void outq_rewind(struct outq *q, uint64_t position);

/*
 * The longest run of whole messages of at most `max` bytes from the front, and its
 * length, 0 if there is none. It never ends between a WRITE and an RM that follows it,
 * because to a legacy daemon these may be one (see sending.c). OUTQ_UNIT bytes or more
 * always give at least one message.
 */
#define OUTQ_UNIT (MESSAGE_MAX_SIZE + MESSAGE_HEADER_SIZE)
const uint8_t *outq_peek(const struct outq *q, size_t max, size_t *len);

/*
 * `len` bytes from the front have been sent. If a message was torn nevertheless, its rest
 * leaves next and alone.
 */
void outq_consume(struct outq *q, size_t len);

#endif
