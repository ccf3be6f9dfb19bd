/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The records of the state file, and that a domain made from them is the one they are of.
 */
#include <errno.h>

#include "protocol/record.h"
#include "tests/unit/ends.h"

static uint8_t buffer[RECORD_MAX_SIZE], value[QDB_MAX_DATA];
static const char path[] =
	"/23456789.123456789:123456789@123456789-123456789_1234567890/3";

/* ---- records ---- */

#define LONGEST (sizeof(path) - 1)

static const struct record kinds[] = {
	{.type = RECORD_WRITE, .path = path, .path_len = 2, .value_len = 0},
	{.type = RECORD_WRITE, .path = path, .path_len = LONGEST, .value_len = 1},
	{.type = RECORD_WRITE_BY_PEER, .path = path, .path_len = 2, .value_len = 0},
	{.type = RECORD_WRITE_BY_PEER,
	 .path = path,
	 .path_len = LONGEST,
	 .value_len = QDB_MAX_DATA},
	{.type = RECORD_REMOVE, .path = path, .path_len = 2},
	{.type = RECORD_REMOVE, .path = path, .path_len = LONGEST},
	{.type = RECORD_PEER, .peer = {0, 0, false, false}},
	{.type = RECORD_PEER, .peer = {UINT64_MAX, 1, true, false}},
	{.type = RECORD_PEER, .peer = {0x0123456789abcdef, 1u << 31, false, true}},
	{.type = RECORD_PEER, .peer = {1, UINT64_MAX, true, true}},
	{.type = RECORD_OWED, .path = path, .path_len = 2},
	{.type = RECORD_OWED, .path = path, .path_len = LONGEST},
	{.type = RECORD_SENT, .sent = {0, 1}},
	{.type = RECORD_SENT, .path = path, .path_len = 1, .sent = {0, 256}},
	{.type = RECORD_SENT, .path = path, .path_len = LONGEST, .sent = {0, 65535}},
	{.type = RECORD_UNANSWERED, .path = path, .path_len = 2, .sent = {0, 0}},
	{.type = RECORD_UNANSWERED,
	 .path = path,
	 .path_len = LONGEST - 1,
	 .sent = {7, 0}},
	{.type = RECORD_UNANSWERED,
	 .path = path,
	 .path_len = LONGEST,
	 .sent = {UINT64_MAX, 0}},
	{.type = RECORD_SETTLED, .sent = {0, 0}},
	{.type = RECORD_SETTLED, .sent = {UINT64_MAX, UINT32_MAX}},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static size_t encode(size_t kind)
{
	struct record r = kinds[kind];

	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)(i % 255 + 1);
	r.value = (const char *)value;
	return record_encode(buffer, &r);
}

/* From memory of its own size, so that a sanitizer sees what is read beyond. */
static size_t decode(struct record *r, const uint8_t *bytes, size_t len)
{
	static uint8_t *copy;

	free(copy);
	copy = malloc(len ? len : 1);
	memcpy(copy, bytes, len);
	return record_decode(r, copy, len);
}

START_TEST(each_kind_comes_back)
{
	const struct record *k = &kinds[_i];
	const size_t size = encode((size_t)_i);
	struct record r;

	ck_assert_uint_le(size, RECORD_MAX_SIZE);
	ck_assert_uint_eq(decode(&r, buffer, size), size);
	ck_assert_int_eq(r.type, k->type);
	if (k->type == RECORD_PEER) {
		ck_assert_uint_eq(r.peer.id, k->peer.id);
		ck_assert_uint_eq(r.peer.processed, k->peer.processed);
		ck_assert(r.peer.served_legacy == k->peer.served_legacy);
		ck_assert(r.peer.peer_is_known == k->peer.peer_is_known);
		return;
	}
	ck_assert_uint_eq(r.path_len, k->path_len);
	if (k->path_len > 0)
		ck_assert_mem_eq(r.path, k->path, k->path_len);
	if (k->type >= RECORD_SENT) {
		ck_assert_uint_eq(r.sent.operation, k->sent.operation);
		ck_assert_uint_eq(r.sent.unanswered, k->sent.unanswered);
		return;
	}
	ck_assert_uint_eq(r.value_len, k->value_len);
	if (r.value_len > 0)
		ck_assert_mem_eq(r.value, value, r.value_len);
}
END_TEST

