/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A daemon that stops in the middle, or never stops. The library is linked in, so that
 * the linker can put a poll() in front of it that does not wait: where nothing has come,
 * all the time that the library would have waited has passed. It waits if it has no end.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/qubesdb-async.h"
#include "test_lib_fake.h"

int __real_poll(struct pollfd *fds, nfds_t n, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout);
int __real_connect(int fd, const struct sockaddr *address, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len);

static bool time_flies;
static int polls, last_timeout;
static int refusals; /* connections to be refused */

static _Thread_local bool is_daemon;

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	if (is_daemon || !time_flies || timeout < 0)
		return __real_poll(fds, n, timeout);
	polls++;
	last_timeout = timeout;
	return __real_poll(fds, n, 0);
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len)
{
	if (refusals > 0) {
		refusals--;
		errno = ECONNREFUSED;
		return -1;
	}
	return __real_connect(fd, address, len);
}

static char *read_a(void)
{
	return qdb_read(fake_handle, "/a", NULL);
}

static char *list_a(void)
{
	return (char *)qdb_list(fake_handle, "/a", NULL);
}

static char *multiread_a(void)
{
	return (char *)qdb_multiread(fake_handle, "/a", NULL, NULL);
}

static void fails_with(char *(*call)(void), int expected)
{
	int fd = qdb_watch_fd(fake_handle);

	ck_assert_int_ge(fd, 0);
	errno = 0;
	ck_assert_ptr_null(call());
	ck_assert_int_eq(errno, expected);
	ck_assert(!fake_is_open(fd));
}

static void is_stalled(void)
{
	ck_assert_int_eq(polls, 1);
	ck_assert_int_le(last_timeout, 30000);
	ck_assert_int_gt(last_timeout, 20000);
}

START_TEST(a_header_that_does_not_end)
{
	time_flies = true;
	fake_send_bytes("\012/a", 3);
	fails_with(read_a, ETIMEDOUT);
	is_stalled();
}
END_TEST

START_TEST(data_that_does_not_come)
{
	struct qdb_hdr hdr;

	time_flies = true;
	fake_header(&hdr, QDB_RESP_READ, "/a", 5);
	fake_send_bytes(&hdr, sizeof(hdr));
	fake_send_bytes("half", 4);
	fails_with(read_a, ETIMEDOUT);
	is_stalled();
}
END_TEST

START_TEST(a_list_that_does_not_go_on)
{
	time_flies = true;
	fake_send(QDB_RESP_LIST, "/a", NULL);
	fake_send(QDB_RESP_WATCH, "/a", NULL);
	fails_with(list_a, ETIMEDOUT);
	is_stalled();
}
END_TEST

START_TEST(an_event_that_does_not_end)
{
	int fd = qdb_watch_fd(fake_handle);

	time_flies = true;
	fake_send_bytes("\015/a", 3);
	ck_assert_ptr_null(qdb_read_watch(fake_handle));
	ck_assert_int_eq(errno, ETIMEDOUT);
	is_stalled();
	ck_assert_int_eq(qdb_watch_fd(fake_handle), fd);
	ck_assert(fake_is_open(fd));
	ck_assert_ptr_null(qdb_read_watch(fake_handle));
	ck_assert_int_eq(errno, EPIPE);
}
END_TEST

static void answer_late(void)
{
	fake_await_recv();
	fake_send(QDB_RESP_READ, "/a", "late");
}

/* A poll() that has an end would have ended the wait. */
START_TEST(the_beginning_of_an_answer_has_no_limit)
{
	char *value;

	time_flies = true;
	fake_start(answer_late);
	value = read_a();
	fake_join();
	ck_assert_str_eq(value, "late");
	free(value);
	ck_assert_int_eq(polls, 0);
}
END_TEST

START_TEST(but_it_may_be_given_one)
{
	time_flies = true;
	ck_assert_int_eq(qdb_set_timeout(fake_handle, 5000), 1);
	fails_with(read_a, ETIMEDOUT);
	ck_assert_int_eq(polls, 1);
	ck_assert_int_le(last_timeout, 5000);
	ck_assert_int_gt(last_timeout, 0);
}
END_TEST

START_TEST(the_limit_is_one_for_the_whole_command)
{
	ck_assert_int_eq(qdb_set_timeout(fake_handle, 5000), 1);
	time_flies = true;
	fake_send(QDB_RESP_LIST, "/a", NULL);
	fails_with(list_a, ETIMEDOUT);
	ck_assert_int_le(last_timeout, 5000);

	ck_assert_int_eq(qdb_set_timeout(fake_handle, 1000000), 1);
	polls = 0;
	ck_assert_int_ge(qdb_watch_fd(fake_handle), 0);
	fake_accept();
	fake_send(QDB_RESP_LIST, "/a", NULL);
	fails_with(list_a, ETIMEDOUT);
	is_stalled();
}
END_TEST

