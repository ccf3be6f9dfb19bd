/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a handle goes through while it connects again, and what it is afterwards. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "test_lib_fake.h"

static void fails_to_read_watch(int error)
{
	errno = 0;
	ck_assert_ptr_null(qdb_read_watch(fake_handle));
	ck_assert_int_eq(errno, error);
}

static void serve_watch(void)
{
	fake_accept();
	fake_expect(QDB_CMD_WATCH, "/w", NULL);
	fake_send(QDB_RESP_OK, "/w", NULL);
}

/* ---- signals ---- */

static void be_replaced(void)
{
	fake_hang_up();
	fake_accept();
	fake_expect(QDB_CMD_WATCH, "/w", NULL);
	fake_await_recv();
}

static void be_replaced_and_interrupt(void)
{
	be_replaced();
	fake_interrupt();
}

START_TEST(a_signal_ends_the_wait_for_the_next_daemon)
{
	fake_on_signal(0);
	fake_set_watch("/w");
	fake_start(be_replaced_and_interrupt);
	fails_to_read_watch(EINTR);
	fake_join();
	ck_assert_int_eq(recv(fake_peer, (char[1]){0}, 1, 0), 0);
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 0);

	fake_start(serve_watch);
	fake_expect_event("/w");
	fake_join();
	fake_send(QDB_RESP_WATCH, "/w", NULL);
	fake_expect_event("/w");
}
END_TEST

static void be_replaced_by_who_hears_a_signal_first(void)
{
	be_replaced();
	fake_interrupt_and(fake_await_recv);
	fake_send(QDB_RESP_OK, "/w", NULL);
}

START_TEST(a_restarting_signal_does_not)
{
	fake_on_signal(SA_RESTART);
	fake_set_watch("/w");
	fake_start(be_replaced_by_who_hears_a_signal_first);
	fake_expect_event("/w");
	fake_join();
}
END_TEST

static bool watch_fd(void)
{
	return qdb_watch_fd(fake_handle) >= 0;
}

static bool write_a(void)
{
	return qdb_write(fake_handle, "/a", "v", 1) == 1;
}

static void be_replaced_for_a_command(void)
{
	be_replaced_by_who_hears_a_signal_first();
	fake_expect(QDB_CMD_WRITE, "/a", "v");
	fake_send(QDB_RESP_OK, "/a", NULL);
}

START_TEST(commands_wait_for_the_next_daemon_all_the_same)
{
	fake_on_signal(0);
	fake_set_watch("/w");
	fake_start(be_replaced_for_a_command);
	ck_assert(write_a());
	fake_join();
}
END_TEST

/* Connections that nobody accepts, until there is no room for another one. */
static void fill_backlog(int *fds, size_t n)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/qubesdb.sock", fake_dir);
	ck_assert_int_eq(listen(fake_listener, 0), 0);
	for (size_t i = 0; i < n; i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (connect(fds[i], (struct sockaddr *)&address, sizeof(address)) < 0)
			return;
	}
	ck_abort_msg("there is no end of room");
}

static void hang_up_and_interrupt_connect(void)
{
	fake_hang_up();
	fake_await_connect();
	fake_interrupt();
}

START_TEST(a_signal_ends_the_wait_for_room)
{
	int fds[8];

	fake_on_signal(0);
	fake_set_watch("/w");
	fill_backlog(fds, sizeof(fds) / sizeof(fds[0]));
	fake_start(hang_up_and_interrupt_connect);
	fails_to_read_watch(EINTR);
	fake_join();
}
END_TEST

/* ---- the descriptor ---- */

static void serve_no_watch(void)
{
	fake_hang_up();
	fake_accept();
	fake_expect(QDB_CMD_WATCH, "/w", NULL);
	fake_send(QDB_RESP_ERROR, "/w", NULL);
}

static void end_three_times(void)
{
	for (int i = 0; i < 3; i++) {
		fake_hang_up();
		if (i < 2)
			fake_accept();
	}
}

static void (*const bad_daemons[])(void) = {serve_no_watch, end_three_times};

/* The program has never asked for it before. */
START_TEST(read_watch_keeps_the_descriptor_if_the_next_daemon_is_none_either)
{
	int fd = dup(0) - 1, kept;

	close(fd + 1);
	fake_set_watch("/w");
	fake_start(bad_daemons[_i]);
	fails_to_read_watch(EPIPE);
	fake_join();
	kept = qdb_watch_fd(fake_handle);
	ck_assert(fake_is_open(kept));
	ck_assert(fake_is_readable(kept));
	ck_assert_int_le(kept, fd);
	fails_to_read_watch(EPIPE);
	ck_assert_int_eq(qdb_watch_fd(fake_handle), kept);
	ck_assert(!fake_is_asked_to_accept());
}
END_TEST

