/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests are answered strictly in order. An answer of many messages (LIST, MULTIREAD)
 * is produced in pieces, so that a client that does not read costs a bounded amount of
 * memory: up to OUTPUT_PIECE it is one moment's view of the namespace, beyond that it
 * goes on in order from the last path that was given. No request is looked at before the
 * answer to the one before it is complete, nor while that much output waits.
 *
 * Events may come between any two messages. Only they can grow the output past that mark:
 * those that say the same again are merged while the client does not read (pending.c),
 * and past the quota the client is given up; it must reconnect and look at everything
 * again.
 *
 * The answer to a change is put into the queue before the change is made, because the
 * client's own watches may fire on it and their events must follow the answer. If the
 * change is refused the answer is taken back: nothing can have been queued after it.
 */
#include "daemon/core/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/domain.h"
#include "daemon/core/outq.h"
#include "daemon/core/pending.h"
#include "protocol/message.h"

#define OUTPUT_PIECE (128u * 1024u)
#define SEND_SIZE (32u * 1024u)

struct answer {
	enum qdb_msg type; /* RESP_LIST or RESP_MULTIREAD */
	bool descending;
	size_t prefix_len;
	size_t cursor_len; /* the last path given; the first time, nothing */
	char prefix[QDB_MAX_PATH];
	char cursor[QDB_MAX_PATH];
};

struct session {
	struct watcher watcher;
	struct domain *domain;
	void *owner;
	TAILQ_ENTRY(session) active;
	bool is_active;
	bool read_only;
	bool answering; /* `answer` is not complete */
	bool stopped;   /* whole requests may wait in `in` */
	bool stalled;
	bool was_refused; /* for a quota */
	bool told_so;
	const char *failure;
	uint64_t last_response; /* position of the newest response in `out` */
	struct answer answer;
	struct outq out;
	struct pending pending;
	struct message_stream in;
};

static void activate(struct session *s)
{
	if (s->is_active)
		return;
	s->is_active = true;
	TAILQ_INSERT_TAIL(&s->domain->active, s, active);
}

static void deactivate(struct session *s)
{
	if (s->is_active)
		TAILQ_REMOVE(&s->domain->active, s, active);
	s->is_active = false;
}

static void fail(struct session *s, const char *why)
{
	if (!s->failure)
		s->failure = why;
	activate(s);
}

struct session *session_next_active(struct domain *d)
{
	struct session *s = TAILQ_FIRST(&d->active);

	if (s)
		deactivate(s);
	return s;
}

/* Returns whether it was queued. */
static bool respond(struct session *s, enum qdb_msg type, const char *path,
		    size_t path_len, const char *data, size_t data_len)
{
	pending_forget(&s->pending);
	s->last_response = outq_position(&s->out);
	if (outq_add(&s->out, type, path, path_len, data, data_len) < 0) {
		fail(s, "no memory for an answer");
		return false;
	}
	activate(s);
	return true;
}

static bool echo(struct session *s, const struct message *m, enum qdb_msg type)
{
	return respond(s, type, m->path, m->path_len, NULL, 0);
}

static int queue_events(struct session *s, const struct watch *watch, const char *path,
			size_t len)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < watch->count; i++)
		r = outq_add(&s->out, QDB_RESP_WATCH, path, len, NULL, 0);
	return r;
}

static void notify(struct watcher *watcher, const struct watch *watch, const char *path,
		   size_t len)
{
	struct session *s = (struct session *)(void *)watcher;
	const size_t watch_len = watch->at->node.path_len;

	if (s->failure)
		return;
	if (s->stalled &&
	    !pending_add(&s->pending, path, len, watch_len, outq_position(&s->out)))
		return;
	if (queue_events(s, watch, path, len) < 0)
		fail(s, "too many events that were not read");
	activate(s);
}

/* ---- answers of many messages ---- */

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

static void continue_answer(struct session *s)
{
	struct answer *a = &s->answer;
	const bool values = a->type == QDB_RESP_MULTIREAD;
	struct entry *e = next_of_answer(s), *last = NULL;

	for (; e && outq_used(&s->out) < OUTPUT_PIECE; e = following(s, e)) {
		if (!respond(s, a->type, e->path, e->node.path_len,
			     values ? e->value : NULL, values ? e->value_len : 0))
			return;
		last = e;
	}
	if (e && last) {
		memcpy(a->cursor, last->path, last->node.path_len);
		a->cursor_len = last->node.path_len;
	}
	if (!e) {
		respond(s, a->type, "", 0, NULL, 0);
		s->answering = false;
	}
}

static void begin_answer(struct session *s, const struct message *m, enum qdb_msg type)
{
	struct answer *a = &s->answer;

	a->type = type;
	a->descending = type == QDB_RESP_MULTIREAD && m->path_len == 0;
	a->cursor_len = 0;
	a->prefix_len = m->path_len;
	memcpy(a->prefix, m->path, m->path_len);
	s->answering = true;
	continue_answer(s);
}

/* ---- requests ---- */

static void on_read(struct session *s, const struct message *m)
{
	const struct entry *e = namespace_find(&s->domain->entries, m->path, m->path_len);

	if (e)
		respond(s, QDB_RESP_READ, m->path, m->path_len, e->value, e->value_len);
	else
		echo(s, m, QDB_RESP_ERROR_NOENT);
}

static void on_multiread(struct session *s, const struct message *m)
{
	begin_answer(s, m, QDB_RESP_MULTIREAD);
}

static void on_list(struct session *s, const struct message *m)
{
	begin_answer(s, m, QDB_RESP_LIST);
}

