/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A daemon that dies or lies, as a program sees it that polls the descriptor. What others
 * see is in test_lib_handover.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test_lib_fake.h"

static char path_a[] = "/a", path_b[] = "/b/";

static void fails_with(int expected)
{
	unsigned len = 4711;

	errno = 0;
	ck_assert_ptr_null(qdb_read(fake_handle, path_a, &len));
	ck_assert_int_eq(errno, expected);
	ck_assert_uint_eq(len, 4711);
}

static void reads(const char *expected)
{
	char *value = qdb_read(fake_handle, path_a, NULL);

	ck_assert_ptr_nonnull(value);
	ck_assert_str_eq(value, expected);
	free(value);
}

/* The daemon goes, and a command finds out. */
static void lose_connection(void)
{
	ck_assert_int_ge(qdb_watch_fd(fake_handle), 0);
	fake_hang_up();
	fails_with(EPIPE);
}

static void answer(enum qdb_msg request, const char *path, enum qdb_msg type,
		   const char *value)
{
	fake_expect(request, path, NULL);
	fake_send(type, path, value);
}

static void serve_read(void)
{
	fake_accept();
	answer(QDB_CMD_READ, "/a", QDB_RESP_READ, "new");
}

static void serve_watches_and_read(void)
{
	fake_accept();
	answer(QDB_CMD_WATCH, "/a", QDB_RESP_OK, NULL);
	answer(QDB_CMD_WATCH, "/b/", QDB_RESP_OK, NULL);
	answer(QDB_CMD_WATCH, "/a", QDB_RESP_OK, NULL);
	answer(QDB_CMD_READ, "/a", QDB_RESP_READ, "new");
}

static void serve_watch(void)
{
	fake_accept();
	answer(QDB_CMD_WATCH, "/a", QDB_RESP_OK, NULL);
}

/* What a daemon can do instead of a whole answer; each ends with its death. */
static void end_before_answer(void)
{
	fake_expect(QDB_CMD_READ, "/a", NULL);
	fake_hang_up();
}

static void end_in_header(void)
{
	fake_send_bytes("\012/a", 3);
	end_before_answer();
}

static void end_in_data(void)
{
	struct qdb_hdr hdr;

	fake_header(&hdr, QDB_RESP_READ, "/a", 5);
	fake_send_bytes(&hdr, sizeof(hdr));
	fake_send_bytes("half", 4);
	end_before_answer();
}

static void end_with_request_unread(void)
{
	while (fake_unread(fake_peer) < 72)
		sched_yield();
	fake_hang_up();
}

static void (*const endings[])(void) = {end_before_answer, end_in_header, end_in_data,
					end_with_request_unread};

START_TEST(a_command_that_loses_the_daemon_closes_and_the_next_reconnects)
{
	int fd = qdb_watch_fd(fake_handle);

	fake_start(endings[_i]);
	fails_with(EPIPE);
	fake_join();
	ck_assert(!fake_is_open(fd));
	ck_assert(!fake_is_asked_to_accept());

	fake_start(serve_read);
	reads("new");
	fake_join();
	fake_expect_nothing();
}
END_TEST

START_TEST(sending_to_a_dead_daemon_raises_no_signal)
{
	char value[] = "x";

	signal(SIGPIPE, SIG_DFL);
	ck_assert_int_ge(qdb_watch_fd(fake_handle), 0);
	fake_hang_up();
	ck_assert_int_eq(qdb_write(fake_handle, path_a, value, 1), 0);
	ck_assert_int_eq(errno, EPIPE);
	ck_assert(!fake_is_asked_to_accept());

	fake_start(serve_read);
	reads("new");
	fake_join();
	fake_expect_nothing();
}
END_TEST

START_TEST(a_daemon_that_cannot_be_reached_is_gone)
{
	fake_set_watch(path_a);
	lose_connection();
	fake_unlisten();
	fails_with(EPIPE);
	errno = 0;
	ck_assert_int_eq(qdb_watch_fd(fake_handle), -1);
	ck_assert_int_eq(errno, EPIPE);
	errno = 0;
	ck_assert_ptr_null(qdb_read_watch(fake_handle));
	ck_assert_int_eq(errno, EPIPE);
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 0);

	fake_listener = fake_listen("qubesdb.ro.sock");
	fake_start(serve_watch);
	ck_assert_int_ge(qdb_watch_fd(fake_handle), 0);
	fake_join();
}
END_TEST

