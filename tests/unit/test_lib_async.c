/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The asynchronous interface. No second thread: nothing here waits, so the test plays
 * both ends by turns. What the callbacks get is written down as text.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/qubesdb-async.h"
#include "test_lib_fake.h"

static qdb_async_t async;
static char text[4096]; /* what has happened */

static void setup(void)
{
	fake_setup_listener();
	async = qdb_async_open(NULL);
	ck_assert_ptr_nonnull(async);
	fake_accept();
}

static void teardown(void)
{
	qdb_async_close(async);
	fake_teardown();
}

static void append(const char *piece)
{
	ck_assert_uint_lt(strlen(text) + strlen(piece) + 2, sizeof(text));
	strcat(text, piece);
}

static const char *error_name(int error)
{
	static char number[16];

	snprintf(number, sizeof(number), "%d", error);
	return error == 0           ? "ok"
	       : error == ENOENT    ? "ENOENT"
	       : error == EPERM     ? "EPERM"
	       : error == EPIPE     ? "EPIPE"
	       : error == EPROTO    ? "EPROTO"
	       : error == ENOTSUP   ? "ENOTSUP"
	       : error == ECANCELED ? "ECANCELED"
				    : number;
}

static void note_done(void *token, const struct qdb_result *result)
{
	append(token);
	append("=");
	append(error_name(result->error));
	for (unsigned i = 0; i < result->count; i++) {
		append(" ");
		append(result->entries[i].path);
		if (result->entries[i].value == NULL)
			continue;
		append(":");
		append(result->entries[i].value);
		ck_assert_uint_eq(result->entries[i].value_len,
				  strlen(result->entries[i].value));
	}
	append(";");
}

static void note_event(void *token, const char *path)
{
	append(token);
	append("!");
	append(path);
	append(";");
}

static char A[] = "A", B[] = "B", C[] = "C", D[] = "D";

static bool is_ready(void)
{
	return fake_is_readable(qdb_async_fd(async));
}

/* Processes once, and compares what has happened since the last time. */
static void happens(const char *expected)
{
	qdb_async_process(async);
	ck_assert_str_eq(text, expected);
	text[0] = '\0';
}

static void happens_when_ready(const char *expected)
{
	struct pollfd p = {.fd = qdb_async_fd(async), .events = POLLIN};

	ck_assert_int_eq(poll(&p, 1, -1), 1);
	happens(expected);
}

static int watch(const char *path, char *token)
{
	int id = qdb_async_watch(async, path, note_event, NULL, token);

	ck_assert_int_gt(id, 0);
	fake_expect(QDB_CMD_WATCH, path, NULL);
	fake_send(QDB_RESP_OK, path, NULL);
	happens("");
	return id;
}

START_TEST(requests_are_completed_in_order)
{
	ck_assert_int_eq(qdb_async_read(async, "/a", note_done, A), 1);
	ck_assert_int_eq(qdb_async_list(async, "/", note_done, B), 1);
	ck_assert_int_eq(qdb_async_multiread(async, "", note_done, C), 1);
	ck_assert_int_eq(qdb_async_write(async, "/w", "v", 1, note_done, D), 1);
	ck_assert_int_eq(qdb_async_rm(async, "/r/", note_done, A), 1);
	ck_assert_str_eq(text, "");
	ck_assert(!is_ready());
	fake_expect(QDB_CMD_READ, "/a", NULL);
	fake_expect(QDB_CMD_LIST, "/", NULL);
	fake_expect(QDB_CMD_MULTIREAD, "", NULL);
	fake_expect(QDB_CMD_WRITE, "/w", "v");
	fake_expect(QDB_CMD_RM, "/r/", NULL);

	fake_send(QDB_RESP_READ, "/a", "1");
	fake_send(QDB_RESP_LIST, "/a", NULL);
	ck_assert(is_ready());
	happens("A=ok /a:1;");
	ck_assert(!is_ready());
	fake_send(QDB_RESP_LIST, "/b", NULL);
	fake_send(QDB_RESP_LIST, "", NULL);
	fake_send(QDB_RESP_MULTIREAD, "/b", "2");
	fake_send(QDB_RESP_MULTIREAD, "/a", "");
	fake_send(QDB_RESP_MULTIREAD, "", NULL);
	fake_send(QDB_RESP_OK, "/w", NULL);
	fake_send(QDB_RESP_OK, "/r/", NULL);
	happens("B=ok /a /b;C=ok /b:2 /a:;D=ok;A=ok;");
}
END_TEST

