/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An event says its path and not its watch, so it goes to every watch that covers the
 * path. The daemon sends one for each of these, usually in a row, of which only the last
 * is delivered: whoever looks again after it sees what all of them were about.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "lib/async.h"

int async_watch_add(struct qdb_async *a, const char *path, qdb_event_fn event,
		    void *token)
{
	struct async_watch *w = a->last_id < INT_MAX ? calloc(1, sizeof(*w)) : NULL;

	if (w == NULL)
		return 0;
	w->id = ++a->last_id;
	w->event = event;
	w->token = token;
	memcpy(w->path, path, strlen(path));
	TAILQ_INSERT_TAIL(&a->watches, w, link);
	return w->id;
}

struct async_watch *async_watch_find(struct qdb_async *a, int id)
{
	struct async_watch *w;

	TAILQ_FOREACH (w, &a->watches, link)
		if (w->id == id && !w->is_dead)
			return w;
	return NULL;
}

void async_watch_remove(struct qdb_async *a, int id)
{
	struct async_watch *w = async_watch_find(a, id);

	if (w != NULL)
		w->is_dead = true;
}

bool async_watch_any(const struct qdb_async *a)
{
	const struct async_watch *w;

	TAILQ_FOREACH (w, &a->watches, link)
		if (!w->is_dead)
			return true;
	return false;
}

void async_watch_sweep(struct qdb_async *a, bool all)
{
	struct async_watch *w = TAILQ_FIRST(&a->watches), *next;

	for (; w != NULL; w = next) {
		next = TAILQ_NEXT(w, link);
		if (!all && !w->is_dead)
			continue;
		TAILQ_REMOVE(&a->watches, w, link);
		free(w);
	}
}

/* Watches that a callback adds are behind `last`, and this event is not theirs. */
void async_watch_deliver(struct qdb_async *a)
{
	const int last = a->last_id;
	char path[QDB_MAX_PATH];
	struct async_watch *w;

	if (!a->has_event)
		return;
	a->has_event = false;
	memcpy(path, a->event, sizeof(path));
	TAILQ_FOREACH (w, &a->watches, link) {
		if (w->id > last || a->is_closing)
			return;
		if (!w->is_dead && watch_covers(w->path, path))
			w->event(w->token, path);
	}
}

void async_watch_event(struct qdb_async *a, const char *path)
{
	if (a->has_event && strcmp(a->event, path) != 0)
		async_watch_deliver(a);
	a->has_event = true;
	memcpy(a->event, path, strlen(path) + 1);
}
