/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the library share. Layers, each using only those before it:
 *
 *   events.c      the queue of unread events
 *   connection.c  bytes: connect, send one message, receive one message
 *   request.c     a request and its answer, with events put aside; read, write, rm
 *   list.c        answers of many messages: list, multiread
 *   watch.c       registrations, which outlive the connection, and their events
 *
 * with one call back: a request that finds no connection makes one, and for that has the
 * watches registered again.
 *
 * Functions return 0, a negative errno, or REFUSED.
 */
#ifndef QDB_HANDLE_H
#define QDB_HANDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/un.h>

#include "lib/events.h"
#include "lib/qubesdb-client.h"
#include "protocol/message.h"

/* The daemon said no, or would: what the caller sees as errno 0. */
enum { REFUSED = 1 };

/* One registration of a watch. */
struct watch {
	TAILQ_ENTRY(watch) link;
	char path[QDB_MAX_PATH];
};

struct qdb_handle {
	struct sockaddr_un read_write;
	struct sockaddr_un read_only;
	int fd;    /* -1: none; whatever needs a connection makes one */
	bool lost; /* fd is of no more use, but keeps its number until the next command */
	TAILQ_HEAD(, watch) watches;
	struct events events;
};

/* A message from the daemon; `message` points into the rest. */
struct reply {
	uint8_t header[MESSAGE_HEADER_SIZE];
	char data[QDB_MAX_DATA];
	struct message message;
};

/* connection.c */

/* As connect(): -errno of the second socket if both fail. */
int connection_open(struct qdb_handle *h);
void connection_close(struct qdb_handle *h);

/* All of it, or a negative errno: -EPIPE if the daemon is gone. */
int connection_send(struct qdb_handle *h, const uint8_t *bytes, size_t len);

/*
 * Takes exactly one message out of the socket. -EPIPE if the daemon is gone, -EPROTO if
 * it is no message that a daemon may send. -EINTR only where `interruptible`, and then
 * nothing has been taken.
 */
int connection_receive(struct qdb_handle *h, struct reply *reply, bool interruptible);

/* request.c */

/* A set of types, as the answers that a request may get. */
#define ANSWER(type) (1u << (type))

/* Whether `path` may be sent: 0, REFUSED or -EINVAL. */
int request_check(const struct qdb_handle *h, const char *path);

/* Makes a connection, with all watches registered, unless there is one. */
int request_connect(struct qdb_handle *h);

/*
 * Sends a request and waits for the first message of its answer, which has to be one of
 * `answers`. Any failure closes the connection.
 */
int request(struct qdb_handle *h, enum qdb_msg type, const char *path, const char *value,
	    size_t value_len, unsigned answers, struct reply *reply);

/* Waits for a further message of the answer. */
int request_next(struct qdb_handle *h, unsigned answers, struct reply *reply);

/* A request that is answered by OK, by ERROR or by one of `answers` in place of OK. */
int request_plain(struct qdb_handle *h, enum qdb_msg type, const char *path,
		  const char *value, size_t value_len, unsigned answers);

/* Sets errno to what a result other than 0 means for the caller. */
void set_errno(int result);

/* A malloc'd copy of `len` bytes, with a NUL after them, or NULL. */
char *duplicate(const char *bytes, size_t len);

/* watch.c */

/* Registers all watches on a new connection and queues an event for each of them. */
int watches_restore(struct qdb_handle *h);

#endif