START_TEST(failures_are_told_apart)
{
	const struct qdb_entry entries[] = {{"/a", "1", 1}, {"/b", NULL, 0}};

	qdb_async_read(async, "/a", note_done, A);
	qdb_async_read(async, "/a", note_done, A);
	qdb_async_rm(async, "/a", note_done, B);
	qdb_async_write(async, "/a", "", 0, note_done, C);
	qdb_async_write_many(async, entries, 2, note_done, D);
	qdb_async_write_many(async, entries, 2, note_done, D);
	fake_send(QDB_RESP_ERROR_NOENT, "/a", NULL);
	fake_send(QDB_RESP_ERROR, "/a", NULL);
	fake_send(QDB_RESP_ERROR_NOENT, "/a", NULL);
	fake_send(QDB_RESP_ERROR, "/a", NULL);
	fake_send(QDB_RESP_ERROR, "", NULL);
	fake_send(QDB_RESP_ERROR, "/b", NULL);
	happens("A=ENOENT;A=EPERM;B=ok;C=EPERM;D=ENOTSUP;D=EPERM;");
}
END_TEST

START_TEST(what_cannot_be_sent_is_not_started)
{
	char long_path[65], long_value[3072];

	memset(long_path, 'p', sizeof(long_path));
	long_path[0] = '/';
	long_path[64] = '\0';
	memset(long_value, 'v', sizeof(long_value));
	errno = EINTR;
	ck_assert_int_eq(qdb_async_read(async, "rel", note_done, A), 0);
	ck_assert_int_eq(errno, 0);
	errno = EINTR;
	ck_assert_int_eq(qdb_async_list(async, long_path, note_done, A), 0);
	ck_assert_int_eq(errno, 0);
	errno = EINTR;
	ck_assert_int_eq(qdb_async_write(async, "/a", long_value, 3072, note_done, A), 0);
	ck_assert_int_eq(errno, 0);
	ck_assert_int_eq(qdb_async_write(async, "/a", NULL, 1, note_done, A), 0);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(qdb_async_read(async, NULL, note_done, A), 0);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(qdb_async_read(NULL, "/a", note_done, A), 0);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(qdb_async_watch(async, "/a", NULL, note_done, A), 0);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(qdb_async_unwatch(async, 1), 0);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(qdb_async_process(NULL), 0);
	ck_assert_int_eq(qdb_async_fd(NULL), -1);
	qdb_async_close(NULL);
	fake_expect_nothing();
}
END_TEST

START_TEST(requests_are_limited)
{
	for (int i = 0; i < QDB_ASYNC_REQUESTS_MAX; i++)
		ck_assert_int_eq(qdb_async_read(async, "/a", NULL, NULL), 1);
	ck_assert_int_eq(qdb_async_read(async, "/a", NULL, NULL), 0);
	ck_assert_int_eq(errno, EAGAIN);
	fake_send(QDB_RESP_READ, "/a", "1");
	happens("");
	ck_assert_int_eq(qdb_async_read(async, "/a", NULL, NULL), 1);
}
END_TEST

/* ---- a message in pieces, and a socket without room ---- */

START_TEST(messages_may_come_in_pieces)
{
	struct qdb_hdr hdr;
	char bytes[sizeof(hdr) + 2];

	fake_header(&hdr, QDB_RESP_READ, "/a", 2);
	memcpy(bytes, &hdr, sizeof(hdr));
	memcpy(bytes + sizeof(hdr), "ok", 2);
	qdb_async_read(async, "/a", note_done, A);
	for (size_t i = 0; i + 1 < sizeof(bytes); i++) {
		fake_send_bytes(bytes + i, 1);
		happens("");
	}
	fake_send_bytes("k", 1);
	happens("A=ok /a:ok;");
}
END_TEST

START_TEST(what_does_not_fit_is_sent_later)
{
	char value[3000], taken[3072 + 72];
	const int count = 200;
	size_t total = 0;

	memset(value, 'v', sizeof(value));
	for (int i = 0; i < count; i++)
		ck_assert_int_eq(qdb_async_write(async, "/a", value, sizeof(value),
						 i + 1 < count ? NULL : note_done, A),
				 1);
	ck_assert(!is_ready());
	while (total < (size_t)count * 3072) {
		ssize_t n = recv(fake_peer, taken, sizeof(taken), MSG_DONTWAIT);

		if (n > 0)
			total += (size_t)n;
		else
			happens_when_ready("");
	}
	ck_assert(!is_ready());
	for (int i = 0; i < count; i++)
		fake_send(QDB_RESP_OK, "/a", NULL);
	happens("A=ok;");
	fake_expect_nothing();
}
END_TEST

