/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The real core, moved as daemon/link.c and daemon/clients.c move it. An observer watches
 * "/", and so every change of the namespace; what it hears is compared with the namespace
 * itself. The core is given at most one message, or request, at a time, so that a removal
 * is over before the next change.
 */
#include <string.h>
#include <sys/param.h>

#include "tests/sim/sim.h"

#define WRITES_PER_TURN 8 /* 1 if it is slow */

static struct end *observer_end(struct watcher *watcher)
{
	return (struct end *)(void *)((char *)watcher -
				      offsetof(struct end, new.observer));
}

static void enter(struct end *e)
{
	alloc_starve = &e->new.starve;
}

static void leave(struct end *e)
{
	alloc_starve = NULL;
	if (alloc_has_starved) {
		world_trace(e->world, "    an allocation has failed\n");
		e->new.faulted = true;
	}
	alloc_has_starved = false;
}

static int real_value(struct end *e, int path)
{
	const struct entry *found = namespace_find(&e->new.domain.entries,
						   path_name(path), path_length(path));

	return found ? value_decode(found->value, found->value_len) : VALUE_ABSENT;
}

/* ---- what the observer hears ---- */

static void end_removal(struct end *e)
{
	bool gone[PATHS] = {0};

	if (e->new.directory < 0)
		return;
	for (int i = 0; i < names_count(); i++)
		if (path_covers(e->new.directory, i) && e->new.present[i])
			gone[i] = real_value(e, i) == VALUE_ABSENT;
	for (int i = 0; i < CLIENTS; i++)
		client_expect_removal(&e->new.clients[i], e->new.directory, gone);
	e->new.directory = -1;
}

static void begin_removal(struct end *e, int directory)
{
	e->new.directory = directory;
	for (int i = 0; i < names_count(); i++) {
		if (!path_covers(directory, i))
			continue;
		e->new.present[i] =
			!path_is_directory(i) && real_value(e, i) != VALUE_ABSENT;
		e->new.changed[i] = true;
	}
}

/* A client's own change is answered before anybody hears of it. */
static void check_answered(struct end *e, int path)
{
	const struct client *c = e->new.running;
	const struct request *r;

	if (!c || c->n_pending == 0)
		return;
	r = &c->pending[0];
	if (r->path == path && (r->type == QDB_CMD_WRITE || r->type == QDB_CMD_RM))
		world_judge(e->world, EVENT, "the event for %s before the answer",
			    path_name(path));
}

static void on_change(struct watcher *watcher, const struct watch *watch,
		      const char *name, size_t len)
{
	struct end *e = observer_end(watcher);
	unsigned *starve = alloc_starve;
	const int path = path_number(name, len);

	(void)watch;
	alloc_starve = NULL;
	end_removal(e);
	for (int i = 0; i < CLIENTS; i++)
		client_observe(&e->new.clients[i]);
	check_answered(e, path);
	if (e->side == VM || !e->new.running)
		oracle_heard(e->world, path);
	if (path_is_directory(path)) {
		begin_removal(e, path);
	} else {
		e->new.changed[path] = true;
		for (int i = 0; i < CLIENTS; i++)
			client_expect(&e->new.clients[i], path);
	}
	e->world->moved++;
	alloc_starve = starve;
}

static void take_over_changes(struct end *e, bool all)
{
	for (int i = 0; i < names_count(); i++) {
		int value;

		if ((!all && !e->new.changed[i]) || path_is_directory(i))
			continue;
		value = real_value(e, i);
		if (value != e->values[i]) {
			world_trace(e->world, "    %s: %s = %s\n",
				    e->side ? "VM" : "dom0", path_name(i),
				    value_name(value));
			if (!e->new.changed[i])
				world_judge(e->world, SILENT, "%s has changed to %s",
					    path_name(i), value_name(value));
		}
		e->values[i] = value;
		e->new.changed[i] = false;
	}
}

/* ---- its state ---- */

/* A snapshot is always under way, one entry a commit, the longest that there can be. */
static void go_on_with_snapshot(struct end *e)
{
	struct store *store = &e->store;

	if (!store->in_snapshot) {
		store->cursor = (struct journal_cursor){.has_begun = false};
		store->next_len = 0;
	}
	store->next_len +=
		journal_snapshot(&e->new.domain, &store->cursor,
				 store->next + store->next_len, RECORD_MAX_SIZE);
	store->in_snapshot = !store->cursor.is_done;
	if (store->in_snapshot)
		return;
	memcpy(store->bytes, store->next, store->next_len);
	store->len = store->next_len;
}

