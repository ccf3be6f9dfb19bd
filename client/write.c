/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qubesdb-write. The pairs are written in the order given, since the last one is often
 * the signal that the others are complete. An odd number of arguments is a mistake
 * somewhere in the middle, so it writes nothing at all.
 */
#include <string.h>

#include "client/commands.h"
#include "client/failure.h"

int command_write(qdb_handle_t h, const struct options *o)
{
	int status = 0;

	if (o->arg_count % 2 != 0) {
		failure_say(o, "Failed to write: each PATH needs a VALUE");
		return 1;
	}
	for (int i = 0; i < o->arg_count; i += 2) {
		char *path = o->args[i];
		char *value = o->args[i + 1];
		if (qdb_write(h, path, value, (unsigned int)strlen(value)))
			continue;
		failure_report(h, o, ATTEMPT_WRITE, path, value);
		status = 1;
	}
	return status;
}
