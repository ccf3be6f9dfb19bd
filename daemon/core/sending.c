/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a replica sends of its own accord: operations, and dom0's dump.
 *
 * While the link is live and the peer keeps up, an operation is encoded when it happens
 * and leaves in that order, value and all. When that is not possible (no link, a dump
 * under way, a peer that does not read) only the path is noted as owed, and the state
 * that it then has is sent later, in the order of the last changes.
 *
 * A dump is taken from the namespace as it goes, downwards. What changes above its cursor
 * meanwhile is owed, and sent after the end mark; what changes below, the dump itself
 * will tell. Except for an empty entry when something is owed already: it may say that a
 * list is complete of which a part comes after the dump, so it comes there, too.
 *
 * A legacy peer exits when it is told to remove what it does not have, and it may just
 * have removed it itself. So an RM to one is preceded by a WRITE of the same entry, or of
 * one in the directory. It processes both before it serves its clients, if they come
 * together.
 */
#include "daemon/core/sending.h"

#include <errno.h>
#include <string.h>

#include "daemon/core/domain.h"
#include "daemon/core/news.h"
#include "protocol/announcement.h"

/* With more unanswered, an RM may find a legacy peer's ring full, and that peer exits. */
#define LEGACY_IN_FLIGHT 16

#define TOO_MANY "too many changes that the peer has not confirmed"

void sending_fail(struct replica *r, const char *why)
{
	if (!r->failure)
		r->failure = why;
}

void sending_violated(struct replica *r, const char *how)
{
	sending_fail(r, how);
	r->served_legacy = false;
}

void sending_say(struct replica *r, enum qdb_msg type, const char *path, size_t len)
{
	if (outq_add(&r->out, type, path, len, NULL, 0) < 0)
		sending_fail(r, "no room for a message to the peer");
}

void sending_announce(struct replica *r, enum announcement_kind kind)
{
	const struct announcement a = {.kind = kind};
	char path[QDB_MAX_PATH];

	sending_say(r, QDB_RESP_OK, path, announcement_format(path, sizeof(path), &a));
}

void sending_forget(struct replica *r)
{
	changes_clear(&r->changes);
	r->sent_on_link = 0;
	journal_settled(&r->domain->journal, r);
}

void sending_overrun(struct replica *r)
{
	changes_disown(&r->changes, "/", 1);
	journal_settled(&r->domain->journal, r);
	r->lost_track = true;
	r->overran = r->state > REPLICA_CONNECTED;
	if (r->overran && !r->peer_is_legacy)
		sending_fail(r, TOO_MANY);
}

/* ---- operations ---- */

/* Half of the backlog is left for answers and the dump; a pair always fits. */
static bool may_send(const struct replica *r, enum qdb_msg type)
{
	if (account_room(&r->changes.unanswered) < 2)
		return false;
	if (r->peer_is_legacy && type == QDB_CMD_RM &&
	    changes_in_flight(&r->changes) >= LEGACY_IN_FLIGHT)
		return false;
	return outq_used(&r->out) + OUTQ_UNIT < r->out.limit / 2;
}

static int send_operation(struct replica *r, enum qdb_msg type, const char *path,
			  size_t len, const char *value, size_t value_len)
{
	const uint64_t position = outq_position(&r->out);
	int result;

	result = outq_add(&r->out, type, path, len, value, value_len);
	if (result < 0)
		return result;
	result = changes_send(&r->changes, path, len);
	if (result < 0) {
		outq_rewind(&r->out, position);
		return result;
	}
	r->sent_on_link++;
	journal_sent(&r->domain->journal, r, path, len);
	return 0;
}

/*
 * To a legacy peer with a WRITE of `witness` before it, an entry that the RM removes, and
 * that stays owed if there was memory for the WRITE only.
 */
static int send_removal(struct replica *r, const char *path, size_t len,
			const char *witness, size_t witness_len, const char *value,
			size_t value_len)
{
	int result = 0;

	if (r->peer_is_legacy)
		result = send_operation(r, QDB_CMD_WRITE, witness, witness_len,
					value_len > 0 ? value : "-",
					value_len > 0 ? value_len : 1);
	if (result < 0)
		return result;
	result = send_operation(r, QDB_CMD_RM, path, len, NULL, 0);
	if (result < 0 && r->peer_is_legacy)
		changes_owe(&r->changes, witness, witness_len);
	return result;
}

