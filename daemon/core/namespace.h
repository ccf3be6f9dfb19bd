/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The entries of one VM: an ordered map from path to value. There are no directory
 * objects; "/d/" is only a prefix that a removal may name. Paths and values given to
 * these functions have passed the grammar (protocol/grammar.h); nothing is checked again
 * here but quotas.
 */
#ifndef QDB_NAMESPACE_H
#define QDB_NAMESPACE_H

#include <stdbool.h>

#include "daemon/core/pathmap.h"
#include "daemon/core/quota.h"

struct entry {
	struct path_node node;
	char *value; /* value_len bytes, NULL if that is 0 */
	size_t value_len;
	unsigned dump; /* the last dump that named it, for the replica */
	bool by_peer;  /* the other end wrote it last */
	bool is_news;  /* the VM's watchers must hear of it, changed or not */
	char path[];
};

struct namespace
{
	struct pathmap map;
	struct account entries;
	struct account bytes;
	struct account peer_entries; /* of these, what the peer wrote last */
	struct account peer_bytes;
};

/* `limit_peer`: the peer has quotas of its own in it. */
void namespace_init(struct namespace *ns, bool limit_peer);
void namespace_clear(struct namespace *ns);

/*
 * Creates or overwrites an entry, for a local client or for the other end. 0, or -EDQUOT
 * or -ENOMEM with nothing changed. The bytes are copied.
 */
int namespace_write(struct namespace *ns, const char *path, size_t path_len,
		    const char *value, size_t value_len, bool by_peer);

/*
 * Takes over all entries of `from`, as written by a local client: 0, or -EDQUOT with
 * nothing changed in either. After success `from` is to be cleared.
 */
int namespace_adopt(struct namespace *ns, struct namespace *from);

/* Removes an entry that is in the namespace, and frees it. */
void namespace_remove(struct namespace *ns, struct entry *e);

/* Look-ups return NULL at the end. An entry stays valid until it is removed. */
struct entry *namespace_find(struct namespace *ns, const char *path, size_t len);
struct entry *namespace_first(struct namespace *ns, const char *prefix, size_t len);
struct entry *namespace_next(struct entry *e);

/* The first entry after a path and the last one before it; with "" the last of all. */
struct entry *namespace_after(struct namespace *ns, const char *path, size_t len);
struct entry *namespace_before(struct namespace *ns, const char *path, size_t len);

/* Whether the accounts equal a recount: the truth that every test ends with. */
bool namespace_is_consistent(struct namespace *ns);

#endif
