/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "client/commands.h"
#include "client/entries.h"
#include "client/failure.h"
#include "client/json.h"
#include "client/output.h"

static bool show_json(const struct options *o, const struct entries *e,
		      const char *prefix)
{
	putchar('{');
	for (size_t i = 0; i < e->count; i++) {
		printf("%s\n  \"%s\": ", i > 0 ? "," : "",
		       output_path(o, e->list[i].path, prefix));
		json_print_value(stdout, e->list[i].value, e->list[i].len);
	}
	putchar('\n');
	return output_line(o, "}");
}

static bool show_entries(const struct options *o, const struct entries *e,
			 const char *prefix)
{
	for (size_t i = 0; i < e->count; i++)
		if (!output_value(o, output_path(o, e->list[i].path, prefix),
				  e->list[i].value, (unsigned int)e->list[i].len))
			return false;
	return true;
}

int command_multiread(qdb_handle_t h, const struct options *o)
{
	bool shown = true;
	int status = 0;

	for (int i = 0; i < o->arg_count && shown; i++) {
		struct entries e = {0};
		if (entries_load(&e, h, o->args[i])) {
			shown = (o->json ? show_json : show_entries)(o, &e, o->args[i]);
		} else {
			failure_report(h, o, ATTEMPT_MULTIREAD, o->args[i], NULL);
			status = 1;
		}
		entries_free(&e);
	}
	return shown ? status : 1;
}