/* Removes what is there now, the entry or directory `path`. */
static int send_present_removal(struct replica *r, const char *path, size_t len)
{
	const struct entry *e = namespace_first(&r->domain->entries, path, len);

	return send_removal(r, path, len, e->path, e->node.path_len, e->value,
			    e->value_len);
}

void sending_emptying(struct replica *r)
{
	if (send_removal(r, "/", 1, "/x", 2, NULL, 0) < 0)
		sending_fail(r, "no memory to make the peer start over");
}

static int send_present_state(struct replica *r, const struct changed_path *p)
{
	const char *path = p->node.path;
	const size_t len = p->node.path_len;
	const struct entry *e = namespace_find(&r->domain->entries, path, len);

	if (e)
		return send_operation(r, QDB_CMD_WRITE, path, len, e->value,
				      e->value_len);
	return send_removal(r, path, len, path, len, NULL, 0);
}

/* What is not sent for want of memory is still to be sent in the next call. */
static bool is_put_off(struct replica *r, int result)
{
	r->lacks_memory |= result == -ENOMEM;
	return result < 0;
}

static void send_owed(struct replica *r)
{
	const struct changed_path *p;

	while ((p = changes_next(&r->changes)) && may_send(r, QDB_CMD_RM)) {
		if (r->state == REPLICA_RESUMING && r->resume_left == 0)
			return;
		if (is_put_off(r, send_present_state(r, p)))
			return;
		if (r->state == REPLICA_RESUMING)
			r->resume_left--;
	}
}

/* ---- local changes ---- */

int replica_admit(struct replica *r, size_t n)
{
	int result = r->role == REPLICA_ALONE ? 0 : changes_prepare(&r->changes, n);

	return result == -EDQUOT && r->role == REPLICA_DOM0 ? 0 : result;
}

static bool is_prompt(const struct replica *r, enum qdb_msg type)
{
	return r->state == REPLICA_LIVE && !r->overran && !changes_next(&r->changes) &&
	       may_send(r, type);
}

static bool dump_will_tell(struct replica *r, const char *path, size_t len)
{
	const struct path_node at = {.path = r->cursor, .path_len = r->cursor_len};

	return r->role == REPLICA_DOM0 && r->state == REPLICA_DUMPING &&
	       (r->cursor_len == 0 || path_order(path, len, &at) < 0) &&
	       !changes_owes(&r->changes, path, len);
}

static int owe_entry(struct replica *r, const char *path, size_t len)
{
	const bool is_noted = changes_owes(&r->changes, path, len);
	int result = changes_owe(&r->changes, path, len);

	if (result == 0 && !is_noted)
		journal_owed(&r->domain->journal, path, len);
	return result;
}

static void owe(struct replica *r, const char *path, size_t len, bool may_be_commit)
{
	const bool in_order = may_be_commit && changes_next(&r->changes);

	if (!in_order && dump_will_tell(r, path, len))
		news_add(r, path, len);
	else if (owe_entry(r, path, len) < 0)
		sending_overrun(r);
}

void sending_owe_refusal(struct replica *r, const char *path, size_t len)
{
	if (dump_will_tell(r, path, len))
		news_add(r, path, len);
	else if (changes_owe_refusal(&r->changes, path, len) < 0)
		sending_overrun(r);
	else
		journal_owed(&r->domain->journal, path, len);
}

void replica_forward_write(struct replica *r, const char *path, size_t len,
			   const char *value, size_t value_len)
{
	if (r->role == REPLICA_ALONE)
		return;
	if (is_prompt(r, QDB_CMD_WRITE) &&
	    send_operation(r, QDB_CMD_WRITE, path, len, value, value_len) == 0)
		return;
	owe(r, path, len, value_len == 0);
}

/*
 * The VM may have to send its removals again after a loss, and then of what it removed,
 * no more: so it notes each entry, even if one message tells them all. dom0 never does.
 */
static int owe_removed(struct replica *r, const char *path, size_t len)
{
	const bool is_directory = path[len - 1] == '/';
	struct entry *e = namespace_first(&r->domain->entries, path, len);
	int result = 0;

	for (; e && path_begins_with(&e->node, path, len); e = namespace_next(e)) {
		if (!dump_will_tell(r, e->path, e->node.path_len))
			result = owe_entry(r, e->path, e->node.path_len);
		if (result < 0 || !is_directory)
			break;
	}
	return result;
}

