/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One end of a link, with the input as its peer and as a local client. The end is moved
 * as daemon/link.c moves it. Whatever the peer does costs it no more than its link; local
 * clients are served all the time; when it is over, an honest peer that comes next ends
 * up with the same namespace; and what the journal has said is all that has changed.
 */
#include <string.h>

#include "tests/fuzz/core.h"

#define UNANSWERED 65536
#define MESSAGES 8192 /* of one input */
#define PIECES 20000
#define ROUNDS 100000

struct operation {
	char path[QDB_MAX_PATH];
};

struct link_run {
	struct script script;
	struct domain domain;
	struct domain shadow; /* what the state file would hold */
	bool up;
	size_t piece;
	unsigned messages;
	unsigned pieces;
	struct framing sent;
	struct framing received;
	struct fuzz_client client;
	/* Of this link. */
	bool torn;
	bool announced; /* the peer has said hello */
	bool asked;     /* the dump was asked for, by either */
	bool dumping;
	bool ambiguous;          /* an answer may look like an announcement */
	char last[QDB_MAX_PATH]; /* of the dump */
	unsigned last_type;
	struct operation operations[UNANSWERED];
	size_t first;
	size_t n_operations;
};

static struct link_run run;

static bool is_dom0(void)
{
	return run.domain.replica.role == REPLICA_DOM0;
}

/* ---- what the peer sends ---- */

static bool is_forbidden(const struct wire_message *m)
{
	switch (m->type) {
	case QDB_CMD_WRITE:
		return m->kind != WIRE_ENTRY || m->data_len > QDB_MAX_DATA;
	case QDB_CMD_RM:
		return m->kind == WIRE_ILL_FORMED || m->data_len > QDB_MAX_DATA;
	case QDB_CMD_MULTIREAD:
		return !is_dom0() || m->path_len > 0 || m->data_len > 0;
	case QDB_RESP_MULTIREAD:
		return is_dom0() || m->data_len > QDB_MAX_DATA ||
		       (m->kind != WIRE_ENTRY && m->path_len > 0);
	case QDB_RESP_OK:
	case QDB_RESP_ERROR:
	case QDB_RESP_ERROR_NOENT:
		return m->data_len > 0;
	}
	return true;
}

static void sent(void *context, const struct wire_message *m)
{
	struct operation *o;

	(void)context;
	run.announced |= m->type == QDB_RESP_OK && m->path[0] == '@';
	run.asked |= m->type == QDB_CMD_MULTIREAD;
	if ((m->type != QDB_CMD_WRITE && m->type != QDB_CMD_RM) || is_forbidden(m))
		return;
	fuzz_require(run.n_operations < UNANSWERED);
	o = &run.operations[(run.first + run.n_operations++) % UNANSWERED];
	memcpy(o->path, m->path, sizeof(o->path));
	run.ambiguous |= m->path[0] == '@';
}

static void nothing(void *context, const struct wire_message *m)
{
	bool *forbidden = context;

	*forbidden |= is_forbidden(m);
}

/* Whether these bytes, after those before, complete the header of something forbidden. */
static bool will_violate(const uint8_t *bytes, size_t len)
{
	struct framing f = run.sent;
	struct wire_message m;
	bool forbidden = false;

	framing_feed(&f, bytes, len, nothing, &forbidden);
	return forbidden || (framing_header(&f, &m) && is_forbidden(&m));
}

/* ---- what it gets ---- */

static void got_answer(const struct wire_message *m)
{
	fuzz_require(m->data_len == 0);
	if (run.ambiguous)
		return;
	if (run.n_operations > 0 &&
	    strcmp(run.operations[run.first].path, m->path) == 0) {
		run.first = (run.first + 1) % UNANSWERED;
		run.n_operations--;
		return;
	}
	fuzz_require(m->type == QDB_RESP_OK && m->path[0] == '@');
	fuzz_require(!is_dom0() || run.announced);
}

static void got_operation(const struct wire_message *m)
{
	fuzz_require(run.asked && !run.dumping);
	if (m->type == QDB_CMD_WRITE) {
		fuzz_require(m->kind == WIRE_ENTRY);
		return;
	}
	fuzz_require(m->kind == WIRE_ENTRY || m->kind == WIRE_DIRECTORY);
	fuzz_require(m->data_len == 0);
	if (run.domain.replica.peer_is_legacy)
		fuzz_require(run.torn || run.last_type == QDB_CMD_WRITE);
}

