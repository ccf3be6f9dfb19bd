/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qubesdb-multiread. The protocol has no refusal for MULTIREAD, just an empty answer, so
 * a path that no entry can begin with is told from one without matches before asking.
 */
#include <errno.h>
#include <stdlib.h>

#include "client/commands.h"
#include "client/failure.h"
#include "client/output.h"

static char **get_entries(qdb_handle_t h, char *prefix, unsigned int **lens)
{
	if (failure_path_fault(ATTEMPT_MULTIREAD, prefix)) {
		errno = 0;
		return NULL;
	}
	return qdb_multiread(h, prefix, lens, NULL);
}

static bool show_entries(const struct options *o, char **entries, unsigned int *lens,
			 const char *prefix)
{
	bool shown = true;

	for (unsigned int i = 0; entries[2 * i]; i++) {
		char *path = entries[2 * i];
		char *value = entries[2 * i + 1];
		shown = shown &&
			output_value(o, output_path(o, path, prefix), value, lens[i]);
		free(path);
		free(value);
	}
	free(entries);
	free(lens);
	return shown;
}

int command_multiread(qdb_handle_t h, const struct options *o)
{
	int status = 0;

	for (int i = 0; i < o->arg_count; i++) {
		unsigned int *lens;
		char **entries = get_entries(h, o->args[i], &lens);
		if (!entries) {
			failure_report(o, ATTEMPT_MULTIREAD, o->args[i], NULL);
			status = 1;
		} else if (!show_entries(o, entries, lens, o->args[i])) {
			return 1;
		}
	}
	return status;
}
