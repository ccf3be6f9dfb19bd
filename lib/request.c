/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A request is sent whole and its answer awaited, and there is never more than one under
 * way. Events may come before any message of the answer; they are queued.
 *
 * After a failure nobody knows what the socket still holds, so the connection is closed;
 * the next request makes a new one. A request is never sent a second time: the daemon may
 * have carried it out before it went away.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/handle.h"

void set_errno(int result)
{
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

int request_check(const struct qdb_handle *h, const char *path)
{
	if (h == NULL || path == NULL)
		return -EINVAL;
	if (path[0] != '/' || strnlen(path, QDB_MAX_PATH) == QDB_MAX_PATH)
		return REFUSED;
	return 0;
}

int request_connect(struct qdb_handle *h)
{
	int result;

	if (h->fd >= 0)
		return 0;
	if (connection_open(h) < 0)
		return -EPIPE;
	result = watches_restore(h);
	if (result == 0)
		return 0;
	connection_close(h);
	return result == -ENOMEM ? result : -EPIPE;
}

int request_next(struct qdb_handle *h, unsigned answers, struct reply *reply)
{
	int result;

	for (;;) {
		result = connection_receive(h, reply, false);
		if (result < 0 || reply->message.type != QDB_RESP_WATCH)
			break;
		result = events_add(&h->events, reply->message.path);
		if (result < 0)
			break;
	}
	if (result == 0 && !(answers & ANSWER(reply->message.type)))
		result = -EPROTO;
	if (result < 0)
		connection_close(h);
	return result;
}

int request(struct qdb_handle *h, enum qdb_msg type, const char *path, const char *value,
	    size_t value_len, unsigned answers, struct reply *reply)
{
	uint8_t message[MESSAGE_MAX_SIZE];
	size_t size;
	int result;

	if (h->lost) {
		connection_close(h);
		return -EPIPE;
	}
	result = request_connect(h);
	if (result < 0)
		return result;
	size = message_encode(message, type, path, strlen(path), value, value_len);
	result = connection_send(h, message, size);
	if (result < 0) {
		connection_close(h);
		return result;
	}
	return request_next(h, answers, reply);
}

int request_plain(struct qdb_handle *h, enum qdb_msg type, const char *path,
		  const char *value, size_t value_len, unsigned answers)
{
	struct reply reply;
	int result;

	answers |= ANSWER(QDB_RESP_OK) | ANSWER(QDB_RESP_ERROR);
	result = request(h, type, path, value, value_len, answers, &reply);
	if (result == 0 && reply.message.type == QDB_RESP_ERROR)
		return REFUSED;
	return result;
}

static int read_entry(struct qdb_handle *h, const char *path, struct reply *reply)
{
	const unsigned answers = ANSWER(QDB_RESP_READ) | ANSWER(QDB_RESP_ERROR_NOENT) |
				 ANSWER(QDB_RESP_ERROR);
	int result = request_check(h, path);

	if (result == 0)
		result = request(h, QDB_CMD_READ, path, NULL, 0, answers, reply);
	if (result != 0)
		return result;
	if (reply->message.type == QDB_RESP_ERROR_NOENT)
		return -ENOENT;
	return reply->message.type == QDB_RESP_ERROR ? -EPROTO : 0;
}

char *qdb_read(qdb_handle_t h, char *path, unsigned int *value_len)
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

int qdb_write(qdb_handle_t h, char *path, char *value, unsigned int value_len)
{
	int result = request_check(h, path);

	if (result == 0 && value == NULL && value_len > 0)
		result = -EINVAL;
	if (result == 0 && value_len > QDB_MAX_DATA)
		result = REFUSED;
	if (result == 0)
		result = request_plain(h, QDB_CMD_WRITE, path, value, value_len, 0);
	if (result != 0)
		set_errno(result);
	return result == 0;
}

int qdb_rm(qdb_handle_t h, char *path)
{
	int result = request_check(h, path);

	if (result == 0)
		result = request_plain(h, QDB_CMD_RM, path, NULL, 0,
				       ANSWER(QDB_RESP_ERROR_NOENT));
	if (result != 0)
		set_errno(result);
	return result == 0;
}
