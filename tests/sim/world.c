/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The link is two rings. A put is whole messages or nothing; what is taken may be any
 * number of bytes. When it breaks, puts fail at once, while the receiver may still take
 * what survived and learns of the end behind it, as on a real vchan.
 */
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

#define QUIET_ROUNDS 3000

const char *const verdict_names[VERDICTS] = {
	[DIVERGED] = "diverged", [LOST] = "lost",     [STALE] = "stale",
	[EVENT] = "event",       [SILENT] = "silent", [COUNTER] = "counter",
	[FAILURE] = "failure",   [EXITED] = "exited", [STUCK] = "stuck",
	[ANSWER] = "answer",     [WIRE] = "wire",
};

void world_judge(struct world *w, enum verdict v, const char *format, ...)
{
	char text[300];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	world_trace(w, "    !!! %s: %s\n", verdict_names[v], text);
	if (!w->verdicts)
		snprintf(w->text, sizeof(w->text), "%s: %s", verdict_names[v], text);
	w->verdicts |= 1u << v;
}

void world_trace(struct world *w, const char *format, ...)
{
	va_list args;

	if (!w->trace)
		return;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
}

struct end *world_peer(struct end *e)
{
	return &e->world->ends[e->side == DOM0 ? VM : DOM0];
}

/* ---- the link ---- */

size_t link_room(struct end *e)
{
	return RING_SIZE - e->world->pipes[world_peer(e)->side].len;
}

static void look_at_message(struct end *e, const uint8_t *bytes)
{
	const enum message_sender from =
		e->side == DOM0 ? MESSAGE_FROM_DOM0 : MESSAGE_FROM_VM;
	uint8_t header[MESSAGE_HEADER_SIZE];
	struct message m;
	int value;

	memcpy(header, bytes, sizeof(header));
	message_parse_header(&m, from, header);
	value = value_decode((const char *)bytes + sizeof(header), m.data_len);
	world_trace(e->world, "    %s %s%s%s\n",
		    e->side == DOM0 ? "dom0 --> VM:" : "VM --> dom0:",
		    message_name(m.type), m.path_len ? " " : " (nothing)", m.path);
	if (m.type == QDB_CMD_WRITE || (m.type == QDB_RESP_MULTIREAD && m.path_len > 0))
		world_trace(e->world, "        = %s\n", value_name(value));
	if (m.fault != MESSAGE_FINE)
		world_judge(e->world, WIRE, "%s %s", message_name(m.type), m.path);
	for (size_t i = m.path_len; i < MESSAGE_HEADER_SIZE - 5; i++)
		if (bytes[1 + i] != 0)
			world_judge(e->world, WIRE, "a header that is not clean");
}

void link_put(struct end *e, const uint8_t *bytes, size_t len)
{
	struct pipe *p = &e->world->pipes[world_peer(e)->side];
	size_t at = 0;

	e->world->moved++;
	memcpy(p->buf + p->len, bytes, len);
	p->len += len;
	while (len - at >= MESSAGE_HEADER_SIZE &&
	       message_encoded_size(bytes + at) <= len - at) {
		look_at_message(e, bytes + at);
		at += message_encoded_size(bytes + at);
	}
	if (at != len)
		world_judge(e->world, WIRE, "a message that is not put whole");
}

size_t link_waiting(struct end *e)
{
	return e->world->pipes[e->side].len;
}

/*
 * Where a message begins is not remembered: one that was taken in part is continued up to
 * the end of what there is.
 */
size_t link_message(struct end *e)
{
	struct pipe *p = &e->world->pipes[e->side];
	size_t size;

	if (p->len <= p->torn)
		return p->len;
	if (p->torn > 0)
		return p->torn;
	if (p->len < MESSAGE_HEADER_SIZE)
		return p->len;
	size = message_encoded_size(p->buf);
	return size < p->len ? size : p->len;
}

