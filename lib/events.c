/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/events.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "lib/handle.h"

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

int events_add(struct events *e, const char *path)
{
	struct unread_event *event = event_new(path);
	struct unread_event **found = &event;

	if (event == NULL)
		return -ENOMEM;
	event->is_excess = e->len >= QDB_EVENTS_PLENTY;
	if (event->is_excess)
		found = tsearch(event, &e->excess, compare_paths);
	if (found == NULL || *found != event) {
		event_free(event);
		return found == NULL ? -ENOMEM : 0;
	}
	TAILQ_INSERT_TAIL(&e->queue, event, link);
	e->len++;
	return 0;
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
