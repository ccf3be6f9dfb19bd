/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qubesdb-restore. What the dump does not name is kept, unless --exact says otherwise.
 * Everything in it is written, also what is the same already, because programs wait for
 * the event.
 */
#include "client/apply.h"
#include "client/commands.h"
#include "client/failure.h"
#include "client/source.h"

static bool load_old(qdb_handle_t h, const struct options *o, struct entries *old)
{
	const char *prefix = o->exact && o->exact[0] ? o->exact : "/";

	if (!o->exact)
		return true;
	if (!entries_load(old, h, prefix)) {
		failure_report(h, o, ATTEMPT_RESTORE, prefix, NULL);
		return false;
	}
	entries_sort(old);
	return true;
}

int command_restore(qdb_handle_t h, const struct options *o)
{
	struct entries old = {0}, wanted = {0};
	bool done;

	done = source_load(o, o->arg_count > 0 ? o->args[0] : NULL,
			   o->exact ? o->exact : "", &wanted) &&
	       load_old(h, o, &old) && apply_changes(h, o, &old, &wanted, true);
	entries_free(&old);
	entries_free(&wanted);
	return done ? 0 : 1;
}
