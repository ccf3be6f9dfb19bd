/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/events.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "lib/handle.h"

enum { EXISTS = 1 };

static int compare_paths(const void *a, const void *b)
{
	return strcmp(((const struct unread_event *)a)->path,
		      ((const struct unread_event *)b)->path);
}

void events_init(struct events *e)
{
	TAILQ_INIT(&e->queue);
	e->excess = NULL;
	e->len = 0;
}

void events_clear(struct events *e)
{
	char *path;

	while ((path = events_take(e)) != NULL)
		free(path);
}

static struct unread_event *event_new(const char *path)
{
	struct unread_event *event = calloc(1, sizeof(*event));

	if (event == NULL)
		return NULL;
	event->path = duplicate(path, strlen(path));
	if (event->path != NULL)
		return event;
	free(event);
	return NULL;
}

static void event_free(struct unread_event *event)
{
	free(event->path);
	free(event);
}

static void append(struct events *e, struct unread_event *event)
{
	TAILQ_INSERT_TAIL(&e->queue, event, link);
	e->len++;
}

static int add_excess(struct events *e, struct unread_event *event, size_t most)
{
	struct unread_event **found;

	if (e->len >= most && tfind(event, &e->excess, compare_paths) == NULL)
		return -ENOBUFS;
	event->is_excess = true;
	found = tsearch(event, &e->excess, compare_paths);
	if (found == NULL)
		return -ENOMEM;
	if (*found != event)
		return EXISTS;
	append(e, event);
	return 0;
}

int events_add(struct events *e, const char *path, size_t most)
{
	struct unread_event *event = event_new(path);
	int result;

	if (event == NULL)
		return -ENOMEM;
	if (e->len < QDB_EVENTS_PLENTY) {
		append(e, event);
		return 0;
	}
	result = add_excess(e, event, most);
	if (result == 0)
		return 0;
	event_free(event);
	return result == EXISTS ? 0 : result;
}

char *events_take(struct events *e)
{
	struct unread_event *event = TAILQ_FIRST(&e->queue);
	char *path;

	if (event == NULL)
		return NULL;
	TAILQ_REMOVE(&e->queue, event, link);
	if (event->is_excess)
		tdelete(event, &e->excess, compare_paths);
	e->len--;
	path = event->path;
	free(event);
	return path;
}
