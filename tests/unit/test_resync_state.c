/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dom0's daemon starts again, from its state: what the journal or a snapshot of it has.
 * How far the conversation with the VM had come is a part of that, and each test here
 * whose name ends in "older" shows what would come of it otherwise.
 */
#include "tests/unit/ends.h"

#define GENERATION 0xd0
#define EMPTIED "WRITE /x=-; RM /; RESP_MULTIREAD /a=1; RESP_MULTIREAD "

static uint8_t kept[65536];
static size_t kept_len;
static bool from_journal, without_peer;

static void setup(void)
{
	ends_setup();
	dom0.journal.enabled = true;
	kept_len = 0;
	from_journal = without_peer = false;
}

static void commit(void)
{
	if (!journal_prepare(&dom0.journal, &dom0.replica))
		return;
	ck_assert(!dom0.journal.incomplete);
	ck_assert_uint_le(kept_len + dom0.journal.used, sizeof(kept));
	memcpy(kept + kept_len, dom0.journal.bytes, dom0.journal.used);
	kept_len += dom0.journal.used;
	journal_committed(&dom0.journal);
}

static void take_snapshot(void)
{
	struct journal_cursor c = {.has_begun = false};

	kept_len = 0;
	while (!c.is_done)
		kept_len += journal_snapshot(&dom0, &c, kept + kept_len,
					     sizeof(kept) - kept_len);
}

/* Drops what the state says about the conversation with the VM. */
static void forget_peer(void)
{
	struct record r;
	size_t size, left = 0;

	for (size_t at = 0; at < kept_len; at += size) {
		size = record_decode(&r, kept + at, kept_len - at);
		ck_assert_uint_gt(size, 0);
		if (r.type >= RECORD_PEER)
			continue;
		memmove(kept + left, kept + at, size);
		left += size;
	}
	kept_len = left;
}

/* From what was committed, and nothing else. */
static void crash_dom0(void)
{
	if (without_peer)
		forget_peer();
	disconnect_ends();
	domain_free(&dom0);
	domain_init(&dom0, REPLICA_DOM0, GENERATION);
	ck_assert_int_eq(journal_replay(&dom0, kept, kept_len), 0);
	dom0.journal.enabled = true;
}

static void restart_dom0(void)
{
	commit();
	if (!from_journal)
		take_snapshot();
	crash_dom0();
}

/* The VM's change has arrived, and the answer has not; then dom0 changes it again. */
static void vm_writes_then_dom0(void)
{
	set(&dom0, "/k", "first");
	begin();
	commit();
	set(&vm, "/k", "vm");
	ck_assert(carry(&vm, &dom0));
	ck_assert_str_eq(get(&dom0, "/k"), "vm");
	commit();
	set(&dom0, "/k", "newer");
	restart_dom0();
	ck_assert_str_eq(get(&dom0, "/k"), "newer");
	begin();
	assert_equal_ends();
}

static void vm_writes_then_dom0_removes(void)
{
	begin();
	set(&vm, "/k", "vm");
	ck_assert(carry(&vm, &dom0));
	commit();
	ck_assert_int_eq(drop(&dom0, "/k"), 0);
	restart_dom0();
	begin();
	assert_equal_ends();
}

static void vm_removes_then_dom0_writes(void)
{
	set(&dom0, "/k", "first");
	begin();
	ck_assert_int_eq(drop(&vm, "/k"), 0);
	ck_assert(carry(&vm, &dom0));
	commit();
	set(&dom0, "/k", "newer");
	restart_dom0();
	begin();
	assert_equal_ends();
}

START_TEST(what_dom0_wrote_later_stands)
{
	from_journal = _i;
	vm_writes_then_dom0();
	ck_assert_str_eq(get(&dom0, "/k"), "newer");
}
END_TEST

START_TEST(what_dom0_removed_later_does_not_come_back)
{
	from_journal = _i;
	vm_writes_then_dom0_removes();
	ck_assert_str_eq(get(&dom0, "/k"), "(absent)");
}
END_TEST

START_TEST(without_the_record_the_vm_brings_back_what_is_older)
{
	from_journal = _i;
	without_peer = true;
	vm_writes_then_dom0_removes();
	ck_assert_str_eq(get(&dom0, "/k"), "vm");
}
END_TEST

