/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client of a session, moved as daemon/clients.c moves it. Whatever bytes it sends, it
 * knows by the table of the protocol which answers must come, and in which order; only
 * what the namespace holds it does not know.
 */
#include <string.h>

#include "tests/fuzz/core.h"

#define SEND_SIZE (32u * 1024u)

size_t client_bytes;

/* ---- requests ---- */

static bool is_refused(const struct fuzz_client *c, const struct wire_message *m)
{
	const bool many = m->type == QDB_CMD_WRITE_MANY;
	const bool changes = m->type == QDB_CMD_WRITE || m->type == QDB_CMD_RM || many;

	if (m->type == QDB_CMD_TRACE)
		return c->read_only || !c->is_trusted || m->data_len > 0 ||
		       (strcmp(m->path, "on") != 0 && strcmp(m->path, "off") != 0);
	if (m->type == QDB_CMD_STATUS &&
	    (m->path[0] != '@' || (m->path_len > 1 && m->path[1] != '/')))
		return true;
	if (m->type > QDB_CMD_UNWATCH && m->type != QDB_CMD_STATUS && !many)
		return true;
	if (m->kind == WIRE_ILL_FORMED)
		return true;
	if (c->read_only && changes)
		return true;
	if (many)
		return m->path_len > 0 || m->data_len == 0 || m->data_len > QDB_MAX_MANY;
	if (m->type != QDB_CMD_WRITE)
		return m->data_len > 0;
	return m->kind != WIRE_ENTRY || m->data_len > QDB_MAX_DATA || m->has_nul;
}

static void asked(void *context, const struct wire_message *m)
{
	struct fuzz_client *c = context;
	struct expected *e;

	fuzz_require(c->n_pending < CLIENT_PENDING);
	e = &c->pending[(c->first + c->n_pending++) % CLIENT_PENDING];
	e->type = m->type;
	e->refused = is_refused(c, m);
	e->kind = m->kind;
	e->path_len = m->path_len;
	memcpy(e->path, m->path, sizeof(e->path));
	e->many = m->many;
	c->has_watched |= m->type == QDB_CMD_WATCH;
}

bool client_send(struct fuzz_client *c, const uint8_t *bytes, size_t len)
{
	if (!c->session || sizeof(c->socket) - c->waiting < len)
		return false;
	if (CLIENT_PENDING - c->n_pending < len / HEADER_SIZE + 1)
		return false;
	memcpy(c->socket + c->waiting, bytes, len);
	c->waiting += len;
	framing_feed(&c->sent, bytes, len, asked, c);
	return true;
}

void client_deliver(struct fuzz_client *c, size_t max)
{
	uint8_t *space;
	size_t n = c->session ? session_space(c->session, &space) : 0;

	if (n > max)
		n = max;
	if (n > c->waiting)
		n = c->waiting;
	if (n == 0)
		return;
	memcpy(space, c->socket, n);
	memmove(c->socket, c->socket + n, c->waiting - n);
	c->waiting -= n;
	session_received(c->session, n);
	session_run(c->session);
}

/* ---- answers ---- */

static bool is_done(const struct expected *e, unsigned type)
{
	switch (e->type) {
	case QDB_CMD_READ:
		return type == QDB_RESP_READ && e->kind == WIRE_ENTRY;
	case QDB_CMD_WRITE:
	case QDB_CMD_WATCH:
		return type == QDB_RESP_OK;
	case QDB_CMD_RM:
		return type == QDB_RESP_OK && e->kind != WIRE_NOTHING;
	case QDB_CMD_UNWATCH:
	case QDB_CMD_TRACE:
		return type == QDB_RESP_OK;
	}
	return false;
}

static bool may_be_absent(const struct expected *e)
{
	return e->type == QDB_CMD_READ || e->type == QDB_CMD_RM ||
	       e->type == QDB_CMD_UNWATCH;
}

