/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The same conversation again and again, with the first, the second, ... allocation of
 * the library failing. Whatever call it hits reports ENOMEM, and the same call succeeds
 * when made once more; leaks are for the sanitizer to find.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/qubesdb-async.h"
#include "test_lib_fake.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

/* Allocations to go until one fails; negative: none does. */
static int budget = -1;
static bool has_failed;
static _Thread_local bool is_in_library;

/* Check allocates too. */
#define IN_LIBRARY(call) (is_in_library = true, call, is_in_library = false)

static bool fails_now(void)
{
	if (!is_in_library || budget < 0 || budget-- > 0)
		return false;
	has_failed = true;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return fails_now() ? NULL : __real_reallocarray(p, n, size);
}

#define LISTED 40 /* enough to make the arrays grow */

/* The library may have closed the connection by now. */
static void answer(enum qdb_msg type, const char *path, const char *value)
{
	struct qdb_hdr hdr;

	fake_header(&hdr, type, path, strlen(value));
	if (send(fake_peer, &hdr, sizeof(hdr), MSG_NOSIGNAL) > 0)
		send(fake_peer, value, strlen(value), MSG_NOSIGNAL);
}

static void answer_entries(enum qdb_msg type)
{
	char path[] = "/a/00";

	for (int i = 0; i < LISTED; i++) {
		path[3] = (char)('0' + i / 10);
		path[4] = (char)('0' + i % 10);
		answer(QDB_RESP_WATCH, path, "");
		answer(type, path, type == QDB_RESP_MULTIREAD ? "value" : "");
	}
	answer(type, "", "");
}

static void answer_request(const struct qdb_hdr *request)
{
	switch (request->type) {
	case QDB_CMD_READ:
		answer(QDB_RESP_WATCH, "/event", "");
		answer(QDB_RESP_READ, request->path, "value");
		break;
	case QDB_CMD_LIST:
		answer_entries(QDB_RESP_LIST);
		break;
	case QDB_CMD_MULTIREAD:
		answer_entries(QDB_RESP_MULTIREAD);
		break;
	default:
		answer(QDB_RESP_OK, request->path, "");
	}
}

static void skip_data(size_t len)
{
	char data[QDB_MAX_DATA];

	if (len > 0)
		recv(fake_peer, data, len, MSG_WAITALL);
}

/* Serves one connection after the other, until the listener is shut down. */
static void serve(void)
{
	struct qdb_hdr request;

	while ((fake_peer = accept(fake_listener, NULL, NULL)) >= 0) {
		while (recv(fake_peer, &request, sizeof(request), MSG_WAITALL) ==
		       sizeof(request)) {
			skip_data(request.data_len);
			answer_request(&request);
		}
		fake_hang_up();
	}
}

static void free_strings(char **strings, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(strings[i]);
	free(strings);
}

static char path_a[] = "/a";

static bool do_open(void)
{
	IN_LIBRARY(fake_handle = qdb_open(NULL));
	return fake_handle != NULL;
}

static bool do_watch(void)
{
	int result;

	IN_LIBRARY(result = qdb_watch(fake_handle, path_a));
	return result == 1;
}

static bool do_read(void)
{
	char *value;

	IN_LIBRARY(value = qdb_read(fake_handle, path_a, NULL));
	if (value == NULL)
		return false;
	ck_assert_str_eq(value, "value");
	free(value);
	return true;
}

static bool do_read_watch(void)
{
	char *path;

	IN_LIBRARY(path = qdb_read_watch(fake_handle));
	free(path);
	return path != NULL;
}

static bool do_list(void)
{
	unsigned n;
	char **paths;

	IN_LIBRARY(paths = qdb_list(fake_handle, path_a, &n));
	if (paths == NULL)
		return false;
	ck_assert_uint_eq(n, LISTED);
	ck_assert_ptr_null(paths[LISTED]);
	free_strings(paths, n);
	return true;
}

static bool do_multiread(void)
{
	unsigned n, *lens;
	char **strings;

	IN_LIBRARY(strings = qdb_multiread(fake_handle, path_a, &lens, &n));
	if (strings == NULL)
		return false;
	ck_assert_uint_eq(n, LISTED);
	ck_assert_str_eq(strings[2 * LISTED - 1], "value");
	ck_assert_uint_eq(lens[LISTED - 1], 5);
	free_strings(strings, 2 * n);
	free(lens);
	return true;
}

static bool do_write_many(void)
{
	const struct qdb_entry entries[] = {{"/a", "1", 1}, {"/b", "2", 1}};
	int result;

	IN_LIBRARY(result = qdb_write_many(fake_handle, entries, 2));
	return result == 1;
}

static bool do_reconnect(void)
{
	int fd;

	IN_LIBRARY(fd = qdb_watch_fd(fake_handle));
	return fd >= 0;
}

/* Makes the connection fail under a command, so that the next call reconnects. */
static bool do_lose_connection(void)
{
	shutdown(qdb_watch_fd(fake_handle), SHUT_RDWR);
	ck_assert_ptr_null(qdb_read(fake_handle, path_a, NULL));
	return errno == EPIPE;
}

static bool (*const steps[])(void) = {
	do_open,      do_watch,      do_read,      do_read_watch,
	do_list,      do_read,       do_multiread, do_lose_connection,
	do_reconnect, do_read_watch, do_read,      do_read_watch,
	do_multiread, do_write_many,
};

static void run_step(bool (*step)(void))
{
	bool had_failed = has_failed;

	if (step())
		return;
	ck_assert_int_eq(errno, ENOMEM);
	ck_assert(has_failed && !had_failed);
	ck_assert(step());
}

