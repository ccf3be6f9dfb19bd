/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/status.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/requests.h"

#define TEXT_SIZE 256

/* So many clients are looked at in one turn. */
#define CLIENTS_PER_TURN 16

void status_add(struct status *st, const char *section, const char *key,
		const char *format, ...)
{
	const struct answer *a = &st->to->answer;
	char path[QDB_MAX_PATH], text[TEXT_SIZE];
	va_list args;
	int len;

	len = snprintf(path, sizeof(path), "%s/%s", section, key);
	if (len < 0 || (size_t)len >= sizeof(path) ||
	    strncmp(path, a->prefix, a->prefix_len) != 0)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	session_respond(st->to, QDB_RESP_STATUS, path, (size_t)len, text, strlen(text));
}

void status_add_flag(struct status *st, const char *section, const char *key, bool flag)
{
	status_add(st, section, key, "%s", flag ? "yes" : "no");
}

static void add_number(struct status *st, const char *section, const char *key,
		       uint64_t number)
{
	status_add(st, section, key, "%" PRIu64, number);
}

/* ---- sections ---- */

static void add_daemon(struct status *st, const struct domain *d)
{
	static const char *const roles[] = {
		[REPLICA_ALONE] = "alone",
		[REPLICA_DOM0] = "dom0",
		[REPLICA_VM] = "vm",
	};

	status_add(st, "/daemon", "role", "%s", roles[d->replica.role]);
	status_add_flag(st, "/daemon", "serving", d->serving);
	status_add_flag(st, "/daemon", "tracing", d->is_tracing);
}

static const char *kind_of_peer(const struct replica *r)
{
	if (r->state <= REPLICA_CONNECTED)
		return "unknown";
	return r->peer_is_legacy ? "legacy" : "new";
}

static void add_identities(struct status *st, const struct replica *r)
{
	const bool in_dom0 = r->role == REPLICA_DOM0;
	const uint64_t generation = in_dom0 ? r->id : r->peer_id;
	const uint64_t instance = in_dom0 ? r->peer_id : r->id;

	if (generation != 0)
		status_add(st, "/peer", "generation", "%016" PRIx64, generation);
	if (instance != 0)
		status_add(st, "/peer", "instance", "%016" PRIx64, instance);
}

static void add_peer(struct status *st, const struct domain *d)
{
	static const char *const states[] = {
		[REPLICA_DOWN] = "down",         [REPLICA_CONNECTED] = "connected",
		[REPLICA_RESUMING] = "resuming", [REPLICA_DUMPING] = "dumping",
		[REPLICA_LIVE] = "live",
	};
	const struct replica *r = &d->replica;
	size_t refused = 0;

	if (r->role == REPLICA_ALONE)
		return;
	for (int i = 0; i < REPLICA_REFUSALS; i++)
		refused += r->refused[i];
	status_add(st, "/peer", "state", "%s", states[r->state]);
	status_add(st, "/peer", "kind", "%s", kind_of_peer(r));
	add_identities(st, r);
	add_number(st, "/peer", "processed", r->processed);
	add_number(st, "/peer", "refused", refused);
	add_number(st, "/backlog", "owed", r->changes.n_owed);
	add_number(st, "/backlog", "unanswered", changes_in_flight(&r->changes));
	add_number(st, "/backlog", "bytes", outq_used(&r->out));
}

/* A quota of which each client has its own is used as much as by the greediest. */
struct usage {
	bool is_known;
	size_t used;
	size_t limit;
};

static void set_usage(struct usage *u, enum quota quota, size_t used, size_t limit)
{
	u[quota] = (struct usage){true, used, limit};
}

static void use(struct usage *u, const struct account *a)
{
	set_usage(u, a->quota, a->used, a->limit);
}

/* Without the answer that is being made. */
static size_t unread(const struct status *st, const struct session *s)
{
	return s == st->to ? s->answer.unread : outq_used(&s->out);
}

static void measure_clients(struct usage *u, const struct status *st,
			    const struct domain *d)
{
	const struct session *s;
	size_t watches = 0, output = 0;

	TAILQ_FOREACH (s, &d->sessions, all) {
		if (s->watcher.account.used > watches)
			watches = s->watcher.account.used;
		if (unread(st, s) > output)
			output = unread(st, s);
	}
	set_usage(u, QUOTA_CLIENT_WATCHES, watches, u[QUOTA_CLIENT_WATCHES].limit);
	set_usage(u, QUOTA_OUTPUT, output, u[QUOTA_OUTPUT].limit);
}

