/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/commands.h"
#include "client/entries.h"
#include "client/failure.h"

static bool entry_exists(qdb_handle_t h, char *path)
{
	char *value = qdb_read(h, path, NULL);

	free(value);
	return value != NULL;
}

static bool directory_exists(qdb_handle_t h, char *path)
{
	unsigned int count;

	if (!entries_count(h, path, &count))
		return false;
	errno = ENOENT;
	return count > 0;
}

int command_exists(qdb_handle_t h, const struct options *o)
{
	bool absent = false;
	int status = 0;

	for (int i = 0; i < o->arg_count; i++) {
		char *path = o->args[i];
		bool is_directory = path[0] && path[strlen(path) - 1] == '/';
		if (is_directory ? directory_exists(h, path) : entry_exists(h, path))
			continue;
		if (errno == ENOENT) {
			absent = true;
			continue;
		}
		failure_report(h, o, ATTEMPT_LOOK_FOR, path, NULL);
		status = 1;
	}
	return status || !absent ? status : 2;
}