START_TEST(a_limit_can_be_taken_back)
{
	char *value;

	ck_assert_int_eq(qdb_set_timeout(fake_handle, 1), 1);
	ck_assert_int_eq(qdb_set_timeout(fake_handle, 0), 1);
	ck_assert_int_eq(qdb_set_timeout(fake_handle, -1), 0);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(qdb_set_timeout(NULL, 1), 0);
	ck_assert_int_eq(errno, EINVAL);
	fake_start(answer_late);
	value = read_a();
	fake_join();
	ck_assert_str_eq(value, "late");
	free(value);
}
END_TEST

static void send_event_late(void)
{
	fake_await_recv();
	fake_send(QDB_RESP_WATCH, "/a", NULL);
}

START_TEST(the_limit_is_not_for_events)
{
	time_flies = true;
	ck_assert_int_eq(qdb_set_timeout(fake_handle, 1), 1);
	fake_start(send_event_late);
	fake_expect_event("/a");
	fake_join();
}
END_TEST

START_TEST(the_limit_is_for_sending)
{
	char value[3000];
	int smallest = 1, fd = qdb_watch_fd(fake_handle);

	memset(value, 'v', sizeof(value));
	ck_assert_int_eq(
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &smallest, sizeof(smallest)), 0);
	ck_assert_int_eq(qdb_set_timeout(fake_handle, 5000), 1);
	fake_send(QDB_RESP_OK, "/a", NULL);
	ck_assert_int_eq(qdb_write(fake_handle, "/a", value, sizeof(value)), 1);
	time_flies = true;
	ck_assert_int_eq(qdb_write(fake_handle, "/a", value, sizeof(value)), 0);
	ck_assert_int_eq(errno, ETIMEDOUT);
	ck_assert(!fake_is_open(fd));
}
END_TEST

/* The listener has as many clients waiting as it can take. */
static int waiting[16];

static void fill_backlog(void)
{
	struct sockaddr_un address;
	socklen_t len = sizeof(address);

	ck_assert_int_eq(listen(fake_listener, 0), 0);
	ck_assert_int_eq(getsockname(fake_listener, (struct sockaddr *)&address, &len),
			 0);
	for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++) {
		waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(waiting[i], (struct sockaddr *)&address, len);
	}
}

static void empty_backlog(void)
{
	for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++)
		close(waiting[i]);
}

START_TEST(the_limit_is_for_connecting)
{
	fake_hang_up();
	fails_with(read_a, EPIPE);
	fill_backlog();
	ck_assert_int_eq(qdb_set_timeout(fake_handle, 1), 1);
	ck_assert_ptr_null(read_a());
	ck_assert_int_eq(errno, ETIMEDOUT);
	empty_backlog();
}
END_TEST

START_TEST(the_first_connection_may_have_a_limit)
{
	fill_backlog();
	ck_assert_ptr_null(qdb_open_timeout(NULL, 1));
	ck_assert_int_eq(errno, ETIMEDOUT);
	empty_backlog();
	ck_assert_ptr_null(qdb_open_timeout(NULL, -1));
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(the_limit_of_the_first_connection_is_one_for_commands)
{
	qdb_handle_t h = qdb_open_timeout(NULL, 5000);

	ck_assert_ptr_nonnull(h);
	time_flies = true;
	ck_assert_ptr_null(qdb_read(h, "/a", NULL));
	ck_assert_int_eq(errno, ETIMEDOUT);
	qdb_close(h);
}
END_TEST

/* ---- answers without end ---- */

#define PIECE_MAX 32768

static enum qdb_msg endless_type;
static const char *endless_path;
static size_t endless_value;
static size_t taken;

static size_t fill_piece(char *piece)
{
	struct qdb_hdr hdr;
	size_t len = 0;

	fake_header(&hdr, endless_type, endless_path, endless_value);
	memset(piece, 'v', PIECE_MAX);
	while (len + sizeof(hdr) + endless_value <= PIECE_MAX) {
		memcpy(piece + len, &hdr, sizeof(hdr));
		len += sizeof(hdr) + endless_value;
	}
	return len;
}

static void send_without_end(void)
{
	static char piece[PIECE_MAX];
	size_t len = fill_piece(piece);

	is_daemon = true;
	while (send(fake_peer, piece, len, MSG_NOSIGNAL) > 0)
		taken += len;
}

static void gives_up(char *(*call)(void), enum qdb_msg type, const char *path,
		     size_t value)
{
	endless_type = type;
	endless_path = path;
	endless_value = value;
	fake_start(send_without_end);
	fails_with(call, EPROTO);
	fake_join();
	ck_assert_uint_ge(taken, 64 << 20);
	ck_assert_uint_le(taken, 66 << 20);
}

START_TEST(a_list_without_end)
{
	gives_up(list_a, QDB_RESP_LIST, "/a/same", 0);
}
END_TEST

START_TEST(a_multiread_without_end)
{
	gives_up(multiread_a, QDB_RESP_MULTIREAD, "/a/same", QDB_MAX_DATA);
}
END_TEST

static void note_error(void *token, const struct qdb_result *result)
{
	*(int *)token = result->error;
}

START_TEST(a_list_without_end_for_an_event_loop)
{
	qdb_async_t async = qdb_async_open(NULL);
	struct pollfd p = {.fd = qdb_async_fd(async), .events = POLLIN};
	int error = 0;

	fake_accept();
	endless_type = QDB_RESP_LIST;
	endless_path = "/a/same";
	ck_assert_int_eq(qdb_async_list(async, "/a", note_error, &error), 1);
	fake_start(send_without_end);
	while (error == 0) {
		ck_assert_int_eq(poll(&p, 1, -1), 1);
		qdb_async_process(async);
	}
	fake_join();
	ck_assert_int_eq(error, EPROTO);
	ck_assert_uint_le(taken, 66 << 20);
	qdb_async_close(async);
}
END_TEST

START_TEST(events_without_end)
{
	gives_up(read_a, QDB_RESP_WATCH, "/a/same", 0);
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 1025);
}
END_TEST

