/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/commands.h"

#include <stdio.h>
#include <string.h>

static const struct command commands[] = {
	{"read", command_read, 'e',
	 "[-fqrwx] [-d DOMAIN] [-e DEFAULT | --default=DEFAULT] PATH..."},
	{"write", command_write, 0, "[-q] [-d DOMAIN] PATH VALUE [PATH VALUE]..."},
	{"rm", command_rm, 0, "[-q] [-d DOMAIN] PATH..."},
	{"list", command_list, 0, "[-fq] [-d DOMAIN] PATH"},
	{"multiread", command_multiread, 0, "[-fqr] [-d DOMAIN] PATH..."},
	{"watch", command_watch, 'n', "[-q] [-d DOMAIN] [-n NUMBER] PATH..."},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

void commands_print_usage(const struct command *command)
{
	const char *lead = "Usage:";

	if (!command) {
		fprintf(stderr,
			"Usage: qubesdb-cmd -c COMMAND [OPTION]... [ARGUMENT]...\n");
		lead = "      ";
	}
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (!command || command == &commands[i])
			fprintf(stderr, "%s qubesdb-%s %s\n", lead, commands[i].name,
				commands[i].usage);
}
