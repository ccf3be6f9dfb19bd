/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A local client of a new end: it sends requests, takes answers and knows which events it
 * must get. An answer is looked at when the core produces it, because that tells the
 * order in which requests took effect; events are compared when the client takes them.
 *
 * One that reads gets exactly one event for each registration that matches a change, in
 * order. To one that does not, later equal events may be merged into those that wait.
 */
#include <string.h>

#include "tests/sim/sim.h"

/* A client that does not read is given up past this, for it could not be observed. */
#define MOST_WAITING 20000

void client_open(struct client *c, struct end *e)
{
	memset(c, 0, sizeof(*c));
	c->end = e;
	if (session_new(&c->session, &e->new.domain, SESSION_READ_WRITE, c) < 0)
		world_judge(e->world, FAILURE, "a client is turned away");
}

void client_close(struct client *c)
{
	if (c->session)
		session_free(c->session);
	c->session = NULL;
}

void client_run(struct client *c)
{
	c->end->new.running = c;
	session_run(c->session);
	c->end->new.running = NULL;
}

void client_request(struct client *c, const struct action *a)
{
	uint8_t message[MESSAGE_MAX_SIZE], *space;
	char value[QDB_MAX_DATA];
	size_t len, first;

	if (c->stalled || c->n_pending == PENDING ||
	    (c->n_pending > 0 && !c->end->new.domain.serving))
		return;
	len = message_encode(
		message, a->type, path_name(a->path), path_length(a->path), value,
		a->type == QDB_CMD_WRITE ? value_encode(a->value, value) : 0);
	if (session_space(c->session, &space) < len)
		return;
	c->pending[c->n_pending++] = (struct request){a->type, a->path, a->value};
	first = a->n < len && c->end->new.domain.serving ? a->n : 0;
	memcpy(space, message, first);
	session_received(c->session, first);
	if (first > 0)
		client_run(c);
	if (session_space(c->session, &space) < len - first) {
		world_judge(c->end->world, ANSWER, "half a request is not read on");
		return;
	}
	memcpy(space, message + first, len - first);
	session_received(c->session, len - first);
	client_run(c);
}

static void took_effect(struct client *c, const struct request *r)
{
	struct world *w = c->end->world;

	if (r->type == QDB_CMD_WRITE)
		oracle_wrote(w, c->end->side, r->path, r->value);
	else if (r->type == QDB_CMD_RM)
		oracle_removed(w, c->end->side, r->path);
	else if (r->type == QDB_CMD_WATCH)
		c->watches[r->path]++;
	else if (r->type == QDB_CMD_UNWATCH)
		c->watches[r->path]--;
}

static void answered(struct client *c, const struct message *m)
{
	const struct request r = c->pending[0];
	const bool is_list = r.type == QDB_CMD_LIST || r.type == QDB_CMD_MULTIREAD;

	if (c->n_pending == 0) {
		world_judge(c->end->world, ANSWER, "%s %s without a request",
			    message_name(m->type), m->path);
		return;
	}
	if (is_list && m->path_len > 0)
		return;
	if (!is_list && path_number(m->path, m->path_len) != r.path)
		world_judge(c->end->world, ANSWER, "%s %s is no answer to %s %s",
			    message_name(m->type), m->path, message_name(r.type),
			    path_name(r.path));
	c->n_pending--;
	memmove(c->pending, c->pending + 1, c->n_pending * sizeof(c->pending[0]));
	world_trace(c->end->world, "    client %td: %s %s\n", c - c->end->new.clients,
		    message_name(m->type), m->path);
	if (m->type == QDB_RESP_OK)
		took_effect(c, &r);
}

static void looked_at(struct client *c, const struct message *m)
{
	if (m->type != QDB_RESP_WATCH) {
		answered(c, m);
		return;
	}
	world_trace(c->end->world, "    client %td: event %s\n", c - c->end->new.clients,
		    m->path);
	if (c->n_actual < EVENTS)
		c->actual[c->n_actual++] = path_number(m->path, m->path_len);
}

