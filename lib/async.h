/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the asynchronous interface share. Layers, each using only those
 * before it:
 *
 *   async-task.c   a request from its start to its completion, with what was found
 *   async-watch.c  the watches and their callbacks
 *   async-link.c   the connection, and the next one
 *   async.c        the public functions
 *
 * The program polls an epoll descriptor, which holds the socket, if there is one, and a
 * timer for the next attempt to connect. So it keeps its number and its place in any
 * event loop whatever becomes of the connection.
 *
 * A callback may do anything but process. So the handle is freed, and watches that were
 * taken back are, when no callback is running.
 */
#ifndef QDB_ASYNC_H
#define QDB_ASYNC_H

#include "lib/handle.h"
#include "lib/qubesdb-async.h"

/* One request. */
struct task {
	TAILQ_ENTRY(task) link;
	enum qdb_msg type;
	bool is_restoring; /* sets a watch again after a reconnect; nobody waits for it */
	int watch;         /* whose request this is; 0: none */
	int connections;   /* that broke under it */
	qdb_done_fn done;
	void *token;
	uint8_t *message;
	size_t size;
	size_t answered; /* bytes */
	struct qdb_entry *entries;
	unsigned count;
	unsigned capacity;
};

TAILQ_HEAD(tasks, task);

struct async_watch {
	TAILQ_ENTRY(async_watch) link;
	int id;
	bool is_set;  /* the daemon has taken it at some time */
	bool is_dead; /* taken back; freed when no callback runs */
	qdb_event_fn event;
	void *token;
	char path[QDB_MAX_PATH];
};

struct qdb_async {
	struct endpoint endpoint;
	int epoll;
	int timer;
	int fd;            /* -1: no connection */
	bool is_read_only; /* the latest */
	bool could_write;  /* one of them */
	bool wants_room;
	bool is_processing;
	bool is_closing;
	int delay_ms;           /* until the next attempt to connect */
	int silent_connections; /* that broke since a message came */
	struct tasks tasks;     /* in the order of their answers */
	unsigned task_count;
	struct task *sending; /* the first that is not wholly sent, or NULL */
	size_t sent;          /* bytes of it */
	TAILQ_HEAD(async_watches, async_watch) watches;
	int last_id;
	bool has_event; /* one that may be followed by its like */
	char event[QDB_MAX_PATH];
	struct message_stream stream;
};

#define ASYNC_FIRST_DELAY_MS 100

/* async-task.c */

/* Takes `message` over, also on failure, which gives NULL. */
struct task *task_new(enum qdb_msg type, uint8_t *message, size_t size);
struct task *task_new_plain(enum qdb_msg type, const char *path, const char *value,
			    size_t value_len);
void task_free(struct task *t);

/*
 * Takes a message of the answer, on such a connection. Returns whether it was the last;
 * *error is then what the result says.
 */
bool task_take(struct task *t, const struct message *m, bool is_read_only, int *error);

/* Forgets the answer so far, so that the request can be sent again. */
void task_restart(struct task *t);

/* Calls the callback and frees the task. */
void task_finish(struct task *t, int error);

/* async-watch.c */

/* The number of a new watch, or 0 for want of memory. */
int async_watch_add(struct qdb_async *a, const char *path, qdb_event_fn event,
		    void *token);
struct async_watch *async_watch_find(struct qdb_async *a, int id);
void async_watch_remove(struct qdb_async *a, int id);
bool async_watch_any(const struct qdb_async *a);

/* Frees what was removed, or all. */
void async_watch_sweep(struct qdb_async *a, bool all);

/* The event is delivered when it is known that it is not followed by its like. */
void async_watch_event(struct qdb_async *a, const char *path);
void async_watch_deliver(struct qdb_async *a);

/* async-link.c */

/* Milliseconds until the program is woken up for the next attempt to connect. */
void async_set_timer(struct qdb_async *a, int ms);

int async_connect(struct qdb_async *a);
void async_disconnect(struct qdb_async *a);

/* Queues a task, and sends it if that can be done at once. */
void async_start_task(struct qdb_async *a, struct task *t);
void async_remove_task(struct qdb_async *a, struct task *t);

/* All that can be done without waiting. Callbacks run. */
void async_process(struct qdb_async *a);

#endif