/* ---- watches ---- */

START_TEST(each_watch_has_its_callback_and_token)
{
	int first = qdb_async_watch(async, "/a", note_event, note_done, A);

	ck_assert_int_gt(first, 0);
	fake_expect(QDB_CMD_WATCH, "/a", NULL);
	fake_send(QDB_RESP_OK, "/a", NULL);
	happens("A=ok;");
	watch("/d/", B);
	watch("/d/x", C);

	fake_send(QDB_RESP_WATCH, "/a", NULL);
	fake_send(QDB_RESP_WATCH, "/d/x", NULL);
	fake_send(QDB_RESP_WATCH, "/d/y", NULL);
	fake_send(QDB_RESP_WATCH, "/d/", NULL);
	fake_send(QDB_RESP_WATCH, "/other", NULL);
	happens("A!/a;B!/d/x;C!/d/x;B!/d/y;B!/d/;");
}
END_TEST

/* A change below overlapping watches is one event for each, and they come in a row. */
START_TEST(equal_events_in_a_row_are_one)
{
	watch("/d/", A);
	watch("/d/x", B);
	for (int i = 0; i < 2; i++)
		fake_send(QDB_RESP_WATCH, "/d/x", NULL);
	happens("A!/d/x;B!/d/x;");
	fake_send(QDB_RESP_WATCH, "/d/x", NULL);
	fake_send(QDB_RESP_WATCH, "/d/y", NULL);
	fake_send(QDB_RESP_WATCH, "/d/x", NULL);
	happens("A!/d/x;B!/d/x;A!/d/y;A!/d/x;B!/d/x;");
}
END_TEST

START_TEST(events_keep_their_place_among_answers)
{
	watch("/a", A);
	qdb_async_read(async, "/a", note_done, B);
	qdb_async_list(async, "/a", note_done, C);
	fake_send(QDB_RESP_WATCH, "/a", NULL);
	fake_send(QDB_RESP_READ, "/a", "1");
	fake_send(QDB_RESP_LIST, "/a", NULL);
	fake_send(QDB_RESP_WATCH, "/a", NULL);
	fake_send(QDB_RESP_LIST, "", NULL);
	fake_send(QDB_RESP_WATCH, "/a", NULL);
	happens("A!/a;B=ok /a:1;A!/a;C=ok /a;A!/a;");
}
END_TEST

START_TEST(a_watch_that_is_taken_back_is_silent)
{
	int id = watch("/a", A);

	fake_expect_nothing();
	fake_send(QDB_RESP_WATCH, "/a", NULL);
	ck_assert_int_eq(qdb_async_unwatch(async, id), 1);
	ck_assert_int_eq(qdb_async_unwatch(async, id), 0);
	fake_expect(QDB_CMD_UNWATCH, "/a", NULL);
	fake_send(QDB_RESP_OK, "/a", NULL);
	happens("");

	id = qdb_async_watch(async, "/b", note_event, note_done, B);
	ck_assert_int_eq(qdb_async_unwatch(async, id), 1);
	fake_send(QDB_RESP_OK, "/b", NULL);
	fake_send(QDB_RESP_WATCH, "/b", NULL);
	fake_send(QDB_RESP_ERROR_NOENT, "/b", NULL);
	happens("");
}
END_TEST

START_TEST(a_watch_that_is_refused_is_none)
{
	int id = qdb_async_watch(async, "/a", note_event, note_done, A);

	fake_send(QDB_RESP_ERROR, "/a", NULL);
	fake_send(QDB_RESP_WATCH, "/a", NULL);
	happens("A=EPERM;");
	ck_assert_int_eq(qdb_async_unwatch(async, id), 0);
}
END_TEST

/* ---- callbacks that use the handle ---- */

static int other;

static void read_again(void *token, const struct qdb_result *result)
{
	note_done(token, result);
	ck_assert_int_eq(qdb_async_read(async, "/b", note_done, B), 1);
	ck_assert_int_eq(qdb_async_process(async), 0);
	ck_assert_int_eq(errno, EBUSY);
}

