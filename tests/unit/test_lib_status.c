/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qdb_status(): the request, its answers, and daemons that do not know it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "test_lib_fake.h"

static void free_items(char **items)
{
	for (char **string = items; *string; string++)
		free(*string);
	free(items);
}

START_TEST(items_are_pairs)
{
	unsigned int count = 7;
	char **items;

	fake_send(QDB_RESP_STATUS, "/peer/state", "live");
	fake_send(QDB_RESP_WATCH, "/event", NULL);
	fake_send(QDB_RESP_STATUS, "/peer/kind", "new");
	fake_send(QDB_RESP_STATUS, "", NULL);
	items = qdb_status(fake_handle, "/peer/", &count);
	ck_assert_ptr_nonnull(items);
	fake_expect(QDB_CMD_STATUS, "@/peer/", NULL);
	ck_assert_uint_eq(count, 2);
	ck_assert_str_eq(items[0], "/peer/state");
	ck_assert_str_eq(items[1], "live");
	ck_assert_str_eq(items[2], "/peer/kind");
	ck_assert_str_eq(items[3], "new");
	ck_assert_ptr_null(items[4]);
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 1);
	free_items(items);
}
END_TEST

START_TEST(none_may_be_there)
{
	char **items;

	fake_send(QDB_RESP_STATUS, "", NULL);
	items = qdb_status(fake_handle, "", NULL);
	ck_assert_ptr_nonnull(items);
	ck_assert_ptr_null(items[0]);
	fake_expect(QDB_CMD_STATUS, "@", NULL);
	free_items(items);
}
END_TEST

static const struct {
	enum qdb_msg type;
	const char *path;
	int error;
} failures[] = {
	{QDB_RESP_ERROR, "/peer/", ENOTSUP},
	{QDB_RESP_STATUS, "/other", EPROTO},
	{QDB_RESP_MULTIREAD, "", EPROTO},
	{QDB_RESP_OK, "", EPROTO},
};

START_TEST(failures_are_told_apart)
{
	unsigned int count = 7;

	fake_send(failures[_i].type, failures[_i].path, NULL);
	errno = EINTR;
	ck_assert_ptr_null(qdb_status(fake_handle, "/peer/", &count));
	ck_assert_int_eq(errno, failures[_i].error);
	ck_assert_uint_eq(count, 7);
}
END_TEST

START_TEST(what_cannot_be_sent_is_not)
{
	char path[QDB_MAX_PATH] = "/";

	memset(path + 1, 'p', sizeof(path) - 2);
	errno = EINTR;
	ck_assert_ptr_null(qdb_status(fake_handle, "rel", NULL));
	ck_assert_int_eq(errno, 0);
	errno = EINTR;
	ck_assert_ptr_null(qdb_status(fake_handle, path, NULL));
	ck_assert_int_eq(errno, 0);
	fake_expect_nothing();
	fake_send(QDB_RESP_STATUS, "", NULL);
	path[QDB_MAX_PATH - 2] = '\0';
	free_items(qdb_status(fake_handle, path, NULL));
}
END_TEST

START_TEST(its_answer_is_none_to_other_requests)
{
	fake_send(QDB_RESP_STATUS, "/a", "1");
	errno = EINTR;
	ck_assert_ptr_null(qdb_multiread(fake_handle, "/a", NULL, NULL));
	ck_assert_int_eq(errno, EPROTO);
	ck_assert_ptr_null(qdb_status(NULL, "", NULL));
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("status");

	tcase_add_checked_fixture(tcase, fake_setup, fake_teardown);
	tcase_add_test(tcase, items_are_pairs);
	tcase_add_test(tcase, none_may_be_there);
	tcase_add_loop_test(tcase, failures_are_told_apart, 0,
			    sizeof(failures) / sizeof(failures[0]));
	tcase_add_test(tcase, what_cannot_be_sent_is_not);
	tcase_add_test(tcase, its_answer_is_none_to_other_requests);
	return fake_run("lib status", (TCase *[]){tcase, NULL});
}
