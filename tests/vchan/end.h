/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One end of a vchan under test, and the stream that it sends and expects. Each byte
 * depends on its place in the stream, the direction, and the connection's number: one
 * that is lost, doubled, misplaced, or left over from an earlier connection is found out.
 */
#ifndef QDB_TESTS_END_H
#define QDB_TESTS_END_H

#include "daemon/vchan/vchan.h"

struct stream {
	uint32_t seed;
	uint32_t at;
};

struct end {
	const struct vchan_transport *transport;
	struct vchan_address address;
	bool server;
	unsigned reconnects; /* how often the case that does nothing else does it */
	struct vchan *vchan;
	unsigned connected; /* calls of the handlers, since end_open() */
	unsigned ready;
	void (*on_connected)(struct end *e);
	void (*on_ready)(struct end *e);
	struct stream in;
	struct stream out;
};

/* The largest QubesDB message: a header and a value. */
#define MESSAGE_SIZE 3143

void end_open(struct end *e);
void end_close(struct end *e);

/* Waits for the n-th connection since end_open() and begins the streams called `number`.
 */
void end_meet(struct end *e, unsigned n, uint32_t number);
void end_begin_streams(struct end *e, uint32_t number);

/* Waits for another call of ready() than the `before` ones. */
void end_await_ready(struct end *e, unsigned before);

/* Puts one message into the vchan if that takes it, which must then take it whole. */
bool end_put(struct end *e, size_t len);

/* Reads at most `len` bytes and checks them: their number, 0 for none now, or -EPIPE. */
ssize_t end_take(struct end *e, size_t len);

/* Sends messages of `size` until `total` bytes are sent, waiting for room. */
void end_send(struct end *e, size_t total, size_t size);
void end_receive(struct end *e, size_t total);

/* Both at once; `total` each way. */
void end_exchange(struct end *e, size_t total, size_t size);

/* Waits until the connection is over, which is where everything has been received. */
void end_expect_the_end(struct end *e);

#endif
