/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "tests/fuzz/core.h"

/* Above this a look at everything after every step costs too much. */
#define SMALL 100

static void check_account(const struct account *a)
{
	fuzz_require(a->used <= a->limit);
}

static void check_map(struct pathmap *map)
{
	struct path_node *node = pathmap_first(map, "", 0), *next;
	size_t n = 0;

	for (; node; node = next) {
		next = pathmap_next(node);
		n++;
		fuzz_require(pathmap_find(map, node->path, node->path_len) == node);
		fuzz_require(!next || path_order(node->path, node->path_len, next) < 0);
	}
	fuzz_require(n == map->count);
}

static void check_entries(struct namespace *ns)
{
	struct entry *e = namespace_first(ns, "", 0);

	for (; e; e = namespace_next(e)) {
		fuzz_require(wire_classify(e->path, e->node.path_len) == WIRE_ENTRY);
		fuzz_require(e->value_len <= QDB_MAX_DATA);
		fuzz_require(e->value_len == 0 || !memchr(e->value, 0, e->value_len));
	}
	fuzz_require(namespace_is_consistent(ns));
	check_map(&ns->map);
}

static void check_watches(struct watch_index *index)
{
	struct path_node *node = pathmap_first(&index->map, "", 0);
	const struct watch *watch;
	size_t n = 0;

	for (; node; node = pathmap_next(node)) {
		struct watched_path *w = pathmap_object(node, struct watched_path, node);

		fuzz_require(!TAILQ_EMPTY(&w->watches));
		TAILQ_FOREACH (watch, &w->watches, of_path) {
			fuzz_require(watch->count > 0 && watch->at == w);
			n += watch->count;
		}
	}
	fuzz_require(n == index->account.used);
	check_map(&index->map);
}

static void check_gatherings(struct gatherings *all)
{
	const struct gathering *g;
	size_t n = 0;

	TAILQ_FOREACH (g, &all->all, all) {
		fuzz_require(g->bytes && g->used <= g->size && g->size <= QDB_MAX_MANY);
		n += g->size;
	}
	fuzz_require(n == all->bytes.used);
}

static void check_replica(struct replica *r)
{
	fuzz_require(changes_is_consistent(&r->changes));
	check_map(&r->changes.map);
}

void check_domain(struct domain *d, size_t clients, bool all)
{
	check_account(&d->entries.entries);
	check_account(&d->entries.bytes);
	check_account(&d->entries.peer_entries);
	check_account(&d->entries.peer_bytes);
	check_account(&d->watches.account);
	check_account(&d->gatherings.bytes);
	check_account(&d->replica.changes.paths);
	check_account(&d->replica.changes.unanswered);
	fuzz_require(outq_used(&d->replica.out) <= d->replica.out.limit);
	fuzz_require(d->connections.used == clients);
	check_gatherings(&d->gatherings);
	if (all || d->entries.entries.used < SMALL)
		check_entries(&d->entries);
	if (all || d->watches.map.count < SMALL)
		check_watches(&d->watches);
	if (all || d->replica.changes.map.count < SMALL)
		check_replica(&d->replica);
}

static void squeeze(struct account *a, size_t limit)
{
	a->limit = a->used > limit ? a->used : limit;
}

void squeeze_domain(struct domain *d, unsigned how)
{
	struct replica *r = &d->replica;

	if (how & 1)
		squeeze(&r->changes.paths, 33 + (how >> 4));
	if (how & 2)
		squeeze(&r->changes.unanswered, 4);
	if (how & 4 && outq_used(&r->out) < 20000)
		r->out.limit = 20000;
	if (how & 8)
		squeeze(&d->entries.entries, 2 + (how >> 4));
	if ((how & 12) == 12 && r->role == REPLICA_DOM0)
		squeeze(&d->entries.peer_entries, 1 + (how >> 4));
	if ((how & 9) == 9)
		squeeze(&d->entries.bytes, 4000);
	if ((how & 10) == 10)
		squeeze(&d->watches.account, 4);
	if ((how & 6) == 6)
		squeeze(&d->gatherings.bytes, 8192);
}

void relax_domain(struct domain *d)
{
	d->replica.changes.paths.limit = quota_descriptions[QUOTA_CHANGES].limit;
	d->replica.changes.unanswered.limit = quota_descriptions[QUOTA_UNANSWERED].limit;
	d->replica.out.limit = quota_descriptions[QUOTA_BACKLOG].limit;
	d->entries.entries.limit = quota_descriptions[QUOTA_ENTRIES].limit;
	d->entries.bytes.limit = quota_descriptions[QUOTA_BYTES].limit;
	if (d->replica.role == REPLICA_DOM0)
		d->entries.peer_entries.limit =
			quota_descriptions[QUOTA_VM_ENTRIES].limit;
	d->gatherings.bytes.limit = quota_descriptions[QUOTA_GATHERED].limit;
	d->watches.account.limit = quota_descriptions[QUOTA_WATCHES].limit;
}

void check_equal(struct domain *a, struct domain *b)
{
	struct entry *x = namespace_first(&a->entries, "", 0);
	struct entry *y = namespace_first(&b->entries, "", 0);

	for (; x && y; x = namespace_next(x), y = namespace_next(y)) {
		fuzz_require(strcmp(x->path, y->path) == 0);
		fuzz_require(x->value_len == y->value_len);
		fuzz_require(x->value_len == 0 ||
			     memcmp(x->value, y->value, x->value_len) == 0);
	}
	fuzz_require(!x && !y);
}
