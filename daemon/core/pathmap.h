/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An ordered map keyed by path, in ascending byte order. Nodes are embedded in whatever
 * is stored and own nothing. Namespace, watches and unconfirmed changes are all kept in
 * one of these, so that exact, prefix and range look-ups cost the logarithm of the size.
 */
#ifndef QDB_PATHMAP_H
#define QDB_PATHMAP_H

#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct path_node {
	RB_ENTRY(path_node) tree;
	struct path_node *chain; /* the next in the same bucket */
	uint64_t hash;
	size_t path_len;
	const char *path; /* path_len characters; lives as long as the node */
};

#define PATHMAP_FEW 8

/* Must not be moved. */
struct pathmap {
	RB_HEAD(path_tree, path_node) tree;
	struct path_node **buckets;
	size_t n_buckets; /* a power of two */
	size_t count;
	struct path_node *few[PATHMAP_FEW]; /* buckets of a small map */
};

/* The object of type `type` in which `node`, that may be NULL, is the member `member`. */
#define pathmap_object(node, type, member) \
	((node) ? (type *)(void *)((char *)(node)-offsetof(type, member)) : NULL)

void pathmap_init(struct pathmap *map);

bool pathmap_is_empty(const struct pathmap *map);

/* The node's path and path_len are set, and the path is not in the map yet. */
void pathmap_insert(struct pathmap *map, struct path_node *node);
void pathmap_remove(struct pathmap *map, struct path_node *node);

/* Negative, 0 or positive as this path comes before, is or comes after that of `node`. */
int path_order(const char *path, size_t len, const struct path_node *node);

/* The node of exactly this path, or NULL. */
struct path_node *pathmap_find(struct pathmap *map, const char *path, size_t len);

/* The first node at or after this path, or NULL. */
struct path_node *pathmap_seek(struct pathmap *map, const char *path, size_t len);

/* The first node after this path, or NULL. */
struct path_node *pathmap_after(struct pathmap *map, const char *path, size_t len);

/* The last node before this path, or NULL. */
struct path_node *pathmap_seek_before(struct pathmap *map, const char *path, size_t len);

/* The first node whose path begins with this string, or NULL. */
struct path_node *pathmap_first(struct pathmap *map, const char *prefix, size_t len);

struct path_node *pathmap_next(struct path_node *node);
struct path_node *pathmap_last(struct pathmap *map);

bool path_begins_with(const struct path_node *node, const char *prefix, size_t len);

/*
 * The directories above a path are its prefixes that end in '/', itself excluded. This is
 * the length of the one after the one of length `above` (at first 0), or 0 at the end:
 * "/a/b/" gives 1, 3, 0.
 */
size_t path_next_directory(const char *path, size_t len, size_t above);

#endif
