/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VM that was here before takes from the dump what differs from what it holds, and only
 * that is told to its watchers. But to write what is there already also is a change that
 * programs rely on: an empty entry, written again, says that a list below it is complete.
 * So dom0 marks the entries that were written since the VM last heard of them, and the
 * dump says so for each; until the VM has had all of it, in case that link is lost too.
 *
 * If dom0's daemon was restarted meanwhile, or there were too many of them, it does not
 * know which they are, and marks all the empty ones: to look at a list once more does no
 * harm.
 *
 * What the dump does not name goes at its end, when the list above has been told of. So
 * then the VM tells again of the empty entries above whatever the dump has changed.
 */
#include "daemon/core/news.h"

#include "daemon/core/domain.h"

void news_add(struct replica *r, const char *path, size_t len)
{
	struct entry *e = namespace_find(&r->domain->entries, path, len);

	if (!e)
		return;
	e->is_news = true;
	r->has_news = true;
}

static void add_all_of_ours(struct replica *r, bool only_empty)
{
	struct entry *e = namespace_first(&r->domain->entries, "", 0);

	for (; e; e = namespace_next(e))
		e->is_news |= !e->by_peer && (e->value_len == 0 || !only_empty);
	r->has_news = true;
}

void news_gather(struct replica *r)
{
	const struct changed_path *p;

	changes_owe_again(&r->changes);
	TAILQ_FOREACH (p, &r->changes.owed, by_change)
		news_add(r, p->node.path, p->node.path_len);
	if (r->peer_is_stranger || r->lost_track)
		add_all_of_ours(r, !r->peer_is_stranger);
}

void news_forget(struct replica *r)
{
	struct entry *e = namespace_first(&r->domain->entries, "", 0);

	for (; r->has_news && e; e = namespace_next(e))
		e->is_news = false;
	r->has_news = false;
}

void news_note_signals(struct replica *r, const char *path, size_t len)
{
	struct entry *e;

	for (size_t i = 1; i < len; i++) {
		e = path[i] == '/' ? namespace_find(&r->domain->entries, path, i) : NULL;
		if (e && e->value_len == 0)
			e->is_news = true;
	}
}

void news_give_signals(struct replica *r)
{
	struct entry *e = namespace_first(&r->domain->entries, "", 0);

	for (; e; e = namespace_next(e)) {
		if (e->is_news)
			watch_fire_entry(&r->domain->watches, e->path, e->node.path_len);
		e->is_news = false;
	}
}
