/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/async.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* ---- the handle ---- */

static void async_free(struct qdb_async *a)
{
	struct task *t;

	a->is_processing = true;
	while ((t = TAILQ_FIRST(&a->tasks)) != NULL) {
		async_remove_task(a, t);
		if (t->watch != 0 && async_watch_find(a, t->watch) == NULL)
			t->done = NULL;
		task_finish(t, ECANCELED);
	}
	async_disconnect(a);
	async_watch_sweep(a, true);
	if (a->timer >= 0)
		close(a->timer);
	if (a->epoll >= 0)
		close(a->epoll);
	free(a);
}

static int prepare(struct qdb_async *a, const char *vmname)
{
	struct epoll_event event = {.events = EPOLLIN};
	int result = connection_set_addresses(&a->endpoint, vmname);

	if (result < 0)
		return result;
	a->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (a->epoll < 0)
		return -errno;
	a->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (a->timer < 0)
		return -errno;
	a->delay_ms = ASYNC_FIRST_DELAY_MS;
	if (epoll_ctl(a->epoll, EPOLL_CTL_ADD, a->timer, &event) < 0)
		return -errno;
	return async_connect(a);
}

qdb_async_t qdb_async_open(const char *vmname)
{
	struct qdb_async *a = calloc(1, sizeof(*a));
	int result;

	if (a == NULL)
		return NULL;
	a->epoll = a->timer = a->fd = -1;
	TAILQ_INIT(&a->tasks);
	TAILQ_INIT(&a->watches);
	result = prepare(a, vmname);
	if (result == 0)
		return a;
	async_free(a);
	set_errno(result);
	return NULL;
}

void qdb_async_close(qdb_async_t a)
{
	if (a == NULL || a->is_closing)
		return;
	a->is_closing = true;
	if (!a->is_processing)
		async_free(a);
}

int qdb_async_fd(qdb_async_t a)
{
	if (a != NULL)
		return a->epoll;
	errno = EINVAL;
	return -1;
}

/* Returns whether there is a connection in the end; the handle may be gone then. */
static bool process(struct qdb_async *a)
{
	bool is_connected;

	a->is_processing = true;
	async_process(a);
	a->is_processing = false;
	async_watch_sweep(a, false);
	is_connected = a->fd >= 0;
	if (a->is_closing)
		async_free(a);
	return is_connected;
}

int qdb_async_process(qdb_async_t a)
{
	int error = a == NULL ? EINVAL : a->is_processing ? EBUSY : 0;

	if (error == 0 && !process(a))
		error = EPIPE;
	if (error != 0)
		errno = error;
	return error == 0;
}

/* ---- requests ---- */

static int check_room(const struct qdb_async *a)
{
	if (a == NULL || a->is_closing)
		return -EINVAL;
	return a->task_count >= QDB_ASYNC_REQUESTS_MAX ? -EAGAIN : 0;
}

static int check_path(const struct qdb_async *a, const char *path)
{
	if (a == NULL || path == NULL || a->is_closing)
		return -EINVAL;
	return path_is_sendable(path) ? check_room(a) : REFUSED;
}

static int start_task(struct qdb_async *a, struct task *t, qdb_done_fn done, void *token)
{
	if (t == NULL)
		return -ENOMEM;
	t->done = done;
	t->token = token;
	async_start_task(a, t);
	return 0;
}

static int start(struct qdb_async *a, enum qdb_msg type, const char *path,
		 const char *value, size_t value_len, qdb_done_fn done, void *token)
{
	int result = check_path(a, path);

	if (result == 0 && value == NULL && value_len > 0)
		result = -EINVAL;
	if (result == 0 && value_len > QDB_MAX_DATA)
		result = REFUSED;
	if (result == 0)
		result = start_task(a, task_new_plain(type, path, value, value_len), done,
				    token);
	if (result != 0)
		set_errno(result);
	return result == 0;
}

int qdb_async_read(qdb_async_t a, const char *path, qdb_done_fn done, void *token)
{
	return start(a, QDB_CMD_READ, path, NULL, 0, done, token);
}

int qdb_async_list(qdb_async_t a, const char *path, qdb_done_fn done, void *token)
{
	return start(a, QDB_CMD_LIST, path, NULL, 0, done, token);
}

int qdb_async_multiread(qdb_async_t a, const char *path, qdb_done_fn done, void *token)
{
	return start(a, QDB_CMD_MULTIREAD, path, NULL, 0, done, token);
}

int qdb_async_write(qdb_async_t a, const char *path, const char *value,
		    unsigned int value_len, qdb_done_fn done, void *token)
{
	return start(a, QDB_CMD_WRITE, path, value, value_len, done, token);
}

int qdb_async_rm(qdb_async_t a, const char *path, qdb_done_fn done, void *token)
{
	return start(a, QDB_CMD_RM, path, NULL, 0, done, token);
}

int qdb_async_write_many(qdb_async_t a, const struct qdb_entry *entries,
			 unsigned int count, qdb_done_fn done, void *token)
{
	uint8_t *message;
	size_t size;
	int result = check_room(a);

	if (result == 0)
		result = write_many_message(entries, count, &message, &size);
	if (result == 0)
		result = start_task(a, task_new(QDB_CMD_WRITE_MANY, message, size), done,
				    token);
	if (result != 0)
		set_errno(result);
	return result == 0;
}

/* Starts the request about a watch, which is 0 where there was no memory for it. */
static int start_watch_task(struct qdb_async *a, enum qdb_msg type, const char *path,
			    int watch, qdb_done_fn done, void *token)
{
	struct task *t = watch != 0 ? task_new_plain(type, path, NULL, 0) : NULL;

	if (t != NULL)
		t->watch = watch;
	return start_task(a, t, done, token);
}

int qdb_async_watch(qdb_async_t a, const char *path, qdb_event_fn event, qdb_done_fn done,
		    void *token)
{
	int watch = 0, result = check_path(a, path);

	if (result == 0 && event == NULL)
		result = -EINVAL;
	if (result == 0) {
		watch = async_watch_add(a, path, event, token);
		result = start_watch_task(a, QDB_CMD_WATCH, path, watch, done, token);
	}
	if (result == 0)
		return watch;
	if (watch != 0)
		async_watch_remove(a, watch);
	set_errno(result);
	return 0;
}

int qdb_async_unwatch(qdb_async_t a, int watch)
{
	struct async_watch *w = a != NULL ? async_watch_find(a, watch) : NULL;
	int result = w != NULL ? check_room(a) : -EINVAL;

	if (result == 0 && a->fd >= 0)
		result = start_watch_task(a, QDB_CMD_UNWATCH, w->path, watch, NULL, NULL);
	if (result == 0)
		async_watch_remove(a, watch);
	else
		set_errno(result);
	return result == 0;
}
