/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bounds on everything that others can make this daemon hold or do. An account counts
 * what is charged to it now; whoever creates an object charges it, whoever frees it takes
 * exactly that back, so that an account always equals a recount of the objects. What is
 * charged to an account is charged to its parent, too: that of a client, its user's, all.
 */
#ifndef QDB_QUOTA_H
#define QDB_QUOTA_H

#include <stdbool.h>
#include <stddef.h>

enum quota {
	QUOTA_ENTRIES,
	QUOTA_BYTES,
	QUOTA_VM_ENTRIES,
	QUOTA_VM_BYTES,
	QUOTA_VM_REFUSED,
	QUOTA_CONNECTIONS,
	QUOTA_USER_CONNECTIONS,
	QUOTA_WATCHES,
	QUOTA_USER_WATCHES,
	QUOTA_CLIENT_WATCHES,
	QUOTA_OUTPUT,
	QUOTA_USER_OUTPUT,
	QUOTA_REQUESTS,
	QUOTA_MANY,
	QUOTA_GATHERED,
	QUOTA_CHANGES,
	QUOTA_UNANSWERED,
	QUOTA_BACKLOG,
	QUOTA_RECONNECTS,
	QUOTA_VM_LINKS,
	QUOTAS,
};

/* The limits are the same for the whole process: set, if at all, before they are used. */
struct quota_description {
	const char *name;
	size_t limit;
	const char *unit;
	size_t least;        /* with less the daemon could not do its work */
	const char *bounds;  /* what it limits, as the man page says it */
	const char *against; /* and what that protects others from */
};

extern struct quota_description quota_descriptions[QUOTAS];

/* Takes "NAME=VALUE", the value with or without K or M. NULL, or what is wrong with it.
 */
const char *quota_set(const char *setting);

struct account {
	size_t used;
	size_t limit;
	enum quota quota;
	struct account *parent;
};

/* An account with nothing in it, the limit of `quota`, and no parent. */
void account_init(struct account *a, enum quota quota);

/* One below `parent`, which has to outlive what is charged. */
void account_init_below(struct account *a, enum quota quota, struct account *parent);

/* Whether account_charge() would succeed: 0, or -EDQUOT, which is counted as refused. */
int account_check(const struct account *a, size_t amount);

/* 0, or -EDQUOT with nothing charged. */
int account_charge(struct account *a, size_t amount);

/* Takes back what account_charge() has charged. */
void account_release(struct account *a, size_t amount);

/* What could still be charged. */
size_t account_room(const struct account *a);

/* Counts a refusal for a quota that no account has found exceeded. Returns -EDQUOT. */
int quota_refuse(enum quota quota);

/* How often something has been refused for this quota. */
size_t quota_refusals(enum quota quota);

/* The quota of the newest refusal, for the log: to be asked right after it. */
enum quota quota_refused_last(void);

#endif
