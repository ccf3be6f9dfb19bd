/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/outq.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* For ordinary answers, and what an empty queue keeps: the answers of a whole turn. */
#define FIRST_SIZE 4096u
#define KEPT_SIZE 8192u

void outq_init(struct outq *q, enum quota quota)
{
	memset(q, 0, sizeof(*q));
	q->limit = quota_descriptions[quota].limit;
}

size_t outq_used(const struct outq *q)
{
	return q->end - q->start;
}

void outq_share(struct outq *q, size_t unshared, struct account *shared)
{
	q->shared = shared;
	q->unshared = unshared;
}

/* What the account is charged for so many bytes in the queue. */
static size_t charge_for(const struct outq *q, size_t used)
{
	return q->shared && used > q->unshared ? used - q->unshared : 0;
}

static int charge(struct outq *q, size_t len)
{
	const size_t used = outq_used(q);
	const size_t more = charge_for(q, used + len) - charge_for(q, used);

	return more > 0 ? account_charge(q->shared, more) : 0;
}

/* That so many bytes have gone. */
static void release(struct outq *q, size_t len)
{
	const size_t used = outq_used(q);
	const size_t less = charge_for(q, used + len) - charge_for(q, used);

	if (less > 0)
		account_release(q->shared, less);
}

/* Messages hold values: what is no longer between start and end is zero. */
static void wipe(struct outq *q, size_t from, size_t to)
{
	if (from < to)
		explicit_bzero(q->buf + from, to - from);
}

static void free_buffer(struct outq *q)
{
	wipe(q, q->start, q->end);
	free(q->buf);
	q->buf = NULL;
	q->size = q->start = q->end = 0;
}

void outq_free(struct outq *q)
{
	const size_t len = outq_used(q);

	free_buffer(q);
	release(q, len);
}

void outq_clear(struct outq *q)
{
	outq_consume(q, outq_used(q));
}

static int make_room(struct outq *q, size_t len)
{
	size_t used = outq_used(q), size = q->size > 0 ? q->size : FIRST_SIZE;
	uint8_t *buf;

	if (len > q->limit || used > q->limit - len)
		return -EDQUOT;
	if (q->size - q->end >= len)
		return 0;
	if (q->start >= q->size / 2 && q->size - used >= len) {
		memmove(q->buf, q->buf + q->start, used);
		wipe(q, q->start > used ? q->start : used, q->end);
	} else {
		while (size - used < len)
			size *= 2;
		buf = malloc(size);
		if (!buf)
			return -ENOMEM;
		if (used > 0)
			memcpy(buf, q->buf + q->start, used);
		wipe(q, q->start, q->end);
		free(q->buf);
		q->buf = buf;
		q->size = size;
	}
	q->start = 0;
	q->end = used;
	return 0;
}

int outq_add(struct outq *q, enum qdb_msg type, const char *path, size_t path_len,
	     const char *data, size_t data_len)
{
	int r = make_room(q, MESSAGE_HEADER_SIZE + data_len);

	if (r == 0)
		r = charge(q, MESSAGE_HEADER_SIZE + data_len);
	if (r < 0)
		return r;
	q->end += message_encode(q->buf + q->end, type, path, path_len, data, data_len);
	return 0;
}

uint64_t outq_position(const struct outq *q)
{
	return q->sent + outq_used(q);
}

void outq_rewind(struct outq *q, uint64_t position)
{
	const size_t len = (size_t)(outq_position(q) - position);

	wipe(q, q->end - len, q->end);
	q->end -= len;
	release(q, len);
}

/* The size of the message at `front`, together with one that must not be parted from it.
 */
static size_t unit_size(const uint8_t *front, size_t used)
{
	size_t size = message_encoded_size(front);

	if (front[0] == QDB_CMD_WRITE && size < used && front[size] == QDB_CMD_RM)
		size += message_encoded_size(front + size);
	return size;
}

const uint8_t *outq_peek(const struct outq *q, size_t max, size_t *len)
{
	size_t used = outq_used(q), n = 0;
	const uint8_t *front;

	*len = used;
	if (used == 0)
		return NULL;
	front = q->buf + q->start;
	if (q->torn > 0) {
		*len = q->torn < max ? q->torn : max;
		return front;
	}
	if (used <= max)
		return front;
	while (n < used && n + unit_size(front + n, used - n) <= max)
		n += unit_size(front + n, used - n);
	*len = n;
	return front;
}

/* What is missing of the last message that begins before `len`. */
static size_t torn_rest(const struct outq *q, size_t len)
{
	const uint8_t *front = q->buf + q->start;
	size_t boundary = q->torn;

	while (boundary < len)
		boundary += message_encoded_size(front + boundary);
	return boundary - len;
}

void outq_consume(struct outq *q, size_t len)
{
	q->torn = len < outq_used(q) ? torn_rest(q, len) : 0;
	wipe(q, q->start, q->start + len);
	q->start += len;
	q->sent += len;
	release(q, len);
	if (q->start < q->end)
		return;
	q->start = q->end = 0;
	if (q->size > KEPT_SIZE)
		free_buffer(q);
}
