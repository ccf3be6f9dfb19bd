/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What this side has changed and the other has not confirmed: changed paths that still
 * have to be sent, in the order of their last change, and operations that were sent and
 * are not answered. A path that ends in '/' stands for the removal of that directory.
 *
 * Only paths are kept. What is sent for one is its present state, so a path that changes
 * a thousand times while the peer does not listen costs no more than one.
 */
#ifndef QDB_CHANGES_H
#define QDB_CHANGES_H

#include <sys/queue.h>

#include "daemon/core/pathmap.h"
#include "daemon/core/quota.h"

struct changed_path {
	struct path_node node;
	TAILQ_ENTRY(changed_path) in_queue; /* while owed */
	size_t unanswered;                  /* operations in flight */
	bool owed;
	bool is_ours;
	char path[];
};

struct operation;
TAILQ_HEAD(operation_list, operation);
TAILQ_HEAD(changed_path_list, changed_path);

struct changes {
	struct pathmap map;
	struct changed_path_list queue;
	struct operation_list in_flight;
	struct account paths;
	struct account unanswered;
	size_t owed;
	struct changed_path *spare; /* for when there is no memory */
};

void changes_init(struct changes *c);

/* Forgets everything. */
void changes_clear(struct changes *c);

/*
 * Makes sure that changes_owe() can succeed once. 0, or -EDQUOT or -ENOMEM. Some of the
 * quota is kept back for what has to be sent beside what is owed.
 */
int changes_prepare(struct changes *c);

/*
 * `path` has changed and is owed. Removing a directory replaces what is owed below it. 0,
 * -EDQUOT or -ENOMEM.
 */
int changes_owe(struct changes *c, const char *path, size_t len);

/* The path to send next, or NULL. It stays owed until changes_send(). */
const struct changed_path *changes_next(const struct changes *c);

/* An operation on `path` is being sent, owed before or not. 0, -EDQUOT or -ENOMEM. */
int changes_send(struct changes *c, const char *path, size_t len);

/*
 * The peer has answered for `path`. Answers come in order: one that is not for the oldest
 * operation is no answer to any, and ignored. Returns whether it was one.
 */
bool changes_answered(struct changes *c, const char *path, size_t len);

/* The peer has processed the oldest `n` operations, whose answers were lost. */
void changes_forget_oldest(struct changes *c, size_t n);

/* What is in flight never arrived: as far as it is ours it is owed, before the rest. */
void changes_owe_again(struct changes *c);

/* Whether an unconfirmed change of ours is to this entry or removes a directory above it.
 */
bool changes_cover(struct changes *c, const char *path, size_t len);

/*
 * The peer's change of `path`, an entry or a directory, stands over ours. An entry below
 * a directory whose removal we still owe becomes owed itself, to be there after that.
 */
int changes_disown(struct changes *c, const char *path, size_t len);

/* How many operations were sent and are not answered. */
size_t changes_in_flight(const struct changes *c);

bool changes_is_consistent(struct changes *c);

#endif
