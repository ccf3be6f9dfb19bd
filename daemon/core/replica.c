/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The VM asks for the whole namespace (the dump); from its end mark on the link is live,
 * and each side sends what its local clients change. Every operation is answered once and
 * in order, so `changes` always tells which of our own the peer may not have seen.
 *
 * While the link is live and the peer keeps up, an operation is encoded when it happens
 * and leaves in that order, value and all. When that is not possible (no link, a dump
 * under way, a peer that does not read) only the path is noted, and the state that it
 * then has is sent later. This bounds what a stalled peer costs, and it is also the
 * resync: what was in flight when a link broke is simply noted again.
 *
 * Two operations on one entry that cross each other: dom0 ignores the VM's while its own
 * is unconfirmed, and the VM applies dom0's; then both have dom0's. A legacy dom0 applies
 * whatever comes, so towards one the VM does the ignoring, and both have the VM's.
 * Entries of a dump never overwrite what the VM has yet to send.
 *
 * RM of something absent is no error between daemons of this kind. A legacy daemon dies
 * of it, so an RM whose target it may not have is preceded by a WRITE of the same.
 */
#include "daemon/core/replica.h"

#include <errno.h>
#include <string.h>

#include "daemon/core/domain.h"

/* A path that begins with '@' is never an entry; legacy daemons ignore an OK for one. */
#define HELLO "@qdb:1:"
#define HELLO_LEN (sizeof(HELLO) - 1)

/* The dump is prepared in pieces of this size. */
#define DUMP_PIECE (32u * 1024u)

/* With more unanswered, an RM may find a legacy peer's ring full, and that peer exits. */
#define LEGACY_IN_FLIGHT 16

/* What a full input buffer can ask for in answers. */
#define ANSWERS_SIZE (MESSAGE_STREAM_SIZE / MESSAGE_HEADER_SIZE * MESSAGE_HEADER_SIZE)

void replica_init(struct replica *r, enum replica_role role, struct domain *d)
{
	memset(r, 0, sizeof(*r));
	r->role = role;
	r->state = REPLICA_DOWN;
	r->domain = d;
	r->keeps_changes = role == REPLICA_VM;
	outq_init(&r->dump, QUOTA_BACKLOG);
	outq_init(&r->operations, QUOTA_BACKLOG);
	changes_init(&r->changes);
}

void replica_free(struct replica *r)
{
	outq_free(&r->dump);
	outq_free(&r->operations);
	changes_clear(&r->changes);
}

static void fail(struct replica *r, const char *why)
{
	if (!r->failure)
		r->failure = why;
}

static void say(struct replica *r, struct outq *q, enum qdb_msg type, const char *path,
		size_t len)
{
	if (outq_add(q, type, path, len, NULL, 0) < 0)
		fail(r, "no room for a message to the peer");
}

/* ---- the link ---- */

void replica_connected(struct replica *r)
{
	message_stream_init(&r->in, r->role == REPLICA_DOM0 ? MESSAGE_FROM_VM
							    : MESSAGE_FROM_DOM0);
	r->peer_is_legacy = true;
	r->failure = NULL;
	if (r->role == REPLICA_DOM0) {
		r->state = REPLICA_CONNECTED;
		return;
	}
	r->state = REPLICA_DUMPING;
	say(r, &r->dump, QDB_RESP_OK, HELLO, HELLO_LEN);
	say(r, &r->dump, QDB_CMD_MULTIREAD, "", 0);
}

void replica_disconnected(struct replica *r)
{
	r->state = REPLICA_DOWN;
	outq_clear(&r->dump);
	outq_clear(&r->operations);
	changes_requeue(&r->changes);
}

/* ---- what this side sends ---- */

/*
 * Our changes can no longer be told one by one. The link starts over with a dump, which
 * tells them all but removals.
 */
static void overrun(struct replica *r)
{
	changes_clear(&r->changes);
	r->keeps_changes = r->role == REPLICA_VM;
	fail(r, "too many changes that the peer has not confirmed");
}

int replica_admit(const struct replica *r)
{
	if (r->role == REPLICA_VM && account_room(&r->changes.paths) == 0)
		return -EDQUOT;
	return 0;
}

