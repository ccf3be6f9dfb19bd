/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How two namespaces become equal, and stay so.
 *
 * Each side applies its own clients' changes at once, sends them, and holds them for
 * unconfirmed until the other has answered; both directions keep their order, and every
 * operation is answered once. So a side knows exactly with which of its own changes an
 * operation of the other is concurrent: the unconfirmed ones.
 *
 * One side is the judge: dom0, or, where dom0 is a legacy daemon, the VM. It ignores an
 * operation on an entry with an unconfirmed change of its own; the other side applies
 * whatever comes. A removal of a directory is judged for each entry in it.
 *
 * Why that converges: look at one entry, and at the judge's last change of it. The other
 * side applies it when it arrives. What that side did to the entry before reaches the
 * judge before the answer, and is ignored; what it does after reaches the judge after the
 * answer, and is applied. So from that change on both apply the same operations in the
 * same order.
 *
 * A new link begins with a dump of dom0's namespace, which the VM takes over. If both
 * ends are of this kind they first settle what the last link has left open
 * (REPLICA_RESUMING): each tells how many of the other's operations it has processed,
 * which separates what was lost from what only was not answered; the VM sends again what
 * dom0 has missed, and "go". Then nothing moves but the dump, and what dom0 still had to
 * tell is in it. At the end mark the VM removes whatever the dump did not name. It keeps
 * its own changes since "go", which it sends then. Two exceptions: a dom0 of another
 * generation than the one the VM knows has lost its state, so the VM sends all it has,
 * before the dump as ever. And a legacy dom0 cannot tell whether it has: what its dump
 * does not name is kept, and sent.
 *
 * When an operation of dom0 is applied over an unconfirmed change of the VM, that change
 * is disowned: sending it again after a loss would undo what came later.
 *
 * Which changes are unconfirmed is a part of dom0's state (journal.h): else a VM that
 * comes back to the next daemon would undo them with what it did before. An entry is
 * recorded when it begins to be owed, and every operation that is sent, in the order in
 * which the VM counts them; the beginning of a dump settles all. Answers are not
 * recorded, which would be a commit for each: the VM's hello tells how many it has
 * processed, so even after a kill its changes made after those are not taken for older.
 * An operation that was owed leaves a turn before its record. In between it counts as
 * unconfirmed, and so dom0's change stands.
 *
 * A legacy VM merges a dump into what it holds. On a second link it is therefore emptied
 * before the dump. Its clients wait meanwhile, so nothing of theirs is in the way.
 *
 * tests/model holds these rules as a model that a checker has gone through exhaustively,
 * with the reason for each of them: a run that goes wrong without it.
 */
#include "daemon/core/replica.h"

#include <errno.h>
#include <string.h>

#include "daemon/core/domain.h"
#include "daemon/core/resync.h"
#include "daemon/core/sending.h"
#include "protocol/announcement.h"

/* What a full input buffer can ask for in answers. */
#define ANSWERS_SIZE (MESSAGE_STREAM_SIZE / MESSAGE_HEADER_SIZE * MESSAGE_HEADER_SIZE)

/* More than a full input buffer is, unless its messages concern many entries or watchers.
 */
#define WORK_IN_TURN 2048

/* The dump is prepared in pieces of this size; a smaller one is one moment's view. */
#define DUMP_PIECE (128u * 1024u)

/* So many answers are worth a message of their own. */
#define MANY_ANSWERS 8

void replica_init(struct replica *r, enum replica_role role, uint64_t id,
		  struct domain *d)
{
	memset(r, 0, sizeof(*r));
	r->role = role;
	r->id = id;
	r->domain = d;
	r->dump_piece = DUMP_PIECE;
	r->lost_track = true;
	outq_init(&r->out, QUOTA_BACKLOG);
	message_stream_init(&r->in, MESSAGE_FROM_DOM0);
	changes_init(&r->changes);
}

void replica_free(struct replica *r)
{
	outq_free(&r->out);
	message_stream_wipe(&r->in);
	changes_clear(&r->changes);
}

/* ---- the link comes and goes ---- */

void replica_connected(struct replica *r)
{
	message_stream_init(&r->in, r->role == REPLICA_DOM0 ? MESSAGE_FROM_VM
							    : MESSAGE_FROM_DOM0);
	r->state = REPLICA_CONNECTED;
	r->peer_is_legacy = true;
	r->peer_resumes = false;
	r->peer_is_stranger = false;
	r->failure = NULL;
	r->overran = r->said_last = false;
	r->next_is_news = false;
	if (r->role == REPLICA_DOM0)
		return;
	resync_ask(r);
}

void replica_disconnected(struct replica *r)
{
	r->state = REPLICA_DOWN;
	outq_clear(&r->out);
	message_stream_wipe(&r->in);
	r->stopped = false;
	r->answers = 0;
}

/* ---- operations and answers ---- */

static bool is_judge(const struct replica *r)
{
	return r->role == REPLICA_DOM0 || r->peer_is_legacy;
}

/* What our clients wrote is not to be undone by a VM that may bring what is older. */
static bool stranger_must_not(struct replica *r, const char *path, size_t len)
{
	const struct entry *e;

	if (!r->peer_is_stranger)
		return false;
	e = namespace_find(&r->domain->entries, path, len);
	return e && !e->by_peer;
}

/* After an overrun nobody knows any more; but then the peer is about to be emptied. */
static bool ours_stands(struct replica *r, const char *path, size_t len)
{
	return is_judge(r) && (r->overran || changes_cover(&r->changes, path, len) ||
			       stranger_must_not(r, path, len));
}

