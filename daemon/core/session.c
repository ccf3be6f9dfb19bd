/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests are answered strictly in order. None is looked at before the answer to the one
 * before it is complete, nor while OUTPUT_PIECE or more of output waits. What they do is
 * in requests.c, and answers of many messages in answer.c.
 *
 * Events may come between any two messages. Only they can grow the output past that mark:
 * those that say the same again are merged while the client does not read (pending.c),
 * and past its quota, or its user's, the client is given up; it must reconnect and look
 * at everything again.
 */
#include "daemon/core/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/requests.h"

#define SEND_SIZE (32u * 1024u)

/* So much of domain.h's work takes about as long as a request otherwise. */
#define WORK_OF_A_REQUEST 16

#define BYTES_OF_WORK 256

/* So many clients may be busy before each gets a smaller share, and the smallest one. */
#define CROWD 8
#define LEAST_SHARE 4

/* More than answers alone ever fill: OUTPUT_PIECE, and one step beyond that. */
#define OUTPUT_UNSHARED (OUTPUT_PIECE + 32u * 1024u)

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

bool session_respond(struct session *s, enum qdb_msg type, const char *path,
		     size_t path_len, const char *data, size_t data_len)
{
	pending_forget(&s->pending);
	s->last_response = outq_position(&s->out);
	s->last_type = type;
	s->last_len = data_len;
	if (outq_add(&s->out, type, path, path_len, data, data_len) < 0) {
		fail(s, "no memory for an answer");
		return false;
	}
	s->domain->work += 1 + data_len / BYTES_OF_WORK;
	activate(s);
	return true;
}

/* Past one of its two quotas, which is remembered for the log. */
static int queue_event(struct session *s, const char *path, size_t len)
{
	const size_t room = s->out.limit - outq_used(&s->out);
	int r = outq_add(&s->out, QDB_RESP_WATCH, path, len, NULL, 0);

	if (r == -EDQUOT)
		s->exceeded =
			room < MESSAGE_HEADER_SIZE ? QUOTA_OUTPUT : QUOTA_USER_OUTPUT;
	if (r == -EDQUOT && s->exceeded == QUOTA_OUTPUT)
		quota_refuse(QUOTA_OUTPUT);
	return r;
}

static int queue_events(struct session *s, const struct watch *watch, const char *path,
			size_t len)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < watch->count; i++)
		r = queue_event(s, path, len);
	return r;
}

static void notify(struct watcher *watcher, const struct watch *watch, const char *path,
		   size_t len)
{
	struct session *s = (struct session *)(void *)watcher;
	const size_t watch_len = watch->at->node.path_len;
	int r;

	if (s->failure)
		return;
	s->domain->work++;
	if (s->stalled &&
	    !pending_add(&s->pending, path, len, watch_len, outq_position(&s->out)))
		return;
	s->domain->counters.events += watch->count;
	s->domain->work += watch->count;
	r = queue_events(s, watch, path, len);
	if (r < 0)
		fail(s, r == -EDQUOT ? "too many events that were not read"
				     : "no memory for an event");
	activate(s);
}

static bool is_about_daemon(const struct message_stream *in)
{
	return message_stream_begins_with(in, QDB_CMD_STATUS) ||
	       message_stream_begins_with(in, QDB_CMD_TRACE);
}

/* Until the domain serves, clients can only be told why it does not. */
static bool may_serve(const struct session *s)
{
	return s->domain->serving ||
	       (s->answering && s->answer.type == QDB_RESP_STATUS) ||
	       (!s->answering && is_about_daemon(&s->in));
}

/* Where many have more to do than a turn lets them, each gets less of it. */
static uint64_t requests_in_turn(const struct session *s)
{
	const uint64_t quota = quota_descriptions[QUOTA_REQUESTS].limit;
	const size_t busy = s->domain->busy;
	uint64_t share = quota;

	if (busy > CROWD)
		share = quota * CROWD / busy > LEAST_SHARE ? quota * CROWD / busy
							   : LEAST_SHARE;
	return share < quota ? share : quota;
}

/* A request, or a piece of an answer, and what it has made others hear or lose. */
static uint64_t cost_since(const struct session *s, uint64_t work)
{
	return 1 + (s->domain->work - work) / WORK_OF_A_REQUEST;
}

void session_run(struct session *s)
{
	const uint64_t limit = requests_in_turn(s);
	enum message_status status;
	uint64_t used = 0, work;
	struct message m;

	s->turn_is_over = false;
	while (!s->failure) {
		s->stopped = true;
		if (outq_used(&s->out) >= OUTPUT_PIECE || !may_serve(s))
			return;
		if (used >= limit || s->turn_is_over) {
			s->stopped = s->answering || !message_stream_is_empty(&s->in);
			return;
		}
		work = s->domain->work;
		if (s->answering) {
			answer_continue(s);
			used += cost_since(s, work);
			continue;
		}
		status = message_stream_next(&s->in, &m);
		if (status == MESSAGE_INCOMPLETE) {
			s->stopped = false;
			return;
		}
		if (status == MESSAGE_PIECE)
			request_take_piece(s, &m);
		else
			request_serve(s, &m);
		used += cost_since(s, work);
	}
}

bool session_has_work(const struct session *s)
{
	return (s->answering || s->stopped) && may_serve(s) && !s->failure;
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
	watcher_init(&s->watcher, &d->watches.account, notify);
	s->domain = d;
	s->serial = ++d->last_serial;
	TAILQ_INSERT_TAIL(&d->sessions, s, all);
	s->owner = owner;
	s->read_only = access == SESSION_READ_ONLY;
	s->exceeded = QUOTAS;
	outq_init(&s->out, QUOTA_OUTPUT);
	pending_init(&s->pending);
	message_stream_init(&s->in, MESSAGE_FROM_CLIENT);
	*ret = s;
	return 0;
}

void session_free(struct session *s)
{
	s->domain->work += s->watcher.account.used + outq_used(&s->out) / BYTES_OF_WORK;
	watch_remove_all(&s->domain->watches, &s->watcher);
	TAILQ_REMOVE(&s->domain->sessions, s, all);
	deactivate(s);
	account_release(&s->domain->connections, 1);
	gather_end(&s->domain->gatherings, &s->many);
	pending_forget(&s->pending);
	outq_free(&s->out);
	message_stream_wipe(&s->in);
	free(s);
}

void session_trust(struct session *s)
{
	s->is_trusted = true;
}

void session_share(struct session *s, struct account *watches, struct account *output)
{
	s->watcher.account.parent = watches;
	s->pending.memory.parent = output;
	outq_share(&s->out, OUTPUT_UNSHARED, output);
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

bool session_was_refused(struct session *s, enum quota *quota)
{
	const bool now = s->was_refused && !s->told_so;

	s->told_so |= now;
	*quota = s->refused_for;
	return now;
}

bool session_exceeded(const struct session *s, enum quota *quota)
{
	*quota = s->exceeded;
	return s->exceeded < QUOTAS;
}

const char *session_failure(const struct session *s)
{
	return s->failure;
}
