/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One connection after another on the same vchan. */
#include <errno.h>
#include <stdio.h>

#include "tests/vchan/cases.h"
#include "tests/vchan/control.h"
#include "tests/vchan/usage.h"

#define SOME 3000

static void part(struct end *e)
{
	control_sync("all is received");
	end_close(e);
}

/* Bytes of the old connection are on their way, in both directions, when it ends. */
static void leave_bytes(struct end *e)
{
	end_send(e, SOME, 1000);
	control_sync_asleep("bytes are left behind");
}

/* The one restarts; the other finds out, reading or not, and follows. */
static void reconnect(struct end *e)
{
	end_open(e);
	for (unsigned n = 1; n <= 20; n++) {
		const bool first = (n % 2 == 0) == e->server;
		const bool reads = n % 4 < 2;

		end_meet(e, n, n);
		end_exchange(e, 5000, 200);
		leave_bytes(e);
		if (first) {
			vchan_restart(e->vchan, 0);
			continue;
		}
		if (reads) {
			end_receive(e, SOME);
			end_expect_the_end(e);
		}
		vchan_restart(e->vchan, 0);
	}
	end_meet(e, 21, 21);
	end_exchange(e, 5000, 200);
	part(e);
}

/* Both give the connection up at the same time, and none hears it of the other. */
static void reconnect_at_once(struct end *e)
{
	end_open(e);
	for (unsigned n = 1; n <= 20; n++) {
		end_meet(e, n, n);
		end_exchange(e, 5000, 200);
		leave_bytes(e);
		vchan_restart(e->vchan, 0);
	}
	end_meet(e, 21, 21);
	end_exchange(e, 5000, 200);
	part(e);
}

/* A restart while there is nobody changes nothing. */
static void restart_unconnected(struct end *e)
{
	if (!e->server)
		control_sync("the server has restarted");
	end_open(e);
	for (int i = 0; i < 5; i++)
		vchan_restart(e->vchan, i == 4 ? 0 : 100000);
	check(end_take(e, 1) == 0, "a read from nobody is not -EAGAIN");
	if (e->server)
		control_sync("the server has restarted");
	end_meet(e, 1, 1);
	part(e);
}

struct pause {
	const struct end *end;
	bool over;
};

static void at_half_time(evutil_socket_t fd, short what, void *context)
{
	struct pause *p = context;

	(void)fd, (void)what;
	check(p->end->connected == 1, "the pause is over before its time");
	p->over = true;
}

/* A client that is to wait does so, whatever the server does meanwhile. */
static void restart_later(struct end *e)
{
	static const struct timeval half = {.tv_usec = 500000};
	struct pause p = {.end = e, .over = e->server};

	end_open(e);
	end_meet(e, 1, 1);
	control_sync("both are connected");
	if (!e->server) {
		event_base_once(control_base(), -1, EV_TIMEOUT, at_half_time, &p, &half);
		vchan_restart(e->vchan, 1000);
	}
	control_sync("the client has begun to wait");
	if (e->server)
		vchan_restart(e->vchan, 0);
	while (!p.over)
		control_turn();
	end_meet(e, 2, 2);
	part(e);
}

/* Serves the one; the other, if it can already write, is not heard. */
static void serve_two(struct end *e)
{
	end_open(e);
	end_meet(e, 1, 1);
	end_exchange(e, SOME, 500);
	control_sync("another client is there");
	control_turns_at_once();
	end_exchange(e, SOME, 500);
	end_expect_the_end(e);
	check(e->connected == 1, "two clients are served at once");
	vchan_restart(e->vchan, 0);
	end_meet(e, 2, 2);
	end_exchange(e, SOME, 500);
	part(e);
}

static void second_client(struct end *e)
{
	struct end other = *e;

	if (e->server) {
		serve_two(e);
		return;
	}
	end_open(e);
	end_meet(e, 1, 1);
	end_exchange(e, SOME, 500);
	end_open(&other);
	control_turns_at_once();
	control_sync("another client is there");
	end_exchange(e, SOME, 500);
	end_close(e);
	end_meet(&other, 1, 2);
	end_exchange(&other, SOME, 500);
	part(&other);
}