START_TEST(what_dom0_put_back_stands)
{
	from_journal = _i;
	vm_removes_then_dom0_writes();
	ck_assert_str_eq(get(&dom0, "/k"), "newer");
}
END_TEST

/* The same for a change that had not arrived: it is the newer one. */
START_TEST(what_was_lost_on_the_way_is_sent_again)
{
	from_journal = _i;
	set(&dom0, "/k", "first");
	begin();
	commit();
	set(&vm, "/k", "vm");
	restart_dom0();
	begin();
	assert_equal_ends();
	ck_assert_str_eq(get(&dom0, "/k"), "vm");
}
END_TEST

/*
 * Both change the same while there is no link, dom0 later, and its daemon is not the same
 * when the VM comes back: dom0's change stands, as it does when the daemon is.
 */
static void vm_changes_then_dom0(void)
{
	set(&dom0, "/a", "base");
	set(&dom0, "/b", "base");
	set(&dom0, "/d/x", "base");
	begin();
	commit();
	disconnect_ends();
	set(&vm, "/a", "vm");
	set(&vm, "/b", "vm");
	ck_assert_int_eq(drop(&vm, "/d/"), 0);
	set(&dom0, "/a", "dom0");
	ck_assert_int_eq(drop(&dom0, "/b"), 0);
	set(&dom0, "/d/x", "dom0");
}

static void assert_dom0_stands(void)
{
	begin();
	assert_equal_ends();
	ck_assert_str_eq(get(&vm, "/a"), "dom0");
	ck_assert_str_eq(get(&vm, "/b"), "(absent)");
	ck_assert_str_eq(get(&vm, "/d/x"), "dom0");
}

START_TEST(what_dom0_changed_with_the_link_down_stands)
{
	from_journal = _i % 2;
	vm_changes_then_dom0();
	for (int i = 0; i < _i; i++)
		restart_dom0();
	assert_dom0_stands();
}
END_TEST

START_TEST(without_the_records_the_vm_undoes_it_with_what_is_older)
{
	from_journal = _i;
	vm_changes_then_dom0();
	without_peer = true;
	restart_dom0();
	begin();
	assert_equal_ends();
	ck_assert_str_eq(get(&vm, "/b"), "vm");
}
END_TEST

/* The same with a link, over which neither change has come. */
START_TEST(what_dom0_had_just_sent_stands)
{
	from_journal = _i;
	set(&dom0, "/a", "base");
	set(&dom0, "/d/x", "base");
	set(&dom0, "/d/y", "base");
	begin();
	commit();
	set(&vm, "/a", "vm");
	set(&vm, "/d/y", "vm");
	set(&dom0, "/a", "dom0");
	ck_assert_int_eq(drop(&dom0, "/d/"), 0);
	restart_dom0();
	begin();
	assert_equal_ends();
	ck_assert_str_eq(get(&vm, "/a"), "dom0");
	ck_assert_str_eq(get(&vm, "/d/y"), "(absent)");
}
END_TEST

/* But what the VM had processed is not concurrent with its later changes. */
START_TEST(what_the_vm_changed_after_dom0_stands)
{
	from_journal = _i % 2;
	set(&dom0, "/a", "base");
	begin();
	commit();
	for (int i = 0; i < 3; i++)
		set(&dom0, i ? "/a" : "/b", i ? "dom0" : "x");
	set(&dom0, "/c", "dom0");
	commit();
	while (carry(&dom0, &vm))
		;
	if (_i / 2)
		exchange();
	set(&vm, "/a", "vm");
	restart_dom0();
	begin();
	assert_equal_ends();
	ck_assert_str_eq(get(&dom0, "/a"), "vm");
	ck_assert_str_eq(get(&dom0, "/c"), "dom0");
}
END_TEST

/* The VM's daemon has started over: it has nothing that could be older. */
START_TEST(a_fresh_vm_settles_it)
{
	from_journal = _i;
	vm_changes_then_dom0();
	restart_dom0();
	domain_free(&vm);
	domain_init(&vm, REPLICA_VM, 0x5f);
	assert_dom0_stands();
	set(&vm, "/a", "later");
	restart_dom0();
	begin();
	assert_equal_ends();
	ck_assert_str_eq(get(&dom0, "/a"), "later");
}
END_TEST

