/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Models of peers that exist, written from the protocol's description of how they behave.
 *
 * A legacy daemon applies its own clients' changes at once and the other's on arrival. In
 * each turn of its loop it takes everything that is in its ring before it serves clients;
 * what arrives meanwhile has to wait for the next turn. It writes blocking:
 * while a message of its own does not fit into the ring, nothing else happens there. Its
 * faults: it exits when it is told to remove what it does not have, when it is told
 * NOENT, when there is no room for the answer to an RM, on any violation, and in dom0
 * when a connection ends before the dump was asked for. When the link has ended it drops
 * what is in the ring, or takes it first, as the time of its waking up has it; an even
 * and an odd number of bytes in ACT_DELIVER stand for the two. A legacy VM merges the
 * dump over what it had; its clients hang without a link; it hangs for good when the
 * first dump breaks.
 *
 * The strict agent is one in a unikernel: nothing but dump entries during a dump, dies of
 * NOENT, removes what is absent without complaint.
 */
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

static void flush(struct end *e)
{
	struct legacy_end *l = &e->legacy;
	size_t size;

	while (l->out_len > 0 && e->attached && !e->world->broken) {
		size = message_encoded_size(l->out);
		if (size > link_room(e))
			return;
		link_put(e, l->out, size);
		l->out_len -= size;
		memmove(l->out, l->out + size, l->out_len);
	}
	if (e->world->broken)
		l->out_len = 0;
}

static void say(struct end *e, enum qdb_msg type, int path, int value)
{
	struct legacy_end *l = &e->legacy;
	char data[QDB_MAX_DATA];
	const bool has_value = type == QDB_CMD_WRITE || type == QDB_RESP_MULTIREAD;

	if (!e->attached || LEGACY_OUT - l->out_len < MESSAGE_MAX_SIZE)
		return;
	l->out_len +=
		message_encode(l->out + l->out_len, type, path < 0 ? "" : path_name(path),
			       path < 0 ? 0 : path_length(path), data,
			       has_value ? value_encode(value, data) : 0);
	flush(e);
}

static void set(struct end *e, int path, int value)
{
	world_trace(e->world, "    %s: %s = %s\n", e->side ? "VM" : "dom0",
		    path_name(path), value_name(value));
	e->values[path] = value;
	e->world->moved++;
}

/* Returns whether there was anything. */
static bool remove_path(struct end *e, int path)
{
	bool any = false;

	for (int i = 0; i < names_count(); i++) {
		if (e->values[i] == VALUE_ABSENT || (i != path && !path_covers(path, i)))
			continue;
		set(e, i, VALUE_ABSENT);
		any = true;
	}
	return any;
}

/* ---- what the peer sends ---- */

static void on_remove(struct end *e, int path)
{
	if (e->legacy.strict) {
		remove_path(e, path);
		say(e, QDB_RESP_OK, path, 0);
		return;
	}
	if (link_room(e) < MESSAGE_HEADER_SIZE) {
		end_die(e, "no room for the answer to RM");
		return;
	}
	if (remove_path(e, path)) {
		say(e, QDB_RESP_OK, path, 0);
		return;
	}
	say(e, QDB_RESP_ERROR_NOENT, path, 0);
	end_die(e, "RM of something absent");
}

static void send_dump(struct end *e)
{
	char last[QDB_MAX_PATH] = "~";

	if (e->side != DOM0 || e->legacy.asked) {
		end_die(e, "MULTIREAD at the wrong time");
		return;
	}
	e->legacy.asked = true;
	if (world_peer(e)->kind == KIND_NEW)
		oracle_cut_off(e->world, DOM0);
	for (;;) {
		int best = -1;

		for (int i = 0; i < names_count(); i++)
			if (e->values[i] != VALUE_ABSENT &&
			    strcmp(path_name(i), last) < 0 &&
			    (best < 0 || strcmp(path_name(i), path_name(best)) > 0))
				best = i;
		if (best < 0)
			break;
		say(e, QDB_RESP_MULTIREAD, best, e->values[best]);
		snprintf(last, sizeof(last), "%s", path_name(best));
	}
	say(e, QDB_RESP_MULTIREAD, -1, 0);
}

static void on_dump_entry(struct end *e, const struct message *m)
{
	if (!e->legacy.dumping) {
		end_die(e, "a dump entry outside a dump");
		return;
	}
	if (m->path_len == 0) {
		e->legacy.dumping = false;
		e->legacy.had_dump = true;
		e->world->moved++;
		return;
	}
	set(e, path_number(m->path, m->path_len), value_decode(m->data, m->data_len));
}

static void handle(struct end *e, const struct message *m)
{
	const bool dumping = e->legacy.strict && e->legacy.dumping;
	int path = -1;

	if (dumping && m->type != QDB_RESP_MULTIREAD) {
		end_die(e, "something that is no dump entry in a dump");
		return;
	}
	if (m->type == QDB_CMD_WRITE || m->type == QDB_CMD_RM)
		path = path_number(m->path, m->path_len);
	switch (m->type) {
	case QDB_CMD_WRITE:
		set(e, path, value_decode(m->data, m->data_len));
		say(e, QDB_RESP_OK, path, 0);
		break;
	case QDB_CMD_RM:
		on_remove(e, path);
		break;
	case QDB_CMD_MULTIREAD:
		send_dump(e);
		break;
	case QDB_RESP_MULTIREAD:
		on_dump_entry(e, m);
		break;
	case QDB_RESP_ERROR_NOENT:
		end_die(e, "NOENT from the peer");
		break;
	default:
		break;
	}
}

