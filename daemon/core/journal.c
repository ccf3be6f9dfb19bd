/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

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
	if (!make_room(j, RECORD_MAX_SIZE)) {
		j->incomplete = true;
		return;
	}
	j->last = j->used;
	j->used += record_encode(j->bytes + j->used, r);
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

void journal_owed(struct journal *j, const char *path, size_t len)
{
	add(j, &(struct record){.type = RECORD_OWED, .path = path, .path_len = len});
}

static bool has_just_written(const struct journal *j, const char *path, size_t len)
{
	struct record r;

	return j->used > 0 &&
	       record_decode(&r, j->bytes + j->last, j->used - j->last) > 0 &&
	       r.type == RECORD_WRITE && r.path_len == len &&
	       memcmp(r.path, path, len) == 0;
}

void journal_sent(struct journal *j, const struct replica *r, const char *path,
		  size_t len)
{
	const size_t unanswered = changes_in_flight(&r->changes);

	add(j, &(struct record){
		       .type = RECORD_SENT,
		       .path = path,
		       .path_len = has_just_written(j, path, len) ? 0 : len,
		       .sent.unanswered = MIN(unanswered, RECORD_MOST_UNANSWERED),
	       });
}

static struct record settled(const struct replica *r)
{
	return (struct record){
		.type = RECORD_SETTLED,
		.sent = {r->base + r->sent_on_link, changes_in_flight(&r->changes)},
	};
}

void journal_settled(struct journal *j, const struct replica *r)
{
	const struct record record = settled(r);

	add(j, &record);
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

static void pass(struct journal_cursor *c, const struct path_node *node)
{
	c->len = node->path_len;
	memcpy(c->path, node->path, c->len);
}

static size_t take_entries(struct domain *d, struct journal_cursor *c, uint8_t *out,
			   size_t room)
{
	struct entry *e = namespace_after(&d->entries, c->path, c->len), *last = NULL;
	struct record r;
	size_t used = 0;

	for (; e && used + RECORD_MAX_SIZE <= room; e = namespace_next(e)) {
		r = record_of(e);
		used += record_encode(out + used, &r);
		last = e;
	}
	if (last)
		pass(c, &last->node);
	if (!e) {
		c->in_changes = true;
		c->len = 0;
	}
	return used;
}

static uint64_t answered(const struct replica *r)
{
	return r->base + r->sent_on_link - changes_in_flight(&r->changes);
}

/* What was sent, and has changed again since, is owed besides. */
static size_t take_change(const struct replica *r, const struct changed_path *p,
			  uint8_t *out)
{
	struct record record = {.path = p->path, .path_len = p->node.path_len};
	size_t used = 0;

	if (p->in_flight && p->is_ours) {
		record.type = RECORD_UNANSWERED;
		record.sent.operation =
			answered(r) + (p->operation - r->changes.answered);
		used = record_encode(out, &record);
	}
	if (p->owed) {
		record.type = RECORD_OWED;
		used += record_encode(out + used, &record);
	}
	return used;
}

static size_t take_changes(struct replica *r, struct journal_cursor *c, uint8_t *out,
			   size_t room)
{
	const struct changed_path *p = changes_after(&r->changes, c->path, c->len);
	size_t used = 0;

	for (; p && used + RECORD_MAX_SIZE <= room;
	     p = changes_after(&r->changes, c->path, c->len)) {
		used += take_change(r, p, out + used);
		pass(c, &p->node);
	}
	c->is_done = !p;
	return used;
}

/* The numbers of the operations come first: those sent from now on have the next ones. */
static size_t take_beginning(const struct replica *r, uint8_t *out)
{
	struct record record = peer_of(r);
	size_t used = record_encode(out, &record);

	record = settled(r);
	return used + record_encode(out + used, &record);
}

size_t journal_snapshot(struct domain *d, struct journal_cursor *c, uint8_t *out,
			size_t room)
{
	size_t used = c->has_begun ? 0 : take_beginning(&d->replica, out);

	c->has_begun = true;
	if (!c->in_changes)
		used += take_entries(d, c, out + used, room - used);
	if (c->in_changes)
		used += take_changes(&d->replica, c, out + used, room - used);
	return used;
}

/* ---- back ---- */

static int replay_settled(struct replica *r, const struct record_sent *sent)
{
	changes_clear(&r->changes);
	r->base = sent->operation - sent->unanswered;
	r->sent_on_link = sent->unanswered;
	return changes_sent_before(&r->changes, sent->unanswered);
}

/* That it could be sent tells that others were answered. */
static int replay_sent(struct replica *r, const struct record *m)
{
	const size_t in_flight = changes_in_flight(&r->changes);

	if (in_flight >= m->sent.unanswered &&
	    m->sent.unanswered < RECORD_MOST_UNANSWERED)
		changes_confirm(&r->changes, in_flight - (m->sent.unanswered - 1));
	r->sent_on_link++;
	return changes_send(&r->changes, m->path, m->path_len);
}

/* It may have been answered by now, that is, by the RECORD_SENT of later ones. */
static int replay_unanswered(struct replica *r, const struct record *m)
{
	const uint64_t n = m->sent.operation - answered(r);

	if (n == 0 || n > changes_in_flight(&r->changes))
		return 0;
	return changes_sent_nth(&r->changes, m->path, m->path_len, (size_t)n);
}

static int replay_change(struct replica *r, const struct record *m)
{
	switch (m->type) {
	case RECORD_OWED:
		return changes_owe(&r->changes, m->path, m->path_len);
	case RECORD_SENT:
		return replay_sent(r, m);
	case RECORD_UNANSWERED:
		return replay_unanswered(r, m);
	default:
		return replay_settled(r, &m->sent);
	}
}

static int replay_change_or_forget(struct replica *r, const struct record *m)
{
	int result = replay_change(r, m);

	if (result == -EDQUOT)
		changes_clear(&r->changes);
	return result == -EDQUOT ? 0 : result;
}

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
	default:
		return replay_change_or_forget(&d->replica, r);
	}
}

/* Gives a RECORD_SENT that is about the record before it the path of that. */
static bool complete(struct record *r, const struct record *before)
{
	if (r->type != RECORD_SENT || r->path_len > 0)
		return true;
	r->path = before->path;
	r->path_len = before->path_len;
	return before->type == RECORD_WRITE;
}

int journal_replay(struct domain *d, const uint8_t *bytes, size_t len)
{
	struct record record, before = {.path = NULL};
	size_t size;
	int r = 0;

	for (; len > 0 && r == 0; bytes += size, len -= size) {
		size = record_decode(&record, bytes, len);
		if (size == 0 || !complete(&record, &before))
			return -EINVAL;
		r = replay(d, &record);
		before = record;
	}
	return r;
}
