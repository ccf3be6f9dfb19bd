/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/changes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/qubesdb.h"

/* Paths that only changes_send() may add: see changes_prepare(). */
#define RESERVED_PATHS 32

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
	c->owed = 0;
	c->spare = NULL;
}

static struct changed_path *allocate(void)
{
	return malloc(sizeof(struct changed_path) + QDB_MAX_PATH);
}

static struct changed_path *allocate_or_spare(struct changes *c)
{
	struct changed_path *p = allocate();

	if (!p) {
		p = c->spare;
		c->spare = NULL;
	}
	return p;
}

int changes_prepare(struct changes *c)
{
	if (account_room(&c->paths) <= RESERVED_PATHS)
		return -EDQUOT;
	if (!c->spare)
		c->spare = allocate();
	return c->spare ? 0 : -ENOMEM;
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
	p = allocate_or_spare(c);
	if (!p) {
		account_release(&c->paths, 1);
		return -ENOMEM;
	}
	memcpy(p->path, path, len);
	p->path[len] = '\0';
	p->node.path = p->path;
	p->node.path_len = len;
	p->unanswered = 0;
	p->owed = false;
	p->is_ours = false;
	pathmap_insert(&c->map, &p->node);
	*ret = p;
	return 0;
}

static void drop_if_confirmed(struct changes *c, struct changed_path *p)
{
	if (p->owed || p->unanswered > 0)
		return;
	pathmap_remove(&c->map, &p->node);
	account_release(&c->paths, 1);
	free(p);
}

static void set_owed(struct changes *c, struct changed_path *p, bool owed)
{
	if (p->owed)
		TAILQ_REMOVE(&c->queue, p, in_queue);
	if (owed)
		TAILQ_INSERT_TAIL(&c->queue, p, in_queue);
	c->owed += (size_t)owed - (size_t)p->owed;
	p->owed = owed;
}

/* Nothing below this path is owed any more, nor ours. */
static void disown_below(struct changes *c, const char *path, size_t len)
{
	struct path_node *node = pathmap_first(&c->map, path, len), *next;

	for (; node && path_begins_with(node, path, len); node = next) {
		struct changed_path *p = to_changed(node);

		next = pathmap_next(node);
		set_owed(c, p, false);
		p->is_ours = false;
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
	disown_below(c, "", 0);
	free(c->spare);
	c->spare = NULL;
}

int changes_owe(struct changes *c, const char *path, size_t len)
{
	struct changed_path *p;
	int r;

	if (path[len - 1] == '/')
		disown_below(c, path, len);
	if (account_room(&c->paths) <= RESERVED_PATHS &&
	    !pathmap_find(&c->map, path, len))
		return -EDQUOT;
	r = get_changed(c, path, len, &p);
	if (r < 0)
		return r;
	set_owed(c, p, true);
	p->is_ours = true;
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
	set_owed(c, p, false);
	p->is_ours = true;
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

void changes_forget_oldest(struct changes *c, size_t n)
{
	while (n-- > 0 && !TAILQ_EMPTY(&c->in_flight))
		drop_oldest(c);
}

void changes_owe_again(struct changes *c)
{
	struct operation *op;

	TAILQ_FOREACH_REVERSE(op, &c->in_flight, operation_list, next)
	{
		struct changed_path *p = op->on;

		if (!p->is_ours || p->owed)
			continue;
		TAILQ_INSERT_HEAD(&c->queue, p, in_queue);
		p->owed = true;
		c->owed++;
	}
	while (!TAILQ_EMPTY(&c->in_flight))
		drop_oldest(c);
}

static struct changed_path *find_ours(struct changes *c, const char *path, size_t len)
{
	struct changed_path *p = to_changed(pathmap_find(&c->map, path, len));

	return p && p->is_ours ? p : NULL;
}

bool changes_cover(struct changes *c, const char *path, size_t len)
{
	size_t n = 0;

	if (pathmap_is_empty(&c->map))
		return false;
	if (find_ours(c, path, len))
		return true;
	while ((n = path_next_directory(path, len, n)) > 0)
		if (find_ours(c, path, n))
			return true;
	return false;
}

int changes_disown(struct changes *c, const char *path, size_t len)
{
	struct changed_path *p;
	size_t n = 0;

	if (pathmap_is_empty(&c->map))
		return 0;
	if (path[len - 1] == '/') {
		disown_below(c, path, len);
		return 0;
	}
	p = find_ours(c, path, len);
	if (p) {
		set_owed(c, p, false);
		p->is_ours = false;
		drop_if_confirmed(c, p);
	}
	while ((n = path_next_directory(path, len, n)) > 0) {
		p = find_ours(c, path, n);
		if (p && p->owed)
			return changes_owe(c, path, len);
	}
	return 0;
}

size_t changes_in_flight(const struct changes *c)
{
	return c->unanswered.used;
}

bool changes_is_consistent(struct changes *c)
{
	size_t paths = 0, operations = 0, counted = 0, owed = 0;
	struct path_node *node = pathmap_first(&c->map, "", 0);
	struct operation *op;

	for (; node; node = pathmap_next(node)) {
		paths++;
		counted += to_changed(node)->unanswered;
		owed += to_changed(node)->owed;
	}
	TAILQ_FOREACH (op, &c->in_flight, next)
		operations++;
	return paths == c->paths.used && operations == c->unanswered.used &&
	       operations == counted && owed == c->owed;
}