void client_observe(struct client *c)
{
	size_t len, size;
	const uint8_t *bytes = session_output(c->session, &len);
	uint8_t header[MESSAGE_HEADER_SIZE];
	struct message m;

	while (c->seen < len) {
		size = message_encoded_size(bytes + c->seen);
		memcpy(header, bytes + c->seen, sizeof(header));
		message_parse_header(&m, MESSAGE_FROM_DAEMON, header);
		if (m.fault != MESSAGE_FINE)
			world_judge(c->end->world, ANSWER, "malformed %s %s",
				    message_name(m.type), m.path);
		looked_at(c, &m);
		c->seen += size;
	}
}

/* ---- events ---- */

static void expect(struct client *c, int path, unsigned times)
{
	while (times-- > 0 && c->n_expected < EVENTS)
		c->expected[c->n_expected++] = path;
}

static void expect_above(struct client *c, int path)
{
	for (int i = 0; i < KNOWN_PATHS; i++)
		if (c->watches[i] && path_covers(i, path))
			expect(c, path, c->watches[i]);
}

void client_expect(struct client *c, int path)
{
	expect(c, path, c->watches[path]);
	expect_above(c, path);
}

static bool under(int directory, const bool *gone)
{
	for (int i = 0; i < names_count(); i++)
		if (gone[i] && path_covers(directory, i))
			return true;
	return false;
}

void client_expect_removal(struct client *c, int directory, const bool *gone)
{
	client_expect(c, directory);
	for (int i = 0; i < KNOWN_PATHS; i++)
		if (c->watches[i] && path_covers(directory, i) &&
		    (path_is_directory(i) ? under(i, gone) : gone[i]))
			expect(c, i, c->watches[i]);
}

static bool has(const int *events, unsigned n, int path)
{
	for (unsigned i = 0; i < n; i++)
		if (events[i] == path)
			return true;
	return false;
}

static void compare_events(struct client *c)
{
	unsigned at = 0;

	for (unsigned i = 0; i < c->n_actual; i++, at++) {
		while (at < c->n_expected && c->expected[at] != c->actual[i])
			at++;
		if (at < c->n_expected)
			continue;
		world_judge(c->end->world, EVENT,
			    "client %td of %s: event %s out of order or too many",
			    c - c->end->new.clients, c->end->side ? "the VM" : "dom0",
			    path_name(c->actual[i]));
		break;
	}
	for (unsigned i = 0; i < c->n_expected; i++)
		if (!has(c->actual, c->n_actual, c->expected[i]) ||
		    (!c->was_stalled && c->n_actual < c->n_expected)) {
			world_judge(
				c->end->world, EVENT, "client %td of %s: no event for %s",
				c - c->end->new.clients, c->end->side ? "the VM" : "dom0",
				path_name(c->expected[i]));
			break;
		}
	c->n_actual = c->n_expected = 0;
}

static void take_output(struct client *c)
{
	size_t len;

	for (;;) {
		client_observe(c);
		session_output(c->session, &len);
		if (len == 0)
			return;
		session_sent(c->session, len);
		c->seen = 0;
		client_run(c);
	}
}

static void reopen(struct client *c)
{
	struct end *e = c->end;

	if (!e->new.faulted)
		world_judge(e->world, ANSWER, "a client is disconnected: %s",
			    session_failure(c->session));
	world_trace(e->world, "    client %td: disconnected\n", c - e->new.clients);
	client_close(c);
	client_open(c, e);
}

/* When a step has ended: the client takes what there is, unless it does not read. */
void client_settle(struct client *c)
{
	size_t len;

	client_observe(c);
	if (session_failure(c->session)) {
		reopen(c);
		return;
	}
	session_output(c->session, &len);
	if (c->stalled && len < MOST_WAITING) {
		if (len > 0)
			session_stalled(c->session);
		c->was_stalled = true;
		return;
	}
	take_output(c);
	if (session_failure(c->session)) {
		reopen(c);
		return;
	}
	compare_events(c);
	c->was_stalled = c->stalled;
}
