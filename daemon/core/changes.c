/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/changes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/qubesdb.h"

/* Paths that only changes_send() may add: see changes_prepare(). */
#define RESERVED_PATHS 32

static struct changed_path *to_changed(struct path_node *node)
{
	return pathmap_object(node, struct changed_path, node);
}

void changes_init(struct changes *c)
{
	memset(c, 0, sizeof(*c));
	pathmap_init(&c->map);
	TAILQ_INIT(&c->owed);
	TAILQ_INIT(&c->in_flight);
	TAILQ_INIT(&c->spare);
	account_init(&c->paths, QUOTA_CHANGES);
	account_init(&c->refusals, QUOTA_VM_REFUSED);
	account_init(&c->unanswered, QUOTA_UNANSWERED);
}

/* ---- paths ---- */

static struct changed_path *allocate(void)
{
	return malloc(sizeof(struct changed_path) + QDB_MAX_PATH);
}

static struct changed_path *take_spare(struct changes *c)
{
	struct changed_path *p = TAILQ_FIRST(&c->spare);

	if (!p)
		return NULL;
	TAILQ_REMOVE(&c->spare, p, by_change);
	c->n_spare--;
	return p;
}

static int keep_spare(struct changes *c, size_t n)
{
	struct changed_path *p;

	while (c->n_spare > n)
		free(take_spare(c));
	for (; c->n_spare < n; c->n_spare++) {
		p = allocate();
		if (!p)
			return -ENOMEM;
		TAILQ_INSERT_HEAD(&c->spare, p, by_change);
	}
	return 0;
}

size_t changes_room(const struct changes *c)
{
	const size_t room = account_room(&c->paths);

	return room > RESERVED_PATHS ? room - RESERVED_PATHS : 0;
}

int changes_prepare(struct changes *c, size_t n)
{
	if (changes_room(c) < n)
		return quota_refuse(QUOTA_CHANGES);
	return keep_spare(c, n);
}

static int add_path(struct changes *c, const char *path, size_t len,
		    struct changed_path **ret)
{
	struct changed_path *p;
	int r = account_charge(&c->paths, 1);

	if (r < 0)
		return r;
	p = take_spare(c);
	if (!p)
		p = allocate();
	if (!p) {
		account_release(&c->paths, 1);
		return -ENOMEM;
	}
	memset(p, 0, sizeof(*p));
	memcpy(p->path, path, len);
	p->path[len] = '\0';
	p->node.path = p->path;
	p->node.path_len = len;
	pathmap_insert(&c->map, &p->node);
	*ret = p;
	return 0;
}

static struct changed_path *find(struct changes *c, const char *path, size_t len)
{
	return to_changed(pathmap_find(&c->map, path, len));
}

static void drop_if_confirmed(struct changes *c, struct changed_path *p)
{
	if (p->owed || p->in_flight)
		return;
	pathmap_remove(&c->map, &p->node);
	account_release(&c->paths, 1);
	account_release(&c->refusals, p->is_refusal);
	free(p);
}

static void set_owed(struct changes *c, struct changed_path *p, bool owed)
{
	if (p->owed) {
		TAILQ_REMOVE(&c->owed, p, by_change);
		c->n_owed--;
	}
	if (owed) {
		TAILQ_INSERT_TAIL(&c->owed, p, by_change);
		c->n_owed++;
	}
	p->owed = owed;
}

/* In their order, which is that of the calls but for changes_sent_nth(). */
static void set_in_flight(struct changes *c, struct changed_path *p, uint64_t operation)
{
	struct changed_path *before;

	if (p->in_flight)
		TAILQ_REMOVE(&c->in_flight, p, by_operation);
	p->in_flight = operation > 0;
	p->operation = operation;
	if (!p->in_flight)
		return;
	before = TAILQ_LAST(&c->in_flight, changed_path_list);
	while (before && before->operation > operation)
		before = TAILQ_PREV(before, changed_path_list, by_operation);
	if (before)
		TAILQ_INSERT_AFTER(&c->in_flight, before, p, by_operation);
	else
		TAILQ_INSERT_HEAD(&c->in_flight, p, by_operation);
}

static void disown(struct changes *c, struct changed_path *p)
{
	set_owed(c, p, false);
	p->is_ours = false;
	drop_if_confirmed(c, p);
}

static void disown_below(struct changes *c, const char *path, size_t len)
{
	struct path_node *node = pathmap_first(&c->map, path, len), *next;

	for (; node && path_begins_with(node, path, len); node = next) {
		next = pathmap_next(node);
		disown(c, to_changed(node));
	}
}

void changes_clear(struct changes *c)
{
	changes_confirm(c, changes_in_flight(c));
	disown_below(c, "", 0);
	keep_spare(c, 0);
}

/* ---- owing and sending ---- */