static void take_message(struct end *e)
{
	uint8_t bytes[RING_SIZE];
	const size_t len = link_message(e);
	struct message m;

	link_take(e, bytes, len);
	if (len < MESSAGE_HEADER_SIZE || message_encoded_size(bytes) > len)
		return;
	if (message_parse_header(&m,
				 e->side == DOM0 ? MESSAGE_FROM_VM : MESSAGE_FROM_DOM0,
				 bytes) == MESSAGE_VIOLATION) {
		end_die(e, "a violation by the peer");
		return;
	}
	message_parse_data(&m, (const char *)bytes + MESSAGE_HEADER_SIZE);
	handle(e, &m);
}

/* ---- its clients ---- */

static void serve(struct end *e, const struct request *r)
{
	if (r->type == QDB_CMD_WRITE) {
		oracle_wrote(e->world, e->side, r->path, r->value);
		set(e, r->path, r->value);
	} else {
		bool any = e->values[r->path] != VALUE_ABSENT;

		for (int i = 0; i < names_count(); i++)
			any |= path_covers(r->path, i) && e->values[i] != VALUE_ABSENT;
		if (!any)
			return;
		world_trace(e->world, "    %s: RM %s\n", e->side ? "VM" : "dom0",
			    path_name(r->path));
		oracle_removed(e->world, e->side, r->path);
		e->world->moved++;
	}
	if (e->attached && !e->world->broken && (e->side == VM || e->legacy.asked))
		say(e, (enum qdb_msg)r->type, r->path, r->value);
}

static bool may_serve(struct end *e)
{
	if (e->dead || e->legacy.out_len > 0)
		return false;
	return e->side == DOM0 || (e->attached && !e->legacy.dumping);
}

static void serve_clients(struct end *e)
{
	struct legacy_end *l = &e->legacy;
	struct request r;

	while (l->n_requests > 0 && may_serve(e)) {
		r = l->requests[0];
		l->n_requests--;
		memmove(l->requests, l->requests + 1, l->n_requests * sizeof(r));
		serve(e, &r);
	}
}

static void request(struct end *e, const struct action *a)
{
	struct legacy_end *l = &e->legacy;

	if (a->act != ACT_REQUEST || l->n_requests == LEGACY_REQUESTS ||
	    (a->type != QDB_CMD_WRITE && a->type != QDB_CMD_RM))
		return;
	l->requests[l->n_requests++] = (struct request){a->type, a->path, a->value};
}

/* ---- its life ---- */

static void start(struct end *e)
{
	memset(&e->legacy, 0, sizeof(e->legacy));
	e->legacy.strict = e->kind == KIND_STRICT;
}

static void stop(struct end *e)
{
	(void)e;
}

static void connected(struct end *e)
{
	struct legacy_end *l = &e->legacy;

	l->out_len = 0;
	l->asked = false;
	if (e->side == DOM0)
		return;
	l->dumping = true;
	say(e, QDB_CMD_MULTIREAD, -1, 0);
}

static void disconnected(struct end *e)
{
	struct legacy_end *l = &e->legacy;

	world_trace(e->world, "    %s: the link has ended\n", e->side ? "VM" : "dom0");
	if (world_peer(e)->kind == KIND_NEW)
		oracle_cut_off(e->world, e->side);
	e->attached = false;
	l->out_len = 0;
	link_close(e);
	e->world->moved++;
	if (l->strict)
		end_die(e, "the link has ended");
	else if (e->side == VM && !l->had_dump)
		end_die(e, "hangs for good: the first dump broke off");
	else if (e->side == DOM0 && !l->asked)
		end_die(e, "the link ended before MULTIREAD");
}

static void drain(struct end *e, size_t len)
{
	const size_t rest = link_waiting(e) - len;

	while (e->attached && e->legacy.out_len == 0 && link_waiting(e) > rest)
		take_message(e);
}

static void notice_end(struct end *e)
{
	if (e->attached && e->world->broken)
		disconnected(e);
}

static void deliver(struct end *e, size_t max)
{
	flush(e);
	if (max % 2 == 0)
		notice_end(e);
	drain(e, link_waiting(e));
	if (link_waiting(e) == 0)
		notice_end(e);
	e->legacy.known = link_waiting(e);
}

static void turn(struct end *e)
{
	struct legacy_end *l = &e->legacy;

	flush(e);
	drain(e, l->known < link_waiting(e) ? l->known : link_waiting(e));
	serve_clients(e);
	l->known = link_waiting(e);
}

static bool is_quiet(struct end *e)
{
	return e->attached && e->legacy.out_len == 0 && !e->legacy.dumping &&
	       e->legacy.n_requests == 0 && (e->side == VM || e->legacy.asked);
}

const struct end_class end_legacy = {
	.start = start,
	.stop = stop,
	.request = request,
	.deliver = deliver,
	.turn = turn,
	.connected = connected,
	.is_quiet = is_quiet,
};
