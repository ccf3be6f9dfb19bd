/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/pathmap.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/core/pathhash.h"

static int compare(const struct path_node *a, const struct path_node *b)
{
	const size_t a_len = a->path_len, b_len = b->path_len;
	int order = memcmp(a->path, b->path, a_len < b_len ? a_len : b_len);

	if (order != 0)
		return order;
	return a_len < b_len ? -1 : a_len > b_len;
}

RB_PROTOTYPE(path_tree, path_node, tree, compare)
RB_GENERATE(path_tree, path_node, tree, compare)

static struct path_node **bucket_of(const struct pathmap *map, uint64_t hash)
{
	return &map->buckets[hash & (map->n_buckets - 1)];
}

static void put_into_bucket(struct pathmap *map, struct path_node *node)
{
	struct path_node **bucket = bucket_of(map, node->hash);

	node->chain = *bucket;
	*bucket = node;
}

/* Without memory for other buckets they stay as they are, and nothing else changes. */
static void resize(struct pathmap *map, size_t n_buckets)
{
	struct path_node **old = map->buckets, **buckets = map->few;
	struct path_node *node;

	if (n_buckets > PATHMAP_FEW)
		buckets = calloc(n_buckets, sizeof(struct path_node *));
	else
		memset(map->few, 0, sizeof(map->few));
	if (!buckets)
		return;
	map->buckets = buckets;
	map->n_buckets = n_buckets;
	RB_FOREACH (node, path_tree, &map->tree)
		put_into_bucket(map, node);
	if (old != map->few)
		free(old);
}

void pathmap_init(struct pathmap *map)
{
	memset(map, 0, sizeof(*map));
	RB_INIT(&map->tree);
	map->buckets = map->few;
	map->n_buckets = PATHMAP_FEW;
}

bool pathmap_is_empty(const struct pathmap *map)
{
	return map->count == 0;
}

void pathmap_insert(struct pathmap *map, struct path_node *node)
{
	if (2 * map->count >= map->n_buckets)
		resize(map, 2 * map->n_buckets);
	node->hash = path_hash(node->path, node->path_len);
	put_into_bucket(map, node);
	RB_INSERT(path_tree, &map->tree, node);
	map->count++;
}

void pathmap_remove(struct pathmap *map, struct path_node *node)
{
	struct path_node **link = bucket_of(map, node->hash);

	while (*link != node)
		link = &(*link)->chain;
	*link = node->chain;
	RB_REMOVE(path_tree, &map->tree, node);
	map->count--;
	if (map->n_buckets > PATHMAP_FEW && 16 * map->count < map->n_buckets)
		resize(map, map->count > 0 ? map->n_buckets / 2 : PATHMAP_FEW);
}

struct path_node *pathmap_find(struct pathmap *map, const char *path, size_t len)
{
	struct path_node *node;
	uint64_t hash;

	if (map->count == 0)
		return NULL;
	hash = path_hash(path, len);
	for (node = *bucket_of(map, hash); node; node = node->chain)
		if (node->hash == hash && node->path_len == len &&
		    memcmp(node->path, path, len) == 0)
			return node;
	return NULL;
}

struct path_node *pathmap_seek(struct pathmap *map, const char *path, size_t len)
{
	struct path_node key = {.path = path, .path_len = len};

	return RB_NFIND(path_tree, &map->tree, &key);
}

struct path_node *pathmap_after(struct pathmap *map, const char *path, size_t len)
{
	struct path_node *node = pathmap_seek(map, path, len);

	if (node && path_order(path, len, node) == 0)
		return pathmap_next(node);
	return node;
}

struct path_node *pathmap_seek_before(struct pathmap *map, const char *path, size_t len)
{
	struct path_node *node = pathmap_seek(map, path, len);

	return node ? RB_PREV(path_tree, &map->tree, node)
		    : RB_MAX(path_tree, &map->tree);
}

struct path_node *pathmap_first(struct pathmap *map, const char *prefix, size_t len)
{
	struct path_node *node = pathmap_seek(map, prefix, len);

	return node && path_begins_with(node, prefix, len) ? node : NULL;
}

struct path_node *pathmap_next(struct path_node *node)
{
	return RB_NEXT(path_tree, NULL, node);
}

struct path_node *pathmap_last(struct pathmap *map)
{
	return RB_MAX(path_tree, &map->tree);
}

int path_order(const char *path, size_t len, const struct path_node *node)
{
	const struct path_node key = {.path = path, .path_len = len};

	return compare(&key, node);
}

bool path_begins_with(const struct path_node *node, const char *prefix, size_t len)
{
	return node->path_len >= len && memcmp(node->path, prefix, len) == 0;
}

size_t path_next_directory(const char *path, size_t len, size_t above)
{
	const char *slash;

	if (above >= len)
		return 0;
	slash = memchr(path + above, '/', len - above);
	if (!slash || slash + 1 == path + len)
		return 0;
	return (size_t)(slash - path) + 1;
}
