/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/report.h"

#include <unistd.h>

#include "config.h"
#include "daemon/trace.h"

static void add_time(struct status *st, const char *section, const char *key, time_t t)
{
	if (t != 0)
		status_add(st, section, key, "%lld", (long long)t);
}

static void add_daemon(struct status *st, const struct report *r)
{
	const struct options *o = r->options;

	status_add(st, "/daemon", "version", "%s", PACKAGE_VERSION);
	if (o->remote_name)
		status_add(st, "/daemon", "name", "%s", o->remote_name);
	status_add(st, "/daemon", "domid", "%d", o->remote_domid);
	status_add(st, "/daemon", "pid", "%ld", (long)getpid());
	add_time(st, "/daemon", "started", r->started);
	add_time(st, "/daemon", "now", time(NULL));
}

/* Only when there is a peer. */
static void add_link(struct status *st, const struct link *l)
{
	if (!l->replica)
		return;
	if (l->connected)
		add_time(st, "/peer", "connected-since", l->connected_since);
	add_time(st, "/peer", "last-resync", l->last_resync);
	status_add(st, "/peer", "links", "%zu", l->links);
	if (l->last_fault)
		status_add(st, "/peer", "last-fault", "%s", l->last_fault);
	status_add(st, "/quota/reconnects", "used", "%zu", l->begun);
	status_add(st, "/quota/vm-links", "used", "%zu", l->remembered);
}

/* Only where there is a state file. */
static void add_state(struct status *st, const struct state *s)
{
	if (!s->path)
		return;
	status_add_flag(st, "/state", "kept", !s->is_failing);
	status_add(st, "/state", "file", "%s", s->path);
}

static void keep_greater(size_t *greatest, const struct account *a)
{
	if (a->used > *greatest)
		*greatest = a->used;
}

static void add_users(struct status *st, const struct clients *c)
{
	const struct user *user;
	size_t connections = 0, watches = 0, output = 0;

	LIST_FOREACH (user, &c->users.all, all) {
		keep_greater(&connections, &user->connections);
		keep_greater(&watches, &user->watches);
		keep_greater(&output, &user->output);
	}
	status_add(st, "/quota/user-connections", "used", "%zu", connections);
	status_add(st, "/quota/user-watches", "used", "%zu", watches);
	status_add(st, "/quota/user-output", "used", "%zu", output);
}

static void add_items(struct status *st, void *context)
{
	const struct report *r = context;

	add_daemon(st, r);
	add_link(st, r->link);
	add_state(st, r->state);
	add_users(st, r->clients);
}

void report_init(struct report *r, const struct options *o, const struct clients *c,
		 const struct link *l, const struct state *s)
{
	*r = (struct report){o, c, l, s, time(NULL)};
	c->domain->host = (struct host){add_items, clients_add_status, clients_trace,
					trace_peer, r};
}
