/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "tests/unit/ends.h"

START_TEST(the_dump_and_then_changes_both_ways)
{
	set(&dom0, "/name", "work");
	set(&dom0, "/empty", "");
	ck_assert(!vm.serving);
	begin();
	ck_assert(vm.serving);
	ck_assert(!dom0.replica.peer_is_legacy && !vm.replica.peer_is_legacy);
	set(&dom0, "/a", "1");
	set(&vm, "/b", "2");
	ck_assert_int_eq(drop(&vm, "/name"), 0);
	exchange();
	assert_equal_ends();
	ck_assert_str_eq(get(&dom0, "/b"), "2");
	ck_assert_str_eq(get(&dom0, "/name"), "(absent)");
	ck_assert_str_eq(get(&vm, "/a"), "1");
}
END_TEST

START_TEST(colliding_changes_end_as_dom0_has_them)
{
	set(&dom0, "/d/rw", "0");
	set(&dom0, "/d/wr", "0");
	set(&dom0, "/d/rr", "0");
	begin();
	set(&dom0, "/d/ww", "dom0");
	set(&vm, "/d/ww", "vm");
	drop(&dom0, "/d/rw");
	set(&vm, "/d/rw", "vm");
	set(&dom0, "/d/wr", "dom0");
	drop(&vm, "/d/wr");
	drop(&dom0, "/d/rr");
	drop(&vm, "/d/rr");
	exchange();
	assert_equal_ends();
	ck_assert_str_eq(get(&vm, "/d/ww"), "dom0");
	ck_assert_str_eq(get(&vm, "/d/rw"), "(absent)");
	ck_assert_str_eq(get(&vm, "/d/wr"), "dom0");
}
END_TEST

START_TEST(directory_removals_are_judged_entry_by_entry)
{
	set(&dom0, "/d/a", "0");
	set(&dom0, "/d/b", "0");
	begin();
	set(&dom0, "/d/a", "dom0");
	drop(&vm, "/d/");
	exchange();
	assert_equal_ends();
	ck_assert_str_eq(get(&vm, "/d/a"), "dom0");
	ck_assert_str_eq(get(&vm, "/d/b"), "(absent)");
	set(&dom0, "/d/b", "0");
	exchange();
	drop(&dom0, "/d/");
	set(&vm, "/d/b", "vm");
	exchange();
	assert_equal_ends();
	ck_assert_str_eq(get(&vm, "/d/b"), "(absent)");
}
END_TEST

START_TEST(what_happens_without_a_link_is_made_up_for)
{
	set(&dom0, "/gone", "0");
	set(&dom0, "/both", "0");
	set(&dom0, "/vmrm", "0");
	begin();
	set(&vm, "/inflight", "vm");
	disconnect_ends();
	set(&vm, "/new", "vm");
	set(&vm, "/both", "vm");
	drop(&vm, "/vmrm");
	drop(&dom0, "/gone");
	set(&dom0, "/both", "dom0");
	ck_assert(vm.serving);
	begin();
	assert_equal_ends();
	ck_assert_str_eq(get(&dom0, "/inflight"), "vm");
	ck_assert_str_eq(get(&dom0, "/new"), "vm");
	ck_assert_str_eq(get(&dom0, "/both"), "dom0");
	ck_assert_str_eq(get(&vm, "/gone"), "(absent)");
	ck_assert_str_eq(get(&dom0, "/vmrm"), "(absent)");
}
END_TEST

START_TEST(a_stalled_peer_costs_a_path_an_entry)
{
	char value[3001];

	begin();
	memset(value, 'v', 3000);
	value[3000] = '\0';
	for (int i = 0; i < 20000; i++)
		set(&dom0, "/k", value);
	set(&dom0, "/commit", "");
	ck_assert_uint_le(outq_used(&dom0.replica.out), dom0.replica.out.limit);
	ck_assert_uint_le(dom0.replica.changes.paths.used, 2);
	ck_assert_ptr_null(dom0.replica.failure);
	exchange();
	assert_equal_ends();
}
END_TEST

/* ---- the test as the peer ---- */