void link_take(struct end *e, uint8_t *out, size_t len)
{
	struct pipe *p = &e->world->pipes[e->side];
	const size_t whole = p->torn ? p->torn
			     : p->len >= MESSAGE_HEADER_SIZE
				     ? message_encoded_size(p->buf)
				     : p->len;

	e->world->moved++;
	memcpy(out, p->buf, len);
	memmove(p->buf, p->buf + len, p->len - len);
	p->len -= len;
	p->torn = whole - len;
}

void link_close(struct end *e)
{
	e->world->broken = true;
	e->world->pipes[e->side].len = 0;
	e->world->pipes[e->side].torn = 0;
}

static void cut(struct world *w, const struct action *a)
{
	const size_t survive[2] = {a->n, a->m};

	w->broken = true;
	for (int i = 0; i < 2; i++)
		if (w->pipes[i].len > survive[i])
			w->pipes[i].len = survive[i];
}

static void connect_ends(struct world *w)
{
	for (int i = 0; i < 2; i++)
		if (w->ends[i].attached || w->ends[i].dead)
			return;
	world_trace(w, "    the link is up\n");
	memset(w->pipes, 0, sizeof(w->pipes));
	w->broken = false;
	w->moved++;
	for (int i = 0; i < 2; i++) {
		w->ends[i].attached = true;
		w->ends[i].class->connected(&w->ends[i]);
	}
}

void end_die(struct end *e, const char *why)
{
	if (e->dead)
		return;
	world_trace(e->world, "    %s is dead: %s\n", e->side ? "VM" : "dom0", why);
	e->dead = why;
	e->world->exits[e->side] = why;
	if (e->attached)
		link_close(e);
	e->attached = false;
	if (!is_residual(e->world->config, why))
		world_judge(e->world, EXITED, "%s: %s", e->side ? "VM" : "dom0", why);
}

/* ---- actions ---- */

static void crash(struct world *w, const struct action *a)
{
	struct end *e = &w->ends[a->side];

	if (e->dead || e->kind == KIND_STRICT)
		return;
	if (a->act == ACT_RESTART && e->kind == KIND_NEW)
		oracle_restarted(w);
	else
		oracle_crashed(w, e->side);
	e->class->stop(e);
	if (e->attached) {
		cut(w, a);
		link_close(e);
	}
	e->attached = false;
	if (a->act != ACT_RESTART || e->kind != KIND_NEW) {
		e->store.len = 0;
		for (int i = 0; i < PATHS; i++)
			e->values[i] = VALUE_ABSENT;
	}
	e->class->start(e);
}

static void squeeze(struct end *e)
{
	if (e->kind != KIND_NEW ||
	    e->new.domain.replica.changes.paths.used > (e->side == DOM0 ? 38 : 44))
		return;
	e->new.domain.replica.changes.paths.limit = e->side == DOM0 ? 38 : 45;
	e->new.domain.replica.changes.unanswered.limit = 4;
	e->new.domain.replica.out.limit = 20000;
	e->new.faulted = true;
}

static void perform(struct world *w, const struct action *a)
{
	struct end *e = &w->ends[a->side];

	switch (a->act) {
	case ACT_CONNECT:
		connect_ends(w);
		return;
	case ACT_CUT:
		if (w->ends[DOM0].attached || w->ends[VM].attached)
			cut(w, a);
		return;
	case ACT_CRASH:
	case ACT_RESTART:
		crash(w, a);
		return;
	}
	if (e->dead)
		return;
	switch (a->act) {
	case ACT_TURN:
		e->class->turn(e);
		break;
	case ACT_DELIVER:
		e->class->deliver(e, a->n);
		break;
	case ACT_STARVE:
		if (e->kind == KIND_NEW)
			e->new.starve = a->n;
		break;
	case ACT_SQUEEZE:
		squeeze(e);
		break;
	default:
		e->class->request(e, a);
	}
}

