/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Callbacks of the asynchronous interface that use its handle, or end it. */
#include <errno.h>

#include "test_lib_async_fake.h"

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

int main(void)
{
	TCase *tcase = tcase_create("callbacks");

	tcase_add_checked_fixture(tcase, async_setup, async_teardown);
	tcase_add_test(tcase, a_callback_may_start_requests);
	tcase_add_test(tcase, a_callback_may_change_the_watches);
	tcase_add_test(tcase, a_callback_may_close_the_handle);
	tcase_add_test(tcase, an_event_may_close_the_handle);
	tcase_add_test(tcase, closing_completes_everything);
	return fake_run("lib async callbacks", (TCase *[]){tcase, NULL});
}