START_TEST(each_cut_is_refused)
{
	const size_t size = encode((size_t)_i);
	struct record r;

	for (size_t len = 0; len < size; len++)
		ck_assert_uint_eq(decode(&r, buffer, len), 0);
}
END_TEST

START_TEST(what_follows_is_left_alone)
{
	uint8_t two[2 * RECORD_MAX_SIZE];
	const size_t size = encode((size_t)_i);
	struct record r;

	memcpy(two, buffer, size);
	memcpy(two + size, buffer, size);
	ck_assert_uint_eq(decode(&r, two, 2 * size), size);
}
END_TEST

#define RECORD(type, path_len, low, high, rest) \
	{ \
		(const uint8_t *)type path_len low high rest, sizeof(rest) + 3 \
	}

static const struct {
	const uint8_t *bytes;
	size_t len;
} damaged[] = {
	RECORD("\0", "\2", "\1", "\0", "/av"),   /* no type */
	RECORD("\11", "\2", "\1", "\0", "/av"),  /* one that there is not */
	RECORD("\377", "\2", "\1", "\0", "/av"), /* nor this */
	RECORD("\1", "\0", "\1", "\0", "v"),     /* no path */
	RECORD("\1", "\1", "\1", "\0", "/v"),    /* the root */
	RECORD("\1", "\3", "\1", "\0", "/a/v"),  /* a directory */
	RECORD("\1", "\2", "\1", "\0", "-av"),   /* ill-formed */
	RECORD("\1", "\2", "\1", "\0", "aav"),   /* not from the root */
	RECORD("\1", "\2", "\1", "\0", "/ v"),   /* a blank */
	RECORD("\1", "\2", "\1", "\0", "/\0v"),  /* NUL in the path */
	RECORD("\1", "\2", "\2", "\0", "/av\0"), /* NUL in the value */
	RECORD("\2", "\2", "\2", "\0", "/av\0"), /* the VM's, too */
	RECORD("\3", "\2", "\1", "\0", "/av"),   /* a removal with a value */
	RECORD("\3", "\3", "\0", "\0", "/a/"),   /* and of a directory */
	RECORD("\4", "\0", "\0", "\0", ""),      /* a peer without */
	RECORD("\4", "\0", "\20", "\0", "0123456789abcdef"),
	RECORD("\4", "\0", "\22", "\0", "0123456789abcdef\0\0"),
	RECORD("\4", "\0", "\21", "\0", "0123456789abcdef\4"), /* an unknown flag */
	RECORD("\4", "\2", "\21", "\0", "/a0123456789abcdef\0"),
	RECORD("\5", "\2", "\1", "\0", "/av"),    /* owed with a value */
	RECORD("\5", "\3", "\0", "\0", "/a/"),    /* of a directory */
	RECORD("\6", "\2", "\0", "\0", "/a"),     /* sent without a count */
	RECORD("\6", "\2", "\2", "\0", "/a\0\0"), /* or of none */
	RECORD("\6", "\2", "\3", "\0", "/a\1\0\0"),
	RECORD("\6", "\2", "\2", "\0", "-a\1\0"),
	RECORD("\7", "\0", "\10", "\0", "01234567"), /* unanswered without a path */
	RECORD("\7", "\2", "\7", "\0", "/a0123456"),
	RECORD("\7", "\2", "\11", "\0", "/a012345678"),
	RECORD("\10", "\0", "\0", "\0", ""), /* settled without numbers */
	RECORD("\10", "\0", "\13", "\0", "0123456789a"),
	RECORD("\10", "\2", "\14", "\0", "/a0123456789ab"), /* and with a path */
};

START_TEST(damage_is_refused)
{
	struct record r;

	ck_assert_uint_eq(decode(&r, damaged[_i].bytes, damaged[_i].len), 0);
	ck_assert_int_eq(journal_replay(&dom0, damaged[_i].bytes, damaged[_i].len),
			 -EINVAL);
	ck_assert_uint_eq(dom0.entries.entries.used, 0);
}
END_TEST

