/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events and descriptors, split messages, signals. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "test_lib_fake.h"

static char path_a[] = "/a";

static void read_a(const char *expected)
{
	char *value = qdb_read(fake_handle, path_a, NULL);

	ck_assert_ptr_nonnull(value);
	ck_assert_str_eq(value, expected);
	free(value);
}

START_TEST(events_before_an_answer_are_queued_in_order)
{
	fake_send(QDB_RESP_WATCH, "/one", NULL);
	fake_send(QDB_RESP_WATCH, "/two", NULL);
	fake_send(QDB_RESP_WATCH, "/one", NULL);
	fake_send(QDB_RESP_READ, "/a", "1");
	read_a("1");
	fake_send(QDB_RESP_WATCH, "/last", NULL);

	ck_assert_int_eq(qdb_watches_pending(fake_handle), 3);
	fake_expect_event("/one");
	fake_expect_event("/two");
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 1);
	fake_expect_event("/one");
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 0);
	fake_expect_event("/last");
}
END_TEST

START_TEST(events_between_the_entries_of_a_list_are_queued)
{
	unsigned n;
	char **paths;

	fake_send(QDB_RESP_LIST, "/a/1", NULL);
	fake_send(QDB_RESP_WATCH, "/event/", NULL);
	fake_send(QDB_RESP_LIST, "/a/2", NULL);
	fake_send(QDB_RESP_WATCH, "/event", NULL);
	fake_send(QDB_RESP_LIST, "", NULL);
	paths = qdb_list(fake_handle, path_a, &n);
	ck_assert_uint_eq(n, 2);
	ck_assert_str_eq(paths[1], "/a/2");
	free(paths[0]);
	free(paths[1]);
	free(paths);
	fake_expect_event("/event/");
	fake_expect_event("/event");
}
END_TEST

START_TEST(only_unread_events_make_the_descriptor_readable)
{
	int fd = qdb_watch_fd(fake_handle);

	ck_assert(!fake_is_readable(fd));
	fake_send(QDB_RESP_WATCH, "/queued", NULL);
	fake_send(QDB_RESP_READ, "/a", "1");
	read_a("1");
	ck_assert(!fake_is_readable(fd));
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 1);
	fake_expect_event("/queued");

	fake_send(QDB_RESP_WATCH, "/one", NULL);
	fake_send(QDB_RESP_WATCH, "/two", NULL);
	ck_assert(fake_is_readable(fd));
	fake_expect_event("/one");
	ck_assert(fake_is_readable(fd));
	fake_expect_event("/two");
	ck_assert(!fake_is_readable(fd));
	ck_assert_int_eq(qdb_watch_fd(fake_handle), fd);
}
END_TEST

START_TEST(nothing_is_read_beyond_the_message_in_hand)
{
	int fd = qdb_watch_fd(fake_handle);

	fake_send(QDB_RESP_READ, "/a", "value");
	fake_send(QDB_RESP_WATCH, "/one", NULL);
	fake_send(QDB_RESP_WATCH, "/two", NULL);
	ck_assert_uint_eq(fake_unread(fd), 3 * 72 + 5);
	read_a("value");
	ck_assert_uint_eq(fake_unread(fd), 2 * 72);
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 0);
	fake_expect_event("/one");
	ck_assert_uint_eq(fake_unread(fd), 72);
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 0);
}
END_TEST

START_TEST(the_descriptor_is_the_one_of_the_commands)
{
	int fd = qdb_watch_fd(fake_handle);

	fake_send(QDB_RESP_READ, "/a", "1");
	ck_assert(fake_is_readable(fd));
	read_a("1");
	ck_assert(!fake_is_readable(fd));
	ck_assert_int_eq(send(fd, "x", 1, MSG_NOSIGNAL), 1);
	ck_assert_uint_eq(fake_unread(fake_peer), 73);
}
END_TEST

START_TEST(unread_events_take_bounded_memory)
{
	const int plenty = 1024;
	char path[32];

	fake_send(QDB_RESP_READ, "/a", "1");
	read_a("1");
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < plenty; i++) {
			fake_send(QDB_RESP_WATCH, "/same", NULL);
			if (i % 128 < 127)
				continue;
			fake_send(QDB_RESP_READ, "/a", "1");
			read_a("1");
		}
		snprintf(path, sizeof(path), "/other/%d", round);
		fake_send(QDB_RESP_WATCH, path, NULL);
		fake_send(QDB_RESP_READ, "/a", "1");
		read_a("1");
	}
	ck_assert_int_eq(qdb_watches_pending(fake_handle), plenty + 4);
	for (int i = 0; i < plenty; i++)
		fake_expect_event("/same");
	fake_expect_event("/other/0");
	fake_expect_event("/same");
	fake_expect_event("/other/1");
	fake_expect_event("/other/2");
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 0);

	fake_send(QDB_RESP_WATCH, "/same", NULL);
	fake_send(QDB_RESP_READ, "/a", "1");
	read_a("1");
	fake_expect_event("/same");
}
END_TEST