/* Half of the backlog is left for answers. */
static bool may_send(const struct replica *r, enum qdb_msg type)
{
	const size_t in_flight = changes_in_flight(&r->changes);

	if (r->state != REPLICA_LIVE || account_room(&r->changes.unanswered) == 0)
		return false;
	if (r->peer_is_legacy && type == QDB_CMD_RM && in_flight >= LEGACY_IN_FLIGHT)
		return false;
	return outq_used(&r->operations) + 2 * MESSAGE_MAX_SIZE < r->operations.limit / 2;
}

static int send_operation(struct replica *r, enum qdb_msg type, const char *path,
			  size_t len, const char *value, size_t value_len)
{
	const uint64_t position = outq_position(&r->operations);
	int result;

	result = outq_add(&r->operations, type, path, len, value, value_len);
	if (result < 0)
		return result;
	result = changes_send(&r->changes, path, len);
	if (result < 0)
		outq_rewind(&r->operations, position);
	return result;
}

static void forward(struct replica *r, enum qdb_msg type, const char *path, size_t len,
		    const char *value, size_t value_len)
{
	if (!r->keeps_changes)
		return;
	if (!changes_next(&r->changes) && may_send(r, type) &&
	    send_operation(r, type, path, len, value, value_len) == 0)
		return;
	if (changes_queue(&r->changes, path, len) < 0)
		overrun(r);
}

void replica_forward_write(struct replica *r, const char *path, size_t len,
			   const char *value, size_t value_len)
{
	forward(r, QDB_CMD_WRITE, path, len, value, value_len);
}

void replica_forward_remove(struct replica *r, const char *path, size_t len)
{
	forward(r, QDB_CMD_RM, path, len, NULL, 0);
}

/* Gives a legacy peer something to remove. It sees both before it serves its clients. */
static int send_placeholder(struct replica *r, const char *path, size_t len)
{
	char entry[QDB_MAX_PATH];

	if (!r->peer_is_legacy)
		return 0;
	memcpy(entry, path, len);
	if (path[len - 1] == '/')
		entry[len++] = '_';
	return send_operation(r, QDB_CMD_WRITE, entry, len, "-", 1);
}

static int send_present_state(struct replica *r, const struct changed_path *p)
{
	const char *path = p->node.path;
	const size_t len = p->node.path_len;
	const struct entry *e = namespace_find(&r->domain->entries, path, len);
	int result;

	if (e)
		return send_operation(r, QDB_CMD_WRITE, path, len, e->value,
				      e->value_len);
	result = send_placeholder(r, path, len);
	if (result < 0)
		return result;
	return send_operation(r, QDB_CMD_RM, path, len, NULL, 0);
}

static void send_queued_changes(struct replica *r)
{
	const struct changed_path *p;

	while ((p = changes_next(&r->changes)) && may_send(r, QDB_CMD_RM))
		if (send_present_state(r, p) < 0) {
			overrun(r);
			return;
		}
}

static void send_dump(struct replica *r)
{
	struct entry *e;

	while (outq_used(&r->dump) < DUMP_PIECE) {
		e = namespace_before(&r->domain->entries, r->cursor, r->cursor_len);
		if (!e) {
			say(r, &r->dump, QDB_RESP_MULTIREAD, "", 0);
			r->state = REPLICA_LIVE;
			return;
		}
		if (outq_add(&r->dump, QDB_RESP_MULTIREAD, e->path, e->node.path_len,
			     e->value, e->value_len) < 0) {
			fail(r, "no memory for the dump");
			return;
		}
		memcpy(r->cursor, e->path, e->node.path_len);
		r->cursor_len = e->node.path_len;
	}
}

void replica_run(struct replica *r)
{
	if (r->failure)
		return;
	if (r->state == REPLICA_DUMPING && r->role == REPLICA_DOM0)
		send_dump(r);
	if (r->state == REPLICA_LIVE)
		send_queued_changes(r);
}

