/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/namespace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct entry *to_entry(struct path_node *node)
{
	return pathmap_object(node, struct entry, node);
}

void namespace_init(struct namespace *ns, bool limit_peer)
{
	pathmap_init(&ns->map);
	account_init(&ns->entries, QUOTA_ENTRIES);
	account_init(&ns->bytes, QUOTA_BYTES);
	account_init(&ns->peer_entries, QUOTA_VM_ENTRIES);
	account_init(&ns->peer_bytes, QUOTA_VM_BYTES);
	if (!limit_peer)
		ns->peer_entries.limit = ns->peer_bytes.limit = SIZE_MAX;
}

void namespace_clear(struct namespace *ns)
{
	struct entry *e;

	while ((e = namespace_first(ns, "", 0)))
		namespace_remove(ns, e);
}

static void free_value(struct entry *e)
{
	if (e->value)
		explicit_bzero(e->value, e->value_len);
	free(e->value);
}

static int set_value(struct namespace *ns, struct entry *e, const char *value, size_t len)
{
	char *copy = e->value;
	int r;

	if (len > e->value_len) {
		r = account_charge(&ns->bytes, len - e->value_len);
		if (r < 0)
			return r;
	}
	if (len != e->value_len) {
		copy = len > 0 ? malloc(len) : NULL;
		if (len > 0 && !copy) {
			if (len > e->value_len)
				account_release(&ns->bytes, len - e->value_len);
			return -ENOMEM;
		}
		free_value(e);
	}
	if (len < e->value_len)
		account_release(&ns->bytes, e->value_len - len);
	if (len > 0)
		memcpy(copy, value, len);
	e->value = copy;
	e->value_len = len;
	return 0;
}

static int create(struct namespace *ns, const char *path, size_t len, struct entry **ret)
{
	struct entry *e;
	int r;

	r = account_charge(&ns->entries, 1);
	if (r < 0)
		return r;
	r = account_charge(&ns->bytes, len);
	if (r < 0)
		goto release_entry;
	e = malloc(sizeof(*e) + len + 1);
	if (!e) {
		r = -ENOMEM;
		goto release_bytes;
	}
	memcpy(e->path, path, len);
	e->path[len] = '\0';
	e->node.path = e->path;
	e->node.path_len = len;
	e->value = NULL;
	e->value_len = 0;
	e->dump = 0;
	e->by_peer = false;
	e->is_news = false;
	pathmap_insert(&ns->map, &e->node);
	*ret = e;
	return 0;

release_bytes:
	account_release(&ns->bytes, len);
release_entry:
	account_release(&ns->entries, 1);
	return r;
}

static size_t size_of(const struct entry *e)
{
	return e->node.path_len + e->value_len;
}

static void release_peer(struct namespace *ns, const struct entry *e)
{
	if (!e->by_peer)
		return;
	account_release(&ns->peer_entries, 1);
	account_release(&ns->peer_bytes, size_of(e));
}

/* Whether the peer may make `e`, or a new entry, its own with this size. */
static int admit_peer(const struct namespace *ns, const struct entry *e, size_t size)
{
	const size_t before = e && e->by_peer ? size_of(e) : 0;
	int r = before == 0 ? account_check(&ns->peer_entries, 1) : 0;

	if (r == 0 && size > before)
		r = account_check(&ns->peer_bytes, size - before);
	return r;
}

static void charge_peer(struct namespace *ns, struct entry *e)
{
	e->by_peer = true;
	account_charge(&ns->peer_entries, 1);
	account_charge(&ns->peer_bytes, size_of(e));
}

int namespace_write(struct namespace *ns, const char *path, size_t path_len,
		    const char *value, size_t value_len, bool by_peer)
{
	struct entry *e = namespace_find(ns, path, path_len);
	const bool is_new = !e;
	bool was_peers;
	int r = by_peer ? admit_peer(ns, e, path_len + value_len) : 0;

	if (r == 0 && is_new)
		r = create(ns, path, path_len, &e);
	if (r < 0)
		return r;
	was_peers = e->by_peer;
	release_peer(ns, e);
	e->by_peer = false;
	r = set_value(ns, e, value, value_len);
	if (r == 0 ? by_peer : was_peers)
		charge_peer(ns, e);
	if (r < 0 && is_new)
		namespace_remove(ns, e);
	return r;
}

