/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the library share. Layers, each using only those before it:
 *
 *   events.c      the queue of unread events
 *   connection.c  bytes: connect, send one message, receive one message
 *   request.c     a request and its answer, with events put aside; read, write, rm
 *   list.c        answers of many messages: list, multiread, status
 *   write-many.c  a request of many entries
 *   watch.c       registrations, which outlive the connection, and their events
 *
 * with one call back: a request that finds no connection makes one, and for that has the
 * watches registered again.
 *
 * Functions return 0, a negative errno, or REFUSED.
 */
#ifndef QDB_HANDLE_H
#define QDB_HANDLE_H

#include <errno.h>
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

/*
 * The daemon cannot be reached, as opposed to -EPIPE, where a connection broke and
 * another may do. The caller sees EPIPE for both.
 */
#define UNREACHABLE (-ENOTCONN)

/* How often one call may find the daemon gone and go on with the next. */
#define CONNECTIONS_PER_CALL 3

/* Bytes that one answer may have, with the events before and between its messages. */
#define ANSWER_MAX (64u << 20)

/* How long the rest of an answer may take to begin to arrive, and a message to end. */
#define STALL_MS 30000

/* One registration of a watch. */
struct watch {
	TAILQ_ENTRY(watch) link;
	char path[QDB_MAX_PATH];
};

/* The two sockets of a daemon. */
struct endpoint {
	struct sockaddr_un read_write;
	struct sockaddr_un read_only;
};

struct qdb_handle {
	struct endpoint endpoint;
	int fd;            /* -1: none; whatever needs a connection makes one */
	bool is_read_only; /* fd is one of the read-only socket */
	bool could_write;  /* an earlier one, or this, was of the read-write socket */
	bool is_shared;    /* the program got the number of the latest fd to poll */
	bool lost; /* fd is of no more use, but keeps its number until there is another */
	bool is_for_events; /* the call under way is: a signal ends it, and fd stays */
	int timeout_ms;     /* for each command; 0: none */
	int64_t deadline;   /* of the command under way, see clock_ms(); 0: none */
	int connections;    /* that broke since the command under way began */
	size_t answered;    /* bytes that it got */
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

/* Milliseconds of a clock that only goes on. */
int64_t clock_ms(void);

/*
 * 0, -EINVAL for what is no name, or -ENAMETOOLONG. The path of the read-only socket is
 * the longer one; if that alone does not fit, only connecting to it will fail.
 */
int connection_set_addresses(struct endpoint *e, const char *vmname);

/* The deadline of who does not wait at all. */
#define DEADLINE_NOW INT64_MIN

/*
 * A connection, or a negative errno: that of the second socket if both fail. -EINTR if a
 * signal handler ran meanwhile.
 */
int connection_to(const struct endpoint *e, int64_t deadline, bool *is_read_only);

/*
 * As connection_to(), for a handle. A descriptor that is lost is replaced under its
 * number, and kept as it is if there is no other.
 */
int connection_open(struct qdb_handle *h);

/* A connection to the read-write socket alone, and one in place of that which was closed.
 */
int connection_to_read_write(const struct endpoint *e, int64_t deadline);
void connection_take(struct qdb_handle *h, int fd, bool is_read_only);
void connection_close(struct qdb_handle *h);

/* After a failure: closed, or lost where the call under way has to leave it. */
void connection_fail(struct qdb_handle *h, int result);

/* Sends as much as there is room for, and waits for some room or something to receive. */
int connection_send_some(struct qdb_handle *h, const uint8_t *bytes, size_t len,
			 size_t *sent, bool *readable);

/* All of it, or a negative errno: -EPIPE if the daemon is gone. */
int connection_send(struct qdb_handle *h, const uint8_t *bytes, size_t len);

/* What connection_receive() waits for. */
enum awaited {
	AWAITED_ANSWER,  /* a signal may end the wait if it is for events */
	AWAITED_REST,    /* of an answer: it has to come before long */
	AWAITED_EVENT,   /* a signal may end the wait */
	AWAITED_NOTHING, /* beyond what has arrived: -ETIMEDOUT for the rest */
};

/*
 * Takes exactly one message out of the socket. -EPIPE if the daemon is gone, -EPROTO if
 * it is no message that a daemon may send, -ETIMEDOUT if it did not come in time, -EINTR
 * if a signal ended the wait, and then nothing has been taken.
 */
int connection_receive(struct qdb_handle *h, struct reply *reply, enum awaited awaited);

/* request.c */

/* Whether a message of type `answer` may be one to a request of that type. */
bool request_takes(enum qdb_msg request, enum qdb_msg answer);

/* Whether a read-only connection refuses a request of that type. */
bool request_is_change(enum qdb_msg type);

bool path_is_sendable(const char *path);

/* Whether `path` may be sent: 0, REFUSED or -EINVAL. */
int request_check(const struct qdb_handle *h, const char *path);

/* Begins a command, which has its own share of time and of connections. */
void request_begin(struct qdb_handle *h);
void request_set_deadline(struct qdb_handle *h);

/*
 * Makes a connection, with all watches registered, unless there is one. -EPIPE if the one
 * that it made broke.
 */
int request_connect(struct qdb_handle *h);

/*
 * Whether what ended with `result` is to be done once more. That is so if the connection
 * broke: another daemon may have taken this one's place. But the connection must not be
 * exchanged unnoticed if the program polls its descriptor.
 */
bool request_again(struct qdb_handle *h, int result);

struct request {
	enum qdb_msg type;
	const char *path;
	const char *value;
	size_t value_len;
	const uint8_t *message; /* the request as it is sent, if not NULL */
	size_t size;
};

/*
 * Sends a request and waits for the first message of its answer, once. Any failure closes
 * the connection.
 */
int request_once(struct qdb_handle *h, const struct request *r, struct reply *reply);

/* Waits for a further message of the answer to a request of that type. */
int request_next(struct qdb_handle *h, enum qdb_msg type, struct reply *reply);

/* request_once() as a whole command: begun, and done again where that is called for. */
int request(struct qdb_handle *h, const struct request *r, struct reply *reply);

/* What the answer to a request other than for data means: 0, REFUSED or `result`. */
int request_outcome(int result, const struct reply *reply);

/* Sets errno to what a result other than 0 means for the caller. */
void set_errno(int result);

/* A malloc'd copy of `len` bytes, with a NUL after them, or NULL. */
char *duplicate(const char *bytes, size_t len);

/* write-many.c */

/*
 * Builds a CMD_WRITE_MANY, which the caller frees: 0, REFUSED, -EINVAL, -E2BIG or
 * -ENOMEM.
 */
int write_many_message(const struct qdb_entry *entries, unsigned count, uint8_t **message,
		       size_t *size);

/* What a RESP_ERROR to it means: REFUSED or -ENOTSUP. */
int write_many_refusal(const struct message *m, bool is_read_only);

/* watch.c */

/* Registers all watches on a new connection and queues an event for each of them. */
int watches_restore(struct qdb_handle *h);

/* Whether a watch on `watch` is one on `path` too. */
bool watch_covers(const char *watch, const char *path);

/* Queues an event that came while an answer was awaited. */
int watches_queue_event(struct qdb_handle *h, const char *path);

#endif