/* One message in pieces, each sent when the one before it has been read. */
static const char *split_value;
static enum qdb_msg split_type;

static void send_split(void)
{
	static const size_t cuts[] = {0, 1, 40, 71, 72, 73, 75};
	struct qdb_hdr hdr;
	char message[80];
	size_t len = sizeof(hdr) + strlen(split_value), end;

	fake_header(&hdr, split_type, "/a", strlen(split_value));
	memcpy(message, &hdr, sizeof(hdr));
	memcpy(message + sizeof(hdr), split_value, strlen(split_value));
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]) && cuts[i] < len; i++) {
		end = i + 1 < sizeof(cuts) / sizeof(cuts[0]) ? cuts[i + 1] : len;
		if (end > len)
			end = len;
		fake_send_bytes(message + cuts[i], end - cuts[i]);
		fake_await_all_read();
	}
}

START_TEST(split_messages_are_put_together)
{
	split_type = QDB_RESP_READ;
	split_value = "value";
	fake_start(send_split);
	read_a("value");
	fake_join();

	split_type = QDB_RESP_WATCH;
	split_value = "";
	fake_start(send_split);
	fake_expect_event("/a");
	fake_join();
}
END_TEST

static void interrupt_then_answer(void)
{
	fake_interrupt_and(fake_await_recv);
	fake_send_bytes("\012/a", 3);
	fake_await_all_read();
	fake_interrupt_and(fake_await_poll);
	fake_send_bytes((const char[61]){0}, 61);
	fake_send_bytes("\0\0\0\0\2\0\0\0", 8);
	fake_await_all_read();
	fake_interrupt_and(fake_await_poll);
	fake_send_bytes("o", 1);
	fake_await_all_read();
	fake_interrupt_and(fake_await_poll);
	fake_send_bytes("k", 1);
}

START_TEST(an_interrupted_command_is_finished)
{
	fake_on_signal(0);
	fake_start(interrupt_then_answer);
	read_a("ok");
	fake_join();
	ck_assert_int_eq(fake_signals, 4);
	ck_assert_uint_eq(fake_unread(qdb_watch_fd(fake_handle)), 0);
}
END_TEST

#define LONG_VALUE 3000
static char long_value[LONG_VALUE + 1];

static void interrupt_then_take_writes(void)
{
	fake_interrupt_and(fake_await_send);
	fake_expect(QDB_CMD_WRITE, "/a", long_value);
	fake_expect(QDB_CMD_WRITE, "/a", long_value);
}

/* One write after which the next has to wait for room; both are answered. */
static void fill_send_buffer(void)
{
	int smallest = 1;

	memset(long_value, 'v', LONG_VALUE);
	fake_on_signal(0);
	ck_assert_int_eq(setsockopt(qdb_watch_fd(fake_handle), SOL_SOCKET, SO_SNDBUF,
				    &smallest, sizeof(smallest)),
			 0);
	fake_send(QDB_RESP_OK, "/a", NULL);
	fake_send(QDB_RESP_OK, "/a", NULL);
	ck_assert_int_eq(qdb_write(fake_handle, path_a, long_value, LONG_VALUE), 1);
}

START_TEST(an_interrupted_send_is_finished)
{
	fill_send_buffer();
	fake_start(interrupt_then_take_writes);
	ck_assert_int_eq(qdb_write(fake_handle, path_a, long_value, LONG_VALUE), 1);
	fake_join();
	ck_assert_int_eq(fake_signals, 1);
	fake_expect_nothing();
}
END_TEST

static void interrupt_once(void)
{
	fake_await_recv();
	fake_interrupt();
}

START_TEST(read_watch_gives_up_on_a_signal)
{
	int fd = qdb_watch_fd(fake_handle);

	fake_on_signal(0);
	fake_start(interrupt_once);
	ck_assert_ptr_null(qdb_read_watch(fake_handle));
	ck_assert_int_eq(errno, EINTR);
	fake_join();
	ck_assert_int_eq(fake_signals, 1);

	fake_send(QDB_RESP_WATCH, "/later", NULL);
	fake_expect_event("/later");
	ck_assert_int_eq(qdb_watch_fd(fake_handle), fd);
}
END_TEST

static void interrupt_then_send_event(void)
{
	fake_interrupt_and(fake_await_recv);
	fake_send(QDB_RESP_WATCH, "/a", NULL);
}

