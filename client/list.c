/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>

#include "client/commands.h"
#include "client/failure.h"
#include "client/output.h"

int command_list(qdb_handle_t h, const struct options *o)
{
	bool shown = true;
	char *prefix = o->args[0];
	char **paths;

	if (o->arg_count != 1) {
		failure_say(o, "Failed to list: exactly one PATH is needed");
		return 1;
	}
	paths = qdb_list(h, prefix, NULL);
	if (!paths) {
		failure_report(o, ATTEMPT_LIST, prefix, NULL);
		return 1;
	}
	for (char **path = paths; *path; path++) {
		shown = shown && output_line(o, output_path(o, *path, prefix));
		free(*path);
	}
	free(paths);
	return shown ? 0 : 1;
}
