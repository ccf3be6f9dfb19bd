/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Local clients against their sessions: several at once, their requests split and
 * interleaved, some read-only, some that stop reading; beside them the peer's changes.
 * The domain is dom0's own, or a VM's that does not serve before its script says so.
 */
#include <string.h>

#include "daemon/core/requests.h"
#include "tests/fuzz/core.h"

#define CLIENTS 4
#define REQUESTS 13000 /* of one input */
#define BULK_SIZE (HEADER_SIZE + QDB_MAX_MANY + 4096)

struct session_run {
	struct script script;
	struct domain domain;
	struct fuzz_client clients[CLIENTS];
	struct account user;    /* output of the second and the third */
	struct account watches; /* of these */
	unsigned requests;
};

static struct session_run run;

static struct fuzz_client *choose_client(void)
{
	return &run.clients[script_byte(&run.script) % CLIENTS];
}

static size_t connected(void)
{
	size_t n = 0;

	for (int i = 0; i < CLIENTS; i++)
		n += run.clients[i].session != NULL;
	return n;
}

static void check_user(void)
{
	const size_t unshared = (128u + 32u) * 1024u;
	size_t used = 0, n;

	for (int i = 0; i < CLIENTS; i++) {
		if (!run.clients[i].is_shared || !run.clients[i].session)
			continue;
		n = outq_used(&run.clients[i].session->out);
		used += n > unshared ? n - unshared : 0;
		used += run.clients[i].session->pending.memory.used;
	}
	fuzz_require(run.user.used == used && used <= run.user.limit);
}

static void open_client(struct fuzz_client *c, bool read_only)
{
	const ptrdiff_t i = c - run.clients;

	if (!client_open(c, &run.domain, read_only) || (i != 1 && i != 2))
		return;
	session_share(c->session, &run.watches, &run.user);
	c->is_shared = true;
}

static void settle(bool all)
{
	while (session_next_active(&run.domain))
		;
	for (int i = 0; i < CLIENTS; i++)
		client_settle(&run.clients[i]);
	check_domain(&run.domain, connected(), all);
	check_user();
}

static void send(struct fuzz_client *c, const uint8_t *bytes, size_t len, size_t piece)
{
	if (!client_send(c, bytes, len))
		return;
	client_deliver(c, piece);
	client_deliver(c, piece < len ? len : 0);
}

static void send_message(struct fuzz_client *c)
{
	uint8_t message[REQUEST_SIZE];
	const size_t len = script_message(&run.script, message);
	const unsigned piece = script_byte(&run.script);

	send(c, message, len, piece < 0x80 ? SIZE_MAX : piece - 0x7f);
}

static void send_raw(struct fuzz_client *c)
{
	uint8_t bytes[256];
	const size_t len = script_bytes(&run.script, bytes, script_byte(&run.script));

	send(c, bytes, len, SIZE_MAX);
}

/* The same again and again, but for the last characters of an entry's path. */
static void send_many(struct fuzz_client *c)
{
	uint8_t message[REQUEST_SIZE];
	const size_t len = script_message(&run.script, message);
	const unsigned how = script_byte(&run.script);
	const unsigned times = 1u << how % 13;
	const size_t path = strnlen((char *)message + 1, QDB_MAX_PATH);

	for (unsigned i = 0; i < times && run.requests++ < REQUESTS; i++) {
		if (how >= 0x80 && path >= 2 && path + 3 < QDB_MAX_PATH)
			for (unsigned digit = 0; digit < 3; digit++)
				message[1 + path + digit] =
					(uint8_t)('a' + (i >> 4 * digit & 0xf));
		if (client_bytes > CLIENT_BUDGET || !client_send(c, message, len))
			return;
		client_deliver(c, len);
		if (!c->stalled)
			while (client_take(c, SIZE_MAX))
				;
	}
}

/* ---- as many entries in one request as may be, and more ---- */

static uint8_t bulk[BULK_SIZE];

/* Of which entries there are, and which memory holds their values. */
static uint64_t digest(void)
{
	struct entry *e = namespace_first(&run.domain.entries, "", 0);
	uint64_t sum = 0;

	for (; e; e = namespace_next(e)) {
		sum = sum * 31 + (uintptr_t)e;
		sum = sum * 31 + (uintptr_t)e->value;
		sum = sum * 31 + e->value_len;
	}
	return sum;
}

static size_t make_bulk(void)
{
	static const uint16_t lengths[] = {0, 1, 50, 500, 3000};
	const unsigned n = 1u << script_byte(&run.script) % 14;
	const size_t value = lengths[script_byte(&run.script) % 5];
	uint8_t *at = bulk + HEADER_SIZE;
	uint32_t len;

	memset(bulk, 0, HEADER_SIZE);
	bulk[0] = QDB_CMD_WRITE_MANY;
	for (unsigned i = 0; i < n && at + 8 + value < bulk + sizeof(bulk); i++) {
		memcpy(at, "/n/", 3);
		for (unsigned digit = 0; digit < 3; digit++)
			at[3 + digit] = (uint8_t)('a' + (i >> 4 * digit & 0xf));
		at[6] = 0;
		memset(at + 7, 'v', value);
		at[7 + value] = 0;
		at += 8 + value;
	}
	run.requests += n;
	len = (uint32_t)(at - bulk) - HEADER_SIZE;
	memcpy(bulk + 68, &len, sizeof(len));
	return HEADER_SIZE + len;
}

static void damage_bulk(size_t len)
{
	const unsigned how = script_byte(&run.script);

	if (how >= 0x80)
		bulk[HEADER_SIZE + script_word(&run.script) % (len - HEADER_SIZE)] =
			(uint8_t)script_byte(&run.script);
}

