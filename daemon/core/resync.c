/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a link begins, at either end, up to the end mark of its dump; the essay at the head
 * of replica.c tells why.
 *
 *   VM                                  dom0
 *   hello, MULTIREAD              ->
 *                                 <-    hello
 *   what dom0 has missed, go      ->          (a VM that has something)
 *                                 <-    the dump, the end mark
 *   got                           ->
 */
#include "daemon/core/resync.h"

#include <errno.h>
#include <string.h>

#include "daemon/core/domain.h"
#include "daemon/core/news.h"
#include "daemon/core/sending.h"

static bool is_fresh(const struct replica *r)
{
	return r->role == REPLICA_VM && !r->domain->serving;
}

static void say_hello(struct replica *r)
{
	const struct announcement hello = {
		.kind = ANNOUNCEMENT_HELLO,
		.id = r->id,
		.processed = r->processed,
		.fresh = is_fresh(r),
	};
	char path[QDB_MAX_PATH];

	sending_say(r, QDB_RESP_OK, path,
		    announcement_format(path, sizeof(path), &hello));
}

void resync_ask(struct replica *r)
{
	say_hello(r);
	sending_say(r, QDB_CMD_MULTIREAD, "", 0);
}

/* ---- the beginning of a link, in dom0 ---- */

/* Operations that the peer has processed are done, whether their answers came or not. */
static void forget_processed(struct replica *r, uint64_t processed)
{
	const size_t in_flight = changes_in_flight(&r->changes);
	const uint64_t answered = r->base + r->sent_on_link - in_flight;

	if (processed > answered && processed - answered <= in_flight)
		changes_confirm(&r->changes, (size_t)(processed - answered));
	r->base = processed;
	r->sent_on_link = changes_in_flight(&r->changes);
}

static void meet_vm(struct replica *r, const struct announcement *hello)
{
	r->peer_is_legacy = false;
	r->state = REPLICA_CONNECTED;
	if (hello->fresh || hello->id != r->peer_id) {
		r->processed = 0;
		r->peer_is_known = false;
	}
	r->peer_is_stranger = !hello->fresh && !r->peer_is_known;
	r->peer_id = hello->id;
	r->peer_resumes = !hello->fresh;
	forget_processed(r, hello->fresh ? 0 : hello->processed);
	if (hello->fresh)
		sending_forget(r);
}

static void begin_dump(struct replica *r)
{
	if (r->peer_resumes)
		news_gather(r);
	sending_forget(r);
	r->peer_is_known = !r->peer_is_legacy;
	r->peer_is_stranger = false;
	r->lost_track = false;
	r->cursor_len = 0;
	r->state = REPLICA_DUMPING;
}

void resync_dump_request(struct replica *r, const struct message *m)
{
	if (r->state != REPLICA_CONNECTED || m->path_len > 0) {
		sending_violated(r, "a request for a dump that may not be asked for now");
		return;
	}
	if (!r->peer_is_legacy)
		say_hello(r);
	if (r->peer_resumes) {
		r->state = REPLICA_RESUMING;
		return;
	}
	begin_dump(r);
	if (r->peer_is_legacy && r->served_legacy)
		sending_emptying(r);
	r->served_legacy |= r->peer_is_legacy;
}

/* ---- the beginning of a link, in the VM ---- */

/* What the quota does not allow is given up, and not in the way of the rest. */
static bool owe_entry(struct replica *r, const struct entry *e)
{
	const int result = changes_owe(&r->changes, e->path, e->node.path_len);

	if (result == -ENOMEM)
		sending_fail(r, "no memory for what dom0 does not have");
	else if (result < 0)
		r->refused[REFUSED_FOR_QUOTA]++;
	return result != -ENOMEM;
}

static bool owe_everything(struct replica *r)
{
	struct entry *e = namespace_first(&r->domain->entries, "", 0);

	for (; e; e = namespace_next(e))
		if (!owe_entry(r, e))
			return false;
	return true;
}

static void meet_dom0(struct replica *r, const struct announcement *hello)
{
	r->peer_is_legacy = false;
	r->dump++;
	if (is_fresh(r)) {
		r->peer_id = hello->id;
		r->base = hello->processed;
		r->state = REPLICA_DUMPING;
		return;
	}
	forget_processed(r, hello->processed);
	if (hello->id == r->peer_id) {
		changes_owe_again(&r->changes);
	} else {
		changes_clear(&r->changes);
		if (!owe_everything(r))
			return;
	}
	r->peer_id = hello->id;
	r->sent_on_link = 0;
	r->resume_left = r->changes.n_owed;
	r->state = REPLICA_RESUMING;
}

