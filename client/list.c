/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "client/commands.h"
#include "client/entries.h"
#include "client/failure.h"
#include "client/output.h"

static bool show_lines(const struct options *o, char **paths, const char *prefix)
{
	for (; *paths; paths++)
		if (!output_line(o, output_path(o, *paths, prefix)))
			return false;
	return true;
}

static bool show_json(const struct options *o, char **paths, const char *prefix)
{
	putchar('[');
	for (char **path = paths; *path; path++)
		printf("%s\n  \"%s\"", path > paths ? "," : "",
		       output_path(o, *path, prefix));
	putchar('\n');
	return output_line(o, "]");
}

int command_list(qdb_handle_t h, const struct options *o)
{
	char *prefix = o->args[0];
	char **paths;
	bool shown;

	if (o->arg_count != 1) {
		failure_say(o, "Failed to list: exactly one PATH is needed");
		return 1;
	}
	paths = qdb_list(h, prefix, NULL);
	if (!paths) {
		failure_report(h, o, ATTEMPT_LIST, prefix, NULL);
		return 1;
	}
	shown = (o->json ? show_json : show_lines)(o, paths, prefix);
	strings_free(paths);
	return shown ? 0 : 1;
}
