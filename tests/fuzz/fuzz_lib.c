/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's bytes into libqubesdb. Every call must end as qubesdb-client.h says,
 * whatever has come, and take no more from the socket than its own messages.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qubesdb-client.h"
#include "tests/fuzz/fake.h"

static qdb_handle_t handle;
static bool watches_anything; /* the daemon has accepted an ill-formed path */
static bool is_timed;         /* commands have a time-out */

/* errno is one of those that the header names. */
static void check_failure(bool reads, bool waits)
{
	switch (errno) {
	case ENOENT:
		fuzz_require(reads);
		break;
	case EINTR:
		fuzz_require(waits && fake.interrupted);
		break;
	case ETIMEDOUT:
		fuzz_require(fake.timed_out || is_timed);
		break;
	default:
		fuzz_require(errno == 0 || errno == EPROTO || errno == EPIPE);
	}
}

/* Whatever was not wanted has been read to its end, or the connection is closed. */
static void check_between(void)
{
	fuzz_require(fake.fd < 0 || framing_is_between(&fake.read));
}

static void do_read(char *path)
{
	unsigned len = 12345;
	char *value;

	FAKE_CALL(value = qdb_read(handle, path, &len));
	if (value) {
		fuzz_require(strlen(value) == len && len <= QDB_MAX_DATA);
		check_between();
	} else {
		fuzz_require(len == 12345);
		check_failure(true, false);
	}
	free(value);
}

static void check_strings(char **strings, unsigned n, unsigned width, const char *prefix,
			  const unsigned *lens)
{
	for (unsigned i = 0; i < n; i++) {
		const char *path = strings[i * width];

		fuzz_require(strncmp(path, prefix, strlen(prefix)) == 0);
		fuzz_require(wire_classify(path, strlen(path)) == WIRE_ENTRY);
		if (lens)
			fuzz_require(strlen(strings[i * width + 1]) == lens[i]);
	}
	for (unsigned i = 0; i < n * width; i++)
		free(strings[i]);
	for (unsigned i = 0; i < width; i++)
		fuzz_require(!strings[n * width + i]);
	free(strings);
	check_between();
}

static void do_list(char *path)
{
	unsigned n = 12345;
	char **paths;

	FAKE_CALL(paths = qdb_list(handle, path, &n));
	if (paths) {
		check_strings(paths, n, 1, path, NULL);
		return;
	}
	fuzz_require(n == 12345);
	check_failure(false, false);
}

static void do_multiread(char *path)
{
	unsigned n = 12345, *lens = NULL;
	const bool wants_lens = script_byte(&fake.script) & 1;
	char **strings;

	FAKE_CALL(strings = qdb_multiread(handle, path, wants_lens ? &lens : NULL, &n));
	if (strings) {
		check_strings(strings, n, 2, path, lens);
		free(lens);
		return;
	}
	fuzz_require(n == 12345 && !lens);
	check_failure(false, false);
}

static void do_status(char *prefix)
{
	unsigned n = 12345;
	char **items;

	FAKE_CALL(items = qdb_status(handle, prefix, &n));
	if (items) {
		check_strings(items, n, 2, prefix, NULL);
		return;
	}
	fuzz_require(n == 12345);
	if (errno != ENOTSUP)
		check_failure(false, false);
}

static void check_int(int result)
{
	fuzz_require(result == 0 || result == 1);
	if (result == 1)
		check_between();
	else
		check_failure(false, false);
}

static void do_write(char *path)
{
	static char value[QDB_MAX_DATA + 1];
	const unsigned len = script_word(&fake.script) % (QDB_MAX_DATA + 2);
	int result;

	memset(value, 'v', sizeof(value));
	FAKE_CALL(result = qdb_write(handle, path, value, len));
	check_int(result);
	fuzz_require(result == 0 || len <= QDB_MAX_DATA);
}