START_TEST(what_is_too_long_is_refused)
{
	static uint8_t bytes[8192];
	struct record r;

	memset(bytes, 'a', sizeof(bytes));
	memcpy(bytes, "\1\2\0\14/a", 6); /* 3072 bytes of value */
	ck_assert_uint_eq(decode(&r, bytes, sizeof(bytes)), 0);
	memcpy(bytes, "\1\2\377\13/a", 6); /* 3071 */
	ck_assert_uint_eq(decode(&r, bytes, sizeof(bytes)), 6 + 3071);
	memcpy(bytes, "\1\100\1\0/", 5); /* a path of 64 */
	ck_assert_uint_eq(decode(&r, bytes, sizeof(bytes)), 0);
	memcpy(bytes, "\1\377\1\0/", 5);
	ck_assert_uint_eq(decode(&r, bytes, sizeof(bytes)), 0);
	memcpy(bytes, "\1\77\1\0/", 5); /* of 63 */
	ck_assert_uint_eq(decode(&r, bytes, sizeof(bytes)), 4 + 63 + 1);
}
END_TEST

/* ---- a domain ---- */

static struct domain copy;
static uint8_t kept[2 * JOURNAL_SIZE];
static size_t kept_len;

static void setup(void)
{
	ends_setup();
	dom0.journal.enabled = true;
	domain_init(&copy, REPLICA_DOM0, 0xd2);
	kept_len = 0;
}

static void teardown(void)
{
	ck_assert(namespace_is_consistent(&copy.entries));
	domain_free(&copy);
	ends_teardown();
}

static void keep(const uint8_t *bytes, size_t len)
{
	ck_assert_uint_le(kept_len + len, sizeof(kept));
	memcpy(kept + kept_len, bytes, len);
	kept_len += len;
}

static void commit(void)
{
	if (!journal_prepare(&dom0.journal, &dom0.replica))
		return;
	ck_assert(!dom0.journal.incomplete);
	keep(dom0.journal.bytes, dom0.journal.used);
	journal_committed(&dom0.journal);
}

static void snapshot(size_t room)
{
	struct journal_cursor c = {.has_begun = false};
	uint8_t piece[16384];

	kept_len = 0;
	while (!c.is_done)
		keep(piece, journal_snapshot(&dom0, &c, piece, room));
}

static void assert_copy(void)
{
	struct entry *a = namespace_first(&dom0.entries, "", 0);
	struct entry *b = namespace_first(&copy.entries, "", 0);

	while (a && b) {
		ck_assert_str_eq(a->path, b->path);
		ck_assert_uint_eq(a->value_len, b->value_len);
		if (a->value_len)
			ck_assert_mem_eq(a->value, b->value, a->value_len);
		ck_assert(a->by_peer == b->by_peer);
		a = namespace_next(a);
		b = namespace_next(b);
	}
	ck_assert(!a && !b);
	ck_assert_uint_eq(dom0.entries.peer_bytes.used, copy.entries.peer_bytes.used);
	ck_assert_uint_eq(dom0.replica.peer_id, copy.replica.peer_id);
	ck_assert_uint_eq(dom0.replica.processed, copy.replica.processed);
	ck_assert(dom0.replica.peer_is_known == copy.replica.peer_is_known);
	ck_assert(dom0.replica.served_legacy == copy.replica.served_legacy);
}

/* The numbers that the VM counts by, as well. What is answered may still be in the copy.
 */
static uint64_t answered(const struct domain *d)
{
	return d->replica.base + d->replica.sent_on_link -
	       changes_in_flight(&d->replica.changes);
}

