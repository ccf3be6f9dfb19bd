/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening, the commands, and errno when the daemon or the library refuses. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test_lib_fake.h"

#define STALE 4711 /* an errno that no call sets */

static char path_63[64], path_64[65], value_3072[3073];

static void fill_long_strings(void)
{
	memset(path_63, 'p', sizeof(path_63) - 1);
	memset(path_64, 'p', sizeof(path_64) - 1);
	memset(value_3072, 'v', sizeof(value_3072) - 1);
	path_63[0] = path_64[0] = '/';
}

static void free_strings(char **strings, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(strings[i]);
	free(strings);
}

START_TEST(open_prefers_the_read_write_socket)
{
	int read_only = fake_listen("qubesdb.ro.sock");

	fake_handle = qdb_open(NULL);
	ck_assert_ptr_nonnull(fake_handle);
	ck_assert(fake_is_asked_to_accept());
	ck_assert(!fake_is_readable(read_only));
}
END_TEST

START_TEST(open_falls_back_to_the_read_only_socket)
{
	int read_only = fake_listen("qubesdb.ro.sock");

	fake_unlisten();
	fake_handle = qdb_open(NULL);
	ck_assert_ptr_nonnull(fake_handle);
	ck_assert(fake_is_readable(read_only));
}
END_TEST

START_TEST(open_finds_the_daemon_of_a_vm)
{
	char name[] = "vm-1";
	int read_write = fake_listen("qubesdb.vm-1.sock");
	int read_only;

	fake_handle = qdb_open(name);
	ck_assert_ptr_nonnull(fake_handle);
	ck_assert(fake_is_readable(read_write));
	qdb_close(fake_handle);
	close(read_write);

	read_only = fake_listen("qubesdb.vm-1.ro.sock");
	fake_handle = qdb_open(name);
	ck_assert_ptr_nonnull(fake_handle);
	ck_assert(fake_is_readable(read_only));
	ck_assert(!fake_is_asked_to_accept());
}
END_TEST

START_TEST(open_fails_with_the_errno_of_the_read_only_socket)
{
	int read_only;

	fake_unlisten();
	ck_assert_ptr_null(qdb_open(NULL));
	ck_assert_int_eq(errno, ENOENT);

	read_only = fake_listen("qubesdb.ro.sock");
	close(read_only);
	ck_assert_ptr_null(qdb_open(NULL));
	ck_assert_int_eq(errno, ECONNREFUSED);
}
END_TEST

