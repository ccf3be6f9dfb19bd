/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events that arrived while a command waited for its answer, in the order of their
 * arrival. The first QDB_EVENTS_PLENTY are all kept. Beyond those a path is queued once,
 * since an event only says "look again"; beyond QDB_EVENTS_MOST no further path is.
 */
#ifndef QDB_EVENTS_H
#define QDB_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define QDB_EVENTS_PLENTY 1024
#define QDB_EVENTS_MOST 16384
#define EVENTS_NO_LIMIT SIZE_MAX

struct unread_event {
	TAILQ_ENTRY(unread_event) link;
	bool is_excess;
	char *path;
};

struct events {
	TAILQ_HEAD(, unread_event) queue;
	void *excess; /* tree of the queued events that are in excess, by path */
	size_t len;
};

void events_init(struct events *e);
void events_clear(struct events *e);

/* 0, -ENOBUFS if there are `most` already and this is not among them, or -ENOMEM. */
int events_add(struct events *e, const char *path, size_t most);

/* The path of the oldest event, which the caller frees; NULL if there is none. */
char *events_take(struct events *e);

#endif
