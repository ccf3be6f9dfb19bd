/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/changes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct operation {
	TAILQ_ENTRY(operation) next;
	struct changed_path *on;
};

static struct changed_path *to_changed(struct path_node *node)
{
	return pathmap_object(node, struct changed_path, node);
}

void changes_init(struct changes *c)
{
	pathmap_init(&c->map);
	TAILQ_INIT(&c->queue);
	TAILQ_INIT(&c->in_flight);
	account_init(&c->paths, QUOTA_CHANGES);
	account_init(&c->unanswered, QUOTA_UNANSWERED);
}

static int get_changed(struct changes *c, const char *path, size_t len,
		       struct changed_path **ret)
{
	struct changed_path *p = to_changed(pathmap_find(&c->map, path, len));
	int r;

	*ret = p;
	if (p)
		return 0;
	r = account_charge(&c->paths, 1);
	if (r < 0)
		return r;
	p = malloc(sizeof(*p) + len + 1);
	if (!p) {
		account_release(&c->paths, 1);
		return -ENOMEM;
	}
	memcpy(p->path, path, len);
	p->path[len] = '\0';
	p->node.path = p->path;
	p->node.path_len = len;
	p->unanswered = 0;
	p->queued = false;
	pathmap_insert(&c->map, &p->node);
	*ret = p;
	return 0;
}

static void drop_if_confirmed(struct changes *c, struct changed_path *p)
{
	if (p->queued || p->unanswered > 0)
		return;
	pathmap_remove(&c->map, &p->node);
	account_release(&c->paths, 1);
	free(p);
}

static void unqueue(struct changes *c, struct changed_path *p)
{
	if (!p->queued)
		return;
	TAILQ_REMOVE(&c->queue, p, in_queue);
	p->queued = false;
}

static void unqueue_below(struct changes *c, const char *path, size_t len)
{
	struct path_node *node = pathmap_first(&c->map, path, len), *next;

	for (; node && path_begins_with(node, path, len); node = next) {
		struct changed_path *p = to_changed(node);

		next = pathmap_next(node);
		unqueue(c, p);
		drop_if_confirmed(c, p);
	}
}

static void drop_oldest(struct changes *c)
{
	struct operation *op = TAILQ_FIRST(&c->in_flight);

	TAILQ_REMOVE(&c->in_flight, op, next);
	account_release(&c->unanswered, 1);
	op->on->unanswered--;
	drop_if_confirmed(c, op->on);
	free(op);
}

void changes_clear(struct changes *c)
{
	while (!TAILQ_EMPTY(&c->in_flight))
		drop_oldest(c);
	unqueue_below(c, "", 0);
}

int changes_queue(struct changes *c, const char *path, size_t len)
{
	struct changed_path *p;
	int r;

	if (path[len - 1] == '/')
		unqueue_below(c, path, len);
	r = get_changed(c, path, len, &p);
	if (r < 0)
		return r;
	unqueue(c, p);
	TAILQ_INSERT_TAIL(&c->queue, p, in_queue);
	p->queued = true;
	return 0;
}

const struct changed_path *changes_next(const struct changes *c)
{
	return TAILQ_FIRST(&c->queue);
}

int changes_send(struct changes *c, const char *path, size_t len)
{
	struct changed_path *p;
	struct operation *op;
	int r;

	r = account_charge(&c->unanswered, 1);
	if (r < 0)
		return r;
	op = malloc(sizeof(*op));
	r = op ? get_changed(c, path, len, &p) : -ENOMEM;
	if (r < 0) {
		free(op);
		account_release(&c->unanswered, 1);
		return r;
	}
	op->on = p;
	p->unanswered++;
	TAILQ_INSERT_TAIL(&c->in_flight, op, next);
	unqueue(c, p);
	return 0;
}

bool changes_answered(struct changes *c, const char *path, size_t len)
{
	struct operation *op = TAILQ_FIRST(&c->in_flight);

	if (!op || op->on->node.path_len != len || memcmp(op->on->path, path, len) != 0)
		return false;
	drop_oldest(c);
	return true;
}

void changes_requeue(struct changes *c)
{
	struct operation *op;

	while ((op = TAILQ_LAST(&c->in_flight, operation_list))) {
		if (!op->on->queued) {
			TAILQ_INSERT_HEAD(&c->queue, op->on, in_queue);
			op->on->queued = true;
		}
		TAILQ_REMOVE(&c->in_flight, op, next);
		account_release(&c->unanswered, 1);
		op->on->unanswered--;
		free(op);
	}
}

bool changes_cover(struct changes *c, const char *path, size_t len)
{
	size_t n = 0;

	if (pathmap_is_empty(&c->map))
		return false;
	if (pathmap_find(&c->map, path, len))
		return true;
	while ((n = path_next_directory(path, len, n)) > 0)
		if (pathmap_find(&c->map, path, n))
			return true;
	return false;
}

size_t changes_in_flight(const struct changes *c)
{
	return c->unanswered.used;
}

bool changes_is_consistent(struct changes *c)
{
	size_t paths = 0, operations = 0, counted = 0;
	struct path_node *node = pathmap_first(&c->map, "", 0);
	struct operation *op;

	for (; node; node = pathmap_next(node)) {
		paths++;
		counted += to_changed(node)->unanswered;
	}
	TAILQ_FOREACH (op, &c->in_flight, next)
		operations++;
	return paths == c->paths.used && operations == c->unanswered.used &&
	       operations == counted;
}
