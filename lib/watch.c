/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Watches belong to the handle, not to the connection: they are registered again on a new
 * one, and each then gets an event, since its path may have changed in between.
 *
 * When qdb_read_watch() finds the daemon gone, the descriptor has to keep its number,
 * because the program still has to take it out of its event loop. The handle is `lost`
 * then, until the next command closes it.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "lib/handle.h"

static int register_watch(struct qdb_handle *h, const char *path)
{
	return request_plain(h, QDB_CMD_WATCH, path, NULL, 0, 0);
}

static int add_watch(struct qdb_handle *h, const char *path)
{
	struct watch *watch;
	int result = request_check(h, path);

	if (result != 0)
		return result;
	watch = calloc(1, sizeof(*watch));
	if (watch == NULL)
		return -ENOMEM;
	memcpy(watch->path, path, strlen(path));
	result = register_watch(h, path);
	if (result == 0)
		TAILQ_INSERT_TAIL(&h->watches, watch, link);
	else
		free(watch);
	return result;
}

static void forget_watch(struct qdb_handle *h, const char *path)
{
	struct watch *watch;

	TAILQ_FOREACH (watch, &h->watches, link) {
		if (strcmp(watch->path, path) != 0)
			continue;
		TAILQ_REMOVE(&h->watches, watch, link);
		free(watch);
		return;
	}
}

int watches_restore(struct qdb_handle *h)
{
	struct watch *watch;
	int result = 0;

	TAILQ_FOREACH (watch, &h->watches, link) {
		result = register_watch(h, watch->path);
		if (result != 0)
			return result;
	}
	TAILQ_FOREACH (watch, &h->watches, link) {
		result = events_add(&h->events, watch->path);
		if (result < 0)
			return result;
	}
	return 0;
}

/* Waits for the next message, which has to be an event, and copies its path. */
static int receive_event(struct qdb_handle *h, char *path)
{
	struct reply reply;
	int result = h->lost ? -EPIPE : connection_receive(h, &reply, true);

	if (result == 0 && reply.message.type != QDB_RESP_WATCH)
		result = -EPROTO;
	if (result == 0)
		memcpy(path, reply.message.path, reply.message.path_len + 1);
	else if (result != -EINTR)
		h->lost = true;
	return result;
}

static char *wait_for_event(struct qdb_handle *h)
{
	char *path = malloc(QDB_MAX_PATH);
	int result;

	if (path == NULL)
		return NULL;
	result = receive_event(h, path);
	if (result == 0)
		return path;
	free(path);
	set_errno(result);
	return NULL;
}

int qdb_watch(qdb_handle_t h, char *path)
{
	int result = add_watch(h, path);

	if (result != 0)
		set_errno(result);
	return result == 0;
}

int qdb_unwatch(qdb_handle_t h, char *path)
{
	int result = request_check(h, path);

	if (result == 0)
		result = request_plain(h, QDB_CMD_UNWATCH, path, NULL, 0,
				       ANSWER(QDB_RESP_ERROR_NOENT));
	if (result == 0)
		forget_watch(h, path);
	else
		set_errno(result);
	return result == 0;
}

char *qdb_read_watch(qdb_handle_t h)
{
	char *path;
	int result;

	if (h == NULL) {
		errno = EINVAL;
		return NULL;
	}
	path = events_take(&h->events);
	if (path != NULL)
		return path;
	result = request_connect(h);
	if (result < 0) {
		set_errno(result);
		return NULL;
	}
	path = events_take(&h->events);
	return path != NULL ? path : wait_for_event(h);
}

int qdb_watch_fd(qdb_handle_t h)
{
	int result = h != NULL ? request_connect(h) : -EINVAL;

	if (result == 0)
		return h->fd;
	set_errno(result);
	return -1;
}

int qdb_watches_pending(qdb_handle_t h)
{
	if (h == NULL) {
		errno = EINVAL;
		return -1;
	}
	return h->events.len < INT_MAX ? (int)h->events.len : INT_MAX;
}