/* The VM knows it, so what it lacks has been removed. */
START_TEST(what_dom0_removed_with_the_link_down_goes)
{
	from_journal = _i;
	set(&dom0, "/a", "1");
	set(&vm, "/b", "1");
	begin();
	commit();
	disconnect_ends();
	ck_assert_int_eq(drop(&dom0, "/a"), 0);
	ck_assert_int_eq(drop(&dom0, "/b"), 0);
	restart_dom0();
	begin();
	assert_equal_ends();
	ck_assert_str_eq(get(&vm, "/a"), "(absent)");
	ck_assert_str_eq(get(&vm, "/b"), "(absent)");
}
END_TEST

/* As at the first time: who wrote an entry last is part of the state. */
START_TEST(restart_after_restart_changes_nothing)
{
	from_journal = _i;
	set(&dom0, "/dom0", "1");
	set(&vm, "/vm", "1");
	begin();
	for (int i = 0; i < 5; i++) {
		restart_dom0();
		begin();
		assert_equal_ends();
	}
	ck_assert(namespace_find(&dom0.entries, "/vm", 3)->by_peer);
	ck_assert(!namespace_find(&dom0.entries, "/dom0", 5)->by_peer);
}
END_TEST

/* A legacy VM that has had a dump must be emptied by the next daemon, too. */
START_TEST(a_legacy_vm_is_emptied_after_a_restart)
{
	from_journal = _i;
	set(&dom0, "/a", "1");
	begin_as_legacy_vm();
	restart_dom0();
	replica_connected(&dom0.replica);
	say(&dom0, QDB_CMD_MULTIREAD, "", NULL);
	ck_assert_str_eq(hear(&dom0), EMPTIED);
}
END_TEST

/* A turn takes in what has arrived, commits, and only then prepares what leaves. */
START_TEST(a_legacy_vm_is_emptied_after_a_crash)
{
	uint8_t *space;

	set(&dom0, "/a", "1");
	replica_connected(&dom0.replica);
	ck_assert_uint_gt(replica_space(&dom0.replica, &space), MESSAGE_MAX_SIZE);
	replica_received(&dom0.replica, unit_encode(space, QDB_CMD_MULTIREAD, "", NULL));
	commit();
	ck_assert_str_eq(hear(&dom0), "RESP_MULTIREAD /a=1; RESP_MULTIREAD ");
	crash_dom0();
	replica_connected(&dom0.replica);
	say(&dom0, QDB_CMD_MULTIREAD, "", NULL);
	ck_assert_str_eq(hear(&dom0), EMPTIED);
}
END_TEST

static void fill(TCase *t)
{
	tcase_add_checked_fixture(t, setup, ends_teardown);
	tcase_add_loop_test(t, what_dom0_wrote_later_stands, 0, 2);
	tcase_add_loop_test(t, what_dom0_removed_later_does_not_come_back, 0, 2);
	tcase_add_loop_test(t, without_the_record_the_vm_brings_back_what_is_older, 0, 2);
	tcase_add_loop_test(t, what_dom0_put_back_stands, 0, 2);
	tcase_add_loop_test(t, what_was_lost_on_the_way_is_sent_again, 0, 2);
	tcase_add_loop_test(t, what_dom0_changed_with_the_link_down_stands, 0, 4);
	tcase_add_loop_test(t, without_the_records_the_vm_undoes_it_with_what_is_older, 0,
			    2);
	tcase_add_loop_test(t, what_dom0_had_just_sent_stands, 0, 2);
	tcase_add_loop_test(t, what_the_vm_changed_after_dom0_stands, 0, 4);
	tcase_add_loop_test(t, a_fresh_vm_settles_it, 0, 2);
	tcase_add_loop_test(t, what_dom0_removed_with_the_link_down_goes, 0, 2);
	tcase_add_loop_test(t, restart_after_restart_changes_nothing, 0, 2);
	tcase_add_loop_test(t, a_legacy_vm_is_emptied_after_a_restart, 0, 2);
	tcase_add_test(t, a_legacy_vm_is_emptied_after_a_crash);
}

UNIT_MAIN("resync_state", fill)
