/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_CLIENT_COMMANDS_H
#define QDB_CLIENT_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "client/options.h"
#include "lib/qubesdb-client.h"

/*
 * Each runs one command and returns the exit status: on an open connection, or, where
 * `connects` is set below, with `h` NULL and a connection of its own.
 */
int command_read(qdb_handle_t h, const struct options *o);
int command_write(qdb_handle_t h, const struct options *o);
int command_rm(qdb_handle_t h, const struct options *o);
int command_list(qdb_handle_t h, const struct options *o);
int command_multiread(qdb_handle_t h, const struct options *o);
int command_watch(qdb_handle_t h, const struct options *o);
int command_dump(qdb_handle_t h, const struct options *o);
int command_restore(qdb_handle_t h, const struct options *o);
int command_edit(qdb_handle_t h, const struct options *o);
int command_ls(qdb_handle_t h, const struct options *o);
int command_count(qdb_handle_t h, const struct options *o);
int command_exists(qdb_handle_t h, const struct options *o);
int command_wait(qdb_handle_t h, const struct options *o);
int command_status(qdb_handle_t h, const struct options *o);
int command_trace(qdb_handle_t h, const struct options *o);

/*
 * The deployed commands keep every habit that scripts may count on: without arguments
 * they print their usage and succeed, they count their arguments themselves, and -c is
 * the only way to name them to qubesdb-cmd. Where `added` is set, qubesdb-cmd also takes
 * the name as its first argument, and the number of arguments is checked beforehand.
 */
enum arg_kind {
	ARG_PATH = 'P',
	ARG_VALUE = 'V',
	ARG_FILE = 'F',
	ARG_SWITCH = 'S', /* on or off */
};

struct command {
	const char *name;
	int (*run)(qdb_handle_t h, const struct options *o);
	const char *own_options; /* letters of those that not every command takes */
	bool added;
	int min_args, max_args;
	const char *arg_kinds; /* of one after the other, over and over: enum arg_kind */
	const char *usage;
	bool connects; /* by itself */
};

extern const struct command commands[];
extern const size_t commands_total;

/* Returns NULL for a name that is no command's. */
const struct command *command_find(const char *name);

/* Prints the usage of one command, or of all for NULL. */
void commands_print_usage(const struct command *command, FILE *to);

/* Says on standard error that there is no such command, and which may be meant. */
void commands_suggest(const char *name);

#endif
