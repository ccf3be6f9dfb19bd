/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes through one connection: in order, whole, and announced. */
#include <errno.h>

#include "tests/vchan/cases.h"
#include "tests/vchan/control.h"

#define RING 4096

/* ready() may be called without need, but not at every turn of the loop. */
#define STRAY_CALLS 4

#define LOT (64 * RING) /* more than any vchan takes without being read */

static void meet(struct end *e)
{
	end_open(e);
	end_meet(e, 1, 1);
}

static void part(struct end *e)
{
	control_sync("all is received");
	if (e->server)
		end_close(e);
	else
		end_expect_the_end(e);
	end_close(e);
}

/*
 * RING messages of a size that has no factor in common with the ring's: each begins at
 * another offset, and the ring's end falls between any two bytes of one.
 */
static void wrap(struct end *e, size_t size)
{
	meet(e);
	end_exchange(e, RING * size, size);
	part(e);
}

static void wrap_small(struct end *e)
{
	wrap(e, 73);
}

static void wrap_large(struct end *e)
{
	wrap(e, MESSAGE_SIZE);
}

/* Reads of every size up to a message's, so that they too end at every offset. */
static void reads_of_all_sizes(struct end *e)
{
	const uint32_t total = MESSAGE_SIZE * (MESSAGE_SIZE + 1) / 2;
	size_t size = 1;

	meet(e);
	if (!e->server)
		end_send(e, total, 1001);
	while (e->server && e->in.at < total) {
		const unsigned before = e->ready;
		const ssize_t n = end_take(e, size);

		check(n >= 0, "the end after %u bytes of %u", e->in.at, total);
		if (n == 0)
			end_await_ready(e, before);
		size = size % MESSAGE_SIZE + 1;
	}
	part(e);
}

/* One byte at a call of ready(), and none besides: what remains is announced again. */
static void take_one(struct end *e)
{
	check(end_take(e, 1) >= 0, "the end after %u bytes", e->in.at);
}

static void one_byte_reads(struct end *e)
{
	meet(e);
	if (e->server) {
		e->on_ready = take_one;
		while (e->in.at < 2 * RING)
			control_turn();
		e->on_ready = NULL;
	} else {
		end_send(e, 2 * RING, MESSAGE_SIZE);
	}
	part(e);
}

static void one_byte_writes(struct end *e)
{
	meet(e);
	end_exchange(e, 2 * RING, 1);
	part(e);
}

static uint32_t fill(struct end *e, size_t size)
{
	uint32_t n = 0;

	while (end_put(e, size))
		n++;
	return n;
}

/* The writer's half: told of room when there is some, and only then. */
static void write_full(struct end *e, size_t size)
{
	unsigned before;
	bool put;

	check(fill(e, size) > 0, "no message fits into an empty ring");
	check(vchan_untaken(e->vchan) > 0, "all of a full ring is taken");
	before = e->ready;
	control_sync("it is full");
	control_sync("nothing has been read");
	control_turns_at_once();
	check(e->ready - before <= STRAY_CALLS, "%u calls for a full ring",
	      e->ready - before);
	control_sync_asleep("and nobody was called");
	control_sync_asleep("a byte has been read");
	before = e->ready;
	put = end_put(e, size);
	control_sync_asleep("another message has been tried");
	while (!put) {
		end_await_ready(e, before);
		before = e->ready;
		put = end_put(e, size);
	}
	control_sync("all has been read");
	control_sync("and what was written then");
	check(vchan_untaken(e->vchan) == 0, "%zu of an empty ring is not taken",
	      vchan_untaken(e->vchan));
}

