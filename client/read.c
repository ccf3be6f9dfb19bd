/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qubesdb-read. An entry is removed (-x) only after its value went out, or after the
 * daemon said that there is none.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/commands.h"
#include "client/failure.h"
#include "client/json.h"
#include "client/output.h"
#include "client/waiting.h"

enum outcome {
	OUTCOME_DONE,
	OUTCOME_ABSENT,
	OUTCOME_FAILED,
	OUTCOME_NO_OUTPUT, /* nobody can be told anything any more */
};

static char *get_value(qdb_handle_t h, const struct options *o, char *path,
		       unsigned int *len)
{
	char *value =
		o->wait ? wait_for_value(h, path, NULL, len) : qdb_read(h, path, len);

	if (value || errno != ENOENT || !o->default_value || o->arg_count != 1)
		return value;
	*len = (unsigned int)strlen(o->default_value);
	return strdup(o->default_value);
}

/* A line each, so that it goes out as soon as it is known. */
static bool print_value(const struct options *o, const char *path, const char *value,
			unsigned int len)
{
	if (!o->json)
		return output_value(o, o->full ? path : NULL, value, len);
	if (o->full)
		printf("{\"%s\": ", path);
	json_print_value(stdout, value, len);
	return output_line(o, o->full ? "}" : "");
}

static enum outcome show_value(qdb_handle_t h, const struct options *o, char *path)
{
	unsigned int len = 0;
	char *value = get_value(h, o, path, &len);
	bool shown;

	if (!value) {
		bool absent = errno == ENOENT;
		failure_report(h, o, o->wait ? ATTEMPT_WAIT : ATTEMPT_READ, path, NULL);
		return absent ? OUTCOME_ABSENT : OUTCOME_FAILED;
	}
	shown = print_value(o, path, value, len);
	free(value);
	return shown ? OUTCOME_DONE : OUTCOME_NO_OUTPUT;
}

static enum outcome read_path(qdb_handle_t h, const struct options *o, char *path)
{
	enum outcome outcome = show_value(h, o, path);

	if (!o->remove || outcome > OUTCOME_ABSENT || qdb_rm(h, path))
		return outcome;
	failure_report(h, o, ATTEMPT_RM, path, NULL);
	return OUTCOME_FAILED;
}

int command_read(qdb_handle_t h, const struct options *o)
{
	bool absent = false;
	bool failed = false;

	for (int i = 0; i < o->arg_count; i++) {
		switch (read_path(h, o, o->args[i])) {
		case OUTCOME_DONE:
			break;
		case OUTCOME_ABSENT:
			absent = true;
			break;
		case OUTCOME_FAILED:
			failed = true;
			break;
		case OUTCOME_NO_OUTPUT:
			return 1;
		}
	}
	if (failed)
		return 1;
	return absent ? 2 : 0;
}
