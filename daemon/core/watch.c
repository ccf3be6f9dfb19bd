/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The index is an ordered map of the paths that are watched, each with the list of its
 * watchers. A change of an entry concerns the exact path and the directories above it, so
 * the cost of a change grows with its own depth, not with the number of watches. Each
 * watcher has a map of its own besides, so that it finds its registrations whatever
 * others have registered on the same paths.
 *
 * The removal of a directory is one event for those who watch it or a directory above.
 * Those who watch something below are told only if that, or something under it, really
 * goes; so what goes is looked up among the watches, however many these are.
 */
#include "daemon/core/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct watched_path *to_watched(struct path_node *node)
{
	return pathmap_object(node, struct watched_path, node);
}

static struct watch *to_watch(struct path_node *node)
{
	return pathmap_object(node, struct watch, of_watcher);
}

void watch_index_init(struct watch_index *index)
{
	pathmap_init(&index->map);
	account_init(&index->account, QUOTA_WATCHES);
}

void watcher_init(struct watcher *watcher, struct account *account,
		  void (*notify)(struct watcher *, const struct watch *, const char *,
				 size_t))
{
	watcher->notify = notify;
	pathmap_init(&watcher->watches);
	account_init_below(&watcher->account, QUOTA_CLIENT_WATCHES, account);
}

static struct watched_path *get_watched(struct watch_index *index, const char *path,
					size_t len)
{
	struct watched_path *w = to_watched(pathmap_find(&index->map, path, len));

	if (w)
		return w;
	w = malloc(sizeof(*w) + len + 1);
	if (!w)
		return NULL;
	memcpy(w->path, path, len);
	w->path[len] = '\0';
	w->node.path = w->path;
	w->node.path_len = len;
	TAILQ_INIT(&w->watches);
	pathmap_insert(&index->map, &w->node);
	return w;
}

static void drop_if_unused(struct watch_index *index, struct watched_path *w)
{
	if (!TAILQ_EMPTY(&w->watches))
		return;
	pathmap_remove(&index->map, &w->node);
	free(w);
}

static struct watch *get_watch(struct watch_index *index, struct watcher *watcher,
			       const char *path, size_t len)
{
	struct watch *watch = to_watch(pathmap_find(&watcher->watches, path, len));
	struct watched_path *at;

	if (watch)
		return watch;
	watch = malloc(sizeof(*watch));
	at = watch ? get_watched(index, path, len) : NULL;
	if (!at) {
		free(watch);
		return NULL;
	}
	watch->of_watcher.path = at->path;
	watch->of_watcher.path_len = len;
	watch->at = at;
	watch->watcher = watcher;
	watch->count = 0;
	TAILQ_INSERT_TAIL(&at->watches, watch, of_path);
	pathmap_insert(&watcher->watches, &watch->of_watcher);
	return watch;
}

int watch_add(struct watch_index *index, struct watcher *watcher, const char *path,
	      size_t len)
{
	struct watch *watch;
	int r;

	r = account_charge(&watcher->account, 1);
	if (r < 0)
		return r;
	watch = get_watch(index, watcher, path, len);
	if (!watch) {
		account_release(&watcher->account, 1);
		return -ENOMEM;
	}
	watch->count++;
	return 0;
}

static void take_back(struct watch_index *index, struct watch *watch, size_t count)
{
	struct watched_path *at = watch->at;

	account_release(&watch->watcher->account, count);
	watch->count -= count;
	if (watch->count > 0)
		return;
	pathmap_remove(&watch->watcher->watches, &watch->of_watcher);
	TAILQ_REMOVE(&at->watches, watch, of_path);
	free(watch);
	drop_if_unused(index, at);
}

int watch_remove(struct watch_index *index, struct watcher *watcher, const char *path,
		 size_t len)
{
	struct watch *watch = to_watch(pathmap_find(&watcher->watches, path, len));

	if (!watch)
		return -ENOENT;
	take_back(index, watch, 1);
	return 0;
}

void watch_remove_all(struct watch_index *index, struct watcher *watcher)
{
	struct watch *watch;

	while ((watch = to_watch(pathmap_last(&watcher->watches))))
		take_back(index, watch, watch->count);
}

static void fire(struct watched_path *at, const char *path, size_t len)
{
	struct watch *watch;

	if (!at)
		return;
	TAILQ_FOREACH (watch, &at->watches, of_path)
		watch->watcher->notify(watch->watcher, watch, path, len);
}

static void fire_above(struct watch_index *index, const char *path, size_t len)
{
	size_t n = 0;

	while ((n = path_next_directory(path, len, n)) > 0)
		fire(to_watched(pathmap_find(&index->map, path, n)), path, len);
}

void watch_fire_entry(struct watch_index *index, const char *path, size_t len)
{
	fire(to_watched(pathmap_find(&index->map, path, len)), path, len);
	fire_above(index, path, len);
}

/* Each directory of an entry that goes, from `above` bytes on, unless told for `last`. */
static void fire_between(struct watch_index *index, const struct entry *e, size_t above,
			 const struct entry *last)
{
	const size_t len = e->node.path_len;
	size_t n = above;

	while ((n = path_next_directory(e->path, len, n)) > 0)
		if (!last || !path_begins_with(&last->node, e->path, n))
			fire(to_watched(pathmap_find(&index->map, e->path, n)), e->path,
			     n);
}

/* In the order of the map a directory's entries follow each other. */
static void fire_below(struct watch_index *index, struct namespace *ns, const char *path,
		       size_t len, bool (*spared)(const struct entry *, void *),
		       void *context)
{
	const struct entry *last = NULL;
	struct entry *e = namespace_first(ns, path, len);

	for (; e && path_begins_with(&e->node, path, len); e = namespace_next(e)) {
		if (spared && spared(e, context))
			continue;
		fire_between(index, e, len, last);
		fire(to_watched(pathmap_find(&index->map, e->path, e->node.path_len)),
		     e->path, e->node.path_len);
		last = e;
	}
}

/* Whether anything but `path` itself is watched in it. */
static bool is_watched_below(struct watch_index *index, const char *path, size_t len)
{
	struct path_node *node = pathmap_first(&index->map, path, len);

	if (node && node->path_len == len)
		node = pathmap_next(node);
	return node && path_begins_with(node, path, len);
}

void watch_fire_directory(struct watch_index *index, struct namespace *ns,
			  const char *path, size_t len,
			  bool (*spared)(const struct entry *, void *), void *context)
{
	fire(to_watched(pathmap_find(&index->map, path, len)), path, len);
	fire_above(index, path, len);
	if (is_watched_below(index, path, len))
		fire_below(index, ns, path, len, spared, context);
}