static int note_refusal(struct session *s, int result)
{
	s->was_refused |= result == -EDQUOT;
	return result;
}

static void take_back(struct session *s, const struct message *m, enum qdb_msg instead)
{
	outq_rewind(&s->out, s->last_response);
	echo(s, m, instead);
}

static void on_write(struct session *s, const struct message *m)
{
	int r;

	if (s->read_only) {
		echo(s, m, QDB_RESP_ERROR);
		return;
	}
	if (!echo(s, m, QDB_RESP_OK))
		return;
	r = domain_write(s->domain, m->path, m->path_len, m->data, m->data_len);
	if (note_refusal(s, r) < 0)
		take_back(s, m, QDB_RESP_ERROR);
}

static void on_remove(struct session *s, const struct message *m)
{
	int r;

	if (s->read_only || m->kind == PATH_NOTHING) {
		echo(s, m, s->read_only ? QDB_RESP_ERROR : QDB_RESP_ERROR_NOENT);
		return;
	}
	if (!echo(s, m, QDB_RESP_OK))
		return;
	r = domain_remove(s->domain, m->path, m->path_len);
	if (note_refusal(s, r) < 0)
		take_back(s, m, r == -ENOENT ? QDB_RESP_ERROR_NOENT : QDB_RESP_ERROR);
}

static void on_watch(struct session *s, const struct message *m)
{
	int r = watch_add(&s->domain->watches, &s->watcher, m->path, m->path_len);

	echo(s, m, note_refusal(s, r) == 0 ? QDB_RESP_OK : QDB_RESP_ERROR);
}

static void on_unwatch(struct session *s, const struct message *m)
{
	int r = watch_remove(&s->domain->watches, &s->watcher, m->path, m->path_len);

	echo(s, m, r == 0 ? QDB_RESP_OK : QDB_RESP_ERROR_NOENT);
}

static void (*const handlers[])(struct session *, const struct message *) = {
	[QDB_CMD_READ] = on_read,           [QDB_CMD_WRITE] = on_write,
	[QDB_CMD_MULTIREAD] = on_multiread, [QDB_CMD_LIST] = on_list,
	[QDB_CMD_RM] = on_remove,           [QDB_CMD_WATCH] = on_watch,
	[QDB_CMD_UNWATCH] = on_unwatch,
};

static void serve(struct session *s, const struct message *m)
{
	if (m->fault == MESSAGE_FINE)
		handlers[m->type](s, m);
	else if (m->type == QDB_CMD_MULTIREAD)
		respond(s, QDB_RESP_MULTIREAD, "", 0, NULL, 0);
	else
		echo(s, m, QDB_RESP_ERROR);
}

void session_run(struct session *s)
{
	size_t left = quota_descriptions[QUOTA_REQUESTS].limit;
	struct message m;

	while (!s->failure) {
		s->stopped = true;
		if (outq_used(&s->out) >= OUTPUT_PIECE || !s->domain->serving)
			return;
		if (left-- == 0)
			return;
		if (s->answering) {
			continue_answer(s);
			continue;
		}
		if (message_stream_next(&s->in, &m) == MESSAGE_INCOMPLETE) {
			s->stopped = false;
			return;
		}
		serve(s, &m);
	}
}

bool session_has_work(const struct session *s)
{
	return (s->answering || s->stopped) && s->domain->serving && !s->failure;
}

bool session_is_idle(const struct session *s)
{
	return !s->answering && !s->stopped && outq_used(&s->out) == 0;
}

/* ---- a session's life, and its bytes ---- */

int session_new(struct session **ret, struct domain *d, enum session_access access,
		void *owner)
{
	struct session *s;
	int r;

	r = account_charge(&d->connections, 1);
	if (r < 0)
		return r;
	s = malloc(sizeof(*s));
	if (!s) {
		account_release(&d->connections, 1);
		return -ENOMEM;
	}
	memset(s, 0, offsetof(struct session, in));
	watcher_init(&s->watcher, notify);
	s->domain = d;
	s->owner = owner;
	s->read_only = access == SESSION_READ_ONLY;
	outq_init(&s->out, QUOTA_OUTPUT);
	pending_init(&s->pending);
	message_stream_init(&s->in, MESSAGE_FROM_CLIENT);
	*ret = s;
	return 0;
}

void session_free(struct session *s)
{
	watch_remove_all(&s->domain->watches, &s->watcher);
	deactivate(s);
	account_release(&s->domain->connections, 1);
	pending_forget(&s->pending);
	outq_free(&s->out);
	free(s);
}

void *session_owner(const struct session *s)
{
	return s->owner;
}

size_t session_space(struct session *s, uint8_t **space)
{
	if (s->stopped && s->domain->serving)
		return 0;
	return message_stream_space(&s->in, space);
}

void session_received(struct session *s, size_t len)
{
	message_stream_filled(&s->in, len);
}

const uint8_t *session_output(const struct session *s, size_t *len)
{
	return outq_peek(&s->out, SEND_SIZE, len);
}

void session_sent(struct session *s, size_t len)
{
	outq_consume(&s->out, len);
	pending_taken(&s->pending, s->out.sent);
	if (outq_used(&s->out) > 0)
		return;
	s->stalled = false;
	deactivate(s);
}

void session_stalled(struct session *s)
{
	s->stalled = true;
}

bool session_was_refused(struct session *s)
{
	const bool now = s->was_refused && !s->told_so;

	s->told_so |= now;
	return now;
}

const char *session_failure(const struct session *s)
{
	return s->failure;
}