START_TEST(a_callback_may_start_requests)
{
	qdb_async_read(async, "/a", read_again, A);
	fake_expect(QDB_CMD_READ, "/a", NULL);
	fake_send(QDB_RESP_READ, "/a", "1");
	happens("A=ok /a:1;");
	fake_expect(QDB_CMD_READ, "/b", NULL);
	fake_send(QDB_RESP_READ, "/b", "2");
	happens("B=ok /b:2;");
}
END_TEST

static void unwatch_other(void *token, const char *path)
{
	note_event(token, path);
	if (other != 0)
		ck_assert_int_eq(qdb_async_unwatch(async, other), 1);
	other = 0;
	ck_assert_int_gt(qdb_async_watch(async, "/", note_event, NULL, D), 0);
}

START_TEST(a_callback_may_change_the_watches)
{
	int id = qdb_async_watch(async, "/a", unwatch_other, NULL, A);

	ck_assert_int_gt(id, 0);
	fake_send(QDB_RESP_OK, "/a", NULL);
	fake_expect(QDB_CMD_WATCH, "/a", NULL);
	happens("");
	other = watch("/a", B);
	watch("/a", C);
	fake_send(QDB_RESP_WATCH, "/a", NULL);
	happens("A!/a;C!/a;");
}
END_TEST

static void close_handle(void *token, const struct qdb_result *result)
{
	note_done(token, result);
	qdb_async_close(async);
	ck_assert_int_eq(qdb_async_read(async, "/b", note_done, B), 0);
	ck_assert_int_eq(errno, EINVAL);
}

static void close_on_event(void *token, const char *path)
{
	note_event(token, path);
	qdb_async_close(async);
}

START_TEST(a_callback_may_close_the_handle)
{
	qdb_async_read(async, "/a", close_handle, A);
	qdb_async_read(async, "/a", note_done, C);
	fake_send(QDB_RESP_READ, "/a", "1");
	fake_send(QDB_RESP_READ, "/a", "2");
	happens("A=ok /a:1;C=ECANCELED;");
	async = NULL;
}
END_TEST

START_TEST(an_event_may_close_the_handle)
{
	ck_assert_int_gt(qdb_async_watch(async, "/a", close_on_event, NULL, A), 0);
	ck_assert_int_gt(qdb_async_watch(async, "/a", note_event, NULL, B), 0);
	fake_send(QDB_RESP_OK, "/a", NULL);
	fake_send(QDB_RESP_OK, "/a", NULL);
	fake_send(QDB_RESP_WATCH, "/a", NULL);
	fake_send(QDB_RESP_WATCH, "/b", NULL);
	happens("A!/a;");
	async = NULL;
}
END_TEST

START_TEST(closing_completes_everything)
{
	qdb_async_read(async, "/a", note_done, A);
	ck_assert_int_gt(qdb_async_watch(async, "/a", note_event, note_done, B), 0);
	qdb_async_close(async);
	async = NULL;
	ck_assert_str_eq(text, "A=ECANCELED;B=ECANCELED;");
}
END_TEST

/* ---- the daemon goes ---- */

START_TEST(everything_goes_on_with_the_next_daemon)
{
	int fd = qdb_async_fd(async), gone;

	watch("/a", A);
	gone = watch("/gone", B);
	watch("/d/", C);
	ck_assert_int_eq(qdb_async_unwatch(async, gone), 1);
	qdb_async_read(async, "/r", note_done, D);
	qdb_async_list(async, "/l", note_done, A);
	ck_assert_int_gt(qdb_async_watch(async, "/new", note_event, note_done, B), 0);
	fake_send(QDB_RESP_OK, "/gone", NULL);
	fake_send(QDB_RESP_READ, "/r", "1");
	fake_send(QDB_RESP_LIST, "/l/old", NULL);
	fake_hang_up();
	happens("D=ok /r:1;");
	ck_assert_int_eq(qdb_async_fd(async), fd);

	fake_accept();
	fake_expect(QDB_CMD_WATCH, "/a", NULL);
	fake_expect(QDB_CMD_WATCH, "/d/", NULL);
	fake_expect(QDB_CMD_LIST, "/l", NULL);
	fake_expect(QDB_CMD_WATCH, "/new", NULL);
	fake_send(QDB_RESP_OK, "/a", NULL);
	fake_send(QDB_RESP_OK, "/d/", NULL);
	fake_send(QDB_RESP_LIST, "/l/new", NULL);
	fake_send(QDB_RESP_LIST, "", NULL);
	fake_send(QDB_RESP_OK, "/new", NULL);
	happens_when_ready("A!/a;C!/d/;A=ok /l/new;B=ok;");
	fake_send(QDB_RESP_WATCH, "/new", NULL);
	happens_when_ready("B!/new;");
}
END_TEST