static void got_dump(const struct wire_message *m)
{
	fuzz_require(is_dom0() && run.asked);
	if (m->path_len == 0) {
		fuzz_require(m->data_len == 0);
		run.dumping = false;
		return;
	}
	fuzz_require(m->kind == WIRE_ENTRY);
	fuzz_require(!run.dumping || strcmp(m->path, run.last) < 0);
	memcpy(run.last, m->path, sizeof(run.last));
	run.dumping = true;
}

static void received(void *context, const struct wire_message *m)
{
	(void)context;
	fuzz_require(!m->dirty && !m->has_nul && m->data_len <= QDB_MAX_DATA);
	switch (m->type) {
	case QDB_RESP_OK:
	case QDB_RESP_ERROR:
		got_answer(m);
		break;
	case QDB_CMD_WRITE:
	case QDB_CMD_RM:
		got_operation(m);
		break;
	case QDB_RESP_MULTIREAD:
		got_dump(m);
		break;
	default:
		fuzz_require(m->type == QDB_CMD_MULTIREAD && !is_dom0());
		fuzz_require(!run.asked && m->path_len == 0 && m->data_len == 0);
		run.asked = true;
	}
	run.last_type = m->type;
}

/* At most `max` bytes; of these only `tear`, if the transport does not keep its word. */
static bool take(size_t max, size_t tear)
{
	const uint8_t *bytes;
	size_t len;

	replica_run(&run.domain.replica);
	bytes = replica_output(&run.domain.replica, max, &len);
	fuzz_require(len <= max);
	if (len == 0)
		return false;
	if (tear > 0 && tear < len) {
		run.torn = true;
		len = tear;
	}
	framing_feed(&run.received, bytes, len, received, NULL);
	fuzz_require(run.torn || framing_is_between(&run.received));
	if (!run.torn && run.domain.replica.peer_is_legacy &&
	    run.last_type == QDB_CMD_WRITE)
		run.last_type = ~0u;
	replica_sent(&run.domain.replica, len);
	return true;
}

static void take_all(void)
{
	for (unsigned i = 0; take(4096, 0); i++)
		fuzz_require(i < ROUNDS);
}

/* ---- the state file ---- */

static void commit_all(void)
{
	static uint8_t piece[2 * RECORD_MAX_SIZE];
	struct journal_cursor cursor = {.has_begun = false};
	size_t len;

	domain_free(&run.shadow);
	domain_init(&run.shadow, REPLICA_ALONE, 1);
	do {
		len = journal_snapshot(&run.domain, &cursor, piece, sizeof(piece));
		fuzz_require(len <= sizeof(piece));
		fuzz_require(journal_replay(&run.shadow, piece, len) == 0);
	} while (!cursor.is_done);
}

static void commit(void)
{
	struct journal *j = &run.domain.journal;

	if (!j->enabled || !journal_prepare(j, &run.domain.replica))
		return;
	if (j->incomplete)
		commit_all();
	else
		fuzz_require(journal_replay(&run.shadow, j->bytes, j->used) == 0);
	journal_committed(j);
}

/*
 * What is unconfirmed must be in the state, and what is answered may still be. How an
 * entry that is owed was sent before does not matter.
 */
static void check_changes(void)
{
	struct changes *c = &run.domain.replica.changes;
	const struct changed_path *x = changes_after(c, "", 0), *y;

	for (; x; x = changes_after(c, x->path, x->node.path_len)) {
		y = pathmap_object(pathmap_find(&run.shadow.replica.changes.map, x->path,
						x->node.path_len),
				   struct changed_path, node);
		if (x->is_ours)
			fuzz_require(y && x->owed == y->owed &&
				     (y->owed || y->in_flight));
	}
	fuzz_require(changes_is_consistent(&run.shadow.replica.changes));
}

static void check_shadow(void)
{
	struct entry *x = namespace_first(&run.domain.entries, "", 0);
	struct entry *y = namespace_first(&run.shadow.entries, "", 0);

	check_equal(&run.domain, &run.shadow);
	for (; x && y; x = namespace_next(x), y = namespace_next(y))
		fuzz_require(x->by_peer == y->by_peer);
	fuzz_require(run.shadow.replica.peer_id == run.domain.replica.peer_id);
	fuzz_require(run.shadow.replica.processed == run.domain.replica.processed);
	check_changes();
}

