/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The answer to a change is put into the queue before the change is made, because the
 * client's own watches may fire on it and their events must follow the answer. If the
 * change is refused the answer is taken back: nothing can have been queued after it.
 */
#include "daemon/core/requests.h"

#include <errno.h>

static bool echo(struct session *s, const struct message *m, enum qdb_msg type)
{
	return session_respond(s, type, m->path, m->path_len, NULL, 0);
}

static void on_read(struct session *s, const struct message *m)
{
	const struct entry *e = namespace_find(&s->domain->entries, m->path, m->path_len);

	if (e)
		session_respond(s, QDB_RESP_READ, m->path, m->path_len, e->value,
				e->value_len);
	else
		echo(s, m, QDB_RESP_ERROR_NOENT);
}

static void on_multiread(struct session *s, const struct message *m)
{
	answer_begin(s, m, QDB_RESP_MULTIREAD);
}

static void on_list(struct session *s, const struct message *m)
{
	answer_begin(s, m, QDB_RESP_LIST);
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

/* ---- many entries in one request ---- */

void request_take_piece(struct session *s, const struct message *m)
{
	if (!s->read_only)
		gather_add(&s->domain->gatherings, &s->many, m->data, m->data_len);
}

static int write_gathered(struct session *s, struct many_entry *e)
{
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

static void on_write_many(struct session *s, const struct message *m)
{
	struct many_entry e;
	int r;

	if (s->read_only) {
		echo(s, m, QDB_RESP_ERROR);
		return;
	}
	if (!echo(s, m, QDB_RESP_OK))
		return;
	r = note_refusal(s, write_gathered(s, &e));
	if (r < 0) {
		outq_rewind(&s->out, s->last_response);
		refuse_many(s, m, r, &e);
	}
	gather_end(&s->domain->gatherings, &s->many);
}

static void (*const handlers[])(struct session *, const struct message *) = {
	[QDB_CMD_READ] = on_read,           [QDB_CMD_WRITE] = on_write,
	[QDB_CMD_MULTIREAD] = on_multiread, [QDB_CMD_LIST] = on_list,
	[QDB_CMD_RM] = on_remove,           [QDB_CMD_WATCH] = on_watch,
	[QDB_CMD_UNWATCH] = on_unwatch,     [QDB_CMD_WRITE_MANY] = on_write_many,
};

void request_serve(struct session *s, const struct message *m)
{
	if (m->fault == MESSAGE_FINE)
		handlers[m->type](s, m);
	else if (m->type == QDB_CMD_MULTIREAD)
		session_respond(s, QDB_RESP_MULTIREAD, "", 0, NULL, 0);
	else
		echo(s, m, QDB_RESP_ERROR);
}