START_TEST(what_was_taken_back_is_not_restored)
{
	int id = watch("/a", A);

	ck_assert_int_eq(qdb_async_unwatch(async, id), 1);
	id = qdb_async_watch(async, "/b", note_event, note_done, B);
	ck_assert_int_eq(qdb_async_unwatch(async, id), 1);
	qdb_async_read(async, "/r", note_done, D);
	fake_hang_up();
	happens("");
	fake_accept();
	fake_expect(QDB_CMD_READ, "/r", NULL);
	fake_expect_nothing();
}
END_TEST

START_TEST(a_request_does_not_go_on_for_ever)
{
	qdb_async_read(async, "/a", note_done, A);
	for (int i = 0; i < 2; i++) {
		fake_hang_up();
		happens("");
		fake_accept();
	}
	fake_hang_up();
	happens("A=EPIPE;");
}
END_TEST

START_TEST(without_a_daemon_requests_fail_and_watches_wait)
{
	watch("/a", A);
	qdb_async_read(async, "/r", note_done, B);
	fake_unlisten();
	fake_hang_up();
	errno = 0;
	ck_assert_int_eq(qdb_async_process(async), 0);
	ck_assert_int_eq(errno, EPIPE);
	happens("B=EPIPE;");
	qdb_async_read(async, "/r", note_done, C);
	happens_when_ready("C=EPIPE;");

	fake_listener = fake_listen("qubesdb.sock");
	while (!fake_is_asked_to_accept())
		happens_when_ready("");
	fake_accept();
	fake_expect(QDB_CMD_WATCH, "/a", NULL);
	fake_send(QDB_RESP_OK, "/a", NULL);
	happens_when_ready("A!/a;");
	ck_assert(!is_ready());
}
END_TEST

START_TEST(without_watches_only_requests_reconnect)
{
	fake_unlisten();
	fake_hang_up();
	happens("");
	ck_assert(!is_ready());
	fake_listener = fake_listen("qubesdb.sock");
	qdb_async_read(async, "/r", note_done, C);
	happens_when_ready("");
	fake_accept();
	fake_expect(QDB_CMD_READ, "/r", NULL);
	fake_send(QDB_RESP_READ, "/r", "1");
	happens_when_ready("C=ok /r:1;");
}
END_TEST

static void start_again(void *token, const struct qdb_result *result)
{
	(void)token;
	if (result->error == ECANCELED)
		return;
	ck_assert_int_eq(result->error, EPIPE);
	other++;
	ck_assert_int_eq(qdb_async_read(async, "/a", start_again, A), 1);
}

/* Otherwise a program that tries again in its callback would spin. */
START_TEST(a_request_of_a_callback_waits_for_the_next_attempt)
{
	fake_unlisten();
	fake_hang_up();
	qdb_async_read(async, "/a", start_again, A);
	happens("");
	ck_assert_int_eq(other, 1);
	ck_assert(!is_ready());
	happens_when_ready("");
	ck_assert_int_eq(other, 2);
	ck_assert_int_eq(qdb_async_read(async, "/b", NULL, NULL), 1);
}
END_TEST

START_TEST(a_daemon_that_takes_no_watch_back_is_none)
{
	watch("/a", A);
	qdb_async_read(async, "/r", note_done, B);
	fake_hang_up();
	happens("");
	fake_accept();
	fake_send(QDB_RESP_ERROR, "/a", NULL);
	happens_when_ready("B=EPIPE;");
	happens_when_ready("");
	fake_accept();
	fake_expect(QDB_CMD_WATCH, "/a", NULL);
	fake_send(QDB_RESP_OK, "/a", NULL);
	happens_when_ready("A!/a;");
}
END_TEST

static const struct {
	unsigned type;
	const char *path;
	size_t data_len;
} lies[] = {
	{QDB_RESP_OK, "/a", 0},
	{QDB_CMD_READ, "/a", 0},
	{255, "/a", 0},
	{QDB_RESP_LIST, "/a", 0},
	{QDB_RESP_READ, "/a", 3072},
	{QDB_RESP_READ, "/a", 0xffffffff},
	{QDB_RESP_OK, "/a", 4},
	{QDB_RESP_MULTIREAD, "/a", 0},
};