START_TEST(a_legacy_vm_hears_exactly_what_it_knows)
{
	set(&dom0, "/pre/one", "1");
	set(&dom0, "/pre/two", "22");
	replica_connected(&dom0.replica);
	ck_assert_str_eq(hear(&dom0), "");
	say(&dom0, QDB_CMD_MULTIREAD, "", NULL);
	ck_assert_str_eq(hear(&dom0),
			 "RESP_MULTIREAD /pre/two=22; RESP_MULTIREAD /pre/one=1; "
			 "RESP_MULTIREAD ");
	set(&dom0, "/name", "x");
	drop(&dom0, "/pre/");
	ck_assert_str_eq(hear(&dom0), "WRITE /name=x; WRITE /pre/one=1; RM /pre/");
	say(&dom0, QDB_RESP_OK, "/name", NULL);
	say(&dom0, QDB_RESP_OK, "/pre/one", NULL);
	say(&dom0, QDB_RESP_OK, "/pre/", NULL);
	ck_assert_uint_eq(dom0.replica.changes.paths.used, 0);
	say(&dom0, QDB_CMD_WRITE, "/vm", "1");
	say(&dom0, QDB_CMD_RM, "/absent", NULL);
	say(&dom0, QDB_CMD_RM, "/absent/", NULL);
	ck_assert_str_eq(hear(&dom0), "OK /vm; OK /absent; OK /absent/");
	say(&dom0, QDB_CMD_RM, "/vm", "data");
	say(&dom0, QDB_RESP_ERROR_NOENT, "/nothing-asked", NULL);
	ck_assert_str_eq(hear(&dom0), "ERROR /vm");
	ck_assert_str_eq(get(&dom0, "/vm"), "1");
	ck_assert_ptr_null(dom0.replica.failure);
}
END_TEST

/* Descending, so /k/9999 is dumped at once and /k/0000 only later. */
static void begin_long_dump_to_legacy_vm(void)
{
	char path[32];
	const uint8_t *bytes;
	size_t len;

	for (int i = 0; i < 10000; i++) {
		snprintf(path, sizeof(path), "/k/%04d", i);
		set(&dom0, path, "0");
	}
	replica_connected(&dom0.replica);
	say(&dom0, QDB_CMD_MULTIREAD, "", NULL);
	bytes = replica_output(&dom0.replica, 4096, &len);
	ck_assert_ptr_nonnull(bytes);
	replica_sent(&dom0.replica, len);
}

START_TEST(updates_wait_for_the_end_mark)
{
	begin_long_dump_to_legacy_vm();
	set(&dom0, "/k/9999", "1");
	set(&dom0, "/k/0000", "1");
	drop(&dom0, "/k/0001");
	drop(&dom0, "/k/9998");
	say(&dom0, QDB_CMD_WRITE, "/vm", "1");
	hear(&dom0);
	ck_assert_ptr_nonnull(strstr(text, "RESP_MULTIREAD /k/0002=0; "
					   "RESP_MULTIREAD /k/0000=1; RESP_MULTIREAD ; "
					   "WRITE /k/9999=1; "
					   "WRITE /k/9998=-; RM /k/9998"));
	ck_assert_str_eq(text + strlen(text) - strlen("RM /k/9998"), "RM /k/9998");
	ck_assert_ptr_nonnull(strstr(text, "; OK /vm; "));
}
END_TEST

START_TEST(a_directory_that_goes_during_the_dump_is_told_as_far_as_it_was_dumped)
{
	begin_long_dump_to_legacy_vm();
	drop(&dom0, "/k/");
	set(&dom0, "/k/0500", "new");
	set(&dom0, "/k/9999", "new");
	hear(&dom0);
	ck_assert_ptr_nonnull(
		strstr(text, "RESP_MULTIREAD /k/0500=new; RESP_MULTIREAD ; "));
	ck_assert_ptr_null(strstr(text, "RM /k/0499"));
	ck_assert_ptr_null(strstr(text, "RM /k/;"));
	ck_assert_ptr_nonnull(strstr(text, "RESP_MULTIREAD ; WRITE /k/"));
	ck_assert_ptr_nonnull(strstr(text, "=-; RM /k/"));
}
END_TEST