static void assert_changes(void)
{
	const struct changed_path *a = changes_after(&dom0.replica.changes, "", 0), *b;

	ck_assert(changes_is_consistent(&copy.replica.changes));
	for (; a; a = changes_after(&dom0.replica.changes, a->path, a->node.path_len)) {
		b = pathmap_object(pathmap_find(&copy.replica.changes.map, a->path,
						a->node.path_len),
				   struct changed_path, node);
		ck_assert_ptr_nonnull(b);
		ck_assert(a->owed == b->owed && a->in_flight == b->in_flight &&
			  b->is_ours);
		if (a->in_flight)
			ck_assert_uint_eq(answered(&dom0) + a->operation -
						  dom0.replica.changes.answered,
					  answered(&copy) + b->operation -
						  copy.replica.changes.answered);
	}
}

static void assert_replay(void)
{
	ck_assert_int_eq(journal_replay(&copy, kept, kept_len), 0);
	assert_copy();
	assert_changes();
}

/* What both ends do, in several commits. */
static void do_a_lot(void)
{
	char name[32];

	set(&dom0, "/before", "1");
	begin();
	commit();
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "/%s/%d", i % 3 ? "d" : "e", i);
		set(i % 2 ? &dom0 : &vm, name, i % 5 ? name : "");
		if (i % 7 == 0)
			commit();
	}
	exchange();
	set(&dom0, "/d/1", "again");
	ck_assert_int_eq(drop(&dom0, "/d/1"), 0);
	ck_assert_int_eq(drop(&vm, "/e/"), 0);
	exchange();
	set(&vm, "/e/3", "back");
	exchange();
	commit();
}

START_TEST(changes_make_the_same_domain)
{
	do_a_lot();
	ck_assert_uint_ne(dom0.replica.processed, 0);
	assert_replay();
}
END_TEST

START_TEST(a_snapshot_makes_the_same_domain)
{
	do_a_lot();
	snapshot(RECORD_MAX_SIZE + (size_t)_i * 1000);
	assert_replay();
}
END_TEST

START_TEST(a_snapshot_of_nothing)
{
	snapshot(RECORD_MAX_SIZE);
	ck_assert_uint_gt(kept_len, 0);
	assert_replay();
}
END_TEST

START_TEST(changes_while_a_snapshot_is_taken)
{
	struct journal_cursor c = {.has_begun = false};
	uint8_t piece[RECORD_MAX_SIZE + 200];
	char name[32];

	do_a_lot();
	kept_len = 0;
	for (int i = 0; !c.is_done; i++) {
		keep(piece, journal_snapshot(&dom0, &c, piece, sizeof(piece)));
		snprintf(name, sizeof(name), "/d/%d", i * 7 % 60);
		if (drop(&dom0, name) < 0)
			set(&dom0, name, "new");
		set(&dom0, "/a", name);
		commit();
	}
	assert_replay();
}
END_TEST

/* It tells that something was sent, but not what. */
START_TEST(what_is_sent_must_be_known)
{
	static const uint8_t sent[] = {RECORD_SENT, 0, 2, 0, 1, 0};
	struct record r;

	ck_assert_uint_eq(decode(&r, sent, sizeof(sent)), sizeof(sent));
	ck_assert_int_eq(journal_replay(&copy, sent, sizeof(sent)), -EINVAL);
	set(&dom0, "/a", "1");
	if (_i)
		drop(&dom0, "/a");
	commit();
	keep(sent, sizeof(sent));
	ck_assert_int_eq(journal_replay(&copy, kept, kept_len), -EINVAL);
}
END_TEST

/* Some owed, some sent, some both, and a directory. */
static void leave_a_lot_unconfirmed(void)
{
	char name[32];

	do_a_lot();
	disconnect_ends();
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "/owed/%d", i);
		set(&dom0, name, name);
	}
	begin();
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "/sent/%d", i * 7 % 20);
		set(&dom0, name, name);
		if (i == 10)
			ck_assert_int_eq(drop(&dom0, "/owed/"), 0);
	}
	disconnect_ends();
	set(&dom0, "/sent/3", "again");
	ck_assert_int_eq(drop(&dom0, "/sent/4"), 0);
	ck_assert_int_eq(drop(&dom0, "/d/"), 0);
	commit();
	ck_assert_uint_eq(changes_in_flight(&dom0.replica.changes), 21);
	ck_assert_uint_gt(dom0.replica.changes.n_owed, 2);
}

