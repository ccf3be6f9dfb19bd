/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "client/commands.h"
#include "client/complete.h"
#include "client/failure.h"
#include "client/options.h"
#include "client/output.h"

static int print_usage(const struct options *o, enum options_result result)
{
	commands_print_usage(o->command, result == OPTIONS_HELP ? stdout : stderr);
	if (o->unknown)
		commands_suggest(o->unknown);
	if (result == OPTIONS_HELP)
		return output_finish(o) ? 0 : 1;
	return result == OPTIONS_USAGE ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct options o;
	enum options_result result;
	qdb_handle_t h = NULL;
	int status;

	output_reserve_descriptors();
	if (argc > 1 && strcmp(argv[1], "--complete") == 0)
		return complete(argv + 2, argc - 2);
	result = options_parse(&o, argc, argv);
	if (result != OPTIONS_RUN)
		return print_usage(&o, result);
	o.colour = output_wants_colour();
	if (!o.command->connects) {
		h = qdb_open(o.domain);
		if (!h) {
			failure_report_connect(&o);
			return 1;
		}
	}
	status = o.command->run(h, &o);
	qdb_close(h);
	return status;
}