START_TEST(reconnect_gives_a_dead_descriptor_a_new_connection)
{
	int fd = qdb_watch_fd(fake_handle);

	fake_set_watch("/w");
	fake_hang_up();
	fails_to_read_watch(EPIPE);
	fake_start(serve_watch);
	ck_assert_int_eq(qdb_reconnect(fake_handle), 1);
	fake_join();
	ck_assert_int_eq(qdb_watch_fd(fake_handle), fd);
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 1);
	fake_expect_event("/w");
	ck_assert_int_eq(qdb_reconnect(fake_handle), 1);
	fake_expect_nothing();
	ck_assert(!fake_is_asked_to_accept());
}
END_TEST

START_TEST(reconnect_fails_where_no_daemon_is)
{
	int fd = qdb_watch_fd(fake_handle);

	fake_set_watch("/w");
	fake_hang_up();
	fails_to_read_watch(EPIPE);
	fake_unlisten();
	errno = 0;
	ck_assert_int_eq(qdb_reconnect(fake_handle), 0);
	ck_assert_int_eq(errno, EPIPE);
	ck_assert_int_eq(qdb_watch_fd(fake_handle), fd);
	ck_assert_int_eq(qdb_reconnect(NULL), 0);
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

static void accept_and_interrupt(void)
{
	fake_accept();
	fake_expect(QDB_CMD_WATCH, "/w", NULL);
	fake_await_recv();
	fake_interrupt();
}

START_TEST(a_signal_ends_reconnect)
{
	fake_on_signal(0);
	fake_set_watch("/w");
	ck_assert(watch_fd());
	fake_hang_up();
	fails_to_read_watch(EPIPE);
	fake_start(accept_and_interrupt);
	ck_assert_int_eq(qdb_reconnect(fake_handle), 0);
	ck_assert_int_eq(errno, EINTR);
	fake_join();
	fake_start(serve_watch);
	ck_assert_int_eq(qdb_reconnect(fake_handle), 1);
	fake_join();
	fake_expect_event("/w");
}
END_TEST

/* ---- events that are still in the socket ---- */

static void end_with_events_unread(bool is_polled)
{
	fake_set_watch("/w");
	fake_send(QDB_RESP_WATCH, "/one", NULL);
	fake_send(QDB_RESP_WATCH, "/two", NULL);
	fake_send_bytes("\015/half", 6);
	if (is_polled)
		ck_assert(watch_fd());
	fake_hang_up();
}

START_TEST(a_command_that_finds_the_loss_takes_what_has_arrived)
{
	end_with_events_unread(_i == 1);
	fake_unlisten();
	errno = 0;
	ck_assert(!write_a());
	ck_assert_int_eq(errno, EPIPE);
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 2);
	fake_expect_event("/one");
	fake_expect_event("/two");
}
END_TEST

static void serve_watch_and_write(void)
{
	serve_watch();
	fake_expect(QDB_CMD_WRITE, "/a", "v");
	fake_send(QDB_RESP_OK, "/a", NULL);
}

START_TEST(what_has_arrived_comes_before_what_the_next_daemon_tells)
{
	end_with_events_unread(false);
	fake_start(serve_watch_and_write);
	ck_assert(write_a());
	fake_join();
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 3);
	fake_expect_event("/one");
	fake_expect_event("/two");
	fake_expect_event("/w");
}
END_TEST

/* It reads no more, but lives, and leaves a message half-sent. */
START_TEST(nobody_waits_for_the_rest)
{
	fake_set_watch("/w");
	fake_send(QDB_RESP_WATCH, "/one", NULL);
	fake_send_bytes("\015/half", 6);
	ck_assert_int_eq(shutdown(fake_peer, SHUT_RD), 0);
	fake_unlisten();
	ck_assert(!write_a());
	ck_assert_int_eq(errno, EPIPE);
	fake_expect_event("/one");
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("reconnect");

	tcase_add_checked_fixture(tcase, fake_setup, fake_teardown);
	tcase_add_test(tcase, a_signal_ends_the_wait_for_the_next_daemon);
	tcase_add_test(tcase, a_restarting_signal_does_not);
	tcase_add_test(tcase, commands_wait_for_the_next_daemon_all_the_same);
	tcase_add_test(tcase, a_signal_ends_the_wait_for_room);
	tcase_add_loop_test(
		tcase, read_watch_keeps_the_descriptor_if_the_next_daemon_is_none_either,
		0, sizeof(bad_daemons) / sizeof(bad_daemons[0]));
	tcase_add_test(tcase, reconnect_gives_a_dead_descriptor_a_new_connection);
	tcase_add_test(tcase, reconnect_fails_where_no_daemon_is);
	tcase_add_test(tcase, a_signal_ends_reconnect);
	tcase_add_loop_test(tcase, a_command_that_finds_the_loss_takes_what_has_arrived,
			    0, 2);
	tcase_add_test(tcase, what_has_arrived_comes_before_what_the_next_daemon_tells);
	tcase_add_test(tcase, nobody_waits_for_the_rest);
	return fake_run("lib reconnect", (TCase *[]){tcase, NULL});
}