/* The dump begins without a greeting. */
static void meet_legacy_dom0(struct replica *r)
{
	r->dump++;
	r->peer_id = 0;
	r->base = r->sent_on_link = 0;
	changes_owe_again(&r->changes);
	r->state = REPLICA_DUMPING;
}

/* ---- the dump, in the VM ---- */

static bool is_named_or_ours(const struct entry *e, void *context)
{
	struct replica *r = context;

	return e->dump == r->dump ||
	       changes_cover(&r->changes, e->path, e->node.path_len);
}

static void drop_unnamed(struct replica *r)
{
	struct entry *e = namespace_first(&r->domain->entries, "", 0), *next;

	for (; e; e = next) {
		next = namespace_next(e);
		if (is_named_or_ours(e, r))
			continue;
		news_note_signals(r, e->path, e->node.path_len);
		domain_apply_remove(r->domain, e->path, e->node.path_len, NULL, NULL);
	}
}

static void owe_unnamed(struct replica *r)
{
	struct entry *e = namespace_first(&r->domain->entries, "", 0);

	for (; e; e = namespace_next(e))
		if (!is_named_or_ours(e, r) && !owe_entry(r, e))
			return;
}

static void end_dump(struct replica *r)
{
	if (r->peer_is_legacy && !is_fresh(r))
		owe_unnamed(r);
	else
		drop_unnamed(r);
	news_give_signals(r);
	if (!r->peer_is_legacy)
		sending_announce(r, ANNOUNCEMENT_GOT);
	r->state = REPLICA_LIVE;
	r->domain->serving = true;
}

static bool has_value(const struct entry *e, const struct message *m)
{
	return e && e->value_len == m->data_len &&
	       (m->data_len == 0 || memcmp(e->value, m->data, m->data_len) == 0);
}

/* Watchers have been told of what is there already, unless by a legacy dom0. */
static int apply_dump_entry(struct replica *r, const struct message *m)
{
	const struct entry *e = namespace_find(&r->domain->entries, m->path, m->path_len);

	if (m->fault != MESSAGE_FINE)
		return -EINVAL;
	if (has_value(e, m) && !r->peer_is_legacy && !r->next_is_news)
		return 0;
	news_note_signals(r, m->path, m->path_len);
	return domain_apply_write(r->domain, m->path, m->path_len, m->data, m->data_len);
}

void resync_confirm(struct replica *r, const char *path, size_t len)
{
	struct entry *e = namespace_find(&r->domain->entries, path, len);

	if (e)
		e->dump = r->dump;
}

static void take_dump_entry(struct replica *r, const struct message *m)
{
	int result;

	if (changes_cover(&r->changes, m->path, m->path_len)) {
		if (r->next_is_news)
			watch_fire_entry(&r->domain->watches, m->path, m->path_len);
		return;
	}
	result = apply_dump_entry(r, m);
	if (result == -ENOMEM)
		sending_fail(r, "no memory for an entry of the dump");
	else if (result < 0)
		r->refused[result == -EDQUOT ? REFUSED_FOR_QUOTA : REFUSED_AS_BAD]++;
	resync_confirm(r, m->path, m->path_len);
}

void resync_dump_entry(struct replica *r, const struct message *m)
{
	if (r->state == REPLICA_CONNECTED)
		meet_legacy_dom0(r);
	if (r->state != REPLICA_DUMPING)
		sending_violated(r, "a dump that was not asked for");
	else if (m->path_len == 0)
		end_dump(r);
	else
		take_dump_entry(r, m);
	r->next_is_news = false;
}

/* Each once on a link, and in its place: some cost as much as there are entries. */
void resync_announcement(struct replica *r, const struct announcement *a)
{
	const bool in_dom0 = r->role == REPLICA_DOM0;

	if (a->kind == ANNOUNCEMENT_HELLO && r->state == REPLICA_CONNECTED &&
	    r->peer_is_legacy) {
		if (in_dom0)
			meet_vm(r, a);
		else
			meet_dom0(r, a);
	}
	if (a->kind == ANNOUNCEMENT_GO && r->state == REPLICA_RESUMING && in_dom0)
		begin_dump(r);
	if (a->kind == ANNOUNCEMENT_NEWS && !in_dom0)
		r->next_is_news = true;
	if (a->kind == ANNOUNCEMENT_GOT && r->state == REPLICA_LIVE && in_dom0)
		news_forget(r);
}
