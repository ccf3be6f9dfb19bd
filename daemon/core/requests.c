/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The answer to a change is put into the queue before the change is made, because the
 * client's own watches may fire on it and their events must follow the answer. If the
 * change is refused the answer is taken back: nothing can have been queued after it.
 */
#include "daemon/core/requests.h"

#include <errno.h>
#include <string.h>

static bool echo(struct session *s, const struct message *m, enum qdb_msg type)
{
	return session_respond(s, type, m->path, m->path_len, NULL, 0);
}

static void count(struct session *s, enum refusal_kind why)
{
	s->domain->counters.refusals[why]++;
}

/* Counts a failure, a negative errno, and returns it. */
static int note_refusal(struct session *s, int result)
{
	switch (result) {
	case -ENOENT:
		count(s, REFUSAL_ABSENT);
		break;
	case -EINVAL:
		count(s, REFUSAL_VALUE);
		break;
	case -EACCES:
		count(s, REFUSAL_ACCESS);
		break;
	case -EDQUOT:
		count(s, REFUSAL_QUOTA);
		if (!s->was_refused)
			s->refused_for = quota_refused_last();
		s->was_refused = true;
		break;
	case -ENOMEM:
		count(s, REFUSAL_MEMORY);
		break;
	}
	return result;
}

static void answer_result(struct session *s, const struct message *m, int result)
{
	note_refusal(s, result);
	if (result == 0)
		echo(s, m, QDB_RESP_OK);
	else
		echo(s, m, result == -ENOENT ? QDB_RESP_ERROR_NOENT : QDB_RESP_ERROR);
}

static void take_back(struct session *s, const struct message *m, int result)
{
	outq_rewind(&s->out, s->last_response);
	answer_result(s, m, result);
}

static void on_read(struct session *s, const struct message *m)
{
	const struct entry *e = namespace_find(&s->domain->entries, m->path, m->path_len);

	if (e)
		session_respond(s, QDB_RESP_READ, m->path, m->path_len, e->value,
				e->value_len);
	else
		answer_result(s, m, -ENOENT);
}

static void on_multiread(struct session *s, const struct message *m)
{
	answer_begin(s, m, QDB_RESP_MULTIREAD);
}

static void on_list(struct session *s, const struct message *m)
{
	answer_begin(s, m, QDB_RESP_LIST);
}

static void on_status(struct session *s, const struct message *m)
{
	struct message prefix = *m;

	prefix.path++;
	prefix.path_len--;
	answer_begin(s, &prefix, QDB_RESP_STATUS);
}

static void on_trace(struct session *s, const struct message *m)
{
	const bool on = strcmp(m->path, "on") == 0;

	if (!s->is_trusted || s->read_only) {
		answer_result(s, m, -EACCES);
		return;
	}
	if (!on && strcmp(m->path, "off") != 0) {
		answer_result(s, m, -EINVAL);
		return;
	}
	s->domain->is_tracing = on;
	answer_result(s, m, 0);
}

static void on_write(struct session *s, const struct message *m)
{
	int r;

	if (s->read_only) {
		answer_result(s, m, -EACCES);
		return;
	}
	if (!echo(s, m, QDB_RESP_OK))
		return;
	r = domain_write(s->domain, m->path, m->path_len, m->data, m->data_len);
	if (r < 0)
		take_back(s, m, r);
}

static void on_remove(struct session *s, const struct message *m)
{
	int r;

	if (s->read_only || m->kind == PATH_NOTHING) {
		answer_result(s, m, s->read_only ? -EACCES : -ENOENT);
		return;
	}
	if (!echo(s, m, QDB_RESP_OK))
		return;
	r = domain_remove(s->domain, m->path, m->path_len);
	if (r < 0)
		take_back(s, m, r);
}

static void on_watch(struct session *s, const struct message *m)
{
	answer_result(s, m,
		      watch_add(&s->domain->watches, &s->watcher, m->path, m->path_len));
}

static void on_unwatch(struct session *s, const struct message *m)
{
	answer_result(
		s, m,
		watch_remove(&s->domain->watches, &s->watcher, m->path, m->path_len));
}