/* It has taken the end mark when it has answered what comes after that. */
START_TEST(too_many_changes_never_end_a_dump_to_a_legacy_vm)
{
	dom0.replica.changes.paths.limit = 50;
	begin_long_dump_to_legacy_vm();
	drop(&dom0, "/k/");
	set(&dom0, "/last", "1");
	hear(&dom0);
	ck_assert_ptr_nonnull(strstr(text, "RESP_MULTIREAD "));
	ck_assert_str_eq(text + strlen(text) - strlen("; RESP_MULTIREAD ; WRITE /x=-"),
			 "; RESP_MULTIREAD ; WRITE /x=-");
	say(&dom0, QDB_CMD_WRITE, "/vm", "1");
	ck_assert_str_eq(hear(&dom0), "OK /vm");
	ck_assert_ptr_null(dom0.replica.failure);
	say(&dom0, QDB_RESP_OK, "/x", NULL);
	hear(&dom0);
	ck_assert_ptr_nonnull(dom0.replica.failure);
}
END_TEST

static void change_too_much(void)
{
	char path[32];

	for (int i = 0; i < 60; i++) {
		snprintf(path, sizeof(path), "/much/%d", i);
		set(&dom0, path, "0");
	}
}

START_TEST(too_many_changes_after_a_dump_leave_time_to_take_its_end)
{
	dom0.replica.changes.paths.limit = 50;
	dom0.replica.changes.unanswered.limit = 3;
	begin_as_legacy_vm();
	change_too_much();
	ck_assert_str_eq(hear(&dom0), "WRITE /much/0=0; WRITE /much/1=0");
	ck_assert_ptr_null(dom0.replica.failure);
	say(&dom0, QDB_RESP_OK, "/much/0", NULL);
	say(&dom0, QDB_CMD_WRITE, "/much/9", "vm");
	ck_assert_str_eq(hear(&dom0), "OK /much/9");
	ck_assert_str_eq(get(&dom0, "/much/9"), "0");
	say(&dom0, QDB_RESP_OK, "/much/1", NULL);
	ck_assert_str_eq(hear(&dom0), "WRITE /x=-");
	ck_assert_ptr_null(dom0.replica.failure);
	say(&dom0, QDB_RESP_OK, "/x", NULL);
	hear(&dom0);
	ck_assert_ptr_nonnull(dom0.replica.failure);
}
END_TEST

START_TEST(too_many_changes_before_a_dump_are_in_it)
{
	dom0.replica.changes.paths.limit = 50;
	replica_connected(&dom0.replica);
	change_too_much();
	ck_assert_str_eq(hear(&dom0), "");
	say(&dom0, QDB_CMD_MULTIREAD, "", NULL);
	hear(&dom0);
	ck_assert_ptr_nonnull(strstr(text, "RESP_MULTIREAD /much/59=0; "));
	set(&dom0, "/a", "1");
	ck_assert_str_eq(hear(&dom0), "WRITE /a=1");
	ck_assert_ptr_null(dom0.replica.failure);
}
END_TEST

START_TEST(a_legacy_vm_is_emptied_on_its_second_link)
{
	set(&dom0, "/a", "1");
	begin_as_legacy_vm();
	replica_disconnected(&dom0.replica);
	replica_connected(&dom0.replica);
	say(&dom0, QDB_CMD_MULTIREAD, "", NULL);
	ck_assert_str_eq(hear(&dom0),
			 "WRITE /x=-; RM /; RESP_MULTIREAD /a=1; RESP_MULTIREAD ");
	say(&dom0, QDB_CMD_WRITE, "/vm", "sent before it was emptied");
	say(&dom0, QDB_RESP_OK, "/x", NULL);
	say(&dom0, QDB_RESP_OK, "/", NULL);
	say(&dom0, QDB_CMD_WRITE, "/vm2", "after");
	ck_assert_str_eq(get(&dom0, "/vm"), "(absent)");
	ck_assert_str_eq(get(&dom0, "/vm2"), "after");
}
END_TEST