/* Beside the write itself, which has a path and a value. */
START_TEST(a_prompt_write_costs_few_bytes)
{
	begin();
	commit();
	set(&dom0, "/23456789", "1");
	ck_assert_uint_eq(dom0.journal.used, RECORD_HEADER_SIZE + 9 + 1 + 6);
	disconnect_ends();
	commit();
	set(&dom0, "/23456789", "2");
	set(&dom0, "/23456789", "3");
	ck_assert_uint_eq(dom0.journal.used,
			  2 * (RECORD_HEADER_SIZE + 9 + 1) + RECORD_HEADER_SIZE + 9);
}
END_TEST

START_TEST(what_is_unconfirmed_comes_back)
{
	leave_a_lot_unconfirmed();
	assert_replay();
	ck_assert_uint_eq(copy.replica.changes.n_owed, dom0.replica.changes.n_owed);
}
END_TEST

START_TEST(what_is_unconfirmed_is_in_a_snapshot)
{
	leave_a_lot_unconfirmed();
	snapshot(RECORD_MAX_SIZE + (size_t)_i * 100);
	assert_replay();
	ck_assert_uint_eq(copy.replica.changes.n_owed, dom0.replica.changes.n_owed);
	ck_assert_uint_eq(changes_in_flight(&copy.replica.changes), 21);
}
END_TEST

/* Operations leave, and are answered, between the pieces: their order is not that. */
START_TEST(operations_while_a_snapshot_is_taken)
{
	struct journal_cursor c = {.has_begun = false};
	uint8_t piece[RECORD_MAX_SIZE + 40];
	char name[32];

	leave_a_lot_unconfirmed();
	begin();
	for (int i = 0; i < 10; i++)
		set(&dom0, i % 2 ? "/sent/9" : "/sent/5", "x");
	commit();
	kept_len = 0;
	for (int i = 0; !c.is_done; i++) {
		keep(piece, journal_snapshot(&dom0, &c, piece, sizeof(piece)));
		snprintf(name, sizeof(name), "/sent/%d", i * 7 % 20);
		set(&dom0, name, "new");
		carry(&dom0, &vm);
		if (i % 9 == 8)
			carry(&vm, &dom0);
		if (_i && i == 30)
			disconnect_ends();
		commit();
	}
	assert_replay();
}
END_TEST

START_TEST(what_is_settled_is_forgotten)
{
	leave_a_lot_unconfirmed();
	begin();
	assert_equal_ends();
	commit();
	assert_replay();
	ck_assert_uint_eq(copy.replica.changes.paths.used, 0);
}
END_TEST

/* The next daemon may have other quotas. A state that it can serve is not refused. */
START_TEST(what_is_unconfirmed_beyond_a_quota_is_forgotten)
{
	leave_a_lot_unconfirmed();
	if (_i)
		copy.replica.changes.unanswered.limit = 4;
	else
		copy.replica.changes.paths.limit = 40;
	ck_assert_int_eq(journal_replay(&copy, kept, kept_len), 0);
	ck_assert(changes_is_consistent(&copy.replica.changes));
	assert_copy();
}
END_TEST

START_TEST(each_cut_of_a_state_is_refused_or_between_records)
{
	struct record r;
	size_t end = 0;

	set(&dom0, "/a", "value");
	set(&dom0, "/b", "");
	drop(&dom0, "/a");
	commit();
	for (size_t len = 0; len <= kept_len; len++) {
		const bool whole = len == end;

		domain_free(&copy);
		domain_init(&copy, REPLICA_DOM0, 0xd2);
		ck_assert_int_eq(journal_replay(&copy, kept, len), whole ? 0 : -EINVAL);
		if (whole && len < kept_len)
			end += record_decode(&r, kept + len, kept_len - len);
	}
	ck_assert_uint_eq(end, kept_len);
	assert_copy();
}
END_TEST