START_TEST(read_watch_goes_on_after_a_restarting_signal)
{
	fake_on_signal(SA_RESTART);
	fake_start(interrupt_then_send_event);
	fake_expect_event("/a");
	fake_join();
	ck_assert_int_eq(fake_signals, 1);
}
END_TEST

static void interrupt_in_mid_event(void)
{
	struct qdb_hdr hdr;

	fake_header(&hdr, QDB_RESP_WATCH, "/a", 0);
	fake_send_bytes(&hdr, 10);
	fake_await_all_read();
	fake_interrupt_and(fake_await_poll);
	fake_send_bytes((const char *)&hdr + 10, sizeof(hdr) - 10);
}

START_TEST(read_watch_never_gives_up_in_mid_event)
{
	fake_on_signal(0);
	fake_start(interrupt_in_mid_event);
	fake_expect_event("/a");
	fake_join();
	ck_assert_int_eq(fake_signals, 1);
}
END_TEST

/* ---- an event loop made the descriptor non-blocking ---- */

static void make_non_blocking(void)
{
	int fd = qdb_watch_fd(fake_handle);

	ck_assert_int_eq(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

static void answer_in_pieces_to_who_polls(void)
{
	struct qdb_hdr hdr;

	fake_header(&hdr, QDB_RESP_READ, "/a", 2);
	fake_interrupt_and(fake_await_poll);
	fake_send_bytes(&hdr, 10);
	fake_await_all_read();
	fake_interrupt_and(fake_await_poll);
	fake_send_bytes((const char *)&hdr + 10, sizeof(hdr) - 10);
	fake_await_all_read();
	fake_await_poll();
	fake_send_bytes("ok", 2);
}

START_TEST(a_command_waits_on_a_non_blocking_descriptor)
{
	make_non_blocking();
	fake_on_signal(0);
	fake_start(answer_in_pieces_to_who_polls);
	read_a("ok");
	fake_join();
	ck_assert_int_eq(fake_signals, 2);
}
END_TEST

static void take_writes_of_who_polls(void)
{
	fake_interrupt_and(fake_await_poll);
	fake_expect(QDB_CMD_WRITE, "/a", long_value);
	fake_expect(QDB_CMD_WRITE, "/a", long_value);
}

START_TEST(a_send_waits_on_a_non_blocking_descriptor)
{
	fill_send_buffer();
	make_non_blocking();
	fake_start(take_writes_of_who_polls);
	ck_assert_int_eq(qdb_write(fake_handle, path_a, long_value, LONG_VALUE), 1);
	fake_join();
	ck_assert_int_eq(fake_signals, 1);
	fake_expect_nothing();
}
END_TEST

static void send_event_to_who_polls(void)
{
	fake_await_poll();
	fake_send(QDB_RESP_WATCH, "/a", NULL);
}

static void interrupt_who_polls(void)
{
	fake_await_poll();
	fake_interrupt();
}

START_TEST(read_watch_waits_on_a_non_blocking_descriptor)
{
	make_non_blocking();
	fake_start(send_event_to_who_polls);
	fake_expect_event("/a");
	fake_join();

	fake_on_signal(0);
	fake_start(interrupt_who_polls);
	ck_assert_ptr_null(qdb_read_watch(fake_handle));
	ck_assert_int_eq(errno, EINTR);
	fake_join();

	fake_send(QDB_RESP_WATCH, "/later", NULL);
	fake_expect_event("/later");
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("watch");

	tcase_add_checked_fixture(tcase, fake_setup, fake_teardown);
	tcase_add_test(tcase, events_before_an_answer_are_queued_in_order);
	tcase_add_test(tcase, events_between_the_entries_of_a_list_are_queued);
	tcase_add_test(tcase, only_unread_events_make_the_descriptor_readable);
	tcase_add_test(tcase, nothing_is_read_beyond_the_message_in_hand);
	tcase_add_test(tcase, the_descriptor_is_the_one_of_the_commands);
	tcase_add_test(tcase, unread_events_take_bounded_memory);
	tcase_add_test(tcase, split_messages_are_put_together);
	tcase_add_test(tcase, an_interrupted_command_is_finished);
	tcase_add_test(tcase, an_interrupted_send_is_finished);
	tcase_add_test(tcase, read_watch_gives_up_on_a_signal);
	tcase_add_test(tcase, read_watch_goes_on_after_a_restarting_signal);
	tcase_add_test(tcase, read_watch_never_gives_up_in_mid_event);
	tcase_add_test(tcase, a_command_waits_on_a_non_blocking_descriptor);
	tcase_add_test(tcase, a_send_waits_on_a_non_blocking_descriptor);
	tcase_add_test(tcase, read_watch_waits_on_a_non_blocking_descriptor);
	return fake_run("lib watch", (TCase *[]){tcase, NULL});
}
