/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/pending.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/qubesdb.h"

struct pending_event {
	struct path_node node; /* the path, and a byte for the length of the watch */
	TAILQ_ENTRY(pending_event) next;
	uint64_t position;
	char key[];
};

void pending_init(struct pending *p)
{
	pathmap_init(&p->map);
	TAILQ_INIT(&p->queue);
	account_init(&p->memory, QUOTA_OUTPUT);
}

/* With two places in the buckets of the map. */
static size_t size_of(const struct pending_event *event, size_t key_len)
{
	return sizeof(*event) + key_len + 2 * sizeof(void *);
}

static void drop_oldest(struct pending *p)
{
	struct pending_event *event = TAILQ_FIRST(&p->queue);

	TAILQ_REMOVE(&p->queue, event, next);
	pathmap_remove(&p->map, &event->node);
	account_release(&p->memory, size_of(event, event->node.path_len));
	free(event);
}

void pending_forget(struct pending *p)
{
	while (!TAILQ_EMPTY(&p->queue))
		drop_oldest(p);
}

void pending_taken(struct pending *p, uint64_t position)
{
	while (!TAILQ_EMPTY(&p->queue) && TAILQ_FIRST(&p->queue)->position < position)
		drop_oldest(p);
}

bool pending_add(struct pending *p, const char *path, size_t len, size_t watch_len,
		 uint64_t position)
{
	char key[QDB_MAX_PATH];
	const size_t key_len = len + 1;
	struct pending_event *event;

	memcpy(key, path, len);
	key[len] = (char)watch_len;
	if (pathmap_find(&p->map, key, key_len))
		return false;
	if (account_room(&p->memory) < size_of(event, key_len))
		return true;
	event = malloc(sizeof(*event) + key_len);
	if (!event)
		return true;
	account_charge(&p->memory, size_of(event, key_len));
	memcpy(event->key, key, key_len);
	event->node.path = event->key;
	event->node.path_len = key_len;
	event->position = position;
	pathmap_insert(&p->map, &event->node);
	TAILQ_INSERT_TAIL(&p->queue, event, next);
	return true;
}