/*
 * To fail before anything is noted: what is noted counts as changed. There is room and
 * memory for one path already.
 */
static int admit_removal(struct replica *r, const char *path, size_t len)
{
	struct entry *e = namespace_first(&r->domain->entries, path, len);
	size_t entries = 0;

	if (path[len - 1] != '/')
		return 0;
	for (; e && path_begins_with(&e->node, path, len); e = namespace_next(e))
		entries++;
	return changes_prepare(&r->changes, entries);
}

static void mark_removed_as_sent(struct replica *r, const char *path, size_t len)
{
	struct entry *e = namespace_first(&r->domain->entries, path, len);

	for (; e && path_begins_with(&e->node, path, len); e = namespace_next(e))
		changes_sent_too(&r->changes, e->path, e->node.path_len);
}

int replica_forward_remove(struct replica *r, const char *path, size_t len)
{
	const bool in_vm = r->role == REPLICA_VM, prompt = is_prompt(r, QDB_CMD_RM);
	int result;

	if (r->role == REPLICA_ALONE)
		return 0;
	result = replica_admit(r, 1);
	if (result == 0 && in_vm)
		result = admit_removal(r, path, len);
	if (result < 0)
		return result;
	if ((in_vm || !prompt) && owe_removed(r, path, len) < 0)
		sending_overrun(r);
	if (!prompt)
		return 0;
	result = send_present_removal(r, path, len);
	if (result < 0 && !in_vm)
		sending_fail(r, "no memory for a message to the peer");
	if (result == 0 && in_vm && path[len - 1] == '/')
		mark_removed_as_sent(r, path, len);
	return 0;
}

/* ---- the dump ---- */

static void end_dump(struct replica *r)
{
	if (!is_put_off(r, outq_add(&r->out, QDB_RESP_MULTIREAD, "", 0, NULL, 0)))
		r->state = REPLICA_LIVE;
}

/* Returns whether it is done. */
static bool send_dump_entry(struct replica *r, const struct entry *e)
{
	if (changes_owes(&r->changes, e->path, e->node.path_len))
		return true;
	if (e->is_news && r->peer_resumes)
		sending_announce(r, ANNOUNCEMENT_NEWS);
	return !is_put_off(r, outq_add(&r->out, QDB_RESP_MULTIREAD, e->path,
				       e->node.path_len, e->value, e->value_len));
}

static void send_dump(struct replica *r)
{
	struct entry *e;

	while (outq_used(&r->out) < r->dump_piece) {
		e = namespace_before(&r->domain->entries, r->cursor, r->cursor_len);
		if (!e) {
			end_dump(r);
			return;
		}
		if (!send_dump_entry(r, e))
			return;
		memcpy(r->cursor, e->path, e->node.path_len);
		r->cursor_len = e->node.path_len;
	}
}

static void send_go(struct replica *r)
{
	sending_announce(r, ANNOUNCEMENT_GO);
	r->state = REPLICA_DUMPING;
}

/*
 * A legacy VM hangs if its link ends before it has taken the end mark. What it answers
 * after that it has taken after that. Its next link begins with its emptying, so whatever
 * it is sent here does not stay.
 */
static void start_over(struct replica *r)
{
	if (r->state == REPLICA_DUMPING || outq_used(&r->out) > 0 ||
	    changes_in_flight(&r->changes) > 0)
		return;
	if (r->said_last)
		sending_fail(r, TOO_MANY);
	else
		r->said_last =
			!is_put_off(r, send_operation(r, QDB_CMD_WRITE, "/x", 2, "-", 1));
}

void sending_run(struct replica *r)
{
	r->lacks_memory = false;
	if (r->state == REPLICA_DUMPING && r->role == REPLICA_DOM0)
		send_dump(r);
	if (r->state == REPLICA_LIVE && !r->overran)
		send_owed(r);
	if (r->state == REPLICA_RESUMING && r->role == REPLICA_VM) {
		send_owed(r);
		if (r->resume_left == 0 || !changes_next(&r->changes))
			send_go(r);
	}
	if (r->overran)
		start_over(r);
}