START_TEST(read_watch_keeps_the_descriptor_of_a_dead_connection)
{
	int fd = qdb_watch_fd(fake_handle);

	fake_set_watch(path_a);
	if (_i == 1)
		ck_assert_int_eq(send(fd, "unread", 6, 0), 6);
	fake_hang_up();
	for (int i = 0; i < 2; i++) {
		errno = 0;
		ck_assert_ptr_null(qdb_read_watch(fake_handle));
		ck_assert_int_eq(errno, EPIPE);
		ck_assert_int_eq(qdb_watch_fd(fake_handle), fd);
		ck_assert(fake_is_open(fd));
	}
	ck_assert(!fake_is_asked_to_accept());

	fake_unlisten();
	fails_with(EPIPE);
	ck_assert(!fake_is_open(fd));
	fake_listener = fake_listen("qubesdb.sock");
	fake_start(serve_watch);
	ck_assert_int_ge(qdb_watch_fd(fake_handle), 0);
	fake_join();
	fake_expect_event("/a");
}
END_TEST

static void serve_watch_and_read(void)
{
	serve_watch();
	answer(QDB_CMD_READ, "/a", QDB_RESP_READ, "new");
}

/* A program that was told of the loss by qdb_read_watch() is not told again. */
START_TEST(a_command_gives_a_dead_descriptor_a_new_connection)
{
	int fd = qdb_watch_fd(fake_handle), between;

	fake_set_watch(path_a);
	fake_hang_up();
	ck_assert_ptr_null(qdb_read_watch(fake_handle));
	ck_assert_int_eq(errno, EPIPE);
	between = dup(0);

	fake_start(serve_watch_and_read);
	reads("new");
	fake_join();
	ck_assert_int_eq(qdb_watch_fd(fake_handle), fd);
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	fake_expect_event("/a");
	fake_send(QDB_RESP_WATCH, "/next", NULL);
	ck_assert(fake_is_readable(fd));
	fake_expect_event("/next");
	close(between);

	fake_hang_up();
	fails_with(EPIPE);
}
END_TEST

START_TEST(queued_events_outlive_the_connection)
{
	fake_set_watch(path_a);
	ck_assert_int_ge(qdb_watch_fd(fake_handle), 0);
	fake_send(QDB_RESP_WATCH, "/old", NULL);
	fake_start(end_before_answer);
	fails_with(EPIPE);
	fake_join();
	fake_expect_event("/old");
	ck_assert(!fake_is_asked_to_accept());
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 0);
}
END_TEST

START_TEST(a_new_connection_gets_all_watches_and_each_fires_once)
{
	fake_set_watch(path_a);
	fake_set_watch(path_b);
	fake_set_watch(path_a);
	lose_connection();
	fake_start(serve_watches_and_read);
	reads("new");
	fake_join();
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 3);
	fake_expect_event("/a");
	fake_expect_event("/b/");
	fake_expect_event("/a");
}
END_TEST

START_TEST(unwatched_paths_are_not_registered_again)
{
	static const enum qdb_msg answers[] = {QDB_RESP_OK, QDB_RESP_ERROR_NOENT};

	fake_set_watch(path_a);
	fake_set_watch(path_b);
	fake_set_watch(path_a);
	for (int i = 0; i < 2; i++) {
		char *path = i == 0 ? path_b : path_a;

		fake_send(answers[i], path, NULL);
		ck_assert_int_eq(qdb_unwatch(fake_handle, path), 1);
		fake_expect(QDB_CMD_UNWATCH, path, NULL);
	}
	fake_send(QDB_RESP_ERROR, "/a", NULL);
	ck_assert_int_eq(qdb_unwatch(fake_handle, path_a), 0);
	lose_connection();
	fake_start(serve_watch);
	ck_assert_int_ge(qdb_watch_fd(fake_handle), 0);
	fake_join();
	fake_expect_nothing();
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 1);
}
END_TEST

START_TEST(failed_watches_are_not_registered_again)
{
	fake_send(QDB_RESP_ERROR, "/b/", NULL);
	ck_assert_int_eq(qdb_watch(fake_handle, path_b), 0);
	ck_assert_int_ge(qdb_watch_fd(fake_handle), 0);
	fake_hang_up();
	ck_assert_int_eq(qdb_watch(fake_handle, path_b), 0);
	ck_assert_int_eq(errno, EPIPE);
	fake_start(serve_read);
	reads("new");
	fake_join();
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 0);
}
END_TEST