static void expect_all(size_t len)
{
	const char *at = (const char *)bulk + HEADER_SIZE,
		   *end = (const char *)bulk + len;

	while (at < end) {
		fuzz_require(namespace_find(&run.domain.entries, at, strlen(at)));
		at += strlen(at) + 1;
		at += strlen(at) + 1;
	}
}

static void send_bulk(struct fuzz_client *c)
{
	const size_t len = make_bulk();
	const bool alone = c->session && session_is_idle(c->session) && c->waiting == 0 &&
			   framing_is_between(&c->sent) && run.domain.serving;
	const uint64_t before = digest();
	size_t n;

	damage_bulk(len);
	c->many_written = false;
	for (size_t at = 0; at < len && run.requests < REQUESTS; at += n) {
		n = len - at < 8000 ? len - at : 8000;
		if (!client_send(c, bulk + at, n))
			return;
		client_deliver(c, SIZE_MAX);
		client_deliver(c, SIZE_MAX);
	}
	if (!alone || c->waiting > 0 || !framing_is_between(&c->sent) ||
	    session_failure(c->session))
		return;
	while (client_take(c, SIZE_MAX))
		;
	if (c->many_written)
		expect_all(len);
	else
		fuzz_require(digest() == before);
}

static void change_as_peer(void)
{
	char path[QDB_MAX_PATH];
	const size_t len = script_path(&run.script, path);
	const enum wire_path kind = wire_classify(path, len);

	if (kind == WIRE_ENTRY && script_byte(&run.script) & 1)
		domain_apply_write(&run.domain, path, len, "peer", 4);
	else if (kind == WIRE_ENTRY || kind == WIRE_DIRECTORY)
		domain_apply_remove(&run.domain, path, len, NULL, NULL);
}

static void reopen(struct fuzz_client *c)
{
	const unsigned how = script_byte(&run.script);

	client_close(c);
	if (how & 2)
		squeeze_domain(&run.domain, 0);
	open_client(c, how & 1);
	if (how & 4)
		client_trust(c);
}

/* ---- the daemon around it ---- */

static void add_items(struct status *st, void *context)
{
	fuzz_require(context == &run);
	status_add(st, "/daemon", "version", "%d", 1);
}

static void add_client(struct status *st, const char *section, const void *owner)
{
	const struct fuzz_client *c = owner;

	status_add(st, section, "pid", "%d", (int)(c - run.clients));
}

/* The log must be able to show it. */
static void trace(const void *owner, const struct message *m, enum qdb_msg answer,
		  size_t answer_len)
{
	const struct fuzz_client *c = owner;

	fuzz_require(c->session && session_owner(c->session) == owner);
	fuzz_require(m->path_len < QDB_MAX_PATH && strlen(m->path) == m->path_len);
	fuzz_require(answer_len <= QDB_MAX_DATA && message_name(answer)[0] != 'u');
}

static void squeeze(void)
{
	const unsigned how = script_byte(&run.script);

	squeeze_domain(&run.domain, how);
	if ((how & 5) == 5)
		run.user.limit = run.user.used > 8192 ? run.user.used : 8192;
}

static void serve(void)
{
	run.domain.serving = true;
	for (int i = 0; i < CLIENTS; i++)
		if (run.clients[i].session)
			session_run(run.clients[i].session);
}

static void step(void)
{
	const unsigned op = script_byte(&run.script) % 16;
	struct fuzz_client *c = choose_client();

	switch (op) {
	case 0:
		send_raw(c);
		break;
	case 1:
		send_many(c);
		break;
	case 2:
		client_deliver(c, script_byte(&run.script));
		break;
	case 3:
		client_take(c, 1 + script_byte(&run.script) * 100);
		break;
	case 4:
		while (client_take(c, SIZE_MAX))
			;
		break;
	case 5:
		c->stalled = !c->stalled;
		break;
	case 6:
		reopen(c);
		break;
	case 7:
		change_as_peer();
		break;
	case 8:
		squeeze();
		break;
	case 9:
		serve();
		break;
	case 10:
		send_bulk(c);
		break;
	default:
		send_message(c);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	run.script = (struct script){data, data + size};
	run.requests = 0;
	client_bytes = 0;
	domain_init(&run.domain,
		    script_byte(&run.script) & 1 ? REPLICA_VM : REPLICA_ALONE, 1);
	account_init(&run.user, QUOTA_USER_OUTPUT);
	account_init_below(&run.watches, QUOTA_USER_WATCHES, &run.domain.watches.account);
	run.domain.host = (struct host){.add_items = add_items,
					.add_client = add_client,
					.trace = trace,
					.context = &run};
	for (unsigned i = 0; i < CLIENTS; i++)
		open_client(&run.clients[i], i == CLIENTS - 1);
	client_trust(&run.clients[0]);
	while (!script_is_over(&run.script) && client_bytes < CLIENT_BUDGET) {
		step();
		settle(false);
	}
	serve();
	for (int i = 0; i < CLIENTS; i++)
		client_finish(&run.clients[i]);
	settle(true);
	relax_domain(&run.domain);
	client_must_be_served(&run.domain);
	for (int i = 0; i < CLIENTS; i++)
		client_close(&run.clients[i]);
	check_domain(&run.domain, 0, true);
	fuzz_require(run.domain.watches.account.used == 0 && run.watches.used == 0 &&
		     run.user.used == 0);
	domain_free(&run.domain);
	return 0;
}