int changes_owe(struct changes *c, const char *path, size_t len)
{
	struct changed_path *p = find(c, path, len);
	int r;

	if (!p) {
		if (changes_room(c) == 0)
			return -EDQUOT;
		r = add_path(c, path, len, &p);
		if (r < 0)
			return r;
	}
	set_owed(c, p, true);
	p->is_ours = true;
	return 0;
}

int changes_owe_refusal(struct changes *c, const char *path, size_t len)
{
	const bool is_new = !find(c, path, len);
	int r = is_new ? account_check(&c->refusals, 1) : 0;

	if (r == 0)
		r = changes_owe(c, path, len);
	if (r == 0 && is_new) {
		account_charge(&c->refusals, 1);
		find(c, path, len)->is_refusal = true;
	}
	return r;
}

bool changes_owes(struct changes *c, const char *path, size_t len)
{
	const struct changed_path *p;

	if (c->n_owed == 0)
		return false;
	p = find(c, path, len);
	return p && p->owed;
}

const struct changed_path *changes_next(const struct changes *c)
{
	return TAILQ_FIRST(&c->owed);
}

const struct changed_path *changes_after(struct changes *c, const char *path, size_t len)
{
	return to_changed(pathmap_after(&c->map, path, len));
}

static void mark_sent(struct changes *c, struct changed_path *p, uint64_t operation)
{
	set_owed(c, p, false);
	set_in_flight(c, p, operation);
	p->is_ours = true;
}

int changes_sent_nth(struct changes *c, const char *path, size_t len, size_t n)
{
	struct changed_path *p = find(c, path, len);
	int r = p ? 0 : add_path(c, path, len, &p);

	if (r == 0)
		mark_sent(c, p, c->answered + n);
	return r;
}

int changes_send(struct changes *c, const char *path, size_t len)
{
	int r = account_charge(&c->unanswered, 1);

	if (r < 0)
		return r;
	r = changes_sent_nth(c, path, len, c->unanswered.used);
	if (r < 0)
		account_release(&c->unanswered, 1);
	return r;
}

int changes_sent_before(struct changes *c, size_t operations)
{
	return account_charge(&c->unanswered, operations);
}

void changes_sent_too(struct changes *c, const char *path, size_t len)
{
	struct changed_path *p = find(c, path, len);

	if (p)
		mark_sent(c, p, c->answered + c->unanswered.used);
}

/* ---- what the peer has, and what it has not ---- */

size_t changes_confirm(struct changes *c, size_t n)
{
	struct changed_path *p;

	if (n > changes_in_flight(c))
		n = changes_in_flight(c);
	account_release(&c->unanswered, n);
	c->answered += n;
	while ((p = TAILQ_FIRST(&c->in_flight)) && p->operation <= c->answered) {
		set_in_flight(c, p, 0);
		drop_if_confirmed(c, p);
	}
	return n;
}

void changes_owe_again(struct changes *c)
{
	struct changed_path *p;

	TAILQ_FOREACH_REVERSE(p, &c->in_flight, changed_path_list, by_operation)
	{
		const bool is_directory = p->path[p->node.path_len - 1] == '/';

		if (!p->is_ours || p->owed || is_directory)
			continue;
		TAILQ_INSERT_HEAD(&c->owed, p, by_change);
		p->owed = true;
		c->n_owed++;
	}
	changes_confirm(c, changes_in_flight(c));
}

bool changes_cover(struct changes *c, const char *path, size_t len)
{
	struct changed_path *p;
	size_t n = 0;

	if (pathmap_is_empty(&c->map))
		return false;
	p = find(c, path, len);
	if (p && p->is_ours)
		return true;
	while ((n = path_next_directory(path, len, n)) > 0) {
		p = find(c, path, n);
		if (p && p->is_ours)
			return true;
	}
	return false;
}

void changes_disown(struct changes *c, const char *path, size_t len)
{
	struct changed_path *p = find(c, path, len);

	if (path[len - 1] == '/')
		disown_below(c, path, len);
	else if (p)
		disown(c, p);
}

size_t changes_in_flight(const struct changes *c)
{
	return c->unanswered.used;
}

bool changes_is_consistent(struct changes *c)
{
	struct path_node *node = pathmap_first(&c->map, "", 0);
	size_t paths = 0, owed = 0, refusals = 0;

	for (; node; node = pathmap_next(node)) {
		const struct changed_path *p = to_changed(node);

		paths++;
		owed += p->owed;
		refusals += p->is_refusal;
		if (!p->owed && !p->in_flight)
			return false;
		if (p->in_flight && (p->operation <= c->answered ||
				     p->operation > c->answered + c->unanswered.used))
			return false;
	}
	return paths == c->paths.used && owed == c->n_owed &&
	       refusals == c->refusals.used;
}
