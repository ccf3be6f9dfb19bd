/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A daemon that ends while another one takes its place, as programs see it that do not
 * poll the descriptor: not at all.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test_lib_fake.h"

static void serve_watch(const char *path)
{
	fake_expect(QDB_CMD_WATCH, path, NULL);
	fake_send(QDB_RESP_OK, path, NULL);
}

/* ---- commands: what each asks, and the whole of a good answer ---- */

static void free_strings(char **strings, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(strings[i]);
	free(strings);
}

static bool read_a(void)
{
	unsigned len;
	char *value = qdb_read(fake_handle, "/a", &len);
	bool is_right = value != NULL && strcmp(value, "new") == 0 && len == 3;

	free(value);
	return is_right;
}

static bool list_a(void)
{
	unsigned n;
	char **paths = qdb_list(fake_handle, "/a", &n);
	bool is_right = paths != NULL && n == 2 && strcmp(paths[0], "/a/1") == 0 &&
			strcmp(paths[1], "/a/2") == 0 && paths[2] == NULL;

	if (paths != NULL)
		free_strings(paths, n);
	return is_right;
}

static bool multiread_a(void)
{
	unsigned n, *lens;
	char **strings = qdb_multiread(fake_handle, "/a", &lens, &n);
	bool is_right = strings != NULL && n == 2 && strcmp(strings[1], "one") == 0 &&
			strcmp(strings[3], "three") == 0 && lens[1] == 5;

	if (strings != NULL) {
		free_strings(strings, 2 * n);
		free(lens);
	}
	return is_right;
}

static bool write_a(void)
{
	return qdb_write(fake_handle, "/a", "v", 1) == 1;
}

static bool rm_a(void)
{
	return qdb_rm(fake_handle, "/a") == 1;
}

static bool watch_a(void)
{
	return qdb_watch(fake_handle, "/a") == 1;
}

static bool unwatch_a(void)
{
	return qdb_unwatch(fake_handle, "/a") == 1;
}

struct answer {
	enum qdb_msg type;
	const char *path, *value;
};

#define ANSWERS 3

static const struct command {
	bool (*call)(void);
	enum qdb_msg request;
	const char *value;
	struct answer answers[ANSWERS];
} commands[] = {
	{read_a, QDB_CMD_READ, NULL, {{QDB_RESP_READ, "/a", "new"}}},
	{list_a,
	 QDB_CMD_LIST,
	 NULL,
	 {{QDB_RESP_LIST, "/a/1", ""},
	  {QDB_RESP_LIST, "/a/2", ""},
	  {QDB_RESP_LIST, "", ""}}},
	{multiread_a,
	 QDB_CMD_MULTIREAD,
	 NULL,
	 {{QDB_RESP_MULTIREAD, "/a/1", "one"},
	  {QDB_RESP_MULTIREAD, "/a/2", "three"},
	  {QDB_RESP_MULTIREAD, "", ""}}},
	{write_a, QDB_CMD_WRITE, "v", {{QDB_RESP_OK, "/a", ""}}},
	{rm_a, QDB_CMD_RM, NULL, {{QDB_RESP_ERROR_NOENT, "/a", ""}}},
	{watch_a, QDB_CMD_WATCH, NULL, {{QDB_RESP_OK, "/a", ""}}},
	{unwatch_a, QDB_CMD_UNWATCH, NULL, {{QDB_RESP_OK, "/a", ""}}},
};

#define COMMANDS ((int)(sizeof(commands) / sizeof(commands[0])))

static const struct command *command;

static void expect_request(void)
{
	fake_expect(command->request, "/a", command->value);
}

static void send_answers(int n)
{
	for (int i = 0; i < n && command->answers[i].path != NULL; i++)
		fake_send(command->answers[i].type, command->answers[i].path,
			  command->answers[i].value);
}

static void serve_command(void)
{
	expect_request();
	send_answers(ANSWERS);
}

/* ---- ways to end ---- */

static void end_before_request(void)
{
	fake_hang_up();
}

static void end_with_request_unread(void)
{
	while (fake_unread(fake_peer) < 72)
		sched_yield();
	fake_hang_up();
}

static void end_with_request_read(void)
{
	expect_request();
	fake_hang_up();
}

static void end_in_header(void)
{
	expect_request();
	fake_send_bytes("\012/a", 3);
	fake_hang_up();
}

static void end_in_list(void)
{
	expect_request();
	if (command->answers[1].path != NULL)
		send_answers(1);
	fake_hang_up();
}

static void (*const endings[])(void) = {end_before_request, end_with_request_unread,
					end_with_request_read, end_in_header,
					end_in_list};

#define ENDINGS ((int)(sizeof(endings) / sizeof(endings[0])))

static void (*ending)(void);

static void end_and_serve(void)
{
	ending();
	fake_accept();
	serve_command();
}

START_TEST(a_command_goes_on_with_the_next_daemon)
{
	command = &commands[_i / ENDINGS];
	ending = endings[_i % ENDINGS];
	fake_start(end_and_serve);
	ck_assert(command->call());
	fake_join();
	fake_expect_nothing();
	ck_assert_uint_eq(fake_unread(qdb_watch_fd(fake_handle)), 0);
}
END_TEST

static void end_and_serve_watches(void)
{
	ending();
	fake_accept();
	serve_watch("/w");
	serve_watch("/d/");
	serve_watch("/w");
	serve_command();
}

