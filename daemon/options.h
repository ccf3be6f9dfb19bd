/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_OPTIONS_H
#define QDB_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#include "daemon/statefile.h"

struct options {
	const char *runtime_dir;
	const char *log_dir;
	const char *vchan;
	const char *state; /* NULL: in the runtime directory; "none" */
	enum statefile_sync state_sync;
	int rw_socket_mode;
	bool foreground;
	bool sandbox;
	int remote_domid;
	const char *remote_name; /* NULL on the VM side */
};

enum options_result {
	OPTIONS_RUN,
	OPTIONS_HELP,    /* print the usage, successfully */
	OPTIONS_VERSION, /* print the version */
	OPTIONS_BAD,     /* the reason is on standard error */
};

/* Defaults, overridden by the environment, overridden by the arguments. */
enum options_result options_parse(struct options *o, int argc, char **argv);

void options_print_usage(FILE *out);
void options_print_quotas(FILE *out);

#endif