static void commit(struct end *e)
{
	struct journal *j = &e->new.domain.journal;
	struct store *store = &e->store;

	if (e->side != DOM0 || !journal_prepare(j, &e->new.domain.replica))
		return;
	if (j->incomplete ||
	    MAX(store->len, store->next_len) + j->used + RECORD_MAX_SIZE > STORE_SIZE) {
		store->in_snapshot = false;
		do
			go_on_with_snapshot(e);
		while (store->in_snapshot);
	} else {
		memcpy(store->bytes + store->len, j->bytes, j->used);
		store->len += j->used;
		if (store->in_snapshot) {
			memcpy(store->next + store->next_len, j->bytes, j->used);
			store->next_len += j->used;
		}
		go_on_with_snapshot(e);
	}
	journal_committed(j);
}

static void load(struct end *e)
{
	struct store *store = &e->store;

	e->new.domain.journal.enabled = true;
	store->in_snapshot = false;
	if (store->len == 0) {
		store->generation = e->new.domain.replica.id;
		return;
	}
	e->new.domain.replica.id = store->generation;
	if (journal_replay(&e->new.domain, store->bytes, store->len) < 0)
		world_judge(e->world, LOST, "the state cannot be read");
	for (int i = 0; i < names_count(); i++)
		if (!path_is_directory(i) && real_value(e, i) != e->values[i])
			world_judge(e->world, LOST, "the state has %s for %s",
				    value_name(real_value(e, i)), path_name(i));
}

static void check_quotas(struct end *e)
{
	const struct replica *r = &e->new.domain.replica;

	if (r->changes.paths.used > r->changes.paths.limit)
		world_judge(e->world, COUNTER, "more changes than the quota");
	if (outq_used(&r->out) > r->out.limit)
		world_judge(e->world, COUNTER, "more backlog than the quota");
}

static void settle(struct end *e)
{
	struct new_end *n = &e->new;

	if (n->domain.serving && !n->was_serving) {
		n->was_serving = true;
		world_trace(e->world, "    %s serves\n", e->side ? "VM" : "dom0");
	}
	for (int i = 0; i < CLIENTS; i++)
		if (session_has_work(n->clients[i].session)) {
			client_run(&n->clients[i]);
			end_removal(e);
		}
	commit(e);
	leave(e);
	end_removal(e);
	for (int i = 0; i < CLIENTS; i++)
		client_settle(&n->clients[i]);
	while (session_next_active(&n->domain))
		;
	take_over_changes(e, false);
	check_quotas(e);
}

/* ---- its life ---- */

/* No two daemons have the same number. */
static uint64_t incarnations;

static void start(struct end *e)
{
	struct new_end *n = &e->new;

	memset(n, 0, sizeof(*n));
	domain_init(&n->domain, e->side == DOM0 ? REPLICA_DOM0 : REPLICA_VM,
		    ++incarnations);
	if (e->side == DOM0)
		load(e);
	if (e->side == DOM0 && e->world->config->faults & FAULT_SHARE)
		n->domain.entries.peer_entries.limit = 2;
	if (e->world->config->faults & FAULT_SLOW)
		n->domain.replica.dump_piece = 1;
	n->directory = -1;
	n->was_serving = n->domain.serving;
	watcher_init(&n->observer, &n->domain.watches.account, on_change);
	watch_add(&n->domain.watches, &n->observer, "/", 1);
	for (int i = 0; i < CLIENTS; i++)
		client_open(&n->clients[i], e);
}

static void check_counters(struct end *e)
{
	struct domain *d = &e->new.domain;
	size_t watches = 0, most = 0;

	if (!namespace_is_consistent(&d->entries))
		world_judge(e->world, COUNTER, "entries or bytes");
	if (!changes_is_consistent(&d->replica.changes))
		world_judge(e->world, COUNTER, "changes");
	if (d->connections.used != CLIENTS)
		world_judge(e->world, COUNTER, "connections");
	for (struct path_node *node = pathmap_first(&d->watches.map, "", 0); node;
	     node = pathmap_next(node)) {
		const struct watch *watch;

		TAILQ_FOREACH (watch,
			       &pathmap_object(node, struct watched_path, node)->watches,
			       of_path)
			watches += watch->count;
	}
	for (int i = 0; i < CLIENTS; i++)
		for (int p = 0; p < PATHS; p++)
			most += e->new.clients[i].watches[p];
	if (watches != most + 1)
		world_judge(e->world, COUNTER, "%zu watches, %zu were registered",
			    watches - 1, most);
}

