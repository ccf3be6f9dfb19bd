/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The read-only socket is the last that a daemon closes, so a handle may come to it. */
#include <errno.h>
#include <sys/socket.h>

#include "test_lib_fake.h"

static void serve_watch(void)
{
	fake_accept();
	fake_expect(QDB_CMD_WATCH, "/w", NULL);
	fake_send(QDB_RESP_OK, "/w", NULL);
}

static void serve_watch_and_write(void)
{
	serve_watch();
	fake_expect(QDB_CMD_WRITE, "/a", "v");
	fake_send(QDB_RESP_OK, "/a", NULL);
}

static bool write_a(void)
{
	return qdb_write(fake_handle, "/a", "v", 1) == 1;
}

static bool rm_a(void)
{
	return qdb_rm(fake_handle, "/a") == 1;
}

static bool write_many(void)
{
	const struct qdb_entry entry = {"/a", "v", 1};

	return qdb_write_many(fake_handle, &entry, 1) == 1;
}

static const struct {
	bool (*call)(void);
	size_t size;
} changes[] = {{write_a, 73}, {rm_a, 72}, {write_many, 72 + 5}};

static size_t change_size;

#define CHANGES ((int)(sizeof(changes) / sizeof(changes[0])))

/* From now on connections come to this socket. */
static void listen_only(const char *name)
{
	fake_unlisten();
	fake_listener = fake_listen(name);
}

static void take_change_and_close_read_write(void)
{
	char bytes[100];

	ck_assert_int_eq(recv(fake_peer, bytes, change_size, MSG_WAITALL),
			 (ssize_t)change_size);
	listen_only("qubesdb.ro.sock");
	fake_hang_up();
}

START_TEST(what_may_have_been_done_is_not_refused)
{
	change_size = changes[_i].size;
	fake_start(take_change_and_close_read_write);
	errno = 0;
	ck_assert(!changes[_i].call());
	ck_assert_int_eq(errno, EPIPE);
	fake_join();
	fake_accept();
	fake_expect_nothing();
}
END_TEST

static void serve_watch_and_read(void)
{
	serve_watch();
	fake_expect(QDB_CMD_READ, "/a", NULL);
	fake_send(QDB_RESP_ERROR_NOENT, "/a", NULL);
}

/* The handle has connected again, by a command that reads, to the read-only socket. */
static void become_read_only(void)
{
	fake_set_watch("/w");
	listen_only("qubesdb.ro.sock");
	fake_hang_up();
	fake_start(serve_watch_and_read);
	ck_assert_ptr_null(qdb_read(fake_handle, "/a", NULL));
	ck_assert_int_eq(errno, ENOENT);
	fake_join();
	fake_expect_event("/w");
	ck_assert_int_eq(qdb_is_read_only(fake_handle), 1);
}

START_TEST(a_change_finds_the_read_write_socket_again)
{
	become_read_only();
	fake_send(QDB_RESP_WATCH, "/one", NULL);
	listen_only("qubesdb.sock");
	fake_start(serve_watch_and_write);
	ck_assert(write_a());
	fake_join();
	ck_assert_int_eq(qdb_is_read_only(fake_handle), 0);
	ck_assert_int_eq(qdb_watches_pending(fake_handle), 2);
	fake_expect_event("/one");
	fake_expect_event("/w");
}
END_TEST

START_TEST(where_there_is_none_a_change_is_refused)
{
	become_read_only();
	fake_send(QDB_RESP_ERROR, "/a", NULL);
	errno = EPIPE;
	ck_assert(!write_a());
	ck_assert_int_eq(errno, 0);
	fake_expect(QDB_CMD_WRITE, "/a", "v");
	fake_send(QDB_RESP_WATCH, "/one", NULL);
	fake_expect_event("/one");
}
END_TEST

START_TEST(who_polls_is_told_of_it)
{
	int fd;

	become_read_only();
	fd = qdb_watch_fd(fake_handle);
	fake_send(QDB_RESP_WATCH, "/one", NULL);
	listen_only("qubesdb.sock");
	ck_assert(!write_a());
	ck_assert_int_eq(errno, EPIPE);
	ck_assert(!fake_is_open(fd));
	fake_accept();
	fake_expect_nothing();
	fake_start(serve_watch_and_write);
	ck_assert(write_a());
	fake_join();
	fake_expect_event("/one");
	fake_expect_event("/w");
}
END_TEST

START_TEST(who_has_never_been_there_does_not_try)
{
	qdb_close(fake_handle);
	listen_only("qubesdb.ro.sock");
	fake_handle = qdb_open(NULL);
	fake_accept();
	listen_only("qubesdb.sock");
	fake_send(QDB_RESP_ERROR, "/a", NULL);
	ck_assert(!write_a());
	ck_assert_int_eq(errno, 0);
	ck_assert(!fake_is_asked_to_accept());
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("regain");

	tcase_add_checked_fixture(tcase, fake_setup, fake_teardown);
	tcase_add_loop_test(tcase, what_may_have_been_done_is_not_refused, 0, CHANGES);
	tcase_add_test(tcase, a_change_finds_the_read_write_socket_again);
	tcase_add_test(tcase, where_there_is_none_a_change_is_refused);
	tcase_add_test(tcase, who_polls_is_told_of_it);
	tcase_add_test(tcase, who_has_never_been_there_does_not_try);
	return fake_run("lib regain", (TCase *[]){tcase, NULL});
}