void namespace_remove(struct namespace *ns, struct entry *e)
{
	pathmap_remove(&ns->map, &e->node);
	release_peer(ns, e);
	account_release(&ns->bytes, size_of(e));
	account_release(&ns->entries, 1);
	free_value(e);
	free(e);
}

/* Whether there is room for all of them, instead of those of the same paths. */
static int admit_all(struct namespace *ns, struct namespace *from)
{
	size_t known = 0, freed = 0;
	const struct entry *old;
	int r;

	for (struct entry *e = namespace_first(from, "", 0); e; e = namespace_next(e)) {
		old = namespace_find(ns, e->path, e->node.path_len);
		if (!old)
			continue;
		known++;
		freed += size_of(old);
	}
	r = account_check(&ns->entries, from->entries.used - known);
	if (r == 0 && from->bytes.used > freed)
		r = account_check(&ns->bytes, from->bytes.used - freed);
	return r;
}

/* The entry that there is already gets the new value, and `e` the old one. */
static void exchange_values(struct namespace *ns, struct namespace *from, struct entry *e,
			    struct entry *old)
{
	char *value = old->value;
	const size_t len = old->value_len;

	release_peer(ns, old);
	old->by_peer = false;
	old->value = e->value;
	old->value_len = e->value_len;
	e->value = value;
	e->value_len = len;
	ns->bytes.used += old->value_len - len;
	from->bytes.used += len - old->value_len;
}

static void move_entry(struct namespace *ns, struct namespace *from, struct entry *e)
{
	pathmap_remove(&from->map, &e->node);
	account_release(&from->entries, 1);
	account_release(&from->bytes, size_of(e));
	pathmap_insert(&ns->map, &e->node);
	ns->entries.used++;
	ns->bytes.used += size_of(e);
}

int namespace_adopt(struct namespace *ns, struct namespace *from)
{
	struct entry *e = namespace_first(from, "", 0), *next, *old;
	int r = admit_all(ns, from);

	for (; e && r == 0; e = next) {
		next = namespace_next(e);
		old = namespace_find(ns, e->path, e->node.path_len);
		if (old)
			exchange_values(ns, from, e, old);
		else
			move_entry(ns, from, e);
	}
	return r;
}

struct entry *namespace_find(struct namespace *ns, const char *path, size_t len)
{
	return to_entry(pathmap_find(&ns->map, path, len));
}

struct entry *namespace_first(struct namespace *ns, const char *prefix, size_t len)
{
	return to_entry(pathmap_first(&ns->map, prefix, len));
}

struct entry *namespace_next(struct entry *e)
{
	return to_entry(pathmap_next(&e->node));
}

struct entry *namespace_after(struct namespace *ns, const char *path, size_t len)
{
	return to_entry(pathmap_after(&ns->map, path, len));
}

struct entry *namespace_before(struct namespace *ns, const char *path, size_t len)
{
	return to_entry(len > 0 ? pathmap_seek_before(&ns->map, path, len)
				: pathmap_last(&ns->map));
}

bool namespace_is_consistent(struct namespace *ns)
{
	size_t entries = 0, bytes = 0, peer_entries = 0, peer_bytes = 0;

	for (struct entry *e = namespace_first(ns, "", 0); e; e = namespace_next(e)) {
		entries++;
		bytes += size_of(e);
		peer_entries += e->by_peer;
		peer_bytes += e->by_peer ? size_of(e) : 0;
	}
	return ns->entries.used == entries && ns->bytes.used == bytes &&
	       ns->peer_entries.used == peer_entries && ns->peer_bytes.used == peer_bytes;
}