/* ---- many entries in one request ---- */

void request_take_piece(struct session *s, const struct message *m)
{
	if (!s->read_only)
		gather_add(&s->domain->gatherings, &s->many, m->data, m->data_len);
}

static int write_gathered(struct session *s, struct many_entry *e)
{
	if (s->many.refused == -EDQUOT)
		return quota_refuse(QUOTA_GATHERED);
	if (s->many.refused < 0)
		return s->many.refused;
	return domain_write_many(s->domain, s->many.bytes, s->many.used, e);
}

/*
 * The path is that of the entry to blame, or "/" if it is a limit. What is malformed, or
 * came where nothing can be written, is answered like a type that nobody knows.
 */
static void refuse_many(struct session *s, const struct message *m, int result,
			const struct many_entry *e)
{
	if (result != -EINVAL)
		session_respond(s, QDB_RESP_ERROR, "/", 1, NULL, 0);
	else if (e->path_len > 0)
		session_respond(s, QDB_RESP_ERROR, e->path, e->path_len, NULL, 0);
	else
		echo(s, m, QDB_RESP_ERROR);
}

static void trace(struct session *s, const struct message *m)
{
	if (s->domain->host.trace)
		s->domain->host.trace(s->owner, m, s->last_type, s->last_len);
}

/* Up to the one that is malformed, if any. */
static void trace_entries(struct session *s)
{
	struct many_entry e;
	struct many many;

	many_begin(&many, s->many.bytes, s->many.used);
	while (many_next(&many, &e) == MANY_ENTRY)
		trace(s, &(struct message){
				 .type = QDB_CMD_WRITE_MANY,
				 .path = e.path,
				 .path_len = e.path_len,
				 .data_len = e.value_len,
			 });
}

static void on_write_many(struct session *s, const struct message *m)
{
	struct many_entry e;
	int r;

	if (s->read_only) {
		answer_result(s, m, -EACCES);
		return;
	}
	if (!echo(s, m, QDB_RESP_OK))
		return;
	r = note_refusal(s, write_gathered(s, &e));
	if (r < 0) {
		outq_rewind(&s->out, s->last_response);
		refuse_many(s, m, r, &e);
	}
	if (s->domain->is_tracing && s->many.bytes)
		trace_entries(s);
	gather_end(&s->domain->gatherings, &s->many);
}

static void (*const handlers[])(struct session *, const struct message *) = {
	[QDB_CMD_READ] = on_read,           [QDB_CMD_WRITE] = on_write,
	[QDB_CMD_MULTIREAD] = on_multiread, [QDB_CMD_LIST] = on_list,
	[QDB_CMD_RM] = on_remove,           [QDB_CMD_WATCH] = on_watch,
	[QDB_CMD_UNWATCH] = on_unwatch,     [QDB_CMD_WRITE_MANY] = on_write_many,
	[QDB_CMD_STATUS] = on_status,       [QDB_CMD_TRACE] = on_trace,
};

static void refuse(struct session *s, const struct message *m)
{
	static const enum refusal_kind reasons[] = {
		[MESSAGE_UNKNOWN_TYPE] = REFUSAL_REQUEST,
		[MESSAGE_BAD_PATH] = REFUSAL_PATH,
		[MESSAGE_BAD_VALUE] = REFUSAL_VALUE,
		[MESSAGE_UNEXPECTED_DATA] = REFUSAL_DATA,
	};

	count(s, reasons[m->fault]);
	if (m->type == QDB_CMD_MULTIREAD)
		session_respond(s, QDB_RESP_MULTIREAD, "", 0, NULL, 0);
	else
		echo(s, m, QDB_RESP_ERROR);
}

void request_serve(struct session *s, const struct message *m)
{
	const bool was_tracing = s->domain->is_tracing;

	s->requests++;
	if (m->fault != MESSAGE_UNKNOWN_TYPE)
		s->domain->counters.requests[m->type]++;
	if (m->fault == MESSAGE_FINE)
		handlers[m->type](s, m);
	else
		refuse(s, m);
	if (was_tracing || s->domain->is_tracing)
		trace(s, m);
}
