/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/quota.h"

#include <errno.h>

#define KIB 1024u
#define MIB (1024u * KIB)

/*
 * The busiest namespace seen in practice has 150 entries; twenty times that is 3,000, and
 * these limits are still far above. What is queued for one receiver has room for more
 * than any one step may add to it: the backlog for many of the longest values, and the
 * output of a client for all of its watches firing at once, twice.
 */
const struct quota_description quota_descriptions[QUOTAS] = {
	/* clang-format off */
	[QUOTA_ENTRIES]        = {"entries",        100000,    "entries", "entries of the namespace"},
	[QUOTA_BYTES]          = {"bytes",          32 * MIB,  "bytes",   "paths and values of the namespace"},
	[QUOTA_CONNECTIONS]    = {"connections",    1024,      "",        "local clients at one time"},
	[QUOTA_WATCHES]        = {"watches",        65536,     "",        "watches of all clients"},
	[QUOTA_CLIENT_WATCHES] = {"client-watches", 12288,     "",        "watches of one client"},
	[QUOTA_OUTPUT]         = {"output",         2 * MIB,   "bytes",   "answers and events that one client has not read"},
	[QUOTA_CHANGES]        = {"changes",        131072,    "paths",   "changed paths that the peer has not confirmed"},
	[QUOTA_UNANSWERED]     = {"unanswered",     1024,      "",        "operations that the peer has not answered"},
	[QUOTA_BACKLOG]        = {"backlog",        256 * KIB, "bytes",   "messages that the peer has not taken"},
	/* clang-format on */
};

void account_init(struct account *a, enum quota quota)
{
	a->used = 0;
	a->limit = quota_descriptions[quota].limit;
}

int account_charge(struct account *a, size_t amount)
{
	if (amount > account_room(a))
		return -EDQUOT;
	a->used += amount;
	return 0;
}

void account_release(struct account *a, size_t amount)
{
	a->used -= amount;
}

size_t account_room(const struct account *a)
{
	return a->used < a->limit ? a->limit - a->used : 0;
}