/* ---- the link ---- */

static void connect(void)
{
	if (run.up)
		return;
	run.up = true;
	run.torn = run.announced = run.asked = run.dumping = run.ambiguous = false;
	run.first = run.n_operations = 0;
	run.last_type = ~0u;
	memset(&run.sent, 0, sizeof(run.sent));
	memset(&run.received, 0, sizeof(run.received));
	replica_connected(&run.domain.replica);
}

static void disconnect(void)
{
	if (run.up)
		replica_disconnected(&run.domain.replica);
	run.up = false;
}

static void settle(void)
{
	struct replica *r = &run.domain.replica;

	if (run.up)
		replica_run(r);
	if (run.up && r->failure)
		disconnect();
	if (!run.client.session)
		client_open(&run.client, &run.domain, false);
	while (session_next_active(&run.domain))
		;
	client_settle(&run.client);
	commit();
	check_domain(&run.domain, run.client.session != NULL, false);
}

/* Returns how much of it was taken; 0 when the link has ended. */
static size_t deliver_piece(const uint8_t *bytes, size_t len)
{
	struct replica *r = &run.domain.replica;
	uint8_t *space;
	size_t n = replica_space(r, &space);
	bool violates;

	if (n == 0) {
		take_all();
		n = replica_space(r, &space);
		fuzz_require(n > 0 || r->failure);
	}
	if (r->failure)
		return 0;
	n = n < len ? n : len;
	if (run.pieces++ > PIECES)
		run.piece = SIZE_MAX;
	n = n < run.piece ? n : run.piece;
	violates = will_violate(bytes, n);
	framing_feed(&run.sent, bytes, n, sent, NULL);
	memcpy(space, bytes, n);
	replica_received(r, n);
	while (replica_has_work(r))
		replica_resume(r);
	fuzz_require(!violates || r->failure);
	return r->failure ? 0 : n;
}

static void deliver(const uint8_t *bytes, size_t len)
{
	size_t n = 1;

	connect();
	for (; len > 0 && n > 0; bytes += n, len -= n)
		n = deliver_piece(bytes, len);
}

static void deliver_message(void)
{
	uint8_t message[REQUEST_SIZE];

	deliver(message, script_message(&run.script, message));
}

static void deliver_raw(void)
{
	uint8_t bytes[256];

	deliver(bytes, script_bytes(&run.script, bytes, script_byte(&run.script)));
}

/* As a message, but many, on entries of their own. */
static void deliver_many(void)
{
	uint8_t message[REQUEST_SIZE];
	const size_t len = script_message(&run.script, message);
	const unsigned times = 1u << script_byte(&run.script) % 12;
	const size_t path = strnlen((char *)message + 1, QDB_MAX_PATH);

	for (unsigned i = 0; i < times && run.messages++ < MESSAGES; i++) {
		if (path >= 2 && path + 3 < QDB_MAX_PATH)
			for (unsigned digit = 0; digit < 3; digit++)
				message[1 + path + digit] =
					(uint8_t)('a' + (i >> 4 * digit & 0xf));
		deliver(message, len);
	}
}

/* ---- the local client ---- */

static void request(void)
{
	uint8_t message[REQUEST_SIZE];
	const size_t len = script_message(&run.script, message);

	if (client_send(&run.client, message, len))
		client_deliver(&run.client, SIZE_MAX);
	if (!run.client.stalled)
		while (client_take(&run.client, SIZE_MAX))
			;
}

static void change_many(void)
{
	const unsigned how = script_byte(&run.script);
	static char value[QDB_MAX_DATA];
	char path[] = "/many/000";

	memset(value, 'm', sizeof(value));
	for (unsigned i = 0; i < how % 128 && run.messages++ < MESSAGES; i++) {
		path[6] = (char)('a' + how / 128);
		path[7] = (char)('a' + (i & 0xf));
		path[8] = (char)('a' + (i >> 4));
		domain_write(&run.domain, path, 9, value, how & 1 ? sizeof(value) : 1);
	}
}

