/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qubesdb-read-bool: a boolean entry as an exit status. True is any value but the empty.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/failure.h"
#include "client/output.h"
#include "lib/qubesdb-client.h"

enum {
	STATUS_TRUE = 0,
	STATUS_FALSE = 1,
	STATUS_ABSENT = 2, /* unless the caller gave another */
	STATUS_ERROR = 3,
};

static const struct options no_options;

static bool parse_status(int *status, const char *text)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(text, &end, 10);
	if (errno || end == text || *end != '\0' || number < 0 || number > 255)
		return false;
	*status = (int)number;
	return true;
}

static int read_bool(qdb_handle_t h, char *key, int status_absent)
{
	unsigned int len = 0;
	char *value = qdb_read(h, key, &len);

	if (value) {
		free(value);
		return len > 0 ? STATUS_TRUE : STATUS_FALSE;
	}
	if (errno == ENOENT)
		return status_absent;
	failure_report(h, &no_options, ATTEMPT_READ, key, NULL);
	return STATUS_ERROR;
}

static const char usage[] = "Usage: qubesdb-read-bool [--] KEY [DEFAULT]\n"
			    "       qubesdb-read-bool --help\n";

int main(int argc, char **argv)
{
	int status = STATUS_ABSENT;
	qdb_handle_t h;

	output_reserve_descriptors();
	/* A key begins with '/', so it is never mistaken for one of these. */
	if (argc > 1 && strcmp(argv[1], "-h") == 0) {
		fputs(usage, stderr);
		return 0;
	}
	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		fputs(usage, stdout);
		return output_finish(&no_options) ? 0 : STATUS_ERROR;
	}
	if (argc > 1 && strcmp(argv[1], "--") == 0) {
		argv++;
		argc--;
	}
	if (argc < 2 || argc > 3 || (argc == 3 && !parse_status(&status, argv[2]))) {
		if (argc == 3)
			fprintf(stderr,
				"qubesdb-read-bool: not an exit status, 0 to 255: %s\n",
				argv[2]);
		fputs(usage, stderr);
		return STATUS_ERROR;
	}
	h = qdb_open(NULL);
	if (!h) {
		failure_report_connect(&no_options);
		return STATUS_ERROR;
	}
	status = read_bool(h, argv[1], status);
	qdb_close(h);
	return status;
}
