/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An answer of many messages is produced in pieces, so that a client that does not read
 * costs a bounded amount of memory: up to OUTPUT_PIECE it is one moment's view of the
 * namespace, beyond that it goes on in order from the last path that was given.
 */
#include <string.h>

#include "daemon/core/requests.h"

static struct entry *next_of_answer(struct session *s)
{
	struct namespace *ns = &s->domain->entries;
	const struct answer *a = &s->answer;
	struct entry *e;

	if (a->descending)
		return namespace_before(ns, a->cursor, a->cursor_len);
	e = a->cursor_len > 0 ? namespace_after(ns, a->cursor, a->cursor_len)
			      : namespace_first(ns, a->prefix, a->prefix_len);
	return e && path_begins_with(&e->node, a->prefix, a->prefix_len) ? e : NULL;
}

static struct entry *following(struct session *s, struct entry *e)
{
	const struct answer *a = &s->answer;

	if (a->descending)
		return namespace_before(&s->domain->entries, e->path, e->node.path_len);
	e = namespace_next(e);
	return e && path_begins_with(&e->node, a->prefix, a->prefix_len) ? e : NULL;
}

static void continue_entries(struct session *s)
{
	struct answer *a = &s->answer;
	const bool values = a->type == QDB_RESP_MULTIREAD;
	struct entry *e = next_of_answer(s), *last = NULL;

	for (; e && outq_used(&s->out) < OUTPUT_PIECE; e = following(s, e)) {
		if (!session_respond(s, a->type, e->path, e->node.path_len,
				     values ? e->value : NULL, values ? e->value_len : 0))
			return;
		last = e;
	}
	if (e && last) {
		memcpy(a->cursor, last->path, last->node.path_len);
		a->cursor_len = last->node.path_len;
	}
	if (!e) {
		session_respond(s, a->type, "", 0, NULL, 0);
		s->answering = false;
	}
}

void answer_continue(struct session *s)
{
	if (s->answer.type == QDB_RESP_STATUS)
		status_continue(s);
	else
		continue_entries(s);
}

void answer_begin(struct session *s, const struct message *m, enum qdb_msg type)
{
	struct answer *a = &s->answer;

	a->type = type;
	a->descending = type == QDB_RESP_MULTIREAD && m->path_len == 0;
	a->cursor_len = 0;
	a->has_begun = false;
	a->serial = 0;
	a->unread = outq_used(&s->out);
	a->prefix_len = m->path_len;
	memcpy(a->prefix, m->path, m->path_len);
	s->answering = true;
	answer_continue(s);
}
