/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bounds on everything that others can make this daemon hold. An account counts what is
 * charged to it now; whoever creates an object charges it, whoever frees it takes exactly
 * that back, so that an account always equals a recount of the objects.
 */
#ifndef QDB_QUOTA_H
#define QDB_QUOTA_H

#include <stddef.h>

enum quota {
	QUOTA_ENTRIES,
	QUOTA_BYTES,
	QUOTA_CONNECTIONS,
	QUOTA_WATCHES,
	QUOTA_CLIENT_WATCHES,
	QUOTA_OUTPUT,
	QUOTA_CHANGES,
	QUOTA_UNANSWERED,
	QUOTA_BACKLOG,
	QUOTAS,
};

struct quota_description {
	const char *name;
	size_t limit;
	const char *unit;
	const char *bounds; /* what it limits, as the man page says it */
};

extern const struct quota_description quota_descriptions[QUOTAS];

struct account {
	size_t used;
	size_t limit;
};

/* An account with nothing in it and the limit of `quota`. */
void account_init(struct account *a, enum quota quota);

/* 0, or -EDQUOT with nothing charged. */
int account_charge(struct account *a, size_t amount);

/* Takes back what account_charge() has charged. */
void account_release(struct account *a, size_t amount);

/* What could still be charged. */
size_t account_room(const struct account *a);

#endif
