/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who wants to know of which path. A watch on "/a" means that entry, one on "/a/"
 * everything below; a watcher may register the same watch several times, and then wants
 * an event for each registration.
 */
#ifndef QDB_WATCH_H
#define QDB_WATCH_H

#include <sys/queue.h>

#include "daemon/core/namespace.h"
#include "daemon/core/pathmap.h"
#include "daemon/core/quota.h"

struct watch;
TAILQ_HEAD(watch_list, watch);

/* Embedded in whoever watches. Must not be moved. */
struct watcher {
	/*
	 * `watch` fired because of `path`. Must neither add nor remove watches, nor free
	 * a watcher.
	 */
	void (*notify)(struct watcher *watcher, const struct watch *watch,
		       const char *path, size_t path_len);
	struct pathmap watches; /* each path that it watches once */
	struct account account; /* registrations, below its user's or the index's */
};

struct watched_path {
	struct path_node node;
	struct watch_list watches;
	char path[];
};

/* What one watcher has registered on one path. */
struct watch {
	struct path_node of_watcher;
	TAILQ_ENTRY(watch) of_path;
	struct watched_path *at;
	struct watcher *watcher;
	size_t count;
};

struct watch_index {
	struct pathmap map;
	struct account account; /* registrations of all watchers */
};

void watch_index_init(struct watch_index *index);

/* `account`, of its user or the index, is charged for what it registers, too. */
void watcher_init(struct watcher *watcher, struct account *account,
		  void (*notify)(struct watcher *, const struct watch *, const char *,
				 size_t));

/* 0, or -EDQUOT or -ENOMEM. */
int watch_add(struct watch_index *index, struct watcher *watcher, const char *path,
	      size_t len);

/* Takes back one registration: 0, or -ENOENT if there is none. */
int watch_remove(struct watch_index *index, struct watcher *watcher, const char *path,
		 size_t len);

void watch_remove_all(struct watch_index *index, struct watcher *watcher);

/* The entry `path` was written or removed. */
void watch_fire_entry(struct watch_index *index, const char *path, size_t len);

/*
 * The directory `path` is about to be removed from `ns`. The entries for which `spared`
 * says true will stay; it may be NULL. Called while they are all still there.
 */
void watch_fire_directory(struct watch_index *index, struct namespace *ns,
			  const char *path, size_t len,
			  bool (*spared)(const struct entry *, void *), void *context);

#endif