/* Whether an allocation failed at all. */
static bool run_conversation(int allocations)
{
	has_failed = false;
	budget = allocations;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		run_step(steps[i]);
	qdb_close(fake_handle);
	fake_handle = NULL;
	budget = -1;
	return has_failed;
}

START_TEST(any_allocation_may_fail)
{
	int n = 0;

	fake_start(serve);
	while (run_conversation(n))
		n++;
	ck_assert_int_gt(n, 3 * LISTED);
	shutdown(fake_listener, SHUT_RDWR);
	fake_join();
}
END_TEST

/* ---- the asynchronous interface ---- */

static qdb_async_t async;
static int completed, events;

static void on_done(void *token, const struct qdb_result *result)
{
	*(int *)token = result->error;
	completed++;
}

static void on_event(void *token, const char *path)
{
	(void)token, (void)path;
	events++;
}

static bool do_async_open(void)
{
	IN_LIBRARY(async = qdb_async_open(NULL));
	return async != NULL;
}

/* Whether a request that was started, or not, came to a good end. */
static bool completes(int started, const int *error)
{
	struct pollfd p = {.fd = qdb_async_fd(async), .events = POLLIN};

	if (started == 0)
		return false;
	while (completed == 0) {
		ck_assert_int_eq(poll(&p, 1, -1), 1);
		IN_LIBRARY(qdb_async_process(async));
	}
	completed = 0;
	errno = *error;
	return *error == 0;
}

static bool do_async_watch(void)
{
	int error, started;

	IN_LIBRARY(started = qdb_async_watch(async, "/a", on_event, on_done, &error));
	return completes(started, &error);
}

static bool do_async_read(void)
{
	int error, started;

	IN_LIBRARY(started = qdb_async_read(async, "/a", on_done, &error));
	return completes(started, &error);
}

static bool do_async_list(void)
{
	int error, started;

	IN_LIBRARY(started = qdb_async_list(async, "/a", on_done, &error));
	return completes(started, &error);
}

static bool do_async_multiread(void)
{
	int error, started;

	IN_LIBRARY(started = qdb_async_multiread(async, "/a", on_done, &error));
	return completes(started, &error);
}

static bool do_async_write_many(void)
{
	const struct qdb_entry entries[] = {{"/a", "1", 1}, {"/b", "2", 1}};
	int error, started;

	IN_LIBRARY(started = qdb_async_write_many(async, entries, 2, on_done, &error));
	return completes(started, &error);
}

static bool (*const async_steps[])(void) = {
	do_async_open, do_async_watch,     do_async_read,
	do_async_list, do_async_multiread, do_async_write_many,
};

static bool run_async_conversation(int allocations)
{
	has_failed = false;
	budget = allocations;
	for (size_t i = 0; i < sizeof(async_steps) / sizeof(async_steps[0]); i++)
		run_step(async_steps[i]);
	qdb_async_close(async);
	async = NULL;
	budget = -1;
	return has_failed;
}

START_TEST(any_allocation_of_an_event_loop_may_fail)
{
	int n = 0;

	fake_start(serve);
	while (run_async_conversation(n))
		n++;
	ck_assert_int_gt(n, 2 * LISTED);
	shutdown(fake_listener, SHUT_RDWR);
	fake_join();
}
END_TEST

/* The watch that could not be set again is set with the next attempt. */
START_TEST(no_watch_is_lost_for_want_of_memory)
{
	struct pollfd p = {.events = POLLIN};

	ck_assert(do_async_open());
	fake_accept();
	ck_assert_int_gt(qdb_async_watch(async, "/a", on_event, NULL, NULL), 0);
	fake_expect(QDB_CMD_WATCH, "/a", NULL);
	fake_send(QDB_RESP_OK, "/a", NULL);
	ck_assert_int_eq(qdb_async_process(async), 1);
	fake_hang_up();
	budget = 0;
	IN_LIBRARY(qdb_async_process(async));
	ck_assert(has_failed);
	budget = -1;
	fake_accept();
	fake_hang_up();

	p.fd = qdb_async_fd(async);
	ck_assert_int_eq(poll(&p, 1, -1), 1);
	ck_assert_int_eq(qdb_async_process(async), 1);
	fake_accept();
	fake_expect(QDB_CMD_WATCH, "/a", NULL);
	fake_send(QDB_RESP_OK, "/a", NULL);
	ck_assert_int_eq(qdb_async_process(async), 1);
	ck_assert_int_eq(events, 1);
	qdb_async_close(async);
}
END_TEST

/* Events go straight from the socket to the caller when nothing is queued. */
START_TEST(an_event_is_not_lost_for_want_of_memory)
{
	char *path;

	ck_assert(do_open());
	fake_accept();
	fake_send(QDB_RESP_WATCH, "/kept", NULL);
	budget = 0;
	ck_assert(!do_read_watch());
	ck_assert_int_eq(errno, ENOMEM);
	path = qdb_read_watch(fake_handle);
	ck_assert_str_eq(path, "/kept");
	free(path);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("memory");

	tcase_add_checked_fixture(tcase, fake_setup_listener, fake_teardown);
	tcase_add_test(tcase, any_allocation_may_fail);
	tcase_add_test(tcase, an_event_is_not_lost_for_want_of_memory);
	tcase_add_test(tcase, any_allocation_of_an_event_loop_may_fail);
	tcase_add_test(tcase, no_watch_is_lost_for_want_of_memory);
	return fake_run("lib memory", (TCase *[]){tcase, NULL});
}