/* Only changes and watches have a quota. */
static bool may_fail(const struct expected *e)
{
	if (e->refused)
		return true;
	return e->type == QDB_CMD_WRITE || e->type == QDB_CMD_RM ||
	       e->type == QDB_CMD_WATCH;
}

static bool is_path(const struct wire_message *m, const char *path, size_t len)
{
	return m->path_len == len && memcmp(m->path, path, len) == 0;
}

static void check_single(const struct expected *e, const struct wire_message *m)
{
	fuzz_require(is_path(m, e->path, e->path_len));
	fuzz_require(m->data_len == 0 || m->type == QDB_RESP_READ);
	if (m->type == QDB_RESP_ERROR)
		fuzz_require(may_fail(e));
	else if (m->type == QDB_RESP_ERROR_NOENT)
		fuzz_require(!e->refused && may_be_absent(e));
	else
		fuzz_require(!e->refused && is_done(e, m->type));
}

/* A limit may come first, whatever is wrong with the data. */
static void check_many(struct fuzz_client *c, const struct expected *e,
		       const struct wire_message *m)
{
	fuzz_require(m->data_len == 0);
	c->many_written = m->type == QDB_RESP_OK;
	if (c->many_written) {
		fuzz_require(!e->many.blamed && !e->many.malformed);
		fuzz_require(e->many.entries <= quota_descriptions[QUOTA_MANY].limit);
		fuzz_require(m->path_len == 0);
		return;
	}
	fuzz_require(m->type == QDB_RESP_ERROR);
	if (is_path(m, "/", 1))
		return;
	fuzz_require(e->many.blamed || e->many.malformed);
	fuzz_require(is_path(m, e->many.path, e->many.blamed ? e->many.path_len : 0));
}

static void check_listed(struct fuzz_client *c, const struct expected *e,
			 const struct wire_message *m)
{
	const bool descending = e->type == QDB_CMD_MULTIREAD && e->path_len == 0;
	const int order = strcmp(m->path, c->last);
	const char *prefix = e->path + (e->type == QDB_CMD_STATUS);

	fuzz_require(!e->refused && m->kind == WIRE_ENTRY);
	fuzz_require(strncmp(m->path, prefix, strlen(prefix)) == 0);
	fuzz_require(e->type != QDB_CMD_LIST || m->data_len == 0);
	fuzz_require(c->listed == 0 || e->type == QDB_CMD_STATUS ||
		     (descending ? order < 0 : order > 0));
	memcpy(c->last, m->path, sizeof(c->last));
	c->listed++;
}

/* What an answer of many messages is made of, or 0. */
static unsigned piece_of(unsigned request)
{
	switch (request) {
	case QDB_CMD_LIST:
		return QDB_RESP_LIST;
	case QDB_CMD_MULTIREAD:
		return QDB_RESP_MULTIREAD;
	case QDB_CMD_STATUS:
		return QDB_RESP_STATUS;
	}
	return 0;
}

/* Returns whether the answer is complete. */
static bool check_answer(struct fuzz_client *c, const struct expected *e,
			 const struct wire_message *m)
{
	const unsigned piece = piece_of(e->type);

	if (e->type == QDB_CMD_WRITE_MANY && !e->refused) {
		check_many(c, e, m);
		fuzz_require(c->listed == 0);
		return true;
	}
	if (!piece || (m->type == QDB_RESP_ERROR && e->type != QDB_CMD_MULTIREAD)) {
		check_single(e, m);
		fuzz_require(c->listed == 0);
		return true;
	}
	fuzz_require(m->type == piece);
	if (m->path_len > 0) {
		check_listed(c, e, m);
		return false;
	}
	fuzz_require(m->data_len == 0);
	fuzz_require(!e->refused || c->listed == 0);
	c->listed = 0;
	return true;
}