START_TEST(open_refuses_names_that_are_no_names)
{
	char slash[] = "../vm", longest[120];

	ck_assert_ptr_null(qdb_open(slash));
	ck_assert_int_eq(errno, EINVAL);
	memset(longest, 'n', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	ck_assert_ptr_null(qdb_open(longest));
	ck_assert_int_eq(errno, ENAMETOOLONG);
}
END_TEST

/* The path of the read-only socket is longer. */
START_TEST(open_takes_a_path_that_just_fits)
{
	char name[80], file[108], path[128];
	int len, listener;

	memset(name, 'n', sizeof(name));
	len = 107 - qdb_find_socket("", 0, NULL, 0);
	name[len] = '\0';
	ck_assert_ptr_null(qdb_open(name));
	ck_assert_int_eq(errno, ENAMETOOLONG);
	snprintf(file, sizeof(file), "qubesdb.%s.sock", name);
	listener = fake_listen(file);
	fake_handle = qdb_open(name);
	ck_assert_int_eq(qdb_find_socket(name, 0, path, sizeof(path)), 107);
	unlink(path);
	close(listener);
	ck_assert_ptr_nonnull(fake_handle);
	ck_assert_str_eq(qdb_socket_path(fake_handle), path);
}
END_TEST

/* A name that fits behind "/", but not behind the default directory. */
START_TEST(open_takes_an_empty_directory_for_the_default)
{
	char name[81];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	ck_assert_int_eq(setenv("QUBESDB_RUNTIME_DIR", "/", 1), 0);
	ck_assert_ptr_null(qdb_open(name));
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_int_eq(setenv("QUBESDB_RUNTIME_DIR", "", 1), 0);
	ck_assert_ptr_null(qdb_open(name));
	ck_assert_int_eq(errno, ENAMETOOLONG);
}
END_TEST

START_TEST(a_handle_tells_which_socket_it_has)
{
	char expected[128], path[128];
	int read_only = fake_listen("qubesdb.vm-1.ro.sock"), read_write;

	fake_handle = qdb_open("vm-1");
	ck_assert_int_eq(qdb_is_read_only(fake_handle), 1);
	snprintf(expected, sizeof(expected), "%s/qubesdb.vm-1.ro.sock", fake_dir);
	ck_assert_str_eq(qdb_socket_path(fake_handle), expected);
	ck_assert_int_eq(qdb_find_socket("vm-1", 1, path, sizeof(path)),
			 (int)strlen(expected));
	ck_assert_str_eq(path, expected);

	read_write = fake_listen("qubesdb.vm-1.sock");
	close(read_only);
	qdb_close(fake_handle);
	fake_handle = qdb_open("vm-1");
	ck_assert_int_eq(qdb_is_read_only(fake_handle), 0);
	snprintf(expected, sizeof(expected), "%s/qubesdb.vm-1.sock", fake_dir);
	ck_assert_str_eq(qdb_socket_path(fake_handle), expected);
	close(read_write);
}
END_TEST

START_TEST(sockets_are_found_without_a_connection)
{
	char expected[128], path[128];
	int len = snprintf(expected, sizeof(expected), "%s/qubesdb.sock", fake_dir);

	ck_assert_int_eq(qdb_find_socket(NULL, 0, path, sizeof(path)), len);
	ck_assert_str_eq(path, expected);
	ck_assert_int_eq(qdb_find_socket(NULL, 0, NULL, 0), len);
	ck_assert_int_eq(qdb_find_socket(NULL, 0, path, 5), len);
	ck_assert_mem_eq(path, expected, 4);
	ck_assert_int_eq(path[4], '\0');
	errno = 0;
	ck_assert_int_eq(qdb_find_socket("a/b", 0, path, sizeof(path)), -1);
	ck_assert_int_eq(errno, EINVAL);
	errno = 0;
	ck_assert_int_eq(qdb_is_read_only(NULL), -1);
	ck_assert_int_eq(errno, EINVAL);
	errno = 0;
	ck_assert_ptr_null(qdb_socket_path(NULL));
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(descriptor_is_close_on_exec)
{
	ck_assert(fcntl(qdb_watch_fd(fake_handle), F_GETFD) & FD_CLOEXEC);
}
END_TEST

START_TEST(read_gives_value_and_length)
{
	char path[] = "/name";
	unsigned len = STALE;
	char *value;

	fake_send(QDB_RESP_READ, path, "personal");
	value = qdb_read(fake_handle, path, &len);
	ck_assert_str_eq(value, "personal");
	ck_assert_uint_eq(len, 8);
	free(value);
	fake_expect(QDB_CMD_READ, path, NULL);

	fake_send(QDB_RESP_READ, path, "");
	value = qdb_read(fake_handle, path, NULL);
	ck_assert_str_eq(value, "");
	free(value);
}
END_TEST

START_TEST(the_longest_path_and_value_pass)
{
	unsigned len;
	char *value;

	value_3072[QDB_MAX_DATA] = '\0';
	fake_send(QDB_RESP_READ, path_63, value_3072);
	value = qdb_read(fake_handle, path_63, &len);
	ck_assert_str_eq(value, value_3072);
	ck_assert_uint_eq(len, QDB_MAX_DATA);
	free(value);
	fake_expect(QDB_CMD_READ, path_63, NULL);

	fake_send(QDB_RESP_OK, path_63, NULL);
	ck_assert_int_eq(qdb_write(fake_handle, path_63, value_3072, QDB_MAX_DATA), 1);
	fake_expect(QDB_CMD_WRITE, path_63, value_3072);
}
END_TEST

START_TEST(read_tells_absent_from_refused)
{
	char path[] = "/name";
	unsigned len = STALE;

	fake_send(QDB_RESP_ERROR_NOENT, path, NULL);
	errno = 0;
	ck_assert_ptr_null(qdb_read(fake_handle, path, &len));
	ck_assert_int_eq(errno, ENOENT);

	fake_send(QDB_RESP_ERROR, path, NULL);
	ck_assert_ptr_null(qdb_read(fake_handle, path, &len));
	ck_assert_int_eq(errno, EPROTO);
	ck_assert_uint_eq(len, STALE);
}
END_TEST

START_TEST(list_gives_full_paths)
{
	char path[] = "/a";
	unsigned n = STALE;
	char **paths;

	fake_send(QDB_RESP_LIST, "/a", NULL);
	fake_send(QDB_RESP_LIST, "/a/b", NULL);
	fake_send(QDB_RESP_LIST, "", NULL);
	paths = qdb_list(fake_handle, path, &n);
	ck_assert_uint_eq(n, 2);
	ck_assert_str_eq(paths[0], "/a");
	ck_assert_str_eq(paths[1], "/a/b");
	ck_assert_ptr_null(paths[2]);
	free_strings(paths, n);
	fake_expect(QDB_CMD_LIST, path, NULL);
	ck_assert_uint_eq(fake_unread(qdb_watch_fd(fake_handle)), 0);
}
END_TEST

START_TEST(no_match_is_an_empty_list)
{
	char path[] = "/none";
	char **strings;
	unsigned n = STALE, *lens = NULL;

	fake_send(QDB_RESP_LIST, "", NULL);
	strings = qdb_list(fake_handle, path, &n);
	ck_assert_ptr_nonnull(strings);
	ck_assert_ptr_null(strings[0]);
	ck_assert_uint_eq(n, 0);
	free(strings);
	fake_expect(QDB_CMD_LIST, path, NULL);

	n = STALE;
	fake_send(QDB_RESP_MULTIREAD, "", NULL);
	strings = qdb_multiread(fake_handle, path, &lens, &n);
	ck_assert_ptr_nonnull(strings);
	ck_assert_ptr_null(strings[0]);
	ck_assert_ptr_null(strings[1]);
	ck_assert_ptr_nonnull(lens);
	ck_assert_uint_eq(n, 0);
	free(strings);
	free(lens);
	fake_expect(QDB_CMD_MULTIREAD, path, NULL);
}
END_TEST

START_TEST(a_refused_list_is_no_list)
{
	unsigned n = STALE;

	fake_send(QDB_RESP_ERROR, "/a", NULL);
	errno = ENOENT;
	ck_assert_ptr_null(qdb_list(fake_handle, "/a", &n));
	ck_assert_int_eq(errno, 0);
	ck_assert_uint_eq(n, STALE);
}
END_TEST

START_TEST(multiread_gives_pairs)
{
	char path[] = "/a";
	unsigned n = STALE, *lens = NULL;
	char **strings;

	for (int i = 0; i < 2; i++) {
		fake_send(QDB_RESP_MULTIREAD, "/a", "");
		fake_send(QDB_RESP_MULTIREAD, "/a/b", "two");
		fake_send(QDB_RESP_MULTIREAD, "", NULL);
	}
	strings = qdb_multiread(fake_handle, path, &lens, &n);
	ck_assert_uint_eq(n, 2);
	ck_assert_str_eq(strings[0], "/a");
	ck_assert_str_eq(strings[1], "");
	ck_assert_str_eq(strings[2], "/a/b");
	ck_assert_str_eq(strings[3], "two");
	ck_assert_ptr_null(strings[4]);
	ck_assert_ptr_null(strings[5]);
	ck_assert_uint_eq(lens[0], 0);
	ck_assert_uint_eq(lens[1], 3);
	free_strings(strings, 2 * n);
	free(lens);
	fake_expect(QDB_CMD_MULTIREAD, path, NULL);

	strings = qdb_multiread(fake_handle, path, NULL, NULL);
	ck_assert_str_eq(strings[3], "two");
	free_strings(strings, 4);
}
END_TEST

#define MANY 20000

static void send_many(void)
{
	char path[32], value[32];

	for (int i = 0; i < MANY; i++) {
		snprintf(path, sizeof(path), "/many/%05d", i);
		snprintf(value, sizeof(value), "value %d", i);
		fake_send(QDB_RESP_MULTIREAD, path, value);
	}
	fake_send(QDB_RESP_MULTIREAD, "", NULL);
}

START_TEST(multiread_takes_tens_of_thousands)
{
	char path[] = "/many/";
	unsigned n, *lens;
	char **strings;

	fake_start(send_many);
	strings = qdb_multiread(fake_handle, path, &lens, &n);
	fake_join();
	ck_assert_uint_eq(n, MANY);
	ck_assert_str_eq(strings[0], "/many/00000");
	ck_assert_str_eq(strings[2 * MANY - 2], "/many/19999");
	ck_assert_str_eq(strings[2 * MANY - 1], "value 19999");
	ck_assert_uint_eq(lens[MANY - 1], 11);
	ck_assert_ptr_null(strings[2 * MANY]);
	ck_assert_ptr_null(strings[2 * MANY + 1]);
	free_strings(strings, 2 * MANY);
	free(lens);
}
END_TEST

/* Commands that return 1 or 0, each with every answer that it can get. */
static int write_x(qdb_handle_t h, const char *path)
{
	char value[] = "x";

	return qdb_write(h, path, value, 1);
}

static const struct {
	int (*call)(qdb_handle_t h, const char *path);
	enum qdb_msg request, answer;
	const char *value;
	int result;
} simple[] = {
	{write_x, QDB_CMD_WRITE, QDB_RESP_OK, "x", 1},
	{write_x, QDB_CMD_WRITE, QDB_RESP_ERROR, "x", 0},
	{qdb_rm, QDB_CMD_RM, QDB_RESP_OK, NULL, 1},
	{qdb_rm, QDB_CMD_RM, QDB_RESP_ERROR_NOENT, NULL, 1},
	{qdb_rm, QDB_CMD_RM, QDB_RESP_ERROR, NULL, 0},
	{qdb_watch, QDB_CMD_WATCH, QDB_RESP_OK, NULL, 1},
	{qdb_watch, QDB_CMD_WATCH, QDB_RESP_ERROR, NULL, 0},
	{qdb_unwatch, QDB_CMD_UNWATCH, QDB_RESP_OK, NULL, 1},
	{qdb_unwatch, QDB_CMD_UNWATCH, QDB_RESP_ERROR_NOENT, NULL, 1},
	{qdb_unwatch, QDB_CMD_UNWATCH, QDB_RESP_ERROR, NULL, 0},
};

START_TEST(simple_commands)
{
	char path[] = "/some/path";

	fake_send(simple[_i].answer, path, NULL);
	errno = ENOENT;
	ck_assert_int_eq(simple[_i].call(fake_handle, path), simple[_i].result);
	if (simple[_i].result == 0)
		ck_assert_int_eq(errno, 0);
	fake_expect(simple[_i].request, path, simple[_i].value);
	fake_expect_nothing();
}
END_TEST

START_TEST(write_takes_no_value)
{
	char path[] = "/commit";

	fake_send(QDB_RESP_OK, path, NULL);
	ck_assert_int_eq(qdb_write(fake_handle, path, NULL, 0), 1);
	fake_expect(QDB_CMD_WRITE, path, NULL);

	ck_assert_int_eq(qdb_write(fake_handle, path, NULL, 1), 0);
	ck_assert_int_eq(errno, EINVAL);
	fake_expect_nothing();
}
END_TEST

START_TEST(a_value_that_is_too_long_is_not_sent)
{
	static const unsigned lens[] = {3072, 3073, 0xffffffff};
	char path[] = "/big";

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		errno = ENOENT;
		ck_assert_int_eq(qdb_write(fake_handle, path, value_3072, lens[i]), 0);
		ck_assert_int_eq(errno, 0);
	}
	fake_expect_nothing();
}
END_TEST

static void expect_errno(int expected)
{
	ck_assert_int_eq(errno, expected);
	errno = STALE;
}

static void all_fail_with(int expected, qdb_handle_t h, char *path)
{
	unsigned n = STALE, *lens = &n;
	char value[] = "x";

	errno = STALE;
	ck_assert_ptr_null(qdb_read(h, path, &n));
	expect_errno(expected);
	ck_assert_int_eq(qdb_write(h, path, value, 1), 0);
	expect_errno(expected);
	ck_assert_int_eq(qdb_rm(h, path), 0);
	expect_errno(expected);
	ck_assert_int_eq(qdb_watch(h, path), 0);
	expect_errno(expected);
	ck_assert_int_eq(qdb_unwatch(h, path), 0);
	expect_errno(expected);
	ck_assert_ptr_null(qdb_list(h, path, &n));
	expect_errno(expected);
	ck_assert_ptr_null(qdb_multiread(h, path, &lens, &n));
	expect_errno(expected);
	ck_assert_uint_eq(n, STALE);
	ck_assert_ptr_eq(lens, &n);
}

START_TEST(bad_paths_are_not_sent)
{
	char empty[] = "", relative[] = "rel/path", dash[] = "-a";

	all_fail_with(0, fake_handle, empty);
	all_fail_with(0, fake_handle, relative);
	all_fail_with(0, fake_handle, dash);
	all_fail_with(0, fake_handle, path_64);
	all_fail_with(EINVAL, fake_handle, NULL);
	fake_expect_nothing();
}
END_TEST

START_TEST(a_null_handle_is_an_error)
{
	char path[] = "/a", empty[] = "";

	all_fail_with(EINVAL, NULL, path);
	all_fail_with(EINVAL, NULL, empty);
	ck_assert_ptr_null(qdb_read_watch(NULL));
	expect_errno(EINVAL);
	ck_assert_int_eq(qdb_watch_fd(NULL), -1);
	expect_errno(EINVAL);
	ck_assert_int_eq(qdb_watches_pending(NULL), -1);
	expect_errno(EINVAL);
	qdb_close(NULL);
}
END_TEST

int main(void)
{
	TCase *opening = tcase_create("opening"), *tcase = tcase_create("commands");

	fill_long_strings();
	tcase_add_checked_fixture(opening, fake_setup_listener, fake_teardown);
	tcase_add_test(opening, open_prefers_the_read_write_socket);
	tcase_add_test(opening, open_falls_back_to_the_read_only_socket);
	tcase_add_test(opening, open_finds_the_daemon_of_a_vm);
	tcase_add_test(opening, open_fails_with_the_errno_of_the_read_only_socket);
	tcase_add_test(opening, open_refuses_names_that_are_no_names);
	tcase_add_test(opening, open_takes_a_path_that_just_fits);
	tcase_add_test(opening, open_takes_an_empty_directory_for_the_default);
	tcase_add_test(opening, a_handle_tells_which_socket_it_has);
	tcase_add_test(opening, sockets_are_found_without_a_connection);
	tcase_add_checked_fixture(tcase, fake_setup, fake_teardown);
	tcase_add_test(tcase, descriptor_is_close_on_exec);
	tcase_add_test(tcase, read_gives_value_and_length);
	tcase_add_test(tcase, the_longest_path_and_value_pass);
	tcase_add_test(tcase, read_tells_absent_from_refused);
	tcase_add_test(tcase, list_gives_full_paths);
	tcase_add_test(tcase, no_match_is_an_empty_list);
	tcase_add_test(tcase, a_refused_list_is_no_list);
	tcase_add_test(tcase, multiread_gives_pairs);
	tcase_add_test(tcase, multiread_takes_tens_of_thousands);
	tcase_add_loop_test(tcase, simple_commands, 0,
			    sizeof(simple) / sizeof(simple[0]));
	tcase_add_test(tcase, write_takes_no_value);
	tcase_add_test(tcase, a_value_that_is_too_long_is_not_sent);
	tcase_add_test(tcase, bad_paths_are_not_sent);
	tcase_add_test(tcase, a_null_handle_is_an_error);
	return fake_run("lib commands", (TCase *[]){opening, tcase, NULL});
}
