/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>

#include "client/commands.h"
#include "client/failure.h"
#include "client/output.h"

int command_count(qdb_handle_t h, const struct options *o)
{
	static char everything[] = "/";
	char *prefix = o->arg_count > 0 ? o->args[0] : everything;
	unsigned int count;
	char **paths = qdb_list(h, prefix, &count);

	if (!paths) {
		failure_report(o, ATTEMPT_COUNT, prefix, NULL);
		return 1;
	}
	for (unsigned int i = 0; i < count; i++)
		free(paths[i]);
	free(paths);
	printf("%u\n", count);
	return output_finish(o) ? 0 : 1;
}