static void serve_watch_with_event(void)
{
	fake_accept();
	fake_send(QDB_RESP_WATCH, "/real", NULL);
	answer(QDB_CMD_WATCH, "/a", QDB_RESP_OK, NULL);
}

START_TEST(read_watch_reconnects_after_a_failed_command)
{
	fake_set_watch(path_a);
	lose_connection();
	fake_start(serve_watch_with_event);
	fake_expect_event("/real");
	fake_join();
	fake_expect_event("/a");
	fake_send(QDB_RESP_WATCH, "/next", NULL);
	fake_expect_event("/next");
}
END_TEST

static void refuse_watch(void)
{
	fake_accept();
	answer(QDB_CMD_WATCH, "/a", QDB_RESP_ERROR, NULL);
}

static void hang_up_on_watch(void)
{
	for (int i = 0; i < 3; i++) {
		fake_accept();
		fake_hang_up();
	}
}

static void (*const refusals[])(void) = {refuse_watch, hang_up_on_watch};

START_TEST(a_connection_without_the_watches_is_none)
{
	fake_set_watch(path_a);
	lose_connection();
	fake_start(refusals[_i]);
	ck_assert_int_eq(qdb_watch_fd(fake_handle), -1);
	ck_assert_int_eq(errno, EPIPE);
	fake_join();
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 0);

	fake_start(serve_watch);
	ck_assert_int_ge(qdb_watch_fd(fake_handle), 0);
	fake_join();
	fake_expect_event("/a");
}
END_TEST

/* Answers that no daemon may give, to the command that must not take them. */
static char *read_a(void)
{
	return qdb_read(fake_handle, path_a, NULL);
}

static char *list_a(void)
{
	return (char *)qdb_list(fake_handle, path_a, NULL);
}

static char *multiread_a(void)
{
	return (char *)qdb_multiread(fake_handle, path_a, NULL, NULL);
}

static char *as_pointer(int result)
{
	return result == 0 ? NULL : path_a;
}

static char *write_a(void)
{
	return as_pointer(qdb_write(fake_handle, path_a, path_b, 1));
}

static char *rm_a(void)
{
	return as_pointer(qdb_rm(fake_handle, path_a));
}

static char *watch_a(void)
{
	return as_pointer(qdb_watch(fake_handle, path_a));
}

static char *unwatch_a(void)
{
	return as_pointer(qdb_unwatch(fake_handle, path_a));
}

static const struct {
	char *(*call)(void);
	unsigned type;
	const char *path, *data;
	size_t data_len;
} lies[] = {
	{read_a, QDB_RESP_OK, "/a", "", 0},
	{read_a, QDB_CMD_READ, "/a", "", 0},
	{read_a, 14, "/a", "", 0},
	{read_a, 255, "/a", "", 0},
	{read_a, QDB_RESP_READ, "/a", "a\0b", 3},
	{read_a, QDB_RESP_READ, "/a", NULL, QDB_MAX_DATA + 1},
	{read_a, QDB_RESP_READ, "/a", NULL, 0xffffffff},
	{read_a, QDB_RESP_ERROR_NOENT, "/a", "data", 4},
	{read_a, QDB_RESP_WATCH, "/a", "data", 4},
	{read_a, QDB_RESP_WATCH, "/a b", "", 0},
	{list_a, QDB_RESP_OK, "/a", "", 0},
	{list_a, QDB_RESP_MULTIREAD, "/a", "", 0},
	{list_a, QDB_RESP_LIST, "/a", "data", 4},
	{list_a, QDB_RESP_LIST, "/a/", "", 0},
	{list_a, QDB_RESP_LIST, "/", "", 0},
	{list_a, QDB_RESP_LIST, "/x", "", 0},
	{list_a, QDB_RESP_LIST, "relative", "", 0},
	{multiread_a, QDB_RESP_ERROR, "/a", "", 0},
	{multiread_a, QDB_RESP_LIST, "/a", "", 0},
	{multiread_a, QDB_RESP_MULTIREAD, "/x", "", 0},
	{multiread_a, QDB_RESP_MULTIREAD, "/a", "\0", 1},
	{write_a, QDB_RESP_READ, "/a", "", 0},
	{write_a, QDB_RESP_ERROR_NOENT, "/a", "", 0},
	{write_a, QDB_RESP_OK, "/a", "data", 4},
	{write_a, QDB_RESP_ERROR, "/a", "data", 4},
	{rm_a, QDB_RESP_READ, "/a", "", 0},
	{watch_a, QDB_RESP_ERROR_NOENT, "/a", "", 0},
	{watch_a, QDB_RESP_LIST, "", "", 0},
	{unwatch_a, QDB_RESP_MULTIREAD, "", "", 0},
};

