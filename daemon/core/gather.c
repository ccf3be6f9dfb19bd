/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/gather.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/qubesdb.h"

#define FIRST_SIZE 4096u

_Static_assert(FIRST_SIZE << 6 == QDB_MAX_MANY, "doubled, it becomes the largest");

void gatherings_init(struct gatherings *all)
{
	TAILQ_INIT(&all->all);
	account_init(&all->bytes, QUOTA_GATHERED);
}

static void drop(struct gatherings *all, struct gathering *g)
{
	if (!g->bytes)
		return;
	TAILQ_REMOVE(&all->all, g, all);
	account_release(&all->bytes, g->size);
	explicit_bzero(g->bytes, g->used);
	free(g->bytes);
	g->bytes = NULL;
	g->used = g->size = 0;
}

static void refuse(struct gatherings *all, struct gathering *g, int why)
{
	drop(all, g);
	g->refused = why;
}

/* At the expense of others, if need be. */
static int charge(struct gatherings *all, const struct gathering *g, size_t amount)
{
	struct gathering *stalest;

	while (account_room(&all->bytes) < amount) {
		stalest = TAILQ_FIRST(&all->all);
		if (!stalest || stalest == g)
			return -EDQUOT;
		refuse(all, stalest, -EDQUOT);
	}
	return account_charge(&all->bytes, amount);
}

static int make_room(struct gatherings *all, struct gathering *g, size_t len)
{
	size_t size = g->size > 0 ? g->size : FIRST_SIZE;
	char *bytes;
	int r;

	while (size - g->used < len)
		size *= 2;
	if (size == g->size)
		return 0;
	r = charge(all, g, size - g->size);
	if (r < 0)
		return r;
	bytes = malloc(size);
	if (!bytes) {
		account_release(&all->bytes, size - g->size);
		return -ENOMEM;
	}
	if (g->bytes) {
		memcpy(bytes, g->bytes, g->used);
		explicit_bzero(g->bytes, g->used);
		free(g->bytes);
	} else {
		TAILQ_INSERT_TAIL(&all->all, g, all);
	}
	g->bytes = bytes;
	g->size = size;
	return 0;
}

void gather_add(struct gatherings *all, struct gathering *g, const char *bytes,
		size_t len)
{
	int r;

	if (g->refused < 0)
		return;
	if (g->bytes) {
		TAILQ_REMOVE(&all->all, g, all);
		TAILQ_INSERT_TAIL(&all->all, g, all);
	}
	r = make_room(all, g, len);
	if (r < 0) {
		refuse(all, g, r);
		return;
	}
	memcpy(g->bytes + g->used, bytes, len);
	g->used += len;
}

void gather_end(struct gatherings *all, struct gathering *g)
{
	drop(all, g);
	g->refused = 0;
}
