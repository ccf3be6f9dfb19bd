/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/domain.h"

#include <errno.h>

void domain_init(struct domain *d, enum replica_role role, uint64_t id)
{
	namespace_init(&d->entries, role == REPLICA_DOM0);
	watch_index_init(&d->watches);
	replica_init(&d->replica, role, id, d);
	d->journal = (struct journal){.enabled = false};
	account_init(&d->connections, QUOTA_CONNECTIONS);
	gatherings_init(&d->gatherings);
	TAILQ_INIT(&d->sessions);
	d->last_serial = 0;
	TAILQ_INIT(&d->active);
	d->counters = (struct counters){0};
	d->work = 0;
	d->busy = 0;
	d->host = (struct host){0};
	d->is_tracing = false;
	d->serving = role != REPLICA_VM;
}

void domain_free(struct domain *d)
{
	replica_free(&d->replica);
	journal_free(&d->journal);
	namespace_clear(&d->entries);
}

static int write_entry(struct domain *d, const char *path, size_t len, const char *value,
		       size_t value_len, bool by_peer)
{
	int r = namespace_write(&d->entries, path, len, value, value_len, by_peer);

	if (r < 0)
		return r;
	journal_write(&d->journal, path, len, value, value_len, by_peer);
	watch_fire_entry(&d->watches, path, len);
	return 0;
}

int domain_apply_write(struct domain *d, const char *path, size_t len, const char *value,
		       size_t value_len)
{
	return write_entry(d, path, len, value, value_len, true);
}

typedef bool (*spare_fn)(const struct entry *e, void *context);

static bool is_spared(const struct entry *e, spare_fn spared, void *context)
{
	return spared && spared(e, context);
}

/* Whether removing this path would remove anything. */
static bool something_goes(struct domain *d, const char *path, size_t len,
			   spare_fn spared, void *context)
{
	struct entry *e;

	if (path[len - 1] != '/') {
		e = namespace_find(&d->entries, path, len);
		return e && !is_spared(e, spared, context);
	}
	for (e = namespace_first(&d->entries, path, len); e; e = namespace_next(e)) {
		if (!path_begins_with(&e->node, path, len))
			return false;
		d->work++;
		if (!is_spared(e, spared, context))
			return true;
	}
	return false;
}

static void drop(struct domain *d, struct entry *e)
{
	journal_remove(&d->journal, e->path, e->node.path_len);
	namespace_remove(&d->entries, e);
}

static void remove_directory(struct domain *d, const char *path, size_t len,
			     spare_fn spared, void *context)
{
	struct entry *e = namespace_first(&d->entries, path, len), *next;

	watch_fire_directory(&d->watches, &d->entries, path, len, spared, context);
	for (; e && path_begins_with(&e->node, path, len); e = next) {
		next = namespace_next(e);
		d->work++;
		if (!is_spared(e, spared, context))
			drop(d, e);
	}
}

static void remove_entry(struct domain *d, const char *path, size_t len)
{
	watch_fire_entry(&d->watches, path, len);
	drop(d, namespace_find(&d->entries, path, len));
}

void domain_apply_remove(struct domain *d, const char *path, size_t len, spare_fn spared,
			 void *context)
{
	if (!something_goes(d, path, len, spared, context))
		return;
	if (path[len - 1] == '/')
		remove_directory(d, path, len, spared, context);
	else
		remove_entry(d, path, len);
}

int domain_write(struct domain *d, const char *path, size_t len, const char *value,
		 size_t value_len)
{
	int r = replica_admit(&d->replica, 1);

	if (r == 0)
		r = write_entry(d, path, len, value, value_len, false);
	if (r == 0)
		replica_forward_write(&d->replica, path, len, value, value_len);
	return r;
}

int domain_remove(struct domain *d, const char *path, size_t len)
{
	int r;

	if (!something_goes(d, path, len, NULL, NULL))
		return -ENOENT;
	r = replica_forward_remove(&d->replica, path, len);
	if (r == 0)
		domain_apply_remove(d, path, len, NULL, NULL);
	return r;
}
