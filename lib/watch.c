/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Watches belong to the handle, not to the connection: they are registered again on a new
 * one, and each then gets an event, since its path may have changed in between.
 *
 * When qdb_read_watch() finds the daemon gone, the descriptor has to keep its number,
 * because the program still has to take it out of its event loop. The handle is `lost`
 * then, until the next command replaces the descriptor or closes it. So does a descriptor
 * that was got meanwhile, if the daemon behind it is gone, too.
 *
 * A daemon in a VM may take long before it takes the watches back, so a signal ends that
 * wait as well. What has been begun is closed then, and the next call begins anew.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "lib/handle.h"

static struct request watch_request(const char *path)
{
	return (struct request){
		.type = QDB_CMD_WATCH,
		.path = path,
	};
}

static int add_watch(struct qdb_handle *h, const char *path)
{
	const struct request r = watch_request(path);
	struct reply reply;
	struct watch *watch;
	int result = request_check(h, path);

	if (result != 0)
		return result;
	watch = calloc(1, sizeof(*watch));
	if (watch == NULL)
		return -ENOMEM;
	memcpy(watch->path, path, strlen(path));
	result = request_outcome(request(h, &r, &reply), &reply);
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

/* A daemon that does not take a watch back is of no use. */
static int restore_watch(struct qdb_handle *h, const char *path)
{
	const struct request r = watch_request(path);
	struct reply reply;
	int result = request_outcome(request_once(h, &r, &reply), &reply);

	return result == REFUSED || result == -EPROTO ? UNREACHABLE : result;
}

int watches_restore(struct qdb_handle *h)
{
	struct watch *watch;
	int result = 0;

	TAILQ_FOREACH (watch, &h->watches, link) {
		result = restore_watch(h, watch->path);
		if (result != 0)
			return result;
	}
	TAILQ_FOREACH (watch, &h->watches, link) {
		result = events_add(&h->events, watch->path, EVENTS_NO_LIMIT);
		if (result < 0)
			return result;
	}
	return 0;
}

bool watch_covers(const char *watch, const char *path)
{
	size_t len = strlen(watch);

	if (len > 0 && watch[len - 1] == '/')
		return strncmp(watch, path, len) == 0;
	return strcmp(watch, path) == 0;
}

/* There are fewer watches than paths, and each is queued once. */
int watches_queue_event(struct qdb_handle *h, const char *path)
{
	struct watch *watch;
	int result = events_add(&h->events, path, QDB_EVENTS_MOST);

	if (result != -ENOBUFS)
		return result;
	result = 0;
	TAILQ_FOREACH (watch, &h->watches, link)
		if (result == 0 && watch_covers(watch->path, path))
			result = events_add(&h->events, watch->path, EVENTS_NO_LIMIT);
	return result;
}

/* Another daemon may have taken the place of the one that is gone. */
static int replace_connection(struct qdb_handle *h)
{
	int result;

	do {
		result = request_connect(h);
	} while (result == -EPIPE && ++h->connections < CONNECTIONS_PER_CALL);
	return result;
}

/* Waits for the next message, which has to be an event, and copies its path. */
static int receive_event(struct qdb_handle *h, char *path)
{
	struct reply reply;
	int result = connection_receive(h, &reply, AWAITED_EVENT);

	if (result == 0 && reply.message.type != QDB_RESP_WATCH)
		result = -EPROTO;
	if (result == 0)
		memcpy(path, reply.message.path, reply.message.path_len + 1);
	else if (result != -EINTR)
		h->lost = true;
	return result;
}

/* An event of the queue or of the socket. */
static int next_event(struct qdb_handle *h, char *path)
{
	char *queued = events_take(&h->events);

	if (queued == NULL)
		return receive_event(h, path);
	memcpy(path, queued, strlen(queued) + 1);
	free(queued);
	return 0;
}

static void begin_for_events(struct qdb_handle *h)
{
	request_begin(h);
	h->is_for_events = true;
}

static int wait_for_event(struct qdb_handle *h, char *path)
{
	int result = 0;

	begin_for_events(h);
	if (h->events.len == 0 && h->lost)
		return -EPIPE;
	if (h->events.len == 0 && h->fd < 0)
		result = replace_connection(h);
	while (result == 0) {
		result = next_event(h, path);
		if (!request_again(h, result))
			break;
		request_set_deadline(h);
		result = replace_connection(h);
	}
	return result;
}

int qdb_watch(qdb_handle_t h, const char *path)
{
	int result = add_watch(h, path);

	if (result != 0)
		set_errno(result);
	return result == 0;
}

int qdb_unwatch(qdb_handle_t h, const char *path)
{
	const struct request r = {
		.type = QDB_CMD_UNWATCH,
		.path = path,
	};
	struct reply reply;
	int result = request_check(h, path);

	if (result == 0)
		result = request_outcome(request(h, &r, &reply), &reply);
	if (result == 0)
		forget_watch(h, path);
	else
		set_errno(result);
	return result == 0;
}

char *qdb_read_watch(qdb_handle_t h)
{
	char *path = h != NULL ? malloc(QDB_MAX_PATH) : NULL;
	int result;

	if (path == NULL) {
		errno = h != NULL ? ENOMEM : EINVAL;
		return NULL;
	}
	result = wait_for_event(h, path);
	if (result == 0)
		return path;
	free(path);
	set_errno(result);
	return NULL;
}

int qdb_reconnect(qdb_handle_t h)
{
	int result = h != NULL ? 0 : -EINVAL;

	if (result == 0) {
		begin_for_events(h);
		result = replace_connection(h);
	}
	if (result != 0)
		set_errno(result);
	return result == 0;
}

int qdb_watch_fd(qdb_handle_t h)
{
	int result = h != NULL ? 0 : -EINVAL;

	if (result == 0 && h->fd < 0) {
		request_begin(h);
		result = replace_connection(h);
	}
	if (result != 0) {
		set_errno(result);
		return -1;
	}
	h->is_shared = true;
	return h->fd;
}

int qdb_watches_pending(qdb_handle_t h)
{
	if (h == NULL) {
		errno = EINVAL;
		return -1;
	}
	return h->events.len < INT_MAX ? (int)h->events.len : INT_MAX;
}