START_TEST(nothing_changed_is_nothing_to_commit)
{
	ck_assert(!journal_prepare(&dom0.journal, &dom0.replica));
	ck_assert_int_eq(drop(&dom0, "/none"), -ENOENT);
	ck_assert(!journal_prepare(&dom0.journal, &dom0.replica));
	begin();
	ck_assert(journal_prepare(&dom0.journal, &dom0.replica));
	journal_committed(&dom0.journal);
	ck_assert(!journal_prepare(&dom0.journal, &dom0.replica));
}
END_TEST

START_TEST(what_finds_no_room_is_not_lost)
{
	static char big[QDB_MAX_DATA];
	char name[32];

	memset(big, 'b', sizeof(big) - 1);
	for (int i = 0; !dom0.journal.incomplete; i++) {
		ck_assert_uint_le(dom0.journal.used, JOURNAL_SIZE);
		snprintf(name, sizeof(name), "/%d", i);
		set(&dom0, name, big);
	}
	ck_assert(journal_prepare(&dom0.journal, &dom0.replica));
	snapshot(16384);
	assert_replay();
	journal_committed(&dom0.journal);
	ck_assert(!journal_prepare(&dom0.journal, &dom0.replica));
}
END_TEST

START_TEST(after_a_failure_it_is_the_whole_state)
{
	set(&dom0, "/a", "1");
	ck_assert(journal_prepare(&dom0.journal, &dom0.replica));
	journal_failed(&dom0.journal);
	ck_assert(dom0.journal.incomplete);
	ck_assert(journal_prepare(&dom0.journal, &dom0.replica));
	set(&dom0, "/a", "2");
	ck_assert(dom0.journal.incomplete);
	ck_assert_uint_eq(dom0.journal.used, 0);
}
END_TEST

START_TEST(without_a_state_file_it_costs_nothing)
{
	dom0.journal.enabled = false;
	set(&dom0, "/a", "1");
	ck_assert(!journal_prepare(&dom0.journal, &dom0.replica));
	ck_assert_uint_eq(dom0.journal.size, 0);
}
END_TEST

START_TEST(a_state_over_a_quota_is_refused)
{
	set(&dom0, "/a", "1");
	set(&dom0, "/b", "1");
	commit();
	copy.entries.entries.limit = 1;
	ck_assert_int_eq(journal_replay(&copy, kept, kept_len), -EDQUOT);
}
END_TEST

static void fill(TCase *t)
{
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, each_kind_comes_back, 0, KINDS);
	tcase_add_loop_test(t, each_cut_is_refused, 0, KINDS);
	tcase_add_loop_test(t, what_follows_is_left_alone, 0, KINDS);
	tcase_add_loop_test(t, damage_is_refused, 0,
			    sizeof(damaged) / sizeof(damaged[0]));
	tcase_add_test(t, what_is_too_long_is_refused);
	tcase_add_test(t, changes_make_the_same_domain);
	tcase_add_loop_test(t, a_snapshot_makes_the_same_domain, 0, 10);
	tcase_add_test(t, a_snapshot_of_nothing);
	tcase_add_test(t, changes_while_a_snapshot_is_taken);
	tcase_add_loop_test(t, what_is_sent_must_be_known, 0, 2);
	tcase_add_test(t, a_prompt_write_costs_few_bytes);
	tcase_add_test(t, what_is_unconfirmed_comes_back);
	tcase_add_loop_test(t, what_is_unconfirmed_is_in_a_snapshot, 0, 10);
	tcase_add_loop_test(t, operations_while_a_snapshot_is_taken, 0, 2);
	tcase_add_test(t, what_is_settled_is_forgotten);
	tcase_add_loop_test(t, what_is_unconfirmed_beyond_a_quota_is_forgotten, 0, 2);
	tcase_add_test(t, each_cut_of_a_state_is_refused_or_between_records);
	tcase_add_test(t, nothing_changed_is_nothing_to_commit);
	tcase_add_test(t, what_finds_no_room_is_not_lost);
	tcase_add_test(t, after_a_failure_it_is_the_whole_state);
	tcase_add_test(t, without_a_state_file_it_costs_nothing);
	tcase_add_test(t, a_state_over_a_quota_is_refused);
}

UNIT_MAIN("journal", fill)
