/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The asynchronous interface: requests and their results, watches and their events. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "test_lib_async_fake.h"

START_TEST(requests_are_completed_in_order)
{
	ck_assert_int_eq(qdb_async_read(async, "/a", note_done, A), 1);
	ck_assert_int_eq(qdb_async_list(async, "/", note_done, B), 1);
	ck_assert_int_eq(qdb_async_multiread(async, "/", note_done, C), 1);
	ck_assert_int_eq(qdb_async_write(async, "/w", "v", 1, note_done, D), 1);
	ck_assert_int_eq(qdb_async_rm(async, "/r/", note_done, A), 1);
	ck_assert_str_eq(text, "");
	ck_assert(!is_ready());
	fake_expect(QDB_CMD_READ, "/a", NULL);
	fake_expect(QDB_CMD_LIST, "/", NULL);
	fake_expect(QDB_CMD_MULTIREAD, "/", NULL);
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

/* Where nothing can be written, that is why, and not what the daemon knows. */
START_TEST(many_entries_are_refused_on_a_read_only_connection)
{
	const struct qdb_entry entry = {"/a", "1", 1};

	qdb_async_write_many(async, &entry, 1, note_done, A);
	fake_send(QDB_RESP_ERROR, "", NULL);
	happens("A=ENOTSUP;");
	qdb_async_close(async);
	fake_listener = fake_listen("qubesdb.vm-1.ro.sock");
	async = qdb_async_open("vm-1");
	ck_assert_ptr_nonnull(async);
	fake_accept();
	qdb_async_write_many(async, &entry, 1, note_done, A);
	fake_send(QDB_RESP_ERROR, "", NULL);
	happens("A=EPERM;");
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
	ck_assert_int_eq(qdb_async_multiread(async, "", note_done, A), 0);
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

START_TEST(opening_fails_as_qdb_open_does)
{
	ck_assert_ptr_null(qdb_async_open("a/b"));
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_ptr_null(qdb_async_open("absent"));
	ck_assert_int_eq(errno, ENOENT);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("async");

	tcase_add_checked_fixture(tcase, async_setup, async_teardown);
	tcase_add_test(tcase, requests_are_completed_in_order);
	tcase_add_test(tcase, failures_are_told_apart);
	tcase_add_test(tcase, many_entries_are_refused_on_a_read_only_connection);
	tcase_add_test(tcase, what_cannot_be_sent_is_not_started);
	tcase_add_test(tcase, requests_are_limited);
	tcase_add_test(tcase, messages_may_come_in_pieces);
	tcase_add_test(tcase, what_does_not_fit_is_sent_later);
	tcase_add_test(tcase, each_watch_has_its_callback_and_token);
	tcase_add_test(tcase, equal_events_in_a_row_are_one);
	tcase_add_test(tcase, events_keep_their_place_among_answers);
	tcase_add_test(tcase, a_watch_that_is_taken_back_is_silent);
	tcase_add_test(tcase, a_watch_that_is_refused_is_none);
	tcase_add_test(tcase, opening_fails_as_qdb_open_does);
	return fake_run("lib async", (TCase *[]){tcase, NULL});
}
