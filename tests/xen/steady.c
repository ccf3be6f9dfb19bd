/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A local client in dom0 that is served throughout, or says that it was not.
 *
 *   qdb-steady NAME COUNT   COUNT round trips, each a write or a read of what was
 *                           written; 0: until SIGTERM
 *
 * Prints "round_trips=N max_us=N".
 */
#include <qubesdb-client.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "timing.h"

static volatile sig_atomic_t ended;

static void on_end(int signal)
{
	(void)signal;
	ended = 1;
}

static int write_and_read(qdb_handle_t h, long turn)
{
	char path[] = "/steady", value[32], *found = NULL;
	unsigned len = 0;
	int ok;

	snprintf(value, sizeof(value), "%ld", turn / 2);
	if (turn % 2 == 0)
		return qdb_write(h, path, value, (unsigned)strlen(value));
	found = qdb_read(h, path, &len);
	ok = found && strcmp(found, value) == 0;
	free(found);
	return ok;
}

int main(int argc, char **argv)
{
	const long count = argc == 3 ? atol(argv[2]) : -1;
	qdb_handle_t h = argc == 3 ? qdb_open(argv[1]) : NULL;
	long turn = 0, longest = 0;

	signal(SIGTERM, on_end);
	if (!h || count < 0) {
		fprintf(stderr, "usage: qdb-steady NAME COUNT, with a daemon for NAME\n");
		return 1;
	}
	while (!ended && (count == 0 || turn < count)) {
		const long start = now_us();
		long took;

		if (!write_and_read(h, turn++)) {
			fprintf(stderr, "qdb-steady: round trip %ld failed\n", turn);
			return 1;
		}
		took = now_us() - start;
		longest = took > longest ? took : longest;
		usleep(2000);
	}
	printf("round_trips=%ld max_us=%ld\n", turn, longest);
	qdb_close(h);
	return 0;
}
