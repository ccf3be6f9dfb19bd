/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/crash/crash.h"

void client_connect(struct client *c, const struct home *h)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memcpy(address.sun_path, h->sockets[c->side], strlen(h->sockets[c->side]) + 1);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail("cannot connect to %s: %s", address.sun_path, strerror(errno));
	c->out_len = c->in_len = 0;
	c->n_pending = 0;
}

void client_close(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* ---- sending ---- */

static void send_some(struct client *c)
{
	ssize_t n;

	if (c->out_len == 0)
		return;
	n = send(c->fd, c->out, c->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n <= 0)
		return;
	c->out_len -= (size_t)n;
	memmove(c->out, c->out + n, c->out_len);
}

static void read_something(struct client *c)
{
	struct writer *w = c->read[chance(&c->random, c->n_read)];
	const unsigned slot = chance(&c->random, SLOTS);
	char path[QDB_MAX_PATH];
	const size_t len = path_of_slot(w->directory, slot, path);

	c->pending[c->n_pending++] = (struct reading){w, slot};
	c->out_len +=
		message_encode(c->out + c->out_len, QDB_CMD_READ, path, len, NULL, 0);
}

static unsigned under_way(const struct client *c)
{
	return c->writer ? c->writer->n_pending : c->n_pending;
}

static bool has_room(const struct client *c)
{
	return sizeof(c->out) - c->out_len >= MESSAGE_MAX_SIZE;
}

void client_load(struct client *c)
{
	while (under_way(c) < c->depth && has_room(c)) {
		if (c->writer)
			c->out_len += writer_next(c->writer, c->out + c->out_len);
		else
			read_something(c);
	}
	send_some(c);
}

/* ---- receiving ---- */

static void take_reading(struct client *c, const struct qdb_hdr *h, const char *data)
{
	const struct reading r = c->pending[0];
	unsigned writer;
	uint64_t number;

	if (c->n_pending == 0)
		fail("an answer to nothing: %s %.63s", message_name(h->type), h->path);
	memmove(c->pending, c->pending + 1, --c->n_pending * sizeof(c->pending[0]));
	if (h->type == QDB_RESP_ERROR_NOENT)
		return;
	if (h->type != QDB_RESP_READ)
		fail("unexpected answer %s to a reader", message_name(h->type));
	number = parse_value(data, h->data_len, &writer);
	if (writer != r.writer->id)
		fail("a value of writer %u for %u", writer, r.writer->id);
	writer_was_seen(r.writer, r.slot, number);
}

static void take(struct client *c, const struct qdb_hdr *h, const char *data)
{
	if (h->type == QDB_RESP_WATCH) {
		c->has_event = true;
		return;
	}
	c->answers++;
	if (c->writer)
		writer_answered(c->writer, h->type);
	else
		take_reading(c, h, data);
}

/* The size of the message at `at`, or 0. */
static size_t whole_message(const struct client *c, size_t at, struct qdb_hdr *h)
{
	size_t size;

	if (c->in_len - at < sizeof(*h))
		return 0;
	memcpy(h, c->in + at, sizeof(*h));
	size = sizeof(*h) + h->data_len;
	return c->in_len - at < size ? 0 : size;
}

static void forget(struct client *c, size_t len)
{
	c->in_len -= len;
	memmove(c->in, c->in + len, c->in_len);
}

bool client_receive(struct client *c)
{
	ssize_t n =
		recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, MSG_DONTWAIT);
	struct qdb_hdr h;
	size_t at = 0, size;

	if (n == 0 || (n < 0 && errno != EAGAIN))
		return false;
	c->in_len += n > 0 ? (size_t)n : 0;
	for (; (size = whole_message(c, at, &h)) > 0; at += size)
		take(c, &h, (const char *)c->in + at + sizeof(h));
	forget(c, at);
	return true;
}

void client_drain_and_close(struct client *c)
{
	if (c->fd < 0)
		return;
	while (client_receive(c))
		;
	client_close(c);
}

bool client_is_idle(const struct client *c)
{
	return c->fd < 0 || (under_way(c) == 0 && c->out_len == 0);
}

/* ---- one request at a time ---- */

static size_t wait_for_message(struct client *c, struct qdb_hdr *h)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	size_t size;
	ssize_t n;

	while ((size = whole_message(c, 0, h)) == 0) {
		if (poll(&p, 1, TIMEOUT_MS) != 1)
			fail("no answer");
		n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, 0);
		if (n <= 0)
			fail("the connection has ended before an answer");
		c->in_len += (size_t)n;
	}
	return size;
}

static size_t wait_for_answer(struct client *c, struct qdb_hdr *h)
{
	size_t size;

	while ((size = wait_for_message(c, h)) > 0 && h->type == QDB_RESP_WATCH) {
		c->has_event = true;
		forget(c, size);
	}
	return size;
}

static void request(struct client *c, enum qdb_msg type, const char *path,
		    const char *value)
{
	uint8_t message[MESSAGE_MAX_SIZE];
	const size_t len = message_encode(message, type, path, strlen(path), value,
					  value ? strlen(value) : 0);

	if (send(c->fd, message, len, MSG_NOSIGNAL) != (ssize_t)len)
		fail("cannot send: %s", strerror(errno));
}

enum qdb_msg client_ask(struct client *c, enum qdb_msg type, const char *path,
			const char *value, char *answer, size_t *answer_len)
{
	struct qdb_hdr h;
	size_t size;

	request(c, type, path, value);
	size = wait_for_answer(c, &h);
	if (answer) {
		memcpy(answer, c->in + sizeof(h), h.data_len);
		*answer_len = h.data_len;
	}
	forget(c, size);
	return h.type;
}

static void take_entry(struct snapshot *s, const char *directory, const struct qdb_hdr *h,
		       const char *data)
{
	const int slot = slot_of_path(directory, h->path, strlen(h->path));

	if (slot < 0)
		fail("an entry that nobody has written: %.63s", h->path);
	s->numbers[slot] = parse_value(data, h->data_len, &s->writers[slot]);
}

void client_snapshot(struct client *c, const char *directory, struct snapshot *s)
{
	struct qdb_hdr h;
	size_t size;

	*s = (struct snapshot){.numbers = {0}};
	request(c, QDB_CMD_MULTIREAD, directory, NULL);
	for (;;) {
		size = wait_for_answer(c, &h);
		if (h.type != QDB_RESP_MULTIREAD)
			fail("unexpected answer %s to MULTIREAD", message_name(h.type));
		if (h.path[0])
			take_entry(s, directory, &h, (const char *)c->in + sizeof(h));
		forget(c, size);
		if (!h.path[0])
			return;
	}
}
