/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/commands.h"
#include "client/entries.h"
#include "client/failure.h"
#include "client/json.h"
#include "client/output.h"
#include "client/text.h"

int command_dump(qdb_handle_t h, const struct options *o)
{
	const char *prefix = options_prefix(o);
	struct entries e = {0};
	bool shown = false;

	if (entries_load(&e, h, prefix)) {
		entries_sort(&e);
		(o->json ? json_print : text_print)(stdout, &e);
		shown = output_finish(o);
	} else {
		failure_report(h, o, ATTEMPT_DUMP, prefix, NULL);
	}
	entries_free(&e);
	return shown ? 0 : 1;
}
