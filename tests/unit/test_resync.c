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

START_TEST(a_dom0_that_lost_its_state_gets_back_what_the_quota_allows)
{
	const size_t reserved = 32;

	set(&dom0, "/a", "1");
	set(&dom0, "/b", "1");
	begin();
	disconnect_ends();
	domain_free(&dom0);
	domain_init(&dom0, REPLICA_DOM0, 0xd1);
	vm.replica.changes.paths.limit = reserved + 1;
	begin();
	assert_equal_ends();
	ck_assert_str_eq(get(&dom0, "/a"), "1");
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

/* Until it fails, or both are silent. Returns whether it did not fail. */
static bool try_link(void)
{
	bool a = true, b = true;

	connect_ends();
	while ((a || b) && !dom0.replica.failure) {
		a = carry(&vm, &dom0);
		b = carry(&dom0, &vm);
	}
	if (!dom0.replica.failure)
		return true;
	disconnect_ends();
	return false;
}

START_TEST(a_vm_that_brings_too_much_is_heard_link_by_link)
{
	char path[32];
	int links = 1;

	begin();
	for (int i = 0; i < 500; i++) {
		snprintf(path, sizeof(path), "/k%d", i);
		set(&dom0, path, "0");
	}
	exchange();
	disconnect_ends();
	domain_free(&dom0);
	domain_init(&dom0, REPLICA_DOM0, 0xd1);
	dom0.entries.peer_entries.limit = 100;
	dom0.replica.changes.refusals.limit = 50;
	while (!try_link())
		ck_assert_int_lt(++links, 20);
	ck_assert_int_gt(links, 1);
	ck_assert_uint_eq(dom0.entries.entries.used, 100);
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

/* ---- what the VM's watchers hear of ---- */

static struct watcher listener;
static char heard[400];

static void on_event(struct watcher *w, const struct watch *watch, const char *path,
		     size_t len)
{
	(void)w, (void)watch, (void)len;
	strcat(heard, path);
	strcat(heard, " ");
}

static void listen_in_vm(void)
{
	heard[0] = '\0';
	watcher_init(&listener, &vm.watches.account, on_event);
	ck_assert_int_eq(watch_add(&vm.watches, &listener, "/", 1), 0);
}

static void assert_heard(const char *events)
{
	ck_assert_str_eq(heard, events);
	watch_remove_all(&vm.watches, &listener);
}

/* As after a restart that finds its state. */
static void forget_what_is_owed(void)
{
	changes_clear(&dom0.replica.changes);
}

START_TEST(watchers_hear_only_of_what_differs)
{
	set(&dom0, "/same", "1");
	set(&dom0, "/changes", "1");
	set(&dom0, "/goes", "1");
	begin();
	disconnect_ends();
	listen_in_vm();
	set(&dom0, "/changes", "2");
	drop(&dom0, "/goes");
	set(&dom0, "/new", "1");
	forget_what_is_owed();
	begin();
	assert_equal_ends();
	assert_heard("/new /changes /goes ");
}
END_TEST

START_TEST(watchers_hear_of_a_write_that_changes_nothing)
{
	set(&dom0, "/a", "1");
	set(&dom0, "/b", "1");
	begin();
	disconnect_ends();
	listen_in_vm();
	set(&dom0, "/a", "1");
	begin();
	assert_heard("/a ");
}
END_TEST

START_TEST(news_survive_a_second_loss)
{
	set(&dom0, "/a", "1");
	begin();
	disconnect_ends();
	listen_in_vm();
	set(&dom0, "/a", "1");
	connect_ends();
	ck_assert(carry(&vm, &dom0));
	ck_assert(carry(&dom0, &vm));
	ck_assert(carry(&vm, &dom0));
	replica_run(&dom0.replica);
	disconnect_ends();
	begin();
	assert_heard("/a ");
	disconnect_ends();
	listen_in_vm();
	begin();
	assert_heard("");
}
END_TEST

START_TEST(an_empty_entry_above_what_differs_is_told_of)
{
	set(&dom0, "/list/1", "a");
	set(&dom0, "/list", "");
	set(&dom0, "/other", "");
	set(&dom0, "/other/1", "a");
	begin();
	disconnect_ends();
	listen_in_vm();
	set(&dom0, "/list/1", "b");
	set(&dom0, "/list", "");
	forget_what_is_owed();
	begin();
	assert_heard("/list/1 /list ");
	disconnect_ends();
	listen_in_vm();
	drop(&dom0, "/other/1");
	forget_what_is_owed();
	begin();
	assert_heard("/other/1 /other ");
}
END_TEST

START_TEST(after_too_many_changes_all_empty_entries_are_told_of)
{
	set(&dom0, "/list/1", "a");
	set(&dom0, "/list", "");
	begin();
	disconnect_ends();
	listen_in_vm();
	dom0.replica.changes.paths.limit = 0;
	set(&dom0, "/list", "");
	begin();
	assert_heard("/list ");
	disconnect_ends();
	listen_in_vm();
	begin();
	assert_heard("");
}
END_TEST

START_TEST(what_a_lost_link_called_news_is_none_on_the_next)
{
	set(&dom0, "/a", "1");
	begin();
	disconnect_ends();
	listen_in_vm();
	replica_connected(&vm.replica);
	hear(&vm);
	say(&vm, QDB_RESP_OK, "@qdb:1:00000000000000d0:0", NULL);
	say(&vm, QDB_RESP_OK, "@qdb:1:news", NULL);
	replica_disconnected(&vm.replica);
	begin();
	assert_heard("");
}
END_TEST

START_TEST(a_state_that_the_vm_has_not_met_keeps_what_dom0_wrote)
{
	begin();
	set(&vm, "/k", "vm");
	exchange();
	disconnect_ends();
	domain_free(&dom0);
	domain_init(&dom0, REPLICA_DOM0, 0xd1);
	set(&dom0, "/k", "dom0");
	forget_what_is_owed();
	begin();
	assert_equal_ends();
	ck_assert_str_eq(get(&dom0, "/k"), "dom0");
}
END_TEST

static void fill(TCase *t)
{
	tcase_add_checked_fixture(t, ends_setup, ends_teardown);
	tcase_add_test(t, what_was_processed_but_not_answered_is_not_sent_again);
	tcase_add_test(t, a_link_that_breaks_before_it_is_live_changes_nothing);
	tcase_add_test(t, a_dom0_that_lost_its_state_gets_it_back);
	tcase_add_test(t, a_dom0_that_lost_its_state_gets_back_what_the_quota_allows);
	tcase_add_test(t, a_vm_that_starts_again_takes_the_dump);
	tcase_add_test(t, a_vm_that_brings_too_much_is_heard_link_by_link);
	tcase_add_test(t, a_broken_first_dump_leaves_nothing);
	tcase_add_test(t, an_owed_removal_of_a_directory_spares_what_dom0_wrote_since);
	tcase_add_test(t, what_dom0_overruled_is_not_sent_again);
	tcase_add_test(t, a_legacy_dom0_gets_what_its_dump_did_not_name);
	tcase_add_test(t, watchers_hear_only_of_what_differs);
	tcase_add_test(t, watchers_hear_of_a_write_that_changes_nothing);
	tcase_add_test(t, news_survive_a_second_loss);
	tcase_add_test(t, an_empty_entry_above_what_differs_is_told_of);
	tcase_add_test(t, after_too_many_changes_all_empty_entries_are_told_of);
	tcase_add_test(t, what_a_lost_link_called_news_is_none_on_the_next);
	tcase_add_test(t, a_state_that_the_vm_has_not_met_keeps_what_dom0_wrote);
}

UNIT_MAIN("resync", fill)
