/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connection of an asynchronous handle. Answers come in the order of the requests, so
 * the first task is the one that the next answer is for.
 *
 * When the connection breaks, everything that is under way is started anew on the next:
 * first the watches that had been set, then the requests in their old order. What the old
 * daemon was told about watches since is left out, as the new one has never heard of
 * them.
 */
#include "lib/async.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define LAST_DELAY_MS 3000

/* Bytes that one call takes, so that it ends however fast the daemon sends. */
#define TAKEN_PER_CALL (256 * 1024)

/* ---- descriptors ---- */

void async_set_timer(struct qdb_async *a, int ms)
{
	const struct itimerspec when = {
		.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L + 1}};

	timerfd_settime(a->timer, 0, &when, NULL);
}

static bool is_timer_due(struct qdb_async *a)
{
	uint64_t count;

	return read(a->timer, &count, sizeof(count)) > 0;
}

static int poll_for(struct qdb_async *a, int operation, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events};

	return epoll_ctl(a->epoll, operation, fd, &event) < 0 ? -errno : 0;
}

static void set_wants_room(struct qdb_async *a, bool wants_room)
{
	if (wants_room == a->wants_room)
		return;
	a->wants_room = wants_room;
	poll_for(a, EPOLL_CTL_MOD, a->fd, EPOLLIN | (wants_room ? EPOLLOUT : 0));
}

/* A copy of the descriptor in another process would keep it in the epoll. */
void async_disconnect(struct qdb_async *a)
{
	if (a->fd < 0)
		return;
	poll_for(a, EPOLL_CTL_DEL, a->fd, 0);
	close(a->fd);
	a->fd = -1;
	a->wants_room = false;
	a->sending = NULL;
	a->sent = 0;
}

static int take_connection(struct qdb_async *a, int fd)
{
	int result = fd < 0 ? fd : poll_for(a, EPOLL_CTL_ADD, fd, EPOLLIN);

	if (result < 0) {
		if (fd >= 0)
			close(fd);
		return result;
	}
	a->fd = fd;
	a->could_write |= !a->is_read_only;
	a->has_event = false;
	message_stream_init(&a->stream, MESSAGE_FROM_DAEMON);
	return 0;
}

int async_connect(struct qdb_async *a)
{
	return take_connection(
		a, connection_to(&a->endpoint, DEADLINE_NOW, &a->is_read_only));
}

/* ---- tasks ---- */

void async_remove_task(struct qdb_async *a, struct task *t)
{
	TAILQ_REMOVE(&a->tasks, t, link);
	a->task_count--;
}

/* A watch that was not set is none. */
static void finish_task(struct qdb_async *a, struct task *t, int error)
{
	struct async_watch *w = t->watch != 0 ? async_watch_find(a, t->watch) : NULL;

	async_remove_task(a, t);
	if (t->watch != 0 && w == NULL)
		t->done = NULL;
	if (w != NULL && t->type == QDB_CMD_WATCH) {
		if (error == 0)
			w->is_set = true;
		else
			async_watch_remove(a, w->id);
	}
	task_finish(t, error);
}

/* Not those that callbacks start meanwhile. */
static void fail_all_tasks(struct qdb_async *a, int error)
{
	for (unsigned n = a->task_count; n > 0 && !TAILQ_EMPTY(&a->tasks); n--)
		finish_task(a, TAILQ_FIRST(&a->tasks), error);
}

/* ---- a connection that broke, and the next ---- */

/* What was about a watch that is gone means nothing to the next daemon. */
static bool is_outdated(struct qdb_async *a, const struct task *t)
{
	return t->is_restoring || t->type == QDB_CMD_UNWATCH ||
	       (t->type == QDB_CMD_WATCH && async_watch_find(a, t->watch) == NULL);
}

static void drop_outdated_tasks(struct qdb_async *a)
{
	struct task *t = TAILQ_FIRST(&a->tasks), *next;

	for (; t != NULL; t = next) {
		next = TAILQ_NEXT(t, link);
		task_restart(t);
		if (!is_outdated(a, t))
			continue;
		async_remove_task(a, t);
		task_free(t);
	}
}

