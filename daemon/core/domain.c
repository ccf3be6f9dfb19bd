/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/domain.h"

#include <errno.h>

void domain_init(struct domain *d, enum replica_role role)
{
	namespace_init(&d->entries);
	watch_index_init(&d->watches);
	replica_init(&d->replica, role, d);
	account_init(&d->connections, QUOTA_CONNECTIONS);
	TAILQ_INIT(&d->active);
	d->serving = role != REPLICA_VM;
}

void domain_free(struct domain *d)
{
	replica_free(&d->replica);
	namespace_clear(&d->entries);
}

static int write_entry(struct domain *d, const char *path, size_t len, const char *value,
		       size_t value_len)
{
	int r = namespace_write(&d->entries, path, len, value, value_len);

	if (r == 0)
		watch_fire_entry(&d->watches, path, len);
	return r;
}

typedef bool (*spare_fn)(const struct entry *e, void *context);

static bool remove_directory(struct domain *d, const char *path, size_t len,
			     spare_fn spared, void *context)
{
	struct entry *e = namespace_first(&d->entries, path, len), *next;
	bool any = false;

	for (next = e; next && !any; next = namespace_next(next)) {
		if (!path_begins_with(&next->node, path, len))
			break;
		any = !(spared && spared(next, context));
	}
	if (!any)
		return false;
	watch_fire_directory(&d->watches, &d->entries, path, len, spared, context);
	for (; e && path_begins_with(&e->node, path, len); e = next) {
		next = namespace_next(e);
		if (!(spared && spared(e, context)))
			namespace_remove(&d->entries, e);
	}
	return true;
}

static bool remove_entry(struct domain *d, const char *path, size_t len, spare_fn spared,
			 void *context)
{
	struct entry *e = namespace_find(&d->entries, path, len);

	if (!e || (spared && spared(e, context)))
		return false;
	watch_fire_entry(&d->watches, path, len);
	namespace_remove(&d->entries, e);
	return true;
}

static bool remove_path(struct domain *d, const char *path, size_t len, spare_fn spared,
			void *context)
{
	if (path[len - 1] == '/')
		return remove_directory(d, path, len, spared, context);
	return remove_entry(d, path, len, spared, context);
}

int domain_write(struct domain *d, const char *path, size_t len, const char *value,
		 size_t value_len)
{
	int r = replica_admit(&d->replica);

	if (r == 0)
		r = write_entry(d, path, len, value, value_len);
	if (r == 0)
		replica_forward_write(&d->replica, path, len, value, value_len);
	return r;
}

int domain_remove(struct domain *d, const char *path, size_t len)
{
	int r = replica_admit(&d->replica);

	if (r < 0)
		return r;
	if (!remove_path(d, path, len, NULL, NULL))
		return -ENOENT;
	replica_forward_remove(&d->replica, path, len);
	return 0;
}

static bool ours_wins(const struct entry *e, void *context)
{
	struct domain *d = context;

	return replica_wins(&d->replica, e->node.path, e->node.path_len);
}

int domain_apply_write(struct domain *d, const char *path, size_t len, const char *value,
		       size_t value_len)
{
	if (replica_wins(&d->replica, path, len))
		return 0;
	return write_entry(d, path, len, value, value_len);
}

void domain_apply_remove(struct domain *d, const char *path, size_t len)
{
	remove_path(d, path, len, ours_wins, d);
}
