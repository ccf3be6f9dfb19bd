/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Round trips through both daemons, by way of libqubesdb.
 *
 *   qdb-pingpong ping NAME COUNT    in dom0: writes /ping, waits for /pong, COUNT times
 *   qdb-pingpong pong               in the VM: writes /pong, then answers each /ping with
 *                                   one, until it is "end"
 *   qdb-pingpong write NAME COUNT   in dom0: COUNT writes, each waits for its answer
 *
 * "ping" and "write" print "median_us=N max_us=N".
 */
#include <qubesdb-client.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "timing.h"

static int fails(const char *what)
{
	perror(what);
	return 1;
}

static int await_event(qdb_handle_t h)
{
	char *path = qdb_read_watch(h);

	free(path);
	return path ? 0 : -1;
}

static int pong(void)
{
	qdb_handle_t h = qdb_open(NULL);
	bool more = true;

	if (!h || !qdb_watch(h, "/ping") || !qdb_write(h, "/pong", "ready", 5))
		return fails("cannot watch");
	while (more) {
		char *value;
		unsigned len;

		if (await_event(h) < 0)
			return fails("no event");
		value = qdb_read(h, "/ping", &len);
		if (!value || !qdb_write(h, "/pong", value, len))
			return fails("cannot answer");
		more = strcmp(value, "end") != 0;
		free(value);
	}
	qdb_close(h);
	return 0;
}

static bool put(qdb_handle_t h, char *path, const char *value)
{
	return qdb_write(h, path, (char *)value, (unsigned)strlen(value));
}

/* These tell how many microseconds it took, or -1. */
static long write_once(qdb_handle_t h, const char *value)
{
	const long start = now_us();

	return put(h, "/local", value) ? now_us() - start : -1;
}

/* The clock has stopped when it looks whether the answer is the right one. */
static long ping(qdb_handle_t h, const char *value)
{
	const long start = now_us();
	char *answer;
	long took;

	if (!put(h, "/ping", value) || await_event(h) < 0)
		return -1;
	took = now_us() - start;
	answer = qdb_read(h, "/pong", NULL);
	if (!answer || strcmp(answer, value) != 0)
		took = -1;
	free(answer);
	return took;
}

static int measure(char *name, bool both_ways, int count)
{
	long (*const once)(qdb_handle_t, const char *) = both_ways ? ping : write_once;
	qdb_handle_t h = qdb_open(name);
	long *took = calloc((size_t)count, sizeof(*took));
	char value[16];

	if (!h || !took || (both_ways && !qdb_watch(h, "/pong")))
		return fails("cannot begin");
	for (int i = 0; i < count; i++) {
		snprintf(value, sizeof(value), "%d", i);
		took[i] = once(h, value);
		if (took[i] < 0)
			return fails("no answer");
	}
	if (both_ways && ping(h, "end") < 0)
		return fails("no end");
	print_times(took, count);
	free(took);
	qdb_close(h);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "pong"))
		return pong();
	if (argc == 4 && !strcmp(argv[1], "ping") && atoi(argv[3]) > 0)
		return measure(argv[2], true, atoi(argv[3]));
	if (argc == 4 && !strcmp(argv[1], "write") && atoi(argv[3]) > 0)
		return measure(argv[2], false, atoi(argv[3]));
	fprintf(stderr,
		"usage: qdb-pingpong ping|write NAME COUNT | qdb-pingpong pong\n");
	return 1;
}