static void do_write_many(char *path)
{
	static char value[QDB_MAX_DATA];
	struct qdb_entry entries[100];
	const unsigned n = 1 + script_byte(&fake.script) % 100;
	const unsigned len = script_byte(&fake.script) & 1 ? QDB_MAX_DATA : 1;
	int result;

	memset(value, 'v', sizeof(value));
	for (unsigned i = 0; i < n; i++)
		entries[i] = (struct qdb_entry){path, value, len};
	FAKE_CALL(result = qdb_write_many(handle, entries, n));
	if (result == 0 && (errno == ENOTSUP || errno == E2BIG))
		return;
	check_int(result);
}

static void do_trace(int on)
{
	int result;

	FAKE_CALL(result = qdb_trace(handle, on));
	check_int(result);
}

static void do_other(char *path, int (*function)(qdb_handle_t, const char *))
{
	int result;

	FAKE_CALL(result = function(handle, path));
	check_int(result);
	watches_anything |= wire_classify(path, strlen(path)) == WIRE_ILL_FORMED;
}

static void do_read_watch(void)
{
	const int queued = qdb_watches_pending(handle);
	char *path;

	FAKE_CALL(path = qdb_read_watch(handle));
	if (path) {
		fuzz_require(strlen(path) < QDB_MAX_PATH);
		fuzz_require(watches_anything ||
			     wire_classify(path, strlen(path)) != WIRE_ILL_FORMED);
		if (queued == 0)
			check_between();
	} else {
		fuzz_require(queued == 0);
		check_failure(false, true);
	}
	free(path);
}

/* It keeps its number while the connection lives, and when it is lost. */
static void do_watch_fd(void)
{
	const int before = fake.fd;
	int fd;

	FAKE_CALL(fd = qdb_watch_fd(handle));
	fuzz_require(before < 0 || fd == before);
	fuzz_require(fd < 0 || fake.is_open[fd - FAKE_FIRST]);
	if (fd < 0) {
		fuzz_require(errno != 0);
		check_failure(false, false);
	}
}

static void do_reconnect(void)
{
	int result;

	FAKE_CALL(result = qdb_reconnect(handle));
	fuzz_require(result == 0 || fake.fd >= 0);
	if (result == 0)
		check_failure(false, true);
}

static void step(void)
{
	const unsigned op = script_byte(&fake.script);
	char path[QDB_MAX_PATH];

	script_path(&fake.script, path);
	if (op >= 0xfa) {
		do_trace(op & 1);
		return;
	}
	if (op >= 0xf4) {
		do_status(path);
		return;
	}
	if (op >= 0xf2) {
		do_reconnect();
		return;
	}
	switch (op % 11) {
	case 0:
		do_read(path);
		break;
	case 1:
		do_list(path);
		break;
	case 2:
		do_multiread(path);
		break;
	case 3:
		do_write(path);
		break;
	case 4:
		do_other(path, qdb_rm);
		break;
	case 5:
		do_other(path, qdb_watch);
		break;
	case 6:
		do_other(path, qdb_unwatch);
		break;
	case 7:
		do_read_watch();
		break;
	case 8:
		do_watch_fd();
		break;
	case 9:
		do_write_many(path);
		break;
	case 10:
		is_timed = script_byte(&fake.script) & 1;
		fuzz_require(qdb_set_timeout(handle, is_timed ? 100 : 0) == 1);
		break;
	}
}

static void open_handle(void)
{
	static char name[] = "vm";
	char *vmname = script_byte(&fake.script) & 1 ? name : NULL;

	FAKE_CALL(handle = qdb_open(vmname));
	fuzz_require(handle || errno != ERANGE);
	fuzz_require(!handle == (fake.fd < 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fake_begin(data, size);
	watches_anything = is_timed = false;
	open_handle();
	while (handle && !script_is_over(&fake.script)) {
		step();
		if (script_byte(&fake.script) >= 0xc0)
			fake_surprise();
	}
	FAKE_CALL(qdb_close(handle));
	fake_end();
	return 0;
}
