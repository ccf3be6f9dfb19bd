/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a link leaves open, and how the next one settles it. */
#include "tests/unit/ends.h"

START_TEST(what_was_processed_but_not_answered_is_not_sent_again)
{
	begin();
	set(&vm, "/k", "vm");
	set(&dom0, "/d", "dom0");
	ck_assert(carry(&vm, &dom0));
	ck_assert(carry(&dom0, &vm));
	disconnect_ends();
	set(&dom0, "/k", "newer");
	set(&vm, "/d", "newer");
	begin();
	assert_equal_ends();
	ck_assert_str_eq(get(&vm, "/k"), "newer");
	ck_assert_str_eq(get(&dom0, "/d"), "newer");
}
END_TEST

START_TEST(a_link_that_breaks_before_it_is_live_changes_nothing)
{
	begin();
	set(&vm, "/k", "vm");
	drop(&vm, "/none");
	disconnect_ends();
	for (int i = 0; i < 5; i++) {
		connect_ends();
		for (int j = 0; j < i; j++) {
			carry(&vm, &dom0);
			carry(&dom0, &vm);
		}
		disconnect_ends();
	}
	begin();
	assert_equal_ends();
	ck_assert_str_eq(get(&dom0, "/k"), "vm");
}
END_TEST

START_TEST(a_dom0_that_lost_its_state_gets_it_back)
{
	set(&dom0, "/name", "work");
	begin();
	set(&vm, "/vm", "1");
	exchange();
	disconnect_ends();
	domain_free(&dom0);
	domain_init(&dom0, REPLICA_DOM0, 0xd1);
	set(&dom0, "/vm", "dom0 decides");
	begin();
	assert_equal_ends();
	ck_assert_str_eq(get(&dom0, "/name"), "work");
	ck_assert_str_eq(get(&vm, "/vm"), "dom0 decides");
}
END_TEST

START_TEST(a_vm_that_starts_again_takes_the_dump)
{
	begin();
	set(&dom0, "/a", "1");
	exchange();
	disconnect_ends();
	domain_free(&vm);
	domain_init(&vm, REPLICA_VM, 0x5f);
	drop(&dom0, "/a");
	set(&dom0, "/b", "1");
	begin();
	assert_equal_ends();
}
END_TEST

START_TEST(a_broken_first_dump_leaves_nothing)
{
	set(&dom0, "/gone", "0");
	replica_connected(&vm.replica);
	hear(&vm);
	say(&vm, QDB_RESP_OK, "@qdb:1:00000000000000d0:0", NULL);
	say(&vm, QDB_RESP_MULTIREAD, "/gone", "0");
	replica_disconnected(&vm.replica);
	drop(&dom0, "/gone");
	begin();
	assert_equal_ends();
}
END_TEST

START_TEST(an_owed_removal_of_a_directory_spares_what_dom0_wrote_since)
{
	set(&dom0, "/d/a", "0");
	begin();
	vm.replica.changes.unanswered.limit = 1;
	drop(&vm, "/d/");
	set(&dom0, "/d/x", "dom0");
	carry(&dom0, &vm);
	ck_assert_str_eq(get(&vm, "/d/x"), "dom0");
	vm.replica.changes.unanswered.limit = 100;
	exchange();
	assert_equal_ends();
	ck_assert_str_eq(get(&dom0, "/d/x"), "dom0");
}
END_TEST

START_TEST(what_dom0_overruled_is_not_sent_again)
{
	begin();
	set(&vm, "/k", "vm");
	set(&dom0, "/k", "dom0");
	carry(&dom0, &vm);
	ck_assert_str_eq(get(&vm, "/k"), "dom0");
	disconnect_ends();
	set(&dom0, "/k", "newer");
	domain_free(&dom0);
	domain_init(&dom0, REPLICA_DOM0, 0xd0);
	set(&dom0, "/k", "newest");
	begin();
	assert_equal_ends();
	ck_assert_str_eq(get(&dom0, "/k"), "newest");
}
END_TEST

START_TEST(a_legacy_dom0_gets_what_its_dump_did_not_name)
{
	replica_connected(&vm.replica);
	hear(&vm);
	say(&vm, QDB_RESP_MULTIREAD, "/a", "1");
	say(&vm, QDB_RESP_MULTIREAD, "", NULL);
	replica_disconnected(&vm.replica);
	set(&vm, "/k", "vm");
	replica_connected(&vm.replica);
	ck_assert_str_eq(hear(&vm), "OK @qdb:1:000000000000005e:0; MULTIREAD ");
	say(&vm, QDB_RESP_MULTIREAD, "/k", "dom0");
	ck_assert_str_eq(hear(&vm), "");
	say(&vm, QDB_RESP_MULTIREAD, "", NULL);
	ck_assert_str_eq(hear(&vm), "WRITE /k=vm; WRITE /a=1");
}
END_TEST

static void fill(TCase *t)
{
	tcase_add_checked_fixture(t, ends_setup, ends_teardown);
	tcase_add_test(t, what_was_processed_but_not_answered_is_not_sent_again);
	tcase_add_test(t, a_link_that_breaks_before_it_is_live_changes_nothing);
	tcase_add_test(t, a_dom0_that_lost_its_state_gets_it_back);
	tcase_add_test(t, a_vm_that_starts_again_takes_the_dump);
	tcase_add_test(t, a_broken_first_dump_leaves_nothing);
	tcase_add_test(t, an_owed_removal_of_a_directory_spares_what_dom0_wrote_since);
	tcase_add_test(t, what_dom0_overruled_is_not_sent_again);
	tcase_add_test(t, a_legacy_dom0_gets_what_its_dump_did_not_name);
}

UNIT_MAIN("resync", fill)
