/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A request is sent whole and its answer awaited, and there is never more than one under
 * way. Events may come before any message of the answer; they are queued.
 *
 * After a failure nobody knows what the socket still holds, so the connection is closed.
 * If it was the daemon that ended it, another one may already have taken its place: then
 * the command is done again from the start. Every command means the same when it is done
 * twice, though a watch can tell.
 *
 * There is one exception. Where the program polls the descriptor, the loss is its
 * business too: epoll forgets a descriptor that is closed, even if another gets its
 * number, and the program would wait for events that it can never see.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/handle.h"

/* No two types that a daemon may send are the same modulo 32. */
#define ANSWER(type) (1u << (type) % 32)
#define OK ANSWER(QDB_RESP_OK)
#define NOENT ANSWER(QDB_RESP_ERROR_NOENT)
#define ERROR ANSWER(QDB_RESP_ERROR)

static const unsigned answers[] = {
	/* clang-format off */
	[QDB_CMD_READ]       = ANSWER(QDB_RESP_READ) | NOENT | ERROR,
	[QDB_CMD_WRITE]      = OK | ERROR,
	[QDB_CMD_MULTIREAD]  = ANSWER(QDB_RESP_MULTIREAD),
	[QDB_CMD_LIST]       = ANSWER(QDB_RESP_LIST) | ERROR,
	[QDB_CMD_RM]         = OK | NOENT | ERROR,
	[QDB_CMD_WATCH]      = OK | ERROR,
	[QDB_CMD_UNWATCH]    = OK | NOENT | ERROR,
	[QDB_CMD_WRITE_MANY] = OK | ERROR,
	[QDB_CMD_STATUS]     = ANSWER(QDB_RESP_STATUS) | ERROR,
	[QDB_CMD_TRACE]      = OK | ERROR,
	/* clang-format on */
};

bool request_takes(enum qdb_msg request, enum qdb_msg answer)
{
	return answers[request] & ANSWER(answer);
}

void set_errno(int result)
{
	if (result == UNREACHABLE)
		result = -EPIPE;
	errno = result < 0 ? -result : 0;
}

char *duplicate(const char *bytes, size_t len)
{
	char *copy = malloc(len + 1);

	if (copy == NULL)
		return NULL;
	if (len > 0)
		memcpy(copy, bytes, len);
	copy[len] = '\0';
	return copy;
}

bool path_is_sendable(const char *path)
{
	return path[0] == '/' && strnlen(path, QDB_MAX_PATH) < QDB_MAX_PATH;
}

int request_check(const struct qdb_handle *h, const char *path)
{
	if (h == NULL || path == NULL)
		return -EINVAL;
	return path_is_sendable(path) ? 0 : REFUSED;
}

void request_set_deadline(struct qdb_handle *h)
{
	h->deadline = h->timeout_ms > 0 ? clock_ms() + h->timeout_ms : 0;
}

void request_begin(struct qdb_handle *h)
{
	request_set_deadline(h);
	h->is_for_events = false;
	h->connections = 0;
	h->answered = 0;
}

bool request_again(struct qdb_handle *h, int result)
{
	if (result != -EPIPE || h->is_shared)
		return false;
	return ++h->connections < CONNECTIONS_PER_CALL;
}

static int complete_connection(struct qdb_handle *h)
{
	int result = watches_restore(h);

	if (result != 0)
		connection_fail(h, result);
	return result;
}

int request_connect(struct qdb_handle *h)
{
	int result;

	if (h->fd >= 0 && !h->lost)
		return 0;
	result = connection_open(h);
	if (result < 0)
		return result == -ETIMEDOUT || result == -EINTR ? result : UNREACHABLE;
	return complete_connection(h);
}

/* Takes one message and queues it if it is an event. */
static int receive_message(struct qdb_handle *h, enum awaited awaited,
			   struct reply *reply)
{
	int result = connection_receive(h, reply, awaited);

	if (result < 0)
		return result;
	h->answered += sizeof(reply->header) + reply->message.data_len;
	if (h->answered > ANSWER_MAX)
		return -EPROTO;
	if (reply->message.type != QDB_RESP_WATCH)
		return 0;
	return watches_queue_event(h, reply->message.path);
}

/* The events that a connection still holds. */
static void drain(struct qdb_handle *h)
{
	struct reply reply;

	while (receive_message(h, AWAITED_NOTHING, &reply) == 0)
		continue;
}

/* Only sending tells of it here: receiving may have failed in the middle of an event. */
static int drain_unless_sent(struct qdb_handle *h, int result)
{
	if (result == -EPIPE)
		drain(h);
	return result;
}

/*
 * A message that is longer than what a socket holds. A daemon may have no room for events
 * and read no request before it has some again, so they are taken meanwhile.
 */
static int send_long(struct qdb_handle *h, const uint8_t *bytes, size_t len)
{
	struct reply reply;
	int result = 0;

	while (result == 0 && len > 0) {
		bool readable;
		size_t sent;

		result = drain_unless_sent(
			h, connection_send_some(h, bytes, len, &sent, &readable));
		bytes += sent;
		len -= sent;
		if (result != 0 || !readable)
			continue;
		result = receive_message(h, AWAITED_REST, &reply);
		if (result == 0 && reply.message.type != QDB_RESP_WATCH)
			result = -EPROTO;
	}
	return result;
}

