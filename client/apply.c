/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From one list of entries to another.
 *
 * Who writes a directory writes the path it is named by at last, often with an empty
 * value, and readers watch that path alone: it tells them that the rest is complete. So
 * everything goes in descending order, which puts a path after all that begin with it,
 * and nothing goes on after a failure. Removals come first, as they make room.
 */
#include "client/apply.h"

#include "client/failure.h"

static bool remove_entry(qdb_handle_t h, const struct options *o,
			 const struct entry *entry)
{
	if (qdb_rm(h, entry->path))
		return true;
	failure_report(h, o, ATTEMPT_RM, entry->path, NULL);
	return false;
}

static bool write_entry(qdb_handle_t h, const struct options *o,
			const struct entry *entry)
{
	if (qdb_write(h, entry->path, entry->value, (unsigned int)entry->len))
		return true;
	failure_report(h, o, ATTEMPT_WRITE, entry->path, entry->value);
	return false;
}

static bool incomplete(const struct options *o, size_t removed, size_t written)
{
	failure_say(o,
		    "Stopped after %zu removed and %zu written entries of the %s daemon;"
		    " nothing is lost if you do it again",
		    removed, written, failure_domain(o));
	return false;
}

bool apply_changes(qdb_handle_t h, const struct options *o, const struct entries *before,
		   const struct entries *after, bool rewrite)
{
	size_t removed = 0, written = 0;

	for (size_t i = before->count; i-- > 0;) {
		if (entries_find(after, before->list[i].path))
			continue;
		if (!remove_entry(h, o, &before->list[i]))
			return incomplete(o, removed, written);
		removed++;
	}
	for (size_t i = after->count; i-- > 0;) {
		const struct entry *entry = &after->list[i];
		if (!rewrite && entries_agree(entries_find(before, entry->path), entry))
			continue;
		if (!write_entry(h, o, entry))
			return incomplete(o, removed, written);
		written++;
	}
	return true;
}