static struct outq *leaving(struct replica *r)
{
	if (r->state == REPLICA_DUMPING || outq_used(&r->dump) > 0)
		return &r->dump;
	return &r->operations;
}

const uint8_t *replica_output(struct replica *r, size_t max, size_t *len)
{
	return outq_peek(leaving(r), max, len);
}

void replica_sent(struct replica *r, size_t len)
{
	outq_consume(leaving(r), len);
}

/* ---- what the peer sends ---- */

bool replica_wins(struct replica *r, const char *path, size_t len)
{
	if (r->role == REPLICA_VM && r->state == REPLICA_LIVE && !r->peer_is_legacy)
		return false;
	return changes_cover(&r->changes, path, len);
}

static void answer(struct replica *r, const struct message *m, enum qdb_msg type)
{
	if (type == QDB_RESP_ERROR)
		r->refused++;
	say(r, &r->operations, type, m->path, m->path_len);
}

static void on_write(struct replica *r, const struct message *m)
{
	int result = -EINVAL;

	if (m->fault == MESSAGE_FINE)
		result = domain_apply_write(r->domain, m->path, m->path_len, m->data,
					    m->data_len);
	answer(r, m, result == 0 ? QDB_RESP_OK : QDB_RESP_ERROR);
}

static void on_remove(struct replica *r, const struct message *m)
{
	if (m->fault != MESSAGE_FINE) {
		answer(r, m, QDB_RESP_ERROR);
		return;
	}
	if (m->kind == PATH_ENTRY || m->kind == PATH_DIRECTORY)
		domain_apply_remove(r->domain, m->path, m->path_len);
	answer(r, m, QDB_RESP_OK);
}

static void on_dump_request(struct replica *r, const struct message *m)
{
	if (r->state != REPLICA_CONNECTED || m->path_len > 0) {
		fail(r, "a request for a dump that may not be asked for now");
		return;
	}
	r->state = REPLICA_DUMPING;
	r->keeps_changes = true;
	r->cursor_len = 0;
}

static void on_dump_entry(struct replica *r, const struct message *m)
{
	if (r->state != REPLICA_DUMPING) {
		fail(r, "a dump that was not asked for");
		return;
	}
	if (m->path_len == 0) {
		r->state = REPLICA_LIVE;
		r->domain->serving = true;
		return;
	}
	if (m->fault != MESSAGE_FINE ||
	    domain_apply_write(r->domain, m->path, m->path_len, m->data, m->data_len) < 0)
		r->refused++;
}

static void on_answer(struct replica *r, const struct message *m)
{
	if (m->type == QDB_RESP_OK && m->path[0] == '@') {
		if (strncmp(m->path, HELLO, HELLO_LEN) != 0)
			return;
		if (r->state == REPLICA_CONNECTED && r->peer_is_legacy)
			say(r, &r->dump, QDB_RESP_OK, HELLO, HELLO_LEN);
		r->peer_is_legacy = false;
		return;
	}
	if (changes_answered(&r->changes, m->path, m->path_len) && m->type != QDB_RESP_OK)
		r->refused++;
}

static void handle(struct replica *r, const struct message *m)
{
	switch (m->type) {
	case QDB_CMD_WRITE:
		on_write(r, m);
		break;
	case QDB_CMD_RM:
		on_remove(r, m);
		break;
	case QDB_CMD_MULTIREAD:
		on_dump_request(r, m);
		break;
	case QDB_RESP_MULTIREAD:
		on_dump_entry(r, m);
		break;
	default:
		on_answer(r, m);
	}
}

size_t replica_space(struct replica *r, uint8_t **space)
{
	if (outq_used(&r->operations) + ANSWERS_SIZE > r->operations.limit)
		return 0;
	return message_stream_space(&r->in, space);
}

void replica_received(struct replica *r, size_t len)
{
	enum message_status status;
	struct message m;

	message_stream_filled(&r->in, len);
	while (!r->failure) {
		status = message_stream_next(&r->in, &m);
		if (status == MESSAGE_INCOMPLETE)
			return;
		if (status == MESSAGE_VIOLATION)
			fail(r, "a message that the protocol does not allow");
		else
			handle(r, &m);
	}
}