START_TEST(an_rm_and_what_it_removes_leave_together)
{
	char value[QDB_MAX_DATA + 1] = "";
	size_t len;

	begin_as_legacy_vm();
	memset(value, 'v', QDB_MAX_DATA);
	set(&dom0, "/a", "0");
	set(&dom0, "/big", value);
	drop(&dom0, "/big");
	replica_output(&dom0.replica, 73 + 3143 + 3143, &len);
	ck_assert_uint_eq(len, 73 + 3143);
	replica_sent(&dom0.replica, len);
	replica_output(&dom0.replica, 4096, &len);
	ck_assert_uint_eq(len, 3143 + 72);
	hear(&dom0);
}
END_TEST

START_TEST(a_removal_waits_while_a_legacy_vm_answers_nothing)
{
	char path[32];

	begin_as_legacy_vm();
	for (int i = 0; i < 16; i++) {
		snprintf(path, sizeof(path), "/k%d", i);
		set(&dom0, path, "0");
	}
	drop(&dom0, "/k3");
	hear(&dom0);
	ck_assert_ptr_null(strstr(text, "RM"));
	say(&dom0, QDB_RESP_OK, "/k0", NULL);
	ck_assert_str_eq(hear(&dom0), "WRITE /k3=-; RM /k3");
}
END_TEST

START_TEST(no_change_overtakes_one_that_waits)
{
	char path[32];

	begin_as_legacy_vm();
	for (int i = 0; i < 16; i++) {
		snprintf(path, sizeof(path), "/list/%d", i);
		set(&dom0, path, "0");
	}
	hear(&dom0);
	drop(&dom0, "/list/3");
	set(&dom0, "/list", "");
	ck_assert_str_eq(hear(&dom0), "");
	say(&dom0, QDB_RESP_OK, "/list/0", NULL);
	ck_assert_str_eq(hear(&dom0), "WRITE /list/3=-; RM /list/3");
	say(&dom0, QDB_RESP_OK, "/list/1", NULL);
	say(&dom0, QDB_RESP_OK, "/list/2", NULL);
	ck_assert_str_eq(hear(&dom0), "WRITE /list");
}
END_TEST

START_TEST(a_new_vm_announces_itself_before_it_asks)
{
	replica_connected(&vm.replica);
	ck_assert_str_eq(hear(&vm), "OK @qdb:1:000000000000005e:fresh; MULTIREAD ");
	say(&vm, QDB_RESP_OK, "@qdb:1:00000000000000d0:0", NULL);
	say(&vm, QDB_RESP_MULTIREAD, "/a", "1");
	say(&vm, QDB_RESP_OK, "@other", NULL);
	ck_assert(!vm.serving);
	say(&vm, QDB_RESP_MULTIREAD, "", NULL);
	ck_assert(vm.serving && !vm.replica.peer_is_legacy);
	ck_assert_str_eq(get(&vm, "/a"), "1");
	replica_connected(&dom0.replica);
	say(&dom0, QDB_RESP_OK, "@qdb:1:000000000000005e:fresh", NULL);
	say(&dom0, QDB_CMD_MULTIREAD, "", NULL);
	ck_assert_str_eq(hear(&dom0), "OK @qdb:1:00000000000000d0:0; RESP_MULTIREAD ");
}
END_TEST

START_TEST(a_change_in_the_middle_of_a_dump_stays)
{
	replica_connected(&vm.replica);
	hear(&vm);
	say(&vm, QDB_RESP_MULTIREAD, "/z", "1");
	say(&vm, QDB_CMD_WRITE, "/new", "1");
	say(&vm, QDB_CMD_RM, "/z", NULL);
	ck_assert_str_eq(hear(&vm), "OK /new; OK /z");
	say(&vm, QDB_RESP_MULTIREAD, "", NULL);
	ck_assert_str_eq(get(&vm, "/new"), "1");
	ck_assert_str_eq(get(&vm, "/z"), "(absent)");
}
END_TEST

START_TEST(towards_a_legacy_dom0_the_vm_wins)
{
	replica_connected(&vm.replica);
	hear(&vm);
	say(&vm, QDB_RESP_MULTIREAD, "", NULL);
	ck_assert(vm.replica.peer_is_legacy);
	set(&vm, "/k", "vm");
	ck_assert_str_eq(hear(&vm), "WRITE /k=vm");
	say(&vm, QDB_CMD_WRITE, "/k", "dom0");
	ck_assert_str_eq(hear(&vm), "OK /k");
	ck_assert_str_eq(get(&vm, "/k"), "vm");
	say(&vm, QDB_RESP_OK, "/k", NULL);
	say(&vm, QDB_CMD_WRITE, "/k", "dom0");
	ck_assert_str_eq(get(&vm, "/k"), "dom0");
}
END_TEST