START_TEST(watches_are_registered_first_and_each_fires_once)
{
	fake_set_watch("/w");
	fake_set_watch("/d/");
	fake_set_watch("/w");
	command = &commands[_i];
	ending = end_with_request_read;
	fake_start(end_and_serve_watches);
	ck_assert(command->call());
	fake_join();
	fake_expect_nothing();
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 3);
	fake_expect_event("/w");
	fake_expect_event("/d/");
	fake_expect_event("/w");
}
END_TEST

/* The next daemon puts its socket over the old one, which has a client in its backlog. */
static void leave_in_backlog_and_serve(void)
{
	int old = fake_listener;

	fake_hang_up();
	while (!fake_is_asked_to_accept())
		sched_yield();
	fake_listener = fake_listen("qubesdb.sock");
	close(old);
	fake_accept();
	serve_command();
}

START_TEST(who_was_never_accepted_tries_the_next_daemon)
{
	command = &commands[_i];
	fake_start(leave_in_backlog_and_serve);
	ck_assert(command->call());
	fake_join();
}
END_TEST

static void open_and_leave_in_backlog(void)
{
	int old = fake_listener;

	while (!fake_is_asked_to_accept())
		sched_yield();
	fake_listener = fake_listen("qubesdb.sock");
	close(old);
	fake_accept();
	serve_command();
}

START_TEST(a_first_command_may_find_its_connection_reset)
{
	command = &commands[0];
	fake_start(open_and_leave_in_backlog);
	fake_handle = qdb_open(NULL);
	ck_assert(command->call());
	fake_join();
}
END_TEST

static void end_three_times(void)
{
	for (int i = 0; i < 3; i++) {
		if (i > 0)
			fake_accept();
		end_with_request_read();
	}
}

START_TEST(a_command_does_not_go_on_for_ever)
{
	command = &commands[_i];
	fake_start(end_three_times);
	errno = 0;
	ck_assert(!command->call());
	ck_assert_int_eq(errno, EPIPE);
	fake_join();
	ck_assert(!fake_is_asked_to_accept());
}
END_TEST

START_TEST(without_a_next_daemon_the_daemon_is_gone)
{
	command = &commands[_i];
	fake_unlisten();
	fake_start(end_with_request_read);
	errno = 0;
	ck_assert(!command->call());
	ck_assert_int_eq(errno, EPIPE);
	fake_join();
}
END_TEST

static void end_and_take_watch(void)
{
	fake_await_recv();
	fake_hang_up();
	fake_accept();
	serve_watch("/w");
	fake_send(QDB_RESP_WATCH, "/w", NULL);
}

START_TEST(read_watch_goes_on_with_the_next_daemon)
{
	fake_set_watch("/w");
	fake_start(end_and_take_watch);
	fake_expect_event("/w");
	fake_expect_event("/w");
	fake_join();
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 0);
}
END_TEST

START_TEST(read_watch_fails_without_a_next_daemon)
{
	int fd = dup(0);

	close(fd);
	fake_set_watch("/w");
	fake_unlisten();
	fake_hang_up();
	for (int i = 0; i < 2; i++) {
		errno = 0;
		ck_assert_ptr_null(qdb_read_watch(fake_handle));
		ck_assert_int_eq(errno, EPIPE);
	}
	ck_assert_int_lt(qdb_watch_fd(fake_handle), fd);
}
END_TEST

static void end_three_times_unasked(void)
{
	for (int i = 0; i < 3; i++) {
		if (i > 0)
			fake_accept();
		fake_hang_up();
	}
}

START_TEST(read_watch_does_not_go_on_for_ever)
{
	fake_start(end_three_times_unasked);
	ck_assert_ptr_null(qdb_read_watch(fake_handle));
	ck_assert_int_eq(errno, EPIPE);
	fake_join();
	ck_assert(!fake_is_asked_to_accept());
}
END_TEST

/* Each call has its own share of daemons that may go. */
START_TEST(any_number_of_daemons_may_follow)
{
	command = &commands[0];
	ending = end_with_request_read;
	for (int i = 0; i < 10; i++) {
		fake_start(end_and_serve);
		ck_assert(command->call());
		fake_join();
	}
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("handover"), *opening = tcase_create("opening");

	tcase_add_checked_fixture(opening, fake_setup_listener, fake_teardown);
	tcase_add_test(opening, a_first_command_may_find_its_connection_reset);
	tcase_add_checked_fixture(tcase, fake_setup, fake_teardown);
	tcase_add_loop_test(tcase, a_command_goes_on_with_the_next_daemon, 0,
			    COMMANDS * ENDINGS);
	tcase_add_loop_test(tcase, watches_are_registered_first_and_each_fires_once, 0,
			    COMMANDS);
	tcase_add_loop_test(tcase, who_was_never_accepted_tries_the_next_daemon, 0,
			    COMMANDS);
	tcase_add_loop_test(tcase, a_command_does_not_go_on_for_ever, 0, COMMANDS);
	tcase_add_loop_test(tcase, without_a_next_daemon_the_daemon_is_gone, 0, COMMANDS);
	tcase_add_test(tcase, read_watch_goes_on_with_the_next_daemon);
	tcase_add_test(tcase, read_watch_fails_without_a_next_daemon);
	tcase_add_test(tcase, read_watch_does_not_go_on_for_ever);
	tcase_add_test(tcase, any_number_of_daemons_may_follow);
	return fake_run("lib handover", (TCase *[]){opening, tcase, NULL});
}
