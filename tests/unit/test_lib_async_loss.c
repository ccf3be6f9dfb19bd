/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The asynchronous interface when its daemon goes, comes back, or lies. */
#include <errno.h>
#include <fcntl.h>

#include "test_lib_async_fake.h"

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

static int started;

static void start_again(void *token, const struct qdb_result *result)
{
	(void)token;
	if (result->error == ECANCELED)
		return;
	ck_assert_int_eq(result->error, EPIPE);
	started++;
	ck_assert_int_eq(qdb_async_read(async, "/a", start_again, A), 1);
}

/* Otherwise a program that tries again in its callback would spin. */
START_TEST(a_request_of_a_callback_waits_for_the_next_attempt)
{
	fake_unlisten();
	fake_hang_up();
	qdb_async_read(async, "/a", start_again, A);
	happens("");
	ck_assert_int_eq(started, 1);
	ck_assert(!is_ready());
	happens_when_ready("");
	ck_assert_int_eq(started, 2);
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

/* ---- the read-only socket, which is the last that a daemon closes ---- */

static void listen_only(const char *name)
{
	fake_unlisten();
	fake_listener = fake_listen(name);
}

static void become_read_only(void)
{
	listen_only("qubesdb.ro.sock");
	fake_hang_up();
	happens("");
	fake_accept();
	qdb_async_rm(async, "/a", note_done, A);
	fake_expect(QDB_CMD_RM, "/a", NULL);
	fake_send(QDB_RESP_ERROR, "/a", NULL);
}

START_TEST(what_may_have_been_done_is_not_refused)
{
	qdb_async_write(async, "/a", "1", 1, note_done, A);
	fake_expect(QDB_CMD_WRITE, "/a", "1");
	qdb_async_read(async, "/a", note_done, B);
	listen_only("qubesdb.ro.sock");
	fake_hang_up();
	happens("");
	fake_accept();
	fake_send(QDB_RESP_ERROR, "/a", NULL);
	fake_send(QDB_RESP_READ, "/a", "1");
	happens_when_ready("A=EPIPE;B=ok /a:1;");
}
END_TEST

START_TEST(a_change_finds_the_read_write_socket_again)
{
	become_read_only();
	listen_only("qubesdb.sock");
	happens_when_ready("");
	fake_accept();
	fake_expect(QDB_CMD_RM, "/a", NULL);
	fake_send(QDB_RESP_OK, "/a", NULL);
	happens_when_ready("A=ok;");
}
END_TEST

START_TEST(where_there_is_none_a_change_is_refused)
{
	become_read_only();
	happens_when_ready("A=EPERM;");
	qdb_async_read(async, "/a", note_done, B);
	fake_expect(QDB_CMD_READ, "/a", NULL);
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

int main(void)
{
	TCase *tcase = tcase_create("loss");

	tcase_add_checked_fixture(tcase, async_setup, async_teardown);
	tcase_add_test(tcase, everything_goes_on_with_the_next_daemon);
	tcase_add_test(tcase, what_was_taken_back_is_not_restored);
	tcase_add_test(tcase, a_request_does_not_go_on_for_ever);
	tcase_add_test(tcase, without_a_daemon_requests_fail_and_watches_wait);
	tcase_add_test(tcase, without_watches_only_requests_reconnect);
	tcase_add_test(tcase, a_request_of_a_callback_waits_for_the_next_attempt);
	tcase_add_test(tcase, a_daemon_that_takes_no_watch_back_is_none);
	tcase_add_test(tcase, what_may_have_been_done_is_not_refused);
	tcase_add_test(tcase, a_change_finds_the_read_write_socket_again);
	tcase_add_test(tcase, where_there_is_none_a_change_is_refused);
	tcase_add_loop_test(tcase, a_lie_ends_the_connection, 0,
			    sizeof(lies) / sizeof(lies[0]));
	tcase_add_test(tcase, an_answer_that_nobody_asked_for_is_a_lie);
	tcase_add_test(tcase, a_daemon_that_always_hangs_up_makes_nobody_spin);
	return fake_run("lib async loss", (TCase *[]){tcase, NULL});
}
