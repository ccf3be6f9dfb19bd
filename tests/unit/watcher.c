/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * watcher VM PATH: prints the events of a watch, over any number of daemons, until there
 * is none. Unlike qubesdb-watch it leaves it to the library to connect again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "lib/qubesdb-client.h"

int main(int argc, char **argv)
{
	qdb_handle_t h = argc == 3 ? qdb_open(argv[1]) : NULL;
	char *event;

	if (!h || !qdb_watch(h, argv[2]))
		return EXIT_FAILURE;
	while ((event = qdb_read_watch(h))) {
		puts(event);
		fflush(stdout);
		free(event);
	}
	qdb_close(h);
	return EXIT_SUCCESS;
}