static void answered(void *context, const struct wire_message *m)
{
	struct fuzz_client *c = context;

	fuzz_require(!m->dirty && !m->has_nul && m->data_len <= QDB_MAX_DATA);
	if (m->type == QDB_RESP_WATCH) {
		fuzz_require(c->has_watched && m->data_len == 0);
		fuzz_require(m->kind == WIRE_ENTRY || m->kind == WIRE_DIRECTORY);
		return;
	}
	fuzz_require(c->n_pending > 0);
	if (!check_answer(c, &c->pending[c->first], m))
		return;
	c->first = (c->first + 1) % CLIENT_PENDING;
	c->n_pending--;
}

bool client_take(struct fuzz_client *c, size_t max)
{
	const uint8_t *bytes;
	size_t len;

	if (!c->session)
		return false;
	bytes = session_output(c->session, &len);
	if (len == 0)
		return false;
	fuzz_require(len <= SEND_SIZE);
	c->torn |= max < len;
	if (len > max)
		len = max;
	client_bytes += len;
	framing_feed(&c->received, bytes, len, answered, c);
	fuzz_require(c->torn || framing_is_between(&c->received));
	session_sent(c->session, len);
	session_run(c->session);
	return true;
}

/* ---- a client's life ---- */

bool client_open(struct fuzz_client *c, struct domain *d, bool read_only)
{
	const bool room = account_room(&d->connections) > 0;
	int r;

	memset(c, 0, offsetof(struct fuzz_client, socket));
	c->waiting = c->n_pending = c->first = c->listed = 0;
	c->domain = d;
	c->read_only = read_only;
	r = session_new(&c->session, d,
			read_only ? SESSION_READ_ONLY : SESSION_READ_WRITE, c);
	fuzz_require((r == 0) == room);
	if (r < 0)
		c->session = NULL;
	return r == 0;
}

void client_trust(struct fuzz_client *c)
{
	if (c->session)
		session_trust(c->session);
	c->is_trusted = true;
}

void client_close(struct fuzz_client *c)
{
	if (c->session)
		session_free(c->session);
	c->session = NULL;
}

/* Only who watches may be given up; it may have read by now what was too much. */
void client_settle(struct fuzz_client *c)
{
	size_t len;

	if (!c->session)
		return;
	session_output(c->session, &len);
	if (session_failure(c->session)) {
		fuzz_require(c->has_watched);
		client_close(c);
		return;
	}
	if (session_has_work(c->session) && !c->stalled)
		session_run(c->session);
	if (c->stalled && len > 0)
		session_stalled(c->session);
}

void client_finish(struct fuzz_client *c)
{
	size_t before;

	c->stalled = false;
	/* Serving may make room, and what then is delivered must be served. */
	for (int quiet = 0; quiet < 2 && c->session; quiet++) {
		before = c->waiting;
		client_deliver(c, SIZE_MAX);
		client_settle(c);
		if (client_take(c, SIZE_MAX) || c->waiting < before)
			quiet = -1;
	}
	if (!c->session)
		return;
	fuzz_require(c->waiting == 0 && c->n_pending == 0);
	fuzz_require(session_is_idle(c->session) && !session_has_work(c->session));
}

static struct fuzz_client honest;

static void request(struct fuzz_client *c, unsigned type, const char *value)
{
	uint8_t message[HEADER_SIZE + 16] = {0};
	const size_t len = strlen(value);

	message[0] = (uint8_t)type;
	memcpy(message + 1, "/honest", 7);
	message[68] = (uint8_t)len;
	memcpy(message + HEADER_SIZE, value, len);
	fuzz_require(client_send(c, message, HEADER_SIZE + len));
	client_finish(c);
}

void client_must_be_served(struct domain *d)
{
	const struct entry *e;

	fuzz_require(client_open(&honest, d, false));
	request(&honest, QDB_CMD_WRITE, "value");
	e = namespace_find(&d->entries, "/honest", 7);
	fuzz_require(e && e->value_len == 5 && memcmp(e->value, "value", 5) == 0);
	request(&honest, QDB_CMD_READ, "");
	request(&honest, QDB_CMD_RM, "");
	fuzz_require(!namespace_find(&d->entries, "/honest", 7));
	client_close(&honest);
}