static void read_full(struct end *e, size_t size)
{
	control_sync_asleep("it is full");
	control_sync_asleep("nothing has been read");
	control_sync_asleep("and nobody was called");
	check(end_take(e, 1) == 1, "nothing in a full ring");
	control_sync_asleep("a byte has been read");
	control_sync_asleep("another message has been tried");
	while (end_take(e, MESSAGE_SIZE) > 0)
		;
	check(e->in.at % size == 0, "%u bytes of messages of %zu", e->in.at, size);
	control_sync("all has been read");
	while (end_take(e, MESSAGE_SIZE) > 0)
		;
	check(e->in.at % size == 0, "%u bytes of messages of %zu", e->in.at, size);
	control_sync("and what was written then");
}

static void full(struct end *e, bool writer)
{
	static const size_t sizes[] = {1000, 72, MESSAGE_SIZE, 1};

	meet(e);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		end_begin_streams(e, 1 + (uint32_t)i);
		if (writer)
			write_full(e, sizes[i]);
		else
			read_full(e, sizes[i]);
		control_sync("on to another size");
	}
	part(e);
}

static void server_fills(struct end *e)
{
	full(e, e->server);
}

static void client_fills(struct end *e)
{
	full(e, !e->server);
}

/*
 * A reader that does not listen is called at most once for an event, which might have
 * been about room. When it listens again it is called for what came meanwhile, although
 * nothing more comes.
 */
static void hear_nothing(struct end *e)
{
	unsigned before;

	vchan_listen_to(e->vchan, false);
	before = e->ready;
	control_sync("deaf");
	control_sync("written");
	control_turns_at_once();
	check(e->ready - before <= STRAY_CALLS, "%u calls for data", e->ready - before);
	before = e->ready;
	vchan_listen_to(e->vchan, true);
	end_await_ready(e, before);
	end_receive(e, 1000);
	vchan_listen_to(e->vchan, false);
	before = e->ready;
	control_sync("deaf again");
	control_sync("written and closed");
	control_turns_at_once();
	check(e->ready - before <= STRAY_CALLS, "%u calls for an end", e->ready - before);
	before = e->ready;
	vchan_listen_to(e->vchan, true);
	end_await_ready(e, before);
	end_receive(e, 1000);
	end_expect_the_end(e);
	end_close(e);
}

static void deaf(struct end *e, bool reader)
{
	meet(e);
	if (reader) {
		hear_nothing(e);
		return;
	}
	control_sync("deaf");
	end_send(e, 1000, 1000);
	control_sync("written");
	control_sync("deaf again");
	end_send(e, 1000, 1000);
	end_close(e);
	control_sync("written and closed");
}

static void server_is_deaf(struct end *e)
{
	deaf(e, e->server);
}

static void client_is_deaf(struct end *e)
{
	deaf(e, !e->server);
}

/* It still is told of room, while data waits that it does not want to hear of. */
static void deaf_writer(struct end *e)
{
	unsigned before;

	meet(e);
	if (!e->server) {
		end_send(e, 1000, 1000);
		control_sync_asleep("it is full");
		control_sync_asleep("nothing has been read");
		control_sync_asleep("and nobody was called");
		end_receive(e, LOT);
	} else {
		vchan_listen_to(e->vchan, false);
		fill(e, 512);
		before = e->ready;
		control_sync("it is full");
		control_sync("nothing has been read");
		control_turns_at_once();
		check(e->ready - before <= STRAY_CALLS, "%u calls for a full ring",
		      e->ready - before);
		control_sync_asleep("and nobody was called");
		if (e->out.at < LOT)
			end_send(e, LOT - e->out.at, 512);
		vchan_listen_to(e->vchan, true);
		end_receive(e, 1000);
	}
	control_sync("all is received");
	end_close(e);
}

const struct conformance_case moving_cases[] = {
	{"wrap_small", wrap_small},
	{"wrap_large", wrap_large},
	{"reads_of_all_sizes", reads_of_all_sizes},
	{"one_byte_reads", one_byte_reads},
	{"one_byte_writes", one_byte_writes},
	{"server_fills", server_fills},
	{"client_fills", client_fills},
	{"server_is_deaf", server_is_deaf},
	{"client_is_deaf", client_is_deaf},
	{"deaf_writer", deaf_writer},
	{0},
};