START_TEST(a_vm_without_link_refuses_what_it_cannot_remember)
{
	set(&dom0, "/old", "0");
	begin();
	disconnect_ends();
	vm.replica.changes.paths.limit = 33;
	set(&vm, "/a", "1");
	ck_assert_int_lt(domain_write(&vm, "/b", 2, "1", 1), 0);
	ck_assert_int_lt(drop(&vm, "/old"), 0);
	ck_assert_str_eq(get(&vm, "/b"), "(absent)");
	ck_assert_str_eq(get(&vm, "/old"), "0");
	begin();
	assert_equal_ends();
}
END_TEST

START_TEST(a_vm_remembers_what_goes_and_nothing_beside_it)
{
	char path[32];

	for (int i = 0; i < 10; i++) {
		snprintf(path, sizeof(path), "/d%d", i);
		set(&dom0, path, "0");
		snprintf(path, sizeof(path), "/d/%d", i);
		set(&dom0, path, "0");
	}
	set(&dom0, "/d", "0");
	begin();
	disconnect_ends();
	vm.replica.changes.paths.limit = 32 + 5;
	ck_assert_int_eq(drop(&vm, "/d"), 0);
	ck_assert_int_eq(drop(&vm, "/d/"), -EDQUOT);
	ck_assert_int_eq(quota_refused_last(), QUOTA_CHANGES);
	begin();
	assert_equal_ends();
	ck_assert_str_eq(get(&dom0, "/d"), "(absent)");
	ck_assert_str_eq(get(&dom0, "/d/9"), "0");
}
END_TEST

START_TEST(dom0_never_refuses_because_of_its_peer)
{
	char path[32];

	set(&dom0, "/old", "0");
	begin();
	dom0.replica.changes.paths.limit = 100;
	drop(&dom0, "/old");
	for (int i = 0; i < 5000; i++) {
		snprintf(path, sizeof(path), "/k%d", i);
		set(&dom0, path, "0");
	}
	while (carry(&dom0, &vm))
		;
	ck_assert_ptr_nonnull(dom0.replica.failure);
	disconnect_ends();
	begin();
	assert_equal_ends();
	ck_assert_str_eq(get(&vm, "/old"), "(absent)");
}
END_TEST

/* ---- a hostile peer ---- */

struct violation {
	enum qdb_msg type;
	const char *path, *data;
};

static const struct violation violations[] = {
	{QDB_CMD_READ, "/a", NULL},
	{QDB_CMD_LIST, "", NULL},
	{QDB_CMD_WATCH, "/a", NULL},
	{QDB_CMD_WRITE, "/a b", "x"},
	{QDB_CMD_WRITE, "rel", "x"},
	{QDB_CMD_WRITE, "/d/", "x"},
	{QDB_CMD_RM, "/%", NULL},
	{QDB_CMD_MULTIREAD, "", NULL},
	{QDB_RESP_MULTIREAD, "/a", "x"},
	{QDB_RESP_OK, "/a", "data"},
	{QDB_RESP_ERROR, "/a", "data"},
	{QDB_RESP_WATCH, "/a", NULL},
	{99, "/a", NULL},
};

START_TEST(a_violation_ends_the_link_and_nothing_else)
{
	const struct violation *v = &violations[_i];

	begin_as_legacy_vm();
	set(&dom0, "/a", "1");
	say(&dom0, v->type, v->path, v->data);
	ck_assert_ptr_nonnull(dom0.replica.failure);
	ck_assert_str_eq(get(&dom0, "/a"), "1");
	replica_disconnected(&dom0.replica);
	begin();
	assert_equal_ends();
}
END_TEST

