/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_CLIENT_COMMANDS_H
#define QDB_CLIENT_COMMANDS_H

#include "client/options.h"
#include "lib/qubesdb-client.h"

/* Each runs one command on an open connection and returns the exit status. */
int command_read(qdb_handle_t h, const struct options *o);
int command_write(qdb_handle_t h, const struct options *o);
int command_rm(qdb_handle_t h, const struct options *o);
int command_list(qdb_handle_t h, const struct options *o);
int command_multiread(qdb_handle_t h, const struct options *o);
int command_watch(qdb_handle_t h, const struct options *o);

struct command {
	const char *name;
	int (*run)(qdb_handle_t h, const struct options *o);
	char own_option; /* the letter that only this command takes, or NUL */
	const char *usage;
};

/* Returns NULL for a name that is no command's. */
const struct command *command_find(const char *name);

/* Prints the usage of one command, or of all for NULL, on standard error. */
void commands_print_usage(const struct command *command);

#endif
