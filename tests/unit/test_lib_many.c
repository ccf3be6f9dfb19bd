/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qdb_write_many(): the request as it is sent, and what the answers mean. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "test_lib_fake.h"

#define MANY 85 /* entries of 3071 bytes that fit */

static struct qdb_entry entries[MANY + 1];
static char value[QDB_MAX_DATA];

static void fill_entries(void)
{
	memset(value, 'v', sizeof(value));
	for (int i = 0; i <= MANY; i++)
		entries[i] = (struct qdb_entry){"/path", value, sizeof(value)};
}

static void expect_data(const char *data, size_t len)
{
	struct qdb_hdr expected = {.type = QDB_CMD_WRITE_MANY, .data_len = (uint32_t)len};
	struct qdb_hdr hdr;
	char got[256];

	ck_assert_int_eq(recv(fake_peer, &hdr, sizeof(hdr), MSG_WAITALL), sizeof(hdr));
	ck_assert_mem_eq(&hdr, &expected, sizeof(hdr));
	ck_assert_int_eq(recv(fake_peer, got, len, MSG_WAITALL), (ssize_t)len);
	ck_assert_mem_eq(got, data, len);
}

START_TEST(entries_are_one_request)
{
	const struct qdb_entry some[] = {
		{"/a/1", "one", 3}, {"/a/2", NULL, 0}, {"/a/1", "again", 5}};

	fake_send(QDB_RESP_OK, "", NULL);
	ck_assert_int_eq(qdb_write_many(fake_handle, some, 3), 1);
	expect_data("/a/1\0one\0/a/2\0\0/a/1\0again", 26);
	fake_expect_nothing();
}
END_TEST

static const struct {
	enum qdb_msg type;
	const char *path;
	int error;
} failures[] = {
	{QDB_RESP_ERROR, "", ENOTSUP},
	{QDB_RESP_ERROR, "/a/1", 0},
	{QDB_RESP_ERROR, "/", 0},
	{QDB_RESP_ERROR_NOENT, "", EPROTO},
};

START_TEST(failures_are_told_apart)
{
	const struct qdb_entry one = {"/a/1", "one", 3};

	fake_send(failures[_i].type, failures[_i].path, NULL);
	errno = EINTR;
	ck_assert_int_eq(qdb_write_many(fake_handle, &one, 1), 0);
	ck_assert_int_eq(errno, failures[_i].error);
}
END_TEST

/* The daemon does know the request, but the handle is one for reading. */
START_TEST(a_read_only_connection_is_refused)
{
	const struct qdb_entry one = {"/a/1", "one", 3};

	fake_listener = fake_listen("qubesdb.vm-1.ro.sock");
	qdb_close(fake_handle);
	fake_handle = qdb_open("vm-1");
	ck_assert_ptr_nonnull(fake_handle);
	fake_accept();
	fake_send(QDB_RESP_ERROR, "", NULL);
	errno = EINTR;
	ck_assert_int_eq(qdb_write_many(fake_handle, &one, 1), 0);
	ck_assert_int_eq(errno, 0);
}
END_TEST

static void fails(const struct qdb_entry *some, unsigned n, int error)
{
	errno = EINTR;
	ck_assert_int_eq(qdb_write_many(fake_handle, some, n), 0);
	ck_assert_int_eq(errno, error);
}

START_TEST(what_cannot_be_sent_is_not)
{
	const struct qdb_entry bad[] = {
		{"rel", "v", 1}, {"/a", "a\0b", 3}, {"/a", value, 3072}};
	const struct qdb_entry null[] = {{NULL, "v", 1}, {"/a", NULL, 1}};

	for (int i = 0; i < 3; i++) {
		entries[1] = bad[i];
		fails(entries, 2, 0);
	}
	for (int i = 0; i < 2; i++) {
		entries[1] = null[i];
		fails(entries, 2, EINVAL);
	}
	fill_entries();
	fails(entries, MANY + 1, E2BIG);
	fails(entries, 0, EINVAL);
	fails(NULL, 1, EINVAL);
	ck_assert_int_eq(qdb_write_many(NULL, entries, 1), 0);
	ck_assert_int_eq(errno, EINVAL);
	fake_expect_nothing();
}
END_TEST

/* As a daemon does that has no room for events: it reads nothing until these are taken.
 */
static void send_events_then_answer(void)
{
	static char rest[MANY * (6 + QDB_MAX_DATA + 1)];
	struct qdb_hdr hdr;

	for (int i = 0; i < 10000; i++)
		fake_send(QDB_RESP_WATCH, "/event", NULL);
	ck_assert_int_eq(recv(fake_peer, &hdr, sizeof(hdr), MSG_WAITALL), sizeof(hdr));
	ck_assert_uint_eq(hdr.data_len, sizeof(rest));
	ck_assert_int_eq(recv(fake_peer, rest, sizeof(rest), MSG_WAITALL), sizeof(rest));
	fake_send(QDB_RESP_OK, "", NULL);
}

START_TEST(events_are_taken_while_sending)
{
	int smallest = 1;

	ck_assert_int_eq(
		setsockopt(fake_peer, SOL_SOCKET, SO_SNDBUF, &smallest, sizeof(smallest)),
		0);
	fake_start(send_events_then_answer);
	ck_assert_int_eq(qdb_write_many(fake_handle, entries, MANY), 1);
	fake_join();
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 1025);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("many");

	fill_entries();
	tcase_add_checked_fixture(tcase, fake_setup, fake_teardown);
	tcase_add_test(tcase, entries_are_one_request);
	tcase_add_loop_test(tcase, failures_are_told_apart, 0,
			    sizeof(failures) / sizeof(failures[0]));
	tcase_add_test(tcase, a_read_only_connection_is_refused);
	tcase_add_test(tcase, what_cannot_be_sent_is_not);
	tcase_add_test(tcase, events_are_taken_while_sending);
	return fake_run("lib many", (TCase *[]){tcase, NULL});
}
