/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many entries at once: all or none. They are put into a namespace of their own, which is
 * where everything that can fail happens; then the domain's takes that over. Only when
 * all of them are there are watchers told, and the peer, which gets them one by one.
 *
 * A path may be there twice. It is written twice, then, and only the last value is ever
 * seen.
 */
#include <errno.h>

#include "daemon/core/domain.h"

/* 0, -EINVAL with e->path_len 0 if no entry is to blame, -ENOMEM or -EDQUOT. */
static int stage(struct namespace *staged, const char *bytes, size_t len,
		 struct many_entry *e)
{
	size_t left = quota_descriptions[QUOTA_MANY].limit;
	enum many_result result;
	struct many many;
	int r = 0;

	many_begin(&many, bytes, len);
	while (r == 0 && (result = many_next(&many, e)) == MANY_ENTRY) {
		if (left-- == 0)
			return quota_refuse(QUOTA_MANY);
		r = namespace_write(staged, e->path, e->path_len, e->value, e->value_len,
				    false);
	}
	if (r < 0 || result == MANY_END)
		return r;
	if (result == MANY_MALFORMED)
		e->path_len = 0;
	return -EINVAL;
}

static int admit(struct domain *d, struct namespace *staged)
{
	int r = replica_admit(&d->replica, staged->entries.used);

	return r == 0 ? namespace_adopt(&d->entries, staged) : r;
}

static void tell(struct domain *d, const char *bytes, size_t len)
{
	struct many_entry e;
	struct many many;

	many_begin(&many, bytes, len);
	while (many_next(&many, &e) == MANY_ENTRY) {
		d->work++;
		journal_write(&d->journal, e.path, e.path_len, e.value, e.value_len,
			      false);
		watch_fire_entry(&d->watches, e.path, e.path_len);
		replica_forward_write(&d->replica, e.path, e.path_len, e.value,
				      e.value_len);
	}
}

int domain_write_many(struct domain *d, const char *bytes, size_t len,
		      struct many_entry *e)
{
	struct namespace staged;
	int r;

	namespace_init(&staged, true);
	r = stage(&staged, bytes, len, e);
	if (r == 0)
		r = admit(d, &staged);
	namespace_clear(&staged);
	if (r == 0)
		tell(d, bytes, len);
	return r;
}
