/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>

#include "client/commands.h"
#include "client/failure.h"

int command_rm(qdb_handle_t h, const struct options *o)
{
	int status = 0;

	for (int i = 0; i < o->arg_count; i++) {
		if (qdb_rm(h, o->args[i]))
			continue;
		failure_report(h, o, ATTEMPT_RM, o->args[i], NULL);
		status = 1;
	}
	return status;
}
