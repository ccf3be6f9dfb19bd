/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/vchan/end.h"

#include <errno.h>
#include <string.h>

#include "tests/vchan/control.h"

static void on_connected(void *context)
{
	struct end *e = context;

	e->connected++;
	if (e->on_connected)
		e->on_connected(e);
}

static void on_ready(void *context)
{
	struct end *e = context;

	e->ready++;
	if (e->on_ready)
		e->on_ready(e);
}

static void on_gone(void *context)
{
	(void)context;
	control_fail("the other domain is said to be gone");
}

static const struct vchan_handlers handlers = {
	.connected = on_connected,
	.ready = on_ready,
	.gone = on_gone,
};

void end_open(struct end *e)
{
	int r;

	e->connected = e->ready = 0;
	r = vchan_open(&e->vchan, e->transport, control_base(), &e->address, &handlers,
		       e);
	check(r == 0, "cannot open the vchan: %s", strerror(-r));
}

void end_close(struct end *e)
{
	vchan_close(e->vchan);
	e->vchan = NULL;
}

void end_begin_streams(struct end *e, uint32_t number)
{
	e->in = (struct stream){.seed = number * 2 + e->server};
	e->out = (struct stream){.seed = number * 2 + !e->server};
}

void end_meet(struct end *e, unsigned n, uint32_t number)
{
	control_step("connecting");
	while (e->connected < n)
		control_turn();
	check(e->connected == n, "%u connections instead of %u", e->connected, n);
	end_begin_streams(e, number);
}

void end_await_ready(struct end *e, unsigned before)
{
	while (e->ready == before)
		control_turn();
}

static uint8_t next_byte(struct stream *s)
{
	uint32_t x = s->at++ * 2654435761u ^ s->seed * 0x9e3779b9u;

	x ^= x >> 15;
	return (uint8_t)((x * 0x85ebca6bu) >> 13);
}

bool end_put(struct end *e, size_t len)
{
	uint8_t buf[MESSAGE_SIZE];
	struct stream after = e->out;
	ssize_t n;

	if (vchan_room(e->vchan) < len)
		return false;
	for (size_t i = 0; i < len; i++)
		buf[i] = next_byte(&after);
	n = vchan_write(e->vchan, buf, len);
	if (n == -EAGAIN)
		return false;
	check(n == (ssize_t)len, "write of %zu bytes: %zd", len, n);
	e->out = after;
	return true;
}

ssize_t end_take(struct end *e, size_t len)
{
	uint8_t buf[MESSAGE_SIZE];
	const uint32_t from = e->in.at;
	ssize_t n = vchan_read(e->vchan, buf, len < sizeof(buf) ? len : sizeof(buf));

	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return n;
	check(n > 0 && (size_t)n <= len, "read of %zu bytes: %zd", len, n);
	for (ssize_t i = 0; i < n; i++)
		check(buf[i] == next_byte(&e->in), "byte %zu of a read at %u is wrong",
		      (size_t)i, from);
	return n;
}

static size_t of_at_most(size_t size, uint32_t done, size_t total)
{
	return size < total - done ? size : total - done;
}

/* Sends and receives until the streams are at `out` and `in`. */
static void pass(struct end *e, uint32_t out, uint32_t in, size_t size)
{
	while (e->out.at < out || e->in.at < in) {
		const unsigned before = e->ready;
		bool moved = false;

		if (e->out.at < out)
			moved = end_put(e, of_at_most(size, e->out.at, out));
		if (e->in.at < in) {
			const ssize_t n = end_take(e, in - e->in.at);

			check(n >= 0, "the end after %u bytes of %u", e->in.at, in);
			moved = moved || n > 0;
		}
		if (!moved)
			end_await_ready(e, before);
	}
}

void end_send(struct end *e, size_t total, size_t size)
{
	control_step("sending");
	pass(e, e->out.at + (uint32_t)total, 0, size);
}

void end_receive(struct end *e, size_t total)
{
	control_step("receiving");
	pass(e, 0, e->in.at + (uint32_t)total, 0);
}

void end_exchange(struct end *e, size_t total, size_t size)
{
	control_step("sending and receiving");
	pass(e, e->out.at + (uint32_t)total, e->in.at + (uint32_t)total, size);
}

void end_expect_the_end(struct end *e)
{
	ssize_t n;

	control_step("waiting for the end of the connection");
	for (;;) {
		const unsigned before = e->ready;

		n = end_take(e, 1);
		if (n != 0)
			break;
		end_await_ready(e, before);
	}
	check(n == -EPIPE, "after the last byte a read gives %zd", n);
	check(end_take(e, 1) == -EPIPE, "an end that has been read is not read again");
	check(vchan_write(e->vchan, "", 1) == -EPIPE, "a write after the end succeeds");
}