START_TEST(a_lie_ends_the_connection)
{
	struct qdb_hdr hdr;

	qdb_async_read(async, "/a", note_done, A);
	qdb_async_read(async, "/b", note_done, B);
	fake_header(&hdr, lies[_i].type, lies[_i].path, lies[_i].data_len);
	fake_send_bytes(&hdr, sizeof(hdr));
	happens("A=EPROTO;B=EPROTO;");
	qdb_async_read(async, "/a", note_done, A);
	happens_when_ready("");
	fake_accept();
	fake_send(QDB_RESP_READ, "/a", "1");
	happens_when_ready("A=ok /a:1;");
}
END_TEST

START_TEST(an_answer_that_nobody_asked_for_is_a_lie)
{
	watch("/a", A);
	fake_send(QDB_RESP_OK, "/a", NULL);
	happens("");
	happens_when_ready("");
	fake_accept();
	fake_expect(QDB_CMD_WATCH, "/a", NULL);
}
END_TEST

START_TEST(a_daemon_that_always_hangs_up_makes_nobody_spin)
{
	int accepted = 0;

	watch("/a", A);
	qdb_async_read(async, "/a", note_done, B);
	ck_assert_int_eq(fcntl(fake_listener, F_SETFL, O_NONBLOCK), 0);
	fake_hang_up();
	for (; text[0] == '\0' && accepted < 10; accepted++) {
		qdb_async_process(async);
		if (fake_is_asked_to_accept()) {
			fake_accept();
			fake_hang_up();
		}
	}
	ck_assert_str_eq(text, "B=EPIPE;");
	ck_assert_int_le(accepted, 4);
	ck_assert(!is_ready());
}
END_TEST

START_TEST(opening_fails_as_qdb_open_does)
{
	ck_assert_ptr_null(qdb_async_open("a/b"));
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_ptr_null(qdb_async_open("absent"));
	ck_assert_int_eq(errno, ENOENT);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, requests_are_completed_in_order);
	tcase_add_test(tcase, failures_are_told_apart);
	tcase_add_test(tcase, what_cannot_be_sent_is_not_started);
	tcase_add_test(tcase, requests_are_limited);
	tcase_add_test(tcase, messages_may_come_in_pieces);
	tcase_add_test(tcase, what_does_not_fit_is_sent_later);
	tcase_add_test(tcase, each_watch_has_its_callback_and_token);
	tcase_add_test(tcase, equal_events_in_a_row_are_one);
	tcase_add_test(tcase, events_keep_their_place_among_answers);
	tcase_add_test(tcase, a_watch_that_is_taken_back_is_silent);
	tcase_add_test(tcase, a_watch_that_is_refused_is_none);
	tcase_add_test(tcase, a_callback_may_start_requests);
	tcase_add_test(tcase, a_callback_may_change_the_watches);
	tcase_add_test(tcase, a_callback_may_close_the_handle);
	tcase_add_test(tcase, an_event_may_close_the_handle);
	tcase_add_test(tcase, closing_completes_everything);
	tcase_add_test(tcase, opening_fails_as_qdb_open_does);
}

static void add_tests_of_loss(TCase *tcase)
{
	tcase_add_test(tcase, everything_goes_on_with_the_next_daemon);
	tcase_add_test(tcase, what_was_taken_back_is_not_restored);
	tcase_add_test(tcase, a_request_does_not_go_on_for_ever);
	tcase_add_test(tcase, without_a_daemon_requests_fail_and_watches_wait);
	tcase_add_test(tcase, without_watches_only_requests_reconnect);
	tcase_add_test(tcase, a_request_of_a_callback_waits_for_the_next_attempt);
	tcase_add_test(tcase, a_daemon_that_takes_no_watch_back_is_none);
	tcase_add_loop_test(tcase, a_lie_ends_the_connection, 0,
			    sizeof(lies) / sizeof(lies[0]));
	tcase_add_test(tcase, an_answer_that_nobody_asked_for_is_a_lie);
	tcase_add_test(tcase, a_daemon_that_always_hangs_up_makes_nobody_spin);
}

int main(void)
{
	TCase *tcase = tcase_create("async"), *loss = tcase_create("loss");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_checked_fixture(loss, setup, teardown);
	add_tests(tcase);
	add_tests_of_loss(loss);
	return fake_run("lib async", (TCase *[]){tcase, loss, NULL});
}