static void restart_here(struct end *e)
{
	e->on_connected = NULL;
	vchan_restart(e->vchan, 0);
}

static void restart_at_the_end(struct end *e)
{
	if (end_take(e, 1) != -EPIPE)
		return;
	e->on_ready = NULL;
	vchan_restart(e->vchan, 0);
}

static void close_here(struct end *e)
{
	e->on_connected = e->on_ready = NULL;
	end_close(e);
}

static void close_at_a_word(struct end *e)
{
	if (end_take(e, 1) > 0)
		close_here(e);
}

/* Handlers may restart and close what has called them. */
static void from_handlers(struct end *e, bool first)
{
	if (first)
		e->on_connected = restart_here;
	else
		e->on_ready = restart_at_the_end;
	end_open(e);
	control_step("one end restarts when it is connected, the other when told so");
	while (e->connected < 2)
		control_turn();
	end_meet(e, 2, 1);
	end_exchange(e, SOME, 500);
	control_sync_asleep("one end will close");
	if (first) {
		e->on_ready = close_at_a_word;
		control_sync("written");
		control_step("closing when there is something to read");
		while (e->vchan)
			control_turn();
		control_sync_asleep("closed");
		e->on_connected = close_here;
		end_open(e);
		control_step("closing when connected");
		while (e->vchan)
			control_turn();
	} else {
		end_send(e, 1, 1);
		control_sync("written");
		control_sync_asleep("closed");
		end_expect_the_end(e);
		vchan_restart(e->vchan, 0);
		end_meet(e, 3, 2);
		end_expect_the_end(e);
		end_close(e);
	}
}

static void server_acts_in_handlers(struct end *e)
{
	from_handlers(e, e->server);
}

static void client_acts_in_handlers(struct end *e)
{
	from_handlers(e, !e->server);
}

/* A word each way; the one that got the last word ends it, in turn. */
static void one_of_many(struct end *e, unsigned n)
{
	const bool first = (n % 2 == 0) == e->server;

	end_meet(e, n, n);
	if (first)
		end_receive(e, 100);
	end_send(e, 100, 100);
	if (!first)
		end_receive(e, 100);
}

static void end_one_of_many(struct end *e, unsigned n)
{
	const bool first = (n % 2 == 0) == e->server;

	if (first)
		end_expect_the_end(e);
	vchan_restart(e->vchan, 0);
}

static void no_growth(struct end *e)
{
	const unsigned settled = 10;
	struct usage before = {0}, after;

	end_open(e);
	for (unsigned n = 1; n <= e->reconnects + settled; n++) {
		one_of_many(e, n);
		if (n == settled)
			before = usage_now();
		end_one_of_many(e, n);
	}
	one_of_many(e, e->reconnects + settled + 1);
	after = usage_now();
	fprintf(stderr,
		"# %s, %u reconnects: descriptors %zu -> %zu, mappings %zu -> %zu, heap "
		"%zu "
		"-> %zu\n",
		e->server ? "server" : "client", e->reconnects, before.descriptors,
		after.descriptors, before.mappings, after.mappings, before.heap,
		after.heap);
	check(after.descriptors <= before.descriptors, "descriptors have been lost");
	check(after.mappings <= before.mappings + 4, "mappings have been lost");
	check(after.heap <= before.heap + 4096, "memory has been lost");
	part(e);
}

const struct conformance_case lasting_cases[] = {
	{"reconnect", reconnect},
	{"reconnect_at_once", reconnect_at_once},
	{"restart_unconnected", restart_unconnected},
	{"restart_later", restart_later},
	{"second_client", second_client},
	{"server_acts_in_handlers", server_acts_in_handlers},
	{"client_acts_in_handlers", client_acts_in_handlers},
	{"no_growth", no_growth},
	{0},
};
