/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/record.h"

#include <string.h>

#include "protocol/grammar.h"
#include "protocol/number.h"

#define PEER_SIZE 17

static size_t put_header(uint8_t *out, enum record_type type, size_t path_len,
			 size_t value_len)
{
	out[0] = (uint8_t)type;
	out[1] = (uint8_t)path_len;
	number_put(out + 2, value_len, 2);
	return RECORD_HEADER_SIZE + path_len + value_len;
}

static size_t encode_peer(uint8_t *out, const struct record_peer *p)
{
	uint8_t *value = out + RECORD_HEADER_SIZE;

	number_put(value, p->id, 8);
	number_put(value + 8, p->processed, 8);
	value[16] = (uint8_t)(p->served_legacy | p->peer_is_known << 1);
	return put_header(out, RECORD_PEER, 0, PEER_SIZE);
}

/* What there is of a struct record_sent, in bytes. */
static const struct {
	size_t operation;
	size_t unanswered;
} sent_sizes[] = {
	[RECORD_SENT] = {0, 2},
	[RECORD_UNANSWERED] = {8, 0},
	[RECORD_SETTLED] = {8, 4},
};

static size_t encode_sent(uint8_t *out, const struct record *r)
{
	const size_t operation = sent_sizes[r->type].operation;
	const size_t unanswered = sent_sizes[r->type].unanswered;
	uint8_t *path = out + RECORD_HEADER_SIZE, *value = path + r->path_len;

	if (r->path_len > 0)
		memcpy(path, r->path, r->path_len);
	number_put(value, r->sent.operation, operation);
	number_put(value + operation, r->sent.unanswered, unanswered);
	return put_header(out, r->type, r->path_len, operation + unanswered);
}

size_t record_encode(uint8_t *out, const struct record *r)
{
	uint8_t *path = out + RECORD_HEADER_SIZE;

	if (r->type == RECORD_PEER)
		return encode_peer(out, &r->peer);
	if (r->type >= RECORD_SENT)
		return encode_sent(out, r);
	memcpy(path, r->path, r->path_len);
	if (r->value_len > 0)
		memcpy(path + r->path_len, r->value, r->value_len);
	return put_header(out, r->type, r->path_len, r->value_len);
}

static bool decode_peer(struct record_peer *p, const struct record *r)
{
	const uint8_t *value = (const uint8_t *)r->value;

	if (r->path_len != 0 || r->value_len != PEER_SIZE || value[16] > 3)
		return false;
	p->id = number_get(value, 8);
	p->processed = number_get(value + 8, 8);
	p->served_legacy = value[16] & 1;
	p->peer_is_known = value[16] & 2;
	return true;
}

static bool decode_sent(struct record_sent *s, const struct record *r)
{
	const size_t operation = sent_sizes[r->type].operation;
	const size_t unanswered = sent_sizes[r->type].unanswered;
	const uint8_t *value = (const uint8_t *)r->value;

	if (r->value_len != operation + unanswered)
		return false;
	s->operation = number_get(value, operation);
	s->unanswered = (uint32_t)number_get(value + operation, unanswered);
	return true;
}

static bool is_entry(const struct record *r)
{
	return r->path_len < QDB_MAX_PATH &&
	       path_classify(r->path, r->path_len) == PATH_ENTRY;
}

static bool is_directory(const struct record *r)
{
	return r->path_len < QDB_MAX_PATH &&
	       path_classify(r->path, r->path_len) == PATH_DIRECTORY;
}

static bool is_valid(struct record *r)
{
	switch (r->type) {
	case RECORD_WRITE:
	case RECORD_WRITE_BY_PEER:
		return is_entry(r) && value_is_valid(r->value, r->value_len);
	case RECORD_REMOVE:
	case RECORD_OWED:
		return is_entry(r) && r->value_len == 0;
	case RECORD_PEER:
		return decode_peer(&r->peer, r);
	case RECORD_SENT:
		return (r->path_len == 0 || is_entry(r) || is_directory(r)) &&
		       decode_sent(&r->sent, r) && r->sent.unanswered > 0;
	case RECORD_UNANSWERED:
		return (is_entry(r) || is_directory(r)) && decode_sent(&r->sent, r);
	case RECORD_SETTLED:
		return r->path_len == 0 && decode_sent(&r->sent, r);
	}
	return false;
}

size_t record_decode(struct record *r, const uint8_t *bytes, size_t len)
{
	size_t size;

	if (len < RECORD_HEADER_SIZE)
		return 0;
	memset(r, 0, sizeof(*r));
	r->type = bytes[0];
	r->path_len = bytes[1];
	r->value_len = (size_t)number_get(bytes + 2, 2);
	r->path = (const char *)bytes + RECORD_HEADER_SIZE;
	r->value = r->path + r->path_len;
	size = RECORD_HEADER_SIZE + r->path_len + r->value_len;
	return size <= len && is_valid(r) ? size : 0;
}
