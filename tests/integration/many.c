/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* many VM COUNT PATH VALUE...: qdb_write_many() of these, COUNT times over; prints errno.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qubesdb-client.h"

int main(int argc, char **argv)
{
	const unsigned given = argc > 4 ? (unsigned)(argc - 3) / 2 : 0;
	const unsigned count = argc > 4 ? given * (unsigned)atoi(argv[2]) : 0;
	struct qdb_entry *entries = calloc(count + 1, sizeof(*entries));
	qdb_handle_t h = argc > 4 ? qdb_open(argv[1]) : NULL;
	int written;

	if (!h || !entries)
		return EXIT_FAILURE;
	for (unsigned i = 0; i < count; i++) {
		const char *value = argv[4 + i % given * 2];

		entries[i].path = argv[3 + i % given * 2];
		entries[i].value = value;
		entries[i].value_len = (unsigned)strlen(value);
	}
	errno = 0;
	written = qdb_write_many(h, entries, count);
	printf("%s\n", written ? "written" : strerror(errno));
	qdb_close(h);
	free(entries);
	return EXIT_SUCCESS;
}
