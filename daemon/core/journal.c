/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/domain.h"

#define FIRST_SIZE 4096u

/* More than this is not kept allocated between two turns. */
#define KEPT_SIZE (32u * 1024u)

static void free_bytes(struct journal *j)
{
	if (j->bytes)
		explicit_bzero(j->bytes, j->used);
	free(j->bytes);
}

void journal_free(struct journal *j)
{
	free_bytes(j);
	memset(j, 0, sizeof(*j));
}

static bool make_room(struct journal *j, size_t len)
{
	size_t size = j->size ? j->size : FIRST_SIZE;
	uint8_t *bytes;

	if (j->used + len > JOURNAL_SIZE)
		return false;
	while (size < j->used + len)
		size *= 2;
	if (size == j->size)
		return true;
	bytes = malloc(size);
	if (!bytes)
		return false;
	if (j->used > 0)
		memcpy(bytes, j->bytes, j->used);
	free_bytes(j);
	j->bytes = bytes;
	j->size = size;
	return true;
}

static void add(struct journal *j, const struct record *r)
{
	if (!j->enabled || j->incomplete)
		return;
	if (make_room(j, RECORD_MAX_SIZE))
		j->used += record_encode(j->bytes + j->used, r);
	else
		j->incomplete = true;
}

void journal_write(struct journal *j, const char *path, size_t len, const char *value,
		   size_t value_len, bool by_peer)
{
	add(j, &(struct record){
		       .type = by_peer ? RECORD_WRITE_BY_PEER : RECORD_WRITE,
		       .path = path,
		       .path_len = len,
		       .value = value,
		       .value_len = value_len,
	       });
}

void journal_remove(struct journal *j, const char *path, size_t len)
{
	add(j, &(struct record){.type = RECORD_REMOVE, .path = path, .path_len = len});
}

/* ---- taking ---- */

static struct record peer_of(const struct replica *r)
{
	return (struct record){
		.type = RECORD_PEER,
		.peer = {r->peer_id, r->processed, r->served_legacy, r->peer_is_known},
	};
}

static bool is_same(const struct record_peer *a, const struct record_peer *b)
{
	return a->id == b->id && a->processed == b->processed &&
	       a->served_legacy == b->served_legacy &&
	       a->peer_is_known == b->peer_is_known;
}

bool journal_prepare(struct journal *j, const struct replica *r)
{
	const struct record peer = peer_of(r);

	if (!is_same(&j->peer, &peer.peer)) {
		add(j, &peer);
		j->peer = peer.peer;
	}
	return j->used > 0 || j->incomplete;
}

void journal_committed(struct journal *j)
{
	if (j->used > 0)
		explicit_bzero(j->bytes, j->used);
	j->used = 0;
	j->incomplete = false;
	if (j->size <= KEPT_SIZE)
		return;
	free(j->bytes);
	j->bytes = NULL;
	j->size = 0;
}

void journal_failed(struct journal *j)
{
	journal_committed(j);
	j->incomplete = true;
}

/* ---- the whole state ---- */

static struct record record_of(const struct entry *e)
{
	return (struct record){
		.type = e->by_peer ? RECORD_WRITE_BY_PEER : RECORD_WRITE,
		.path = e->path,
		.path_len = e->node.path_len,
		.value = e->value,
		.value_len = e->value_len,
	};
}

size_t journal_snapshot(struct domain *d, struct journal_cursor *c, uint8_t *out,
			size_t room)
{
	struct entry *e = namespace_after(&d->entries, c->path, c->len), *last = NULL;
	struct record r = peer_of(&d->replica);
	size_t used = 0;

	if (!c->has_begun)
		used = record_encode(out, &r);
	for (; e && used + RECORD_MAX_SIZE <= room; e = namespace_next(e)) {
		r = record_of(e);
		used += record_encode(out + used, &r);
		last = e;
	}
	c->has_begun = true;
	c->is_done = !e;
	if (last) {
		c->len = last->node.path_len;
		memcpy(c->path, last->path, c->len);
	}
	return used;
}

/* ---- back ---- */

static int replay(struct domain *d, const struct record *r)
{
	struct entry *e;

	switch (r->type) {
	case RECORD_WRITE:
	case RECORD_WRITE_BY_PEER:
		return namespace_write(&d->entries, r->path, r->path_len, r->value,
				       r->value_len, r->type == RECORD_WRITE_BY_PEER);
	case RECORD_REMOVE:
		e = namespace_find(&d->entries, r->path, r->path_len);
		if (e)
			namespace_remove(&d->entries, e);
		return 0;
	case RECORD_PEER:
		d->replica.peer_id = r->peer.id;
		d->replica.processed = r->peer.processed;
		d->replica.served_legacy = r->peer.served_legacy;
		d->replica.peer_is_known = r->peer.peer_is_known;
		d->journal.peer = r->peer;
		return 0;
	}
	return -EINVAL;
}

int journal_replay(struct domain *d, const uint8_t *bytes, size_t len)
{
	struct record record;
	size_t size;
	int r = 0;

	for (; len > 0 && r == 0; bytes += size, len -= size) {
		size = record_decode(&record, bytes, len);
		if (size == 0)
			return -EINVAL;
		r = replay(d, &record);
	}
	return r;
}
