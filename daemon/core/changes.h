/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What this side has changed and the other has not confirmed: the entries that are owed,
 * in the order of their last change, and the operations that were sent and are not
 * answered.
 *
 * Only paths are kept. What is sent for one that is owed is its present state, so an
 * entry that changes a thousand times while the peer does not listen costs no more than
 * one.
 *
 * An entry stays ours until our last operation on it is answered, or until the peer's own
 * change of it has been accepted over ours (it is disowned): then nothing about it is
 * sent again. Directories are only ever in flight: their removal is owed entry by entry,
 * since the other side may have put something else there meanwhile.
 */
#ifndef QDB_CHANGES_H
#define QDB_CHANGES_H

#include <sys/queue.h>

#include "daemon/core/pathmap.h"
#include "daemon/core/quota.h"

struct changed_path {
	struct path_node node;
	TAILQ_ENTRY(changed_path) by_change;    /* while owed */
	TAILQ_ENTRY(changed_path) by_operation; /* while in flight */
	uint64_t operation;                     /* the last one on it, counted from 1 */
	bool owed;
	bool in_flight;
	bool is_ours;
	bool is_refusal; /* noted for the peer's change, and charged apart */
	char path[];
};

TAILQ_HEAD(changed_path_list, changed_path);

struct changes {
	struct pathmap map;
	struct changed_path_list owed;
	struct changed_path_list in_flight;
	size_t n_owed;
	uint64_t answered;         /* operations */
	struct account unanswered; /* operations */
	struct account paths;
	struct account refusals;        /* of these paths */
	struct changed_path_list spare; /* for the next ones, by_change */
	size_t n_spare;
};

void changes_init(struct changes *c);

/* Forgets everything. */
void changes_clear(struct changes *c);

/*
 * Makes sure that changes_owe() can succeed for `n` new paths. 0, or -EDQUOT or -ENOMEM.
 * Some of the quota is kept back for what has to be sent beside what is owed.
 */
int changes_prepare(struct changes *c, size_t n);

/* How many new paths changes_owe() could take. */
size_t changes_room(const struct changes *c);

/* The entry `path` has changed and is owed. 0, -EDQUOT or -ENOMEM. */
int changes_owe(struct changes *c, const char *path, size_t len);

/* The same because a change of the peer's is refused: it may cause only so many. */
int changes_owe_refusal(struct changes *c, const char *path, size_t len);

/* Whether it is owed. */
bool changes_owes(struct changes *c, const char *path, size_t len);

/* The entry to send next, or NULL. It stays owed until changes_send(). */
const struct changed_path *changes_next(const struct changes *c);

/* The first path after this one, in their own order, owed or not; or NULL. */
const struct changed_path *changes_after(struct changes *c, const char *path, size_t len);

/* An operation on `path` is being sent, owed before or not. 0, -EDQUOT or -ENOMEM. */
int changes_send(struct changes *c, const char *path, size_t len);

/* The operation just sent, on a directory, also removes this entry, which was owed. */
void changes_sent_too(struct changes *c, const char *path, size_t len);

/*
 * An earlier daemon has sent so many operations that are not answered; and the n-th of
 * them, from 1, was the last one on `path`. 0, -EDQUOT or -ENOMEM.
 */
int changes_sent_before(struct changes *c, size_t operations);
int changes_sent_nth(struct changes *c, const char *path, size_t len, size_t n);

/*
 * The peer has processed the oldest `n` operations. Returns how many there were: answers
 * to nothing are ignored.
 */
size_t changes_confirm(struct changes *c, size_t n);

/* What is in flight never arrived: as far as it is ours it is owed, before the rest. */
void changes_owe_again(struct changes *c);

/* Whether an unconfirmed change of ours is to this entry or removes a directory above it.
 */
bool changes_cover(struct changes *c, const char *path, size_t len);

/* The peer's change of `path`, an entry or a directory, stands over ours. */
void changes_disown(struct changes *c, const char *path, size_t len);

/* How many operations were sent and are not answered. */
size_t changes_in_flight(const struct changes *c);

bool changes_is_consistent(struct changes *c);

#endif
