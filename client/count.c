/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "client/commands.h"
#include "client/entries.h"
#include "client/failure.h"
#include "client/output.h"

int command_count(qdb_handle_t h, const struct options *o)
{
	const char *prefix = options_prefix(o);
	unsigned int count;

	if (!entries_count(h, prefix, &count)) {
		failure_report(h, o, ATTEMPT_COUNT, prefix, NULL);
		return 1;
	}
	printf("%u\n", count);
	return output_finish(o) ? 0 : 1;
}