/* Those that more connections broke under than may. */
static void drop_unlucky_tasks(struct qdb_async *a)
{
	struct task *t;

	TAILQ_FOREACH (t, &a->tasks, link)
		t->connections++;
	while ((t = TAILQ_FIRST(&a->tasks)) != NULL &&
	       t->connections >= CONNECTIONS_PER_CALL)
		finish_task(a, t, EPIPE);
}

/* In front of all other requests, in the order in which they were set. */
static int restore_watches(struct qdb_async *a)
{
	struct async_watch *w;

	TAILQ_FOREACH_REVERSE(w, &a->watches, async_watches, link)
	{
		struct task *t;

		if (!w->is_set || w->is_dead)
			continue;
		t = task_new_plain(QDB_CMD_WATCH, w->path, NULL, 0);
		if (t == NULL)
			return -ENOMEM;
		t->is_restoring = true;
		t->watch = w->id;
		TAILQ_INSERT_HEAD(&a->tasks, t, link);
		a->task_count++;
	}
	return 0;
}

static void try_later(struct qdb_async *a)
{
	if (async_watch_any(a))
		async_set_timer(a, a->delay_ms);
	a->delay_ms *= 2;
	if (a->delay_ms > LAST_DELAY_MS)
		a->delay_ms = LAST_DELAY_MS;
}

static void give_up(struct qdb_async *a, int error)
{
	async_disconnect(a);
	drop_outdated_tasks(a);
	try_later(a);
	fail_all_tasks(a, error);
}

/* On a connection that could be made, as `result` says, everything is started anew. */
static void start_anew(struct qdb_async *a, int result)
{
	if (result < 0) {
		give_up(a, EPIPE);
		return;
	}
	if (restore_watches(a) < 0) {
		give_up(a, ENOMEM);
		return;
	}
	a->sending = TAILQ_FIRST(&a->tasks);
}

static void reconnect(struct qdb_async *a)
{
	async_disconnect(a);
	drop_outdated_tasks(a);
	start_anew(a, async_connect(a));
}

static void lose_connection(struct qdb_async *a)
{
	async_watch_deliver(a);
	async_disconnect(a);
	if (!a->is_closing)
		drop_unlucky_tasks(a);
	if (a->is_closing)
		return;
	if (++a->silent_connections < CONNECTIONS_PER_CALL)
		reconnect(a);
	else
		give_up(a, EPIPE);
}

/*
 * After a refusal. A daemon that ends closes its read-write socket first, so a handle
 * that connected again may be on the other one. If the first is there again, all goes
 * there.
 */
static bool regain_writing(struct qdb_async *a, struct task *t)
{
	int fd;

	if (!a->is_read_only || !a->could_write || !request_is_change(t->type))
		return false;
	if (++t->connections >= CONNECTIONS_PER_CALL)
		return false;
	fd = connection_to_read_write(&a->endpoint, DEADLINE_NOW);
	if (fd < 0)
		return false;
	async_disconnect(a);
	drop_outdated_tasks(a);
	a->is_read_only = false;
	start_anew(a, take_connection(a, fd));
	return true;
}

/* ---- sending and receiving ---- */

/* Errors are left to be found when receiving. */
static void send_tasks(struct qdb_async *a)
{
	while (a->fd >= 0 && a->sending != NULL) {
		struct task *t = a->sending;
		ssize_t n = send(a->fd, t->message + a->sent, t->size - a->sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			set_wants_room(a, errno == EAGAIN);
			return;
		}
		a->sent += (size_t)n;
		if (a->sent < t->size)
			continue;
		a->sending = TAILQ_NEXT(t, link);
		a->sent = 0;
	}
	if (a->fd >= 0)
		set_wants_room(a, false);
}

static void fire_restored(struct qdb_async *a, int id)
{
	struct async_watch *w = async_watch_find(a, id);

	if (w != NULL)
		w->event(w->token, w->path);
}

