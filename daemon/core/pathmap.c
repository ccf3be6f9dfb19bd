/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/pathmap.h"

#include <string.h>

static int compare(const struct path_node *a, const struct path_node *b)
{
	const size_t a_len = a->path_len, b_len = b->path_len;
	int order = memcmp(a->path, b->path, a_len < b_len ? a_len : b_len);

	if (order != 0)
		return order;
	return a_len < b_len ? -1 : a_len > b_len;
}

RB_PROTOTYPE(pathmap, path_node, tree, compare)
RB_GENERATE(pathmap, path_node, tree, compare)

void pathmap_init(struct pathmap *map)
{
	RB_INIT(map);
}

void pathmap_insert(struct pathmap *map, struct path_node *node)
{
	RB_INSERT(pathmap, map, node);
}

void pathmap_remove(struct pathmap *map, struct path_node *node)
{
	RB_REMOVE(pathmap, map, node);
}

struct path_node *pathmap_find(struct pathmap *map, const char *path, size_t len)
{
	struct path_node key = {.path = path, .path_len = len};

	return RB_FIND(pathmap, map, &key);
}

struct path_node *pathmap_seek(struct pathmap *map, const char *path, size_t len)
{
	struct path_node key = {.path = path, .path_len = len};

	return RB_NFIND(pathmap, map, &key);
}

struct path_node *pathmap_seek_before(struct pathmap *map, const char *path, size_t len)
{
	struct path_node *node = pathmap_seek(map, path, len);

	return node ? RB_PREV(pathmap, map, node) : RB_MAX(pathmap, map);
}

struct path_node *pathmap_first(struct pathmap *map, const char *prefix, size_t len)
{
	struct path_node *node = pathmap_seek(map, prefix, len);

	return node && path_begins_with(node, prefix, len) ? node : NULL;
}

struct path_node *pathmap_next(struct path_node *node)
{
	return RB_NEXT(pathmap, NULL, node);
}

struct path_node *pathmap_last(struct pathmap *map)
{
	return RB_MAX(pathmap, map);
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