static void trace_action(struct world *w, unsigned i, const struct action *a)
{
	const char *end = a->side == DOM0 ? "dom0" : "VM";

	if (!w->trace)
		return;
	printf("%3u ", i);
	switch (a->act) {
	case ACT_REQUEST:
		printf("%s client %u: %s %s", end, a->client, message_name(a->type),
		       path_name(a->path));
		if (a->type == QDB_CMD_WRITE)
			printf(" = %s", value_name(a->value));
		printf(a->n ? " (split after %u bytes)\n" : "\n", a->n);
		break;
	case ACT_TURN:
		printf("%s ends its turn\n", end);
		break;
	case ACT_DELIVER:
		printf(a->n ? "%s takes up to %u bytes\n" : "%s takes all\n", end, a->n);
		break;
	case ACT_STALL:
	case ACT_READ:
		printf("%s client %u %s\n", end, a->client,
		       a->act == ACT_STALL ? "stops reading" : "reads again");
		break;
	case ACT_CONNECT:
		printf("connect\n");
		break;
	case ACT_CUT:
		printf("cut (%u bytes to dom0, %u to the VM survive)\n", a->n, a->m);
		break;
	case ACT_CRASH:
		printf("%s crashes and starts over (%u bytes to dom0, %u to the VM "
		       "survive)\n",
		       end, a->n, a->m);
		break;
	case ACT_RESTART:
		printf("%s restarts (%u bytes to dom0, %u to the VM survive)\n", end,
		       a->n, a->m);
		break;
	case ACT_STARVE:
		printf("%s: allocation %u from now fails\n", end, a->n);
		break;
	case ACT_SQUEEZE:
		printf("%s: quotas towards the peer are small\n", end);
		break;
	}
}

/* ---- quiescence ---- */

static void settle_clients(struct world *w)
{
	for (unsigned i = 0; i < 2; i++) {
		if (w->ends[i].kind != KIND_NEW)
			continue;
		w->ends[i].new.starve = 0;
		for (unsigned c = 0; c < CLIENTS; c++)
			perform(w, &(struct action){.act = ACT_READ,
						    .side = (uint8_t)i,
						    .client = (uint8_t)c});
	}
}

static void come_to_rest(struct world *w)
{
	unsigned rounds, before;

	world_trace(w, "--- quiescence\n");
	settle_clients(w);
	for (rounds = 0; rounds < QUIET_ROUNDS; rounds++) {
		before = w->moved;
		for (int i = 0; i < 2; i++) {
			if (!w->ends[i].dead)
				w->ends[i].class->deliver(&w->ends[i], 0);
			if (!w->ends[i].dead)
				w->ends[i].class->turn(&w->ends[i]);
		}
		connect_ends(w);
		oracle_after_step(w);
		if (w->moved == before)
			return;
	}
	world_judge(w, STUCK, "no quiescence");
}

static void begin(struct world *w, const struct config *c, bool trace)
{
	names_reset();
	w->config = c;
	w->trace = trace;
	w->broken = false;
	w->moved = 0;
	w->verdicts = 0;
	w->text[0] = '\0';
	memset(w->pipes, 0, sizeof(w->pipes));
	for (int i = 0; i < 2; i++) {
		struct end *e = &w->ends[i];

		e->world = w;
		e->kind = c->kinds[i];
		e->class = e->kind == KIND_NEW ? &end_new : &end_legacy;
		e->side = (enum side)i;
		e->attached = false;
		e->dead = NULL;
		e->store.len = 0;
		w->exits[i] = NULL;
		for (int p = 0; p < PATHS; p++)
			e->values[p] = VALUE_ABSENT;
		e->class->start(e);
	}
	oracle_begin(w);
}

void world_run(struct world *w, const struct config *c, const struct action *actions,
	       unsigned n, bool trace)
{
	begin(w, c, trace);
	for (unsigned i = 0; i < n; i++) {
		trace_action(w, i, &actions[i]);
		perform(w, &actions[i]);
		oracle_after_step(w);
	}
	come_to_rest(w);
	oracle_at_end(w);
	for (int i = 0; i < 2; i++)
		w->ends[i].class->stop(&w->ends[i]);
}
