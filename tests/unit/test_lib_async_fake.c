/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "test_lib_async_fake.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "test_lib_fake.h"

qdb_async_t async;
char text[ASYNC_TEXT_SIZE];

void async_setup(void)
{
	fake_setup_listener();
	async = qdb_async_open(NULL);
	ck_assert_ptr_nonnull(async);
	fake_accept();
}

void async_teardown(void)
{
	qdb_async_close(async);
	fake_teardown();
}

static void append(const char *piece)
{
	ck_assert_uint_lt(strlen(text) + strlen(piece) + 2, ASYNC_TEXT_SIZE);
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

void note_done(void *token, const struct qdb_result *result)
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

void note_event(void *token, const char *path)
{
	append(token);
	append("!");
	append(path);
	append(";");
}

char A[] = "A", B[] = "B", C[] = "C", D[] = "D";

bool is_ready(void)
{
	return fake_is_readable(qdb_async_fd(async));
}

void happens(const char *expected)
{
	qdb_async_process(async);
	ck_assert_str_eq(text, expected);
	text[0] = '\0';
}

void happens_when_ready(const char *expected)
{
	struct pollfd p = {.fd = qdb_async_fd(async), .events = POLLIN};

	ck_assert_int_eq(poll(&p, 1, -1), 1);
	happens(expected);
}

int watch(const char *path, char *token)
{
	int id = qdb_async_watch(async, path, note_event, NULL, token);

	ck_assert_int_gt(id, 0);
	fake_expect(QDB_CMD_WATCH, path, NULL);
	fake_send(QDB_RESP_OK, path, NULL);
	happens("");
	return id;
}
