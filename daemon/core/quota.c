/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/quota.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define KIB 1024u
#define MIB (1024u * KIB)

/*
 * The busiest namespace seen in practice has 150 entries; twenty times that is 3,000, and
 * these limits are still above. What is queued for one receiver has room for more than
 * any one step may add to it: the backlog for many of the longest values, and the output
 * of a client for all of its watches firing at once, twice.
 */
struct quota_description quota_descriptions[QUOTAS] = {
	/* clang-format off */
	[QUOTA_ENTRIES]          = {"entries",          100000,    "", 1,
		"entries of the namespace",
		"a client that fills memory with small entries"},
	[QUOTA_BYTES]            = {"bytes",            32 * MIB,  "bytes", 4 * KIB,
		"paths and values of the namespace",
		"a client that fills memory with large ones"},
	[QUOTA_VM_ENTRIES]       = {"vm-entries",       8192,      "", 0,
		"in dom0, entries that the VM wrote last",
		"a VM that fills dom0's memory with small entries"},
	[QUOTA_VM_BYTES]         = {"vm-bytes",         512 * KIB, "bytes", 0,
		"in dom0, their paths and values",
		"a VM that fills dom0's memory with large ones"},
	[QUOTA_VM_REFUSED]       = {"vm-refused",       1024,      "paths", 1,
		"in dom0, refused changes of the VM that are not undone there yet",
		"a VM that goes on with what is refused"},
	[QUOTA_CONNECTIONS]      = {"connections",      1024,      "", 1,
		"local clients at one time",
		"clients that use up the file descriptors"},
	[QUOTA_USER_CONNECTIONS] = {"user-connections", 512,       "", 1,
		"local clients of one user, except root and the daemon's own",
		"one user who takes all places"},
	[QUOTA_WATCHES]          = {"watches",          65536,     "", 1,
		"watches of all clients",
		"clients that make each change expensive"},
	[QUOTA_USER_WATCHES]     = {"user-watches",     32768,     "", 1,
		"watches of one user, except root and the daemon's own",
		"one user who takes all watches"},
	[QUOTA_CLIENT_WATCHES]   = {"client-watches",   12288,     "", 1,
		"watches of one client",
		"one program that takes those of its user"},
	[QUOTA_OUTPUT]           = {"output",           2 * MIB,   "bytes", 256 * KIB,
		"answers and events that one client has not read",
		"a client that asks or watches, and does not read"},
	[QUOTA_USER_OUTPUT]      = {"user-output",      32 * MIB,  "bytes", 256 * KIB,
		"the same of all clients of one user, but for 160 KiB of each",
		"one user with many such clients"},
	[QUOTA_REQUESTS]         = {"requests",         64,        "", 1,
		"requests of one client served before others have their turn",
		"one client that keeps all others waiting"},
	[QUOTA_MANY]             = {"many",             4096,      "", 1,
		"entries that one request may write",
		"one request that keeps all others waiting"},
	[QUOTA_GATHERED]         = {"gathered",         16 * MIB,  "bytes", 256 * KIB,
		"such requests that have come in part, of all clients",
		"clients that begin requests and do not end them"},
	[QUOTA_CHANGES]          = {"changes",          131072,    "paths", 64,
		"changed paths that the peer has not confirmed",
		"a peer that stays away or confirms nothing"},
	[QUOTA_UNANSWERED]       = {"unanswered",       1024,      "", 4,
		"operations that the peer has not answered",
		"a peer that answers nothing"},
	[QUOTA_BACKLOG]          = {"backlog",          256 * KIB, "bytes", 64 * KIB,
		"messages that the peer has not taken",
		"a peer that reads nothing"},
	[QUOTA_RECONNECTS]       = {"reconnects",       3000,      "", 1,
		"links with the peer begun in one minute",
		"a peer that comes and goes for yet another dump"},
	[QUOTA_VM_LINKS]         = {"vm-links",         1500,      "", 1,
		"in dom0, links with the VM begun, less two for each minute",
		"a VM that keeps the pages of links that have ended"},
	/* clang-format on */
};

static enum quota refused_last;
static size_t refusals[QUOTAS];

static struct quota_description *find(const char *name, size_t len)
{
	for (int i = 0; i < QUOTAS; i++)
		if (strlen(quota_descriptions[i].name) == len &&
		    memcmp(quota_descriptions[i].name, name, len) == 0)
			return &quota_descriptions[i];
	return NULL;
}

/* A whole number, or one of K or M; false if it is none or too large. */
static bool parse_size(const char *s, size_t *size)
{
	unsigned long long n, unit = 1;
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	n = strtoull(s, &end, 10);
	if (*end == 'K' || *end == 'M')
		unit = *end++ == 'K' ? KIB : MIB;
	if (errno != 0 || *end != '\0' || n > SIZE_MAX / 2 / unit)
		return false;
	*size = (size_t)(n * unit);
	return true;
}

const char *quota_set(const char *setting)
{
	const char *value = strchr(setting, '=');
	struct quota_description *q;
	size_t size;

	if (!value)
		return "not of the form NAME=VALUE";
	q = find(setting, (size_t)(value - setting));
	if (!q)
		return "no such quota";
	if (!parse_size(value + 1, &size))
		return "not a number";
	if (size < q->least)
		return "too small to work with";
	q->limit = size;
	return NULL;
}

int quota_refuse(enum quota quota)
{
	refused_last = quota;
	refusals[quota]++;
	return -EDQUOT;
}

void account_init_below(struct account *a, enum quota quota, struct account *parent)
{
	a->used = 0;
	a->limit = quota_descriptions[quota].limit;
	a->quota = quota;
	a->parent = parent;
}

void account_init(struct account *a, enum quota quota)
{
	account_init_below(a, quota, NULL);
}

static size_t own_room(const struct account *a)
{
	return a->used < a->limit ? a->limit - a->used : 0;
}

int account_check(const struct account *a, size_t amount)
{
	for (; a; a = a->parent)
		if (amount > own_room(a))
			return quota_refuse(a->quota);
	return 0;
}

int account_charge(struct account *a, size_t amount)
{
	int r = account_check(a, amount);

	for (; r == 0 && a; a = a->parent)
		a->used += amount;
	return r;
}

void account_release(struct account *a, size_t amount)
{
	for (; a; a = a->parent)
		a->used -= amount;
}

size_t account_room(const struct account *a)
{
	size_t room = SIZE_MAX;

	for (; a; a = a->parent)
		if (own_room(a) < room)
			room = own_room(a);
	return room;
}

size_t quota_refusals(enum quota quota)
{
	return refusals[quota];
}

enum quota quota_refused_last(void)
{
	return refused_last;
}