static void measure(struct usage *u, const struct status *st, const struct domain *d)
{
	const struct replica *r = &d->replica;

	for (int q = 0; q < QUOTAS; q++)
		u[q] = (struct usage){.limit = quota_descriptions[q].limit};
	use(u, &d->entries.entries);
	use(u, &d->entries.bytes);
	if (r->role == REPLICA_DOM0) {
		use(u, &d->entries.peer_entries);
		use(u, &d->entries.peer_bytes);
		use(u, &r->changes.refusals);
	}
	use(u, &d->connections);
	use(u, &d->watches.account);
	use(u, &d->gatherings.bytes);
	use(u, &r->changes.paths);
	use(u, &r->changes.unanswered);
	set_usage(u, QUOTA_BACKLOG, outq_used(&r->out), r->out.limit);
	measure_clients(u, st, d);
}

static void add_quotas(struct status *st, const struct domain *d)
{
	struct usage usage[QUOTAS];
	char section[QDB_MAX_PATH];

	measure(usage, st, d);
	for (int q = 0; q < QUOTAS; q++) {
		snprintf(section, sizeof(section), "/quota/%s",
			 quota_descriptions[q].name);
		if (usage[q].is_known)
			add_number(st, section, "used", usage[q].used);
		add_number(st, section, "limit", usage[q].limit);
		add_number(st, section, "refused", quota_refusals((enum quota)q));
	}
}

static void add_counters(struct status *st, const struct domain *d)
{
	static const struct {
		enum qdb_msg type;
		const char *name;
	} requests[] = {
		{QDB_CMD_READ, "read"},
		{QDB_CMD_WRITE, "write"},
		{QDB_CMD_MULTIREAD, "multiread"},
		{QDB_CMD_LIST, "list"},
		{QDB_CMD_RM, "rm"},
		{QDB_CMD_WATCH, "watch"},
		{QDB_CMD_UNWATCH, "unwatch"},
		{QDB_CMD_WRITE_MANY, "write-many"},
		{QDB_CMD_STATUS, "status"},
		{QDB_CMD_TRACE, "trace"},
	};
	static const char *const refusals[REFUSALS] = {
		[REFUSAL_ABSENT] = "absent",   [REFUSAL_REQUEST] = "unknown-request",
		[REFUSAL_PATH] = "bad-path",   [REFUSAL_VALUE] = "bad-value",
		[REFUSAL_DATA] = "extra-data", [REFUSAL_ACCESS] = "not-allowed",
		[REFUSAL_QUOTA] = "quota",     [REFUSAL_MEMORY] = "memory",
	};
	const struct counters *c = &d->counters;

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		add_number(st, "/requests", requests[i].name,
			   c->requests[requests[i].type]);
	for (int i = 0; i < REFUSALS; i++)
		add_number(st, "/errors", refusals[i], c->refusals[i]);
	add_number(st, "/events", "sent", c->events);
}

static void add_client(struct status *st, const struct domain *d, const struct session *s)
{
	char section[QDB_MAX_PATH];

	snprintf(section, sizeof(section), "/clients/%" PRIu64, s->serial);
	if (d->host.add_client)
		d->host.add_client(st, section, s->owner);
	status_add(st, section, "access", "%s",
		   s->read_only ? "read-only" : "read-write");
	add_number(st, section, "watches", s->watcher.account.used);
	add_number(st, section, "requests", s->requests);
	add_number(st, section, "unread", unread(st, s));
}

/* ---- the answer ---- */

static void begin(struct status *st, const struct domain *d)
{
	add_daemon(st, d);
	add_peer(st, d);
	if (d->host.add_items)
		d->host.add_items(st, d->host.context);
	add_quotas(st, d);
	add_counters(st, d);
}

static bool may_be_in(const struct answer *a, const char *section)
{
	const size_t len = strlen(section);

	return strncmp(a->prefix, section, a->prefix_len < len ? a->prefix_len : len) ==
	       0;
}

/* Returns whether these are all. */
static bool add_clients(struct status *st, const struct domain *d)
{
	struct answer *a = &st->to->answer;
	const struct session *client;
	int left = CLIENTS_PER_TURN;

	TAILQ_FOREACH (client, &d->sessions, all) {
		if (client->serial <= a->serial)
			continue;
		if (left-- == 0 || outq_used(&st->to->out) >= OUTPUT_PIECE)
			return false;
		add_client(st, d, client);
		a->serial = client->serial;
	}
	return true;
}

void status_continue(struct session *s)
{
	struct status st = {s};
	struct answer *a = &s->answer;

	s->turn_is_over = true;
	if (!a->has_begun)
		begin(&st, s->domain);
	a->has_begun = true;
	if (may_be_in(a, "/clients/") && !add_clients(&st, s->domain))
		return;
	session_respond(s, QDB_RESP_STATUS, "", 0, NULL, 0);
	s->answering = false;
}