static void step(void)
{
	switch (script_byte(&run.script) % 16) {
	case 0:
		deliver_raw();
		break;
	case 1:
		deliver_many();
		break;
	case 2:
		run.piece = 1 + script_byte(&run.script);
		break;
	case 3:
		run.piece = SIZE_MAX;
		break;
	case 4:
		take(script_byte(&run.script) * 64, 0);
		break;
	case 5:
		take(4096, 1 + script_byte(&run.script));
		break;
	case 6:
		take_all();
		break;
	case 7:
		disconnect();
		break;
	case 8:
		run.client.stalled = !run.client.stalled;
		break;
	case 9:
		squeeze_domain(&run.domain, script_byte(&run.script));
		break;
	case 10:
		change_many();
		break;
	case 11:
	case 12:
		request();
		break;
	default:
		deliver_message();
	}
}

/* ---- what must hold in the end ---- */

static bool carry(struct domain *from, struct domain *to)
{
	const uint8_t *bytes;
	uint8_t *space;
	size_t len, room;

	replica_run(&from->replica);
	bytes = replica_output(&from->replica, 4096, &len);
	for (size_t at = 0; at < len; at += room) {
		room = replica_space(&to->replica, &space);
		fuzz_require(room > 0);
		room = room < len - at ? room : len - at;
		memcpy(space, bytes + at, room);
		replica_received(&to->replica, room);
		while (replica_has_work(&to->replica))
			replica_resume(&to->replica);
	}
	replica_sent(&from->replica, len);
	return len > 0;
}

static void exchange(struct domain *a, struct domain *b)
{
	bool moved = true;

	for (unsigned i = 0; moved; i++) {
		fuzz_require(i < ROUNDS);
		moved = carry(a, b);
		moved |= carry(b, a);
		fuzz_require(!a->replica.failure && !b->replica.failure);
	}
	fuzz_require(a->serving && b->serving);
	check_equal(a, b);
	check_domain(b, 0, true);
}

/* One that comes for the first time, knows nothing, and needs no second link for it. */
static void meet_an_honest_peer(void)
{
	struct domain peer;

	domain_init(&peer, is_dom0() ? REPLICA_VM : REPLICA_DOM0,
		    run.domain.replica.peer_id + 1);
	peer.replica.changes.refusals.limit = peer.replica.changes.paths.limit;
	domain_write(&peer, "/peers", 6, "1", 1);
	replica_connected(&run.domain.replica);
	replica_connected(&peer.replica);
	exchange(&run.domain, &peer);
	fuzz_require(domain_write(&peer, "/peers", 6, "2", 1) == 0);
	fuzz_require(domain_write(&run.domain, "/ours", 5, "2", 1) == 0);
	exchange(&run.domain, &peer);
	fuzz_require(domain_remove(&peer, "/", 1) == 0);
	exchange(&run.domain, &peer);
	fuzz_require(peer.entries.entries.used == 0);
	domain_free(&peer);
}

static void finish(void)
{
	if (run.up)
		take_all();
	settle();
	if (run.up && !run.ambiguous)
		fuzz_require(run.n_operations == 0);
	if (is_dom0())
		check_shadow();
	disconnect();
	relax_domain(&run.domain);
	meet_an_honest_peer();
	disconnect();
	replica_disconnected(&run.domain.replica);
	client_finish(&run.client);
	client_must_be_served(&run.domain);
	check_domain(&run.domain, run.client.session != NULL, true);
	client_close(&run.client);
	check_domain(&run.domain, 0, true);
	fuzz_require(run.domain.watches.account.used == 0);
}

int fuzz_link(enum replica_role role, const uint8_t *data, size_t size)
{
	memset(&run, 0, offsetof(struct link_run, client));
	run.script = (struct script){data, data + size};
	run.piece = SIZE_MAX;
	domain_init(&run.domain, role, 0xd0);
	domain_init(&run.shadow, REPLICA_ALONE, 1);
	run.domain.journal.enabled = role == REPLICA_DOM0;
	client_open(&run.client, &run.domain, false);
	run.up = false;
	client_bytes = 0;
	while (!script_is_over(&run.script) && client_bytes < CLIENT_BUDGET) {
		step();
		settle();
	}
	finish();
	domain_free(&run.domain);
	domain_free(&run.shadow);
	return 0;
}