static int send_request(struct qdb_handle *h, const struct request *r)
{
	uint8_t message[MESSAGE_MAX_SIZE];
	size_t size;

	if (r->message != NULL)
		return send_long(h, r->message, r->size);
	size = message_encode(message, r->type, r->path, strlen(r->path), r->value,
			      r->value_len);
	return drain_unless_sent(h, connection_send(h, message, size));
}

bool request_is_change(enum qdb_msg type)
{
	return type == QDB_CMD_WRITE || type == QDB_CMD_RM || type == QDB_CMD_WRITE_MANY;
}

/*
 * A daemon that ends closes its read-write socket first, so a handle that connected again
 * may be on the other one. Before that refuses a change, the first is tried once more.
 * What an earlier connection may have carried out is not refused in any case.
 */
static int regain_writing(struct qdb_handle *h)
{
	int fd;

	if (!h->is_read_only || !h->could_write)
		return 0;
	fd = connection_to_read_write(&h->endpoint, h->deadline);
	if (fd < 0)
		return h->connections > 0 ? UNREACHABLE : 0;
	drain(h);
	connection_close(h);
	if (h->is_shared) {
		close(fd);
		return -EPIPE;
	}
	connection_take(h, fd, false);
	return complete_connection(h);
}

static int receive_answer(struct qdb_handle *h, enum awaited awaited, enum qdb_msg type,
			  struct reply *reply)
{
	int result;

	do {
		result = receive_message(h, awaited, reply);
	} while (result == 0 && reply->message.type == QDB_RESP_WATCH);
	if (result == 0 && !request_takes(type, reply->message.type))
		result = -EPROTO;
	return result;
}

int request_next(struct qdb_handle *h, enum qdb_msg type, struct reply *reply)
{
	int result = receive_answer(h, AWAITED_REST, type, reply);

	if (result < 0)
		connection_close(h);
	return result;
}

int request_once(struct qdb_handle *h, const struct request *r, struct reply *reply)
{
	int result = request_connect(h);

	if (result == 0 && request_is_change(r->type))
		result = regain_writing(h);
	if (result == 0)
		result = send_request(h, r);
	if (result == 0)
		result = receive_answer(h, AWAITED_ANSWER, r->type, reply);
	if (result < 0)
		connection_fail(h, result);
	return result;
}

int request(struct qdb_handle *h, const struct request *r, struct reply *reply)
{
	int result;

	request_begin(h);
	do {
		result = request_once(h, r, reply);
	} while (request_again(h, result));
	return result;
}

int request_outcome(int result, const struct reply *reply)
{
	return result == 0 && reply->message.type == QDB_RESP_ERROR ? REFUSED : result;
}

static int read_entry(struct qdb_handle *h, const char *path, struct reply *reply)
{
	const struct request r = {
		.type = QDB_CMD_READ,
		.path = path,
	};
	int result = request_check(h, path);

	if (result == 0)
		result = request(h, &r, reply);
	if (result != 0)
		return result;
	if (reply->message.type == QDB_RESP_ERROR_NOENT)
		return -ENOENT;
	return reply->message.type == QDB_RESP_ERROR ? -EPROTO : 0;
}

int qdb_set_timeout(qdb_handle_t h, int milliseconds)
{
	if (h == NULL || milliseconds < 0) {
		errno = EINVAL;
		return 0;
	}
	h->timeout_ms = milliseconds;
	return 1;
}

char *qdb_read(qdb_handle_t h, const char *path, unsigned int *value_len)
{
	struct reply reply;
	char *value;
	int result = read_entry(h, path, &reply);

	if (result != 0) {
		set_errno(result);
		return NULL;
	}
	value = duplicate(reply.message.data, reply.message.data_len);
	if (value != NULL && value_len != NULL)
		*value_len = (unsigned int)reply.message.data_len;
	return value;
}

static int write_entry(struct qdb_handle *h, const struct request *r)
{
	struct reply reply;
	int result = request_check(h, r->path);

	if (result == 0 && r->value == NULL && r->value_len > 0)
		result = -EINVAL;
	if (result == 0 && r->value_len > QDB_MAX_DATA)
		result = REFUSED;
	if (result == 0)
		result = request_outcome(request(h, r, &reply), &reply);
	return result;
}

int qdb_write(qdb_handle_t h, const char *path, const char *value, unsigned int value_len)
{
	const struct request r = {
		.type = QDB_CMD_WRITE,
		.path = path,
		.value = value,
		.value_len = value_len,
	};
	int result = write_entry(h, &r);

	if (result != 0)
		set_errno(result);
	return result == 0;
}

int qdb_rm(qdb_handle_t h, const char *path)
{
	const struct request r = {
		.type = QDB_CMD_RM,
		.path = path,
	};
	int result = write_entry(h, &r);

	if (result != 0)
		set_errno(result);
	return result == 0;
}

int qdb_trace(qdb_handle_t h, int on)
{
	const struct request r = {
		.type = QDB_CMD_TRACE,
		.path = on ? "on" : "off",
	};
	struct reply reply;
	int result = h != NULL ? request(h, &r, &reply) : -EINVAL;

	result = request_outcome(result, &reply);
	if (result != 0)
		set_errno(result);
	return result == 0;
}