static void send_lie(size_t i)
{
	struct qdb_hdr hdr;

	fake_header(&hdr, lies[i].type, lies[i].path, lies[i].data_len);
	fake_send_bytes(&hdr, sizeof(hdr));
	if (lies[i].data != NULL)
		fake_send_bytes(lies[i].data, lies[i].data_len);
}

START_TEST(a_lie_ends_the_connection)
{
	int fd = qdb_watch_fd(fake_handle);

	send_lie((size_t)_i);
	ck_assert_ptr_null(lies[_i].call());
	ck_assert_int_eq(errno, EPROTO);
	ck_assert(!fake_is_open(fd));

	fake_start(serve_read);
	reads("new");
	fake_join();
}
END_TEST

START_TEST(a_lie_in_the_middle_of_a_list_ends_the_connection)
{
	fake_send(QDB_RESP_LIST, "/a/1", NULL);
	fake_send(QDB_RESP_LIST, "/a/2", NULL);
	fake_send(QDB_RESP_OK, "/a", NULL);
	ck_assert_ptr_null(list_a());
	ck_assert_int_eq(errno, EPROTO);
	fake_start(serve_read);
	reads("new");
	fake_join();
}
END_TEST

START_TEST(a_lie_to_read_watch_leaves_a_dead_descriptor)
{
	int fd = qdb_watch_fd(fake_handle);

	fake_set_watch(path_a);
	fake_send(QDB_RESP_OK, "/a", NULL);
	fake_send(QDB_RESP_WATCH, "/never", NULL);
	ck_assert_ptr_null(qdb_read_watch(fake_handle));
	ck_assert_int_eq(errno, EPROTO);
	ck_assert_int_eq(qdb_watch_fd(fake_handle), fd);
	ck_assert(fake_is_open(fd));
	ck_assert_ptr_null(qdb_read_watch(fake_handle));
	ck_assert_int_eq(errno, EPIPE);

	fake_expect_nothing();
	fake_start(serve_watch_and_read);
	reads("new");
	fake_join();
	fake_expect_event("/a");
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("failure");

	tcase_add_checked_fixture(tcase, fake_setup, fake_teardown);
	tcase_add_loop_test(
		tcase, a_command_that_loses_the_daemon_closes_and_the_next_reconnects, 0,
		sizeof(endings) / sizeof(endings[0]));
	tcase_add_test(tcase, sending_to_a_dead_daemon_raises_no_signal);
	tcase_add_test(tcase, a_daemon_that_cannot_be_reached_is_gone);
	tcase_add_loop_test(tcase, read_watch_keeps_the_descriptor_of_a_dead_connection,
			    0, 2);
	tcase_add_test(tcase, a_command_gives_a_dead_descriptor_a_new_connection);
	tcase_add_test(tcase, queued_events_outlive_the_connection);
	tcase_add_test(tcase, a_new_connection_gets_all_watches_and_each_fires_once);
	tcase_add_test(tcase, unwatched_paths_are_not_registered_again);
	tcase_add_test(tcase, failed_watches_are_not_registered_again);
	tcase_add_test(tcase, read_watch_reconnects_after_a_failed_command);
	tcase_add_loop_test(tcase, a_connection_without_the_watches_is_none, 0,
			    sizeof(refusals) / sizeof(refusals[0]));
	tcase_add_loop_test(tcase, a_lie_ends_the_connection, 0,
			    sizeof(lies) / sizeof(lies[0]));
	tcase_add_test(tcase, a_lie_in_the_middle_of_a_list_ends_the_connection);
	tcase_add_test(tcase, a_lie_to_read_watch_leaves_a_dead_descriptor);
	return fake_run("lib failure", (TCase *[]){tcase, NULL});
}