static void finish_first(struct qdb_async *a, int error)
{
	struct task *t = TAILQ_FIRST(&a->tasks);
	const int restored = t->is_restoring && error == 0 ? t->watch : 0;

	if (t->is_restoring && error != 0) {
		give_up(a, EPIPE);
		return;
	}
	finish_task(a, t, error);
	if (restored != 0 && !a->is_closing)
		fire_restored(a, restored);
}

/* Whether an answer can be awaited: something has been sent whole. */
static bool has_sent(const struct qdb_async *a)
{
	const struct task *first = TAILQ_FIRST(&a->tasks);

	return first != NULL && first != a->sending;
}

/* The rest of a list that cannot be taken has nobody to go to. */
static bool is_fatal(int error, const struct message *m)
{
	return error == EPROTO || (error == ENOMEM && m->type != QDB_RESP_READ);
}

static void take_answer(struct qdb_async *a, const struct message *m)
{
	struct task *t = TAILQ_FIRST(&a->tasks);
	int error = EPROTO;

	if (has_sent(a) && !task_take(t, m, a->is_read_only, &error))
		return;
	if ((error == EPERM || error == EPIPE) && regain_writing(a, t))
		return;
	if (is_fatal(error, m))
		give_up(a, error);
	else
		finish_first(a, error);
}

static void take_message(struct qdb_async *a, const struct message *m)
{
	if (m->type == QDB_RESP_WATCH) {
		async_watch_event(a, m->path);
		return;
	}
	async_watch_deliver(a);
	if (!a->is_closing)
		take_answer(a, m);
}

/* Messages that have arrived, until the connection is another, or none. */
static void take_messages(struct qdb_async *a)
{
	const int fd = a->fd;
	struct message m;

	while (a->fd == fd && !a->is_closing) {
		enum message_status status = message_stream_next(&a->stream, &m);

		if (status == MESSAGE_INCOMPLETE)
			return;
		if (status == MESSAGE_VIOLATION || m.fault != MESSAGE_FINE) {
			give_up(a, EPROTO);
			return;
		}
		a->silent_connections = 0;
		a->delay_ms = ASYNC_FIRST_DELAY_MS;
		take_message(a, &m);
	}
}

/* 1: there may be more. 0: nothing now. -EPIPE: the daemon is gone. */
static int receive(struct qdb_async *a, size_t *taken)
{
	uint8_t *space;
	size_t room = message_stream_space(&a->stream, &space);
	ssize_t n = recv(a->fd, space, room, MSG_DONTWAIT);

	if (n < 0 && errno == EINTR)
		return 1;
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0)
		return -EPIPE;
	message_stream_filled(&a->stream, (size_t)n);
	*taken += (size_t)n;
	take_messages(a);
	return 1;
}

static void exchange(struct qdb_async *a)
{
	size_t taken = 0;
	int result = 1;

	while (a->fd >= 0 && !a->is_closing && result > 0 && taken < TAKEN_PER_CALL) {
		send_tasks(a);
		result = receive(a, &taken);
		if (result >= 0)
			continue;
		lose_connection(a);
		result = 1;
	}
	if (!a->is_closing)
		async_watch_deliver(a);
	send_tasks(a);
}

void async_process(struct qdb_async *a)
{
	if (is_timer_due(a) && a->fd < 0)
		reconnect(a);
	exchange(a);
	if (!a->is_closing && a->fd < 0 && !TAILQ_EMPTY(&a->tasks))
		async_set_timer(a, a->delay_ms);
}

/* A connection that is lost is found, and made, when processing. */
void async_start_task(struct qdb_async *a, struct task *t)
{
	TAILQ_INSERT_TAIL(&a->tasks, t, link);
	a->task_count++;
	if (a->sending == NULL) {
		a->sending = t;
		a->sent = 0;
	}
	if (a->is_processing)
		return;
	if (a->fd < 0)
		async_set_timer(a, 0);
	else
		send_tasks(a);
}