START_TEST(answers_that_are_not_read_stop_the_reading)
{
	uint8_t message[72], *space;
	int n = 0;

	begin_as_legacy_vm();
	unit_encode(message, QDB_CMD_RM, "/x", NULL);
	while (replica_space(&dom0.replica, &space) > 0 && n < 100000) {
		receive(&dom0, message, sizeof(message));
		n++;
	}
	ck_assert_int_lt(n, 100000);
	ck_assert_ptr_null(dom0.replica.failure);
	ck_assert_uint_le(outq_used(&dom0.replica.out), dom0.replica.out.limit);
	hear(&dom0);
	ck_assert_uint_gt(replica_space(&dom0.replica, &space), 0);
}
END_TEST

START_TEST(a_full_namespace_is_told_to_the_peer)
{
	begin_as_legacy_vm();
	dom0.entries.entries.limit = 1;
	say(&dom0, QDB_CMD_WRITE, "/a", "1");
	say(&dom0, QDB_CMD_WRITE, "/b", "1");
	ck_assert_str_eq(hear(&dom0), "OK /a; ERROR /b; WRITE /b=-; RM /b");
	ck_assert_uint_eq(dom0.replica.refused[REFUSED_FOR_QUOTA], 1);
}
END_TEST

START_TEST(a_few_answers_may_wait_for_company)
{
	begin_as_legacy_vm();
	ck_assert(!replica_may_wait(&dom0.replica));
	say(&dom0, QDB_CMD_WRITE, "/a", "1");
	ck_assert(replica_may_wait(&dom0.replica));
	set(&dom0, "/b", "2");
	ck_assert(!replica_may_wait(&dom0.replica));
	ck_assert_str_eq(hear(&dom0), "OK /a; WRITE /b=2");
	ck_assert(!replica_may_wait(&dom0.replica));
	for (int i = 0; i < 7; i++) {
		say(&dom0, QDB_CMD_WRITE, "/a", "1");
		ck_assert(replica_may_wait(&dom0.replica));
	}
	say(&dom0, QDB_CMD_WRITE, "/a", "1");
	ck_assert(!replica_may_wait(&dom0.replica));
}
END_TEST

static void fill(TCase *t)
{
	tcase_add_checked_fixture(t, ends_setup, ends_teardown);
	tcase_add_test(t, the_dump_and_then_changes_both_ways);
	tcase_add_test(t, colliding_changes_end_as_dom0_has_them);
	tcase_add_test(t, directory_removals_are_judged_entry_by_entry);
	tcase_add_test(t, what_happens_without_a_link_is_made_up_for);
	tcase_add_test(t, a_stalled_peer_costs_a_path_an_entry);
	tcase_add_test(t, a_legacy_vm_hears_exactly_what_it_knows);
	tcase_add_test(t, updates_wait_for_the_end_mark);
	tcase_add_test(
		t, a_directory_that_goes_during_the_dump_is_told_as_far_as_it_was_dumped);
	tcase_add_test(t, too_many_changes_never_end_a_dump_to_a_legacy_vm);
	tcase_add_test(t, too_many_changes_after_a_dump_leave_time_to_take_its_end);
	tcase_add_test(t, too_many_changes_before_a_dump_are_in_it);
	tcase_add_test(t, a_legacy_vm_is_emptied_on_its_second_link);
	tcase_add_test(t, an_rm_and_what_it_removes_leave_together);
	tcase_add_test(t, a_removal_waits_while_a_legacy_vm_answers_nothing);
	tcase_add_test(t, no_change_overtakes_one_that_waits);
	tcase_add_test(t, a_new_vm_announces_itself_before_it_asks);
	tcase_add_test(t, a_change_in_the_middle_of_a_dump_stays);
	tcase_add_test(t, towards_a_legacy_dom0_the_vm_wins);
	tcase_add_test(t, a_vm_without_link_refuses_what_it_cannot_remember);
	tcase_add_test(t, a_vm_remembers_what_goes_and_nothing_beside_it);
	tcase_add_test(t, dom0_never_refuses_because_of_its_peer);
	tcase_add_loop_test(t, a_violation_ends_the_link_and_nothing_else, 0,
			    sizeof(violations) / sizeof(violations[0]));
	tcase_add_test(t, answers_that_are_not_read_stop_the_reading);
	tcase_add_test(t, a_full_namespace_is_told_to_the_peer);
	tcase_add_test(t, a_few_answers_may_wait_for_company);
}

UNIT_MAIN("replica", fill)