#define MOST 16384
#define PATHS 20000

static void send_events_of_many_paths(void)
{
	char path[32];

	for (int i = 0; i < PATHS; i++) {
		snprintf(path, sizeof(path), "/%s/%d", i % 4 != 0 ? "d" : "none", i);
		fake_send(QDB_RESP_WATCH, path, NULL);
	}
	fake_send(QDB_RESP_WATCH, "/exact", NULL);
	fake_send(QDB_RESP_WATCH, "/exact", NULL);
	fake_send(QDB_RESP_WATCH, "/d/1201", NULL);
	fake_send(QDB_RESP_READ, "/a", "1");
}

START_TEST(events_of_any_number_of_paths)
{
	char path[32], *value;

	fake_set_watch("/d/");
	fake_set_watch("/exact");
	fake_set_watch("/never");
	fake_start(send_events_of_many_paths);
	value = read_a();
	ck_assert_str_eq(value, "1");
	free(value);
	fake_join();
	ck_assert_int_eq(qdb_watches_pending(fake_handle), MOST + 2);
	for (int i = 0; i < MOST; i++) {
		snprintf(path, sizeof(path), "/%s/%d", i % 4 != 0 ? "d" : "none", i);
		fake_expect_event(path);
	}
	fake_expect_event("/d/");
	fake_expect_event("/exact");
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 0);
}
END_TEST

/* ---- a socket that is replaced between the look at its name and the connection ---- */

START_TEST(a_refused_connection_is_tried_again)
{
	refusals = 2;
	fake_handle = qdb_open(NULL);
	ck_assert_ptr_nonnull(fake_handle);
	ck_assert_int_eq(refusals, 0);
	ck_assert(fake_is_asked_to_accept());
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("hostile"), *opening = tcase_create("opening");

	tcase_add_checked_fixture(opening, fake_setup_listener, fake_teardown);
	tcase_add_test(opening, a_refused_connection_is_tried_again);
	tcase_add_checked_fixture(tcase, fake_setup, fake_teardown);
	tcase_add_test(tcase, a_header_that_does_not_end);
	tcase_add_test(tcase, data_that_does_not_come);
	tcase_add_test(tcase, a_list_that_does_not_go_on);
	tcase_add_test(tcase, an_event_that_does_not_end);
	tcase_add_test(tcase, the_beginning_of_an_answer_has_no_limit);
	tcase_add_test(tcase, but_it_may_be_given_one);
	tcase_add_test(tcase, the_limit_is_one_for_the_whole_command);
	tcase_add_test(tcase, a_limit_can_be_taken_back);
	tcase_add_test(tcase, the_limit_is_not_for_events);
	tcase_add_test(tcase, the_limit_is_for_sending);
	tcase_add_test(tcase, the_limit_is_for_connecting);
	tcase_add_test(tcase, the_first_connection_may_have_a_limit);
	tcase_add_test(tcase, the_limit_of_the_first_connection_is_one_for_commands);
	tcase_add_test(tcase, a_list_without_end);
	tcase_add_test(tcase, a_multiread_without_end);
	tcase_add_test(tcase, a_list_without_end_for_an_event_loop);
	tcase_add_test(tcase, events_without_end);
	tcase_add_test(tcase, events_of_any_number_of_paths);
	return fake_run("lib hostile", (TCase *[]){opening, tcase, NULL});
}
