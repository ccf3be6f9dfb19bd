/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's bytes into the asynchronous interface of libqubesdb. Every request that is
 * started is completed exactly once, in the order of the requests, with one of the errors
 * that there are; and callbacks start, take back and close as they like.
 */
#include <errno.h>
#include <string.h>

#include "lib/qubesdb-async.h"
#include "tests/fuzz/fake.h"

#define REQUESTS 4096
#define WATCHES 64

static qdb_async_t handle;
static bool is_closed;
static size_t started; /* requests, in order */
static size_t completed;
static int watches[WATCHES];
static size_t n_watches;

static void act(void);

static void from_callback(void)
{
	if (!is_closed && script_byte(&fake.script) % 8 == 1)
		act();
}

static void check_result(const struct qdb_result *r)
{
	switch (r->error) {
	case 0:
		break;
	case ENOENT:
	case EPERM:
	case EPIPE:
	case EPROTO:
	case ECANCELED:
	case ENOTSUP:
		fuzz_require(r->count == 0 || r->error == EPROTO || r->error == EPIPE ||
			     r->error == ECANCELED);
		break;
	default:
		fuzz_require(!"an error that is not documented");
	}
	for (unsigned i = 0; r->error == 0 && i < r->count; i++) {
		const struct qdb_entry *e = &r->entries[i];

		fuzz_require(strlen(e->path) < QDB_MAX_PATH);
		fuzz_require(!e->value || strlen(e->value) == e->value_len);
		fuzz_require(e->value_len <= QDB_MAX_DATA);
	}
}

static void on_done(void *token, const struct qdb_result *r)
{
	fuzz_require((size_t)token == completed);
	completed++;
	check_result(r);
	from_callback();
}

static void on_watch_done(void *token, const struct qdb_result *r)
{
	(void)token;
	fuzz_require(r->count == 0);
	check_result(r);
	from_callback();
}

static void on_event(void *token, const char *path)
{
	(void)token;
	fuzz_require(strlen(path) < QDB_MAX_PATH);
	from_callback();
}

static void start(char *path)
{
	static char value[QDB_MAX_DATA];
	const struct qdb_entry entries[] = {{path, "a", 1}, {path, NULL, 0}};
	void *token = (void *)started;
	int r = 0;

	memset(value, 'v', sizeof(value));
	switch (script_byte(&fake.script) % 6) {
	case 0:
		r = qdb_async_read(handle, path, on_done, token);
		break;
	case 1:
		r = qdb_async_list(handle, path, on_done, token);
		break;
	case 2:
		r = qdb_async_multiread(handle, path, on_done, token);
		break;
	case 3:
		r = qdb_async_write(handle, path, value,
				    script_word(&fake.script) % sizeof(value), on_done,
				    token);
		break;
	case 4:
		r = qdb_async_rm(handle, path, on_done, token);
		break;
	case 5:
		r = qdb_async_write_many(handle, entries, 2, on_done, token);
		break;
	}
	started += r == 1;
}

static void watch(char *path)
{
	int id;

	if (n_watches == WATCHES)
		return;
	id = qdb_async_watch(handle, path, on_event, on_watch_done, NULL);
	if (id > 0)
		watches[n_watches++] = id;
}

static void unwatch(void)
{
	const size_t i = script_byte(&fake.script) % WATCHES;

	if (i < n_watches)
		qdb_async_unwatch(handle, watches[i]);
}

static void close_handle(void)
{
	is_closed = true;
	qdb_async_close(handle);
}

/* Anything but processing: in callbacks, too. */
static void act(void)
{
	const unsigned op = script_byte(&fake.script);
	char path[QDB_MAX_PATH];

	script_path(&fake.script, path);
	if (started >= REQUESTS)
		return;
	switch (op % 16) {
	case 0:
	case 1:
	case 2:
		watch(path);
		break;
	case 3:
		unwatch();
		break;
	case 4:
		if (op == 0xf4)
			close_handle();
		break;
	default:
		start(path);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fake_begin(data, size);
	fake.reads_ahead = true;
	is_closed = false;
	started = completed = n_watches = 0;
	FAKE_CALL(handle = qdb_async_open(NULL));
	fuzz_require(!handle == (fake.fd < 0));
	while (handle && !is_closed && !script_is_over(&fake.script)) {
		if (script_byte(&fake.script) & 1)
			FAKE_CALL(qdb_async_process(handle));
		else
			FAKE_CALL(act());
		if (script_byte(&fake.script) >= 0xc0)
			fake_surprise();
	}
	if (!is_closed)
		FAKE_CALL(close_handle());
	fuzz_require(!handle || completed == started);
	fake_end();
	return 0;
}