static bool our_entry_stands(const struct entry *e, void *context)
{
	return ours_stands(context, e->path, e->node.path_len);
}

/*
 * What there is no memory for is not answered, so it will come again. What dom0 refuses
 * otherwise it answers with ERROR, and then with the state that stands.
 */
static void answer(struct replica *r, const struct message *m, int result)
{
	const bool alone = r->answers == outq_used(&r->out);

	if (result == -ENOMEM) {
		sending_fail(r, "no memory for a change of the peer's");
		return;
	}
	r->processed++;
	if (result < 0)
		r->refused[result == -EDQUOT ? REFUSED_FOR_QUOTA : REFUSED_AS_BAD]++;
	if (result == -EDQUOT && r->role == REPLICA_DOM0)
		sending_owe_refusal(r, m->path, m->path_len);
	sending_say(r, result < 0 ? QDB_RESP_ERROR : QDB_RESP_OK, m->path, m->path_len);
	if (alone)
		r->answers = outq_used(&r->out);
}

static int apply_write(struct replica *r, const struct message *m)
{
	int result;

	if (ours_stands(r, m->path, m->path_len))
		return 0;
	result =
		domain_apply_write(r->domain, m->path, m->path_len, m->data, m->data_len);
	if (result == 0 && !is_judge(r))
		changes_disown(&r->changes, m->path, m->path_len);
	if (result == 0 && r->state == REPLICA_DUMPING)
		resync_confirm(r, m->path, m->path_len);
	return result;
}

static int apply_remove(struct replica *r, const struct message *m)
{
	if (m->kind != PATH_ENTRY && m->kind != PATH_DIRECTORY)
		return 0;
	domain_apply_remove(r->domain, m->path, m->path_len, our_entry_stands, r);
	if (!is_judge(r))
		changes_disown(&r->changes, m->path, m->path_len);
	return 0;
}

static int apply(struct replica *r, const struct message *m)
{
	if (m->fault != MESSAGE_FINE)
		return -EINVAL;
	return m->type == QDB_CMD_WRITE ? apply_write(r, m) : apply_remove(r, m);
}

static void on_operation(struct replica *r, const struct message *m)
{
	const struct domain *d = r->domain;
	const int result = apply(r, m);

	if (d->is_tracing && d->host.trace_peer)
		d->host.trace_peer(m, result < 0 ? QDB_RESP_ERROR : QDB_RESP_OK);
	answer(r, m, result);
}

static void on_answer(struct replica *r, const struct message *m)
{
	struct announcement a;

	announcement_parse(&a, m->type == QDB_RESP_OK ? m->path : "");
	if (a.kind != ANNOUNCEMENT_NONE)
		resync_announcement(r, &a);
	else if (changes_confirm(&r->changes, 1) > 0 && m->type != QDB_RESP_OK)
		r->refused[REFUSED_BY_PEER]++;
}

/* ---- bytes ---- */

static void handle(struct replica *r, const struct message *m)
{
	switch (m->type) {
	case QDB_CMD_WRITE:
	case QDB_CMD_RM:
		on_operation(r, m);
		break;
	case QDB_CMD_MULTIREAD:
		resync_dump_request(r, m);
		break;
	case QDB_RESP_MULTIREAD:
		resync_dump_entry(r, m);
		break;
	default:
		on_answer(r, m);
	}
}

size_t replica_space(struct replica *r, uint8_t **space)
{
	if (r->stopped || outq_used(&r->out) + ANSWERS_SIZE > r->out.limit)
		return 0;
	return message_stream_space(&r->in, space);
}

void replica_received(struct replica *r, size_t len)
{
	message_stream_filled(&r->in, len);
	replica_resume(r);
}

bool replica_has_work(const struct replica *r)
{
	return r->stopped && !r->failure;
}

void replica_resume(struct replica *r)
{
	const uint64_t before = r->domain->work;
	enum message_status status;
	struct message m;

	r->stopped = false;
	while (!r->failure && !r->stopped) {
		status = message_stream_next(&r->in, &m);
		if (status == MESSAGE_INCOMPLETE)
			return;
		if (status == MESSAGE_VIOLATION)
			sending_violated(r, "a message that the protocol does not allow");
		else
			handle(r, &m);
		r->stopped = r->domain->work - before > WORK_IN_TURN;
	}
}

void replica_run(struct replica *r)
{
	if (!r->failure)
		sending_run(r);
}

bool replica_lacks_memory(const struct replica *r)
{
	return r->lacks_memory && !r->failure;
}

bool replica_may_wait(const struct replica *r)
{
	return r->answers > 0 && r->answers == outq_used(&r->out) &&
	       r->answers < MANY_ANSWERS * MESSAGE_HEADER_SIZE;
}

bool replica_is_settled(const struct replica *r)
{
	if (r->role == REPLICA_DOM0 &&
	    (r->state == REPLICA_CONNECTED || r->state == REPLICA_DUMPING))
		return false;
	return outq_used(&r->out) == r->answers && !changes_next(&r->changes) &&
	       changes_in_flight(&r->changes) == 0;
}

bool replica_drains_first(const struct replica *r)
{
	return r->peer_is_legacy &&
	       (r->answers < outq_used(&r->out) || changes_next(&r->changes));
}

const uint8_t *replica_output(struct replica *r, size_t max, size_t *len)
{
	return outq_peek(&r->out, max, len);
}

void replica_sent(struct replica *r, size_t len)
{
	outq_consume(&r->out, len);
	r->answers -= len < r->answers ? len : r->answers;
}