static void stop(struct end *e)
{
	struct new_end *n = &e->new;

	for (int i = 0; i < CLIENTS; i++)
		client_observe(&n->clients[i]);
	take_over_changes(e, true);
	check_counters(e);
	for (int i = 0; i < CLIENTS; i++)
		client_close(&n->clients[i]);
	watch_remove_all(&n->domain.watches, &n->observer);
	if (!pathmap_is_empty(&n->domain.watches.map) || n->domain.connections.used)
		world_judge(e->world, COUNTER, "watches or connections remain");
	domain_free(&n->domain);
}

static void request(struct end *e, const struct action *a)
{
	struct client *c = &e->new.clients[a->client];

	enter(e);
	if (a->act == ACT_REQUEST)
		client_request(c, a);
	else
		c->stalled = a->act == ACT_STALL;
	settle(e);
}

/* ---- the link ---- */

static void connected(struct end *e)
{
	enter(e);
	replica_connected(&e->new.domain.replica);
	settle(e);
}

static void disconnected(struct end *e)
{
	world_trace(e->world, "    %s: the link has ended\n", e->side ? "VM" : "dom0");
	e->attached = false;
	e->world->moved++;
	replica_disconnected(&e->new.domain.replica);
}

static void deliver(struct end *e, size_t max)
{
	struct replica *r = &e->new.domain.replica;
	uint8_t *space;
	size_t room, n;

	if (max == 0)
		max = SIZE_MAX;
	enter(e);
	while (max > 0 && e->attached && !r->failure) {
		n = link_message(e);
		room = replica_space(r, &space);
		if (n == 0 && e->world->broken && room > 0)
			disconnected(e);
		n = n < room ? n : room;
		n = n < max ? n : max;
		if (n == 0)
			break;
		link_take(e, space, n);
		replica_received(r, n);
		while (replica_has_work(r))
			replica_resume(r);
		end_removal(e);
		max -= n;
	}
	settle(e);
}

static bool write_once(struct end *e)
{
	struct replica *r = &e->new.domain.replica;
	const bool broken = e->world->broken;
	const uint8_t *bytes;
	size_t len;

	bytes = replica_output(r, broken ? SIZE_MAX : link_room(e), &len);
	if (len == 0)
		return false;
	if (!broken)
		link_put(e, bytes, len);
	replica_sent(r, len);
	replica_run(r);
	return true;
}

static void turn(struct end *e)
{
	struct replica *r = &e->new.domain.replica;
	const int most = e->world->config->faults & FAULT_SLOW ? 1 : WRITES_PER_TURN;
	int writes = 0;

	if (e->attached && replica_drains_first(r))
		deliver(e, 0);
	enter(e);
	if (e->attached) {
		replica_run(r);
		while (writes < most && write_once(e))
			writes++;
	}
	if (e->attached && r->failure) {
		alloc_starve = NULL;
		e->new.faulted |= alloc_has_starved;
		world_trace(e->world, "    %s gives the link up: %s\n",
			    e->side ? "VM" : "dom0", r->failure);
		if (!e->new.faulted)
			world_judge(e->world, FAILURE, "%s", r->failure);
		link_close(e);
		disconnected(e);
	}
	settle(e);
}

static bool is_quiet(struct end *e)
{
	struct new_end *n = &e->new;

	for (int i = 0; i < CLIENTS; i++)
		if (n->clients[i].n_pending > 0)
			return false;
	return e->attached && n->domain.replica.state == REPLICA_LIVE &&
	       !changes_next(&n->domain.replica.changes) &&
	       changes_in_flight(&n->domain.replica.changes) == 0 &&
	       outq_used(&n->domain.replica.out) == 0;
}

const struct end_class end_new = {
	.start = start,
	.stop = stop,
	.request = request,
	.deliver = deliver,
	.turn = turn,
	.connected = connected,
	.is_quiet = is_quiet,
};
