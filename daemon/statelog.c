/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/statelog.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "protocol/number.h"

#define HEADER 12
#define ROOM (STATELOG_BLOCK - HEADER)

/* Odd, so that multiplying by it loses nothing; otherwise any number without a pattern.
 */
#define FACTOR 0x9e3779b97f4a7c15u

/* Each step can be undone, so that two sums that differ once differ to the end. */
static uint64_t mix(uint64_t sum, uint64_t word)
{
	sum = (sum ^ word) * FACTOR;
	return sum ^ sum >> 32;
}

uint64_t statelog_checksum(uint64_t before, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	uint64_t sum = before, word;
	size_t n = len;

	for (; n >= sizeof(word); n -= sizeof(word), at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		sum = mix(sum, le64toh(word));
	}
	return mix(n > 0 ? mix(sum, number_get(at, n)) : sum, len);
}

static uint64_t checksum_of(const struct statelog *l)
{
	return statelog_checksum(l->sum, l->block + HEADER, l->used);
}

/* ---- writing ---- */

void statelog_begin(struct statelog *l, uint64_t seed)
{
	*l = (struct statelog){.sum = seed};
}

size_t statelog_fill(struct statelog *l, const uint8_t *bytes, size_t len)
{
	const size_t n = MIN(len, ROOM - l->used);

	memcpy(l->block + HEADER + l->used, bytes, n);
	l->used += (uint32_t)n;
	return n;
}

bool statelog_is_full(const struct statelog *l)
{
	return l->used == ROOM;
}

size_t statelog_size(const struct statelog *l)
{
	return (size_t)l->number * ROOM + l->used;
}

void statelog_seal(struct statelog *l)
{
	number_put(l->block, checksum_of(l), 8);
	number_put(l->block + 8, l->used, 4);
}

void statelog_next(struct statelog *l)
{
	const uint64_t before = checksum_of(l);
	const uint32_t number = l->number;

	*l = (struct statelog){.sum = before, .number = number + 1};
}

/* ---- reading ---- */

void statelog_reader_init(struct statelog_reader *r, struct statelog *log, uint64_t seed,
			  int (*take)(const uint8_t *, size_t, void *), void *context)
{
	*r = (struct statelog_reader){.log = log, .take = take, .context = context};
	statelog_begin(log, seed);
}

void statelog_reader_free(struct statelog_reader *r)
{
	if (r->piece)
		explicit_bzero(r->piece, r->len);
	free(r->piece);
	r->piece = NULL;
}

static int begin_piece(struct statelog_reader *r)
{
	statelog_reader_free(r);
	r->len = number_get(r->header, sizeof(r->header));
	if (r->len == 0 || r->len > STATELOG_MAX_PIECE)
		return -EBADMSG;
	r->piece = malloc(r->len);
	return r->piece ? 0 : -ENOMEM;
}

/* Takes a part of a header or of a piece, and returns its size or a negative errno. */
static ssize_t take_part(struct statelog_reader *r, const uint8_t *bytes, size_t len)
{
	const size_t header = sizeof(r->header);
	const bool in_header = r->have < header;
	const size_t n = MIN(len, (in_header ? header : header + r->len) - r->have);
	int error = 0;

	memcpy(in_header ? r->header + r->have : r->piece + (r->have - header), bytes, n);
	r->have += n;
	if (in_header && r->have == header)
		error = begin_piece(r);
	else if (!in_header && r->have == header + r->len) {
		r->have = 0;
		error = r->take(r->piece, r->len, r->context);
	}
	return error < 0 ? error : (ssize_t)n;
}

int statelog_read(struct statelog_reader *r, const void *block, size_t len, bool *is_last)
{
	struct statelog *l = r->log;
	ssize_t n;

	if (statelog_is_full(l))
		statelog_next(l);
	if (len != STATELOG_BLOCK)
		return -EBADMSG;
	memcpy(l->block, block, len);
	l->used = (uint32_t)MIN(number_get(l->block + 8, 4), ROOM);
	if (number_get(l->block + 8, 4) != l->used ||
	    number_get(l->block, 8) != checksum_of(l))
		return -EBADMSG;
	for (size_t at = 0; at < l->used; at += (size_t)n) {
		n = take_part(r, l->block + HEADER + at, l->used - at);
		if (n < 0)
			return (int)n;
	}
	*is_last = !statelog_is_full(l);
	return *is_last && r->have > 0 ? -EBADMSG : 0;
}
