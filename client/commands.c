/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/commands.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define DEPLOYED(kinds) false, 0, INT_MAX, kinds
#define ADDED(min, max, kinds) true, min, max, kinds

const struct command commands[] = {
	{"read", command_read, "eJ", DEPLOYED("P"),
	 "[-fqrwx] [-d DOMAIN] [-e DEFAULT | --default=DEFAULT] [--json] PATH..."},
	{"write", command_write, "", DEPLOYED("PV"),
	 "[-q] [-d DOMAIN] PATH VALUE [PATH VALUE]..."},
	{"rm", command_rm, "", DEPLOYED("P"), "[-q] [-d DOMAIN] PATH..."},
	{"list", command_list, "J", DEPLOYED("P"), "[-fq] [-d DOMAIN] [--json] PATH"},
	{"multiread", command_multiread, "J", DEPLOYED("P"),
	 "[-fqr] [-d DOMAIN] [--json] PATH..."},
	{"watch", command_watch, "nJSV", DEPLOYED("P"),
	 "[-qr] [-d DOMAIN] [-n NUMBER] [--json] [--timestamps] [--values] PATH..."},
	{"dump", command_dump, "J", ADDED(0, 1, "P"),
	 "[-q] [-d DOMAIN] [--json] [PREFIX]"},
	{"restore", command_restore, "JX", ADDED(0, 1, "F"),
	 "[-q] [-d DOMAIN] [--json] [--exact[=PREFIX]] [FILE]"},
	{"edit", command_edit, "", ADDED(0, 1, "P"), "[-q] [-d DOMAIN] [PREFIX]"},
	{"ls", command_ls, "J", ADDED(0, 1, "P"), "[-fq] [-d DOMAIN] [--json] [PATH]"},
	{"count", command_count, "", ADDED(0, 1, "P"), "[-q] [-d DOMAIN] [PREFIX]"},
	{"exists", command_exists, "", ADDED(1, INT_MAX, "P"),
	 "[-q] [-d DOMAIN] PATH..."},
	{"wait", command_wait, "T", ADDED(1, 2, "PV"),
	 "[-q] [-d DOMAIN] [--timeout=SECONDS] PATH [VALUE]", true},
	{"status", command_status, "AJO", ADDED(0, 0, "P"),
	 "[-q] [-d DOMAIN | --all] [--json | --format=text|json|openmetrics]", true},
	{"trace", command_trace, "", ADDED(1, 1, "S"), "[-q] [-d DOMAIN] on|off"},
};

const size_t commands_total = sizeof(commands) / sizeof(commands[0]);

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < commands_total; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

/* Those that qubesdb-cmd takes as an argument: {dump|restore|...}. */
static void print_added(FILE *to)
{
	char separator = '{';

	for (size_t i = 0; i < commands_total; i++) {
		if (!commands[i].added)
			continue;
		fprintf(to, "%c%s", separator, commands[i].name);
		separator = '|';
	}
	fputc('}', to);
}

void commands_print_usage(const struct command *command, FILE *to)
{
	const char *lead = "Usage:";

	if (!command) {
		fprintf(to, "Usage: qubesdb-cmd -c COMMAND [OPTION]... [ARGUMENT]...\n"
			    "       qubesdb-cmd ");
		print_added(to);
		fprintf(to, " [OPTION]... [ARGUMENT]...\n");
		lead = "      ";
	}
	for (size_t i = 0; i < commands_total; i++)
		if (!command || command == &commands[i])
			fprintf(to, "%s qubesdb-%s %s\n", lead, commands[i].name,
				commands[i].usage);
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/*
 * How many letters have to be put in, left out, exchanged or swapped with the next to
 * make one name of the other. Three rows of the usual table are enough.
 */
static size_t distance(const char *typed, const char *name)
{
	size_t rows[3][32];
	size_t *before_last = rows[0], *last = rows[1], *row = rows[2];
	size_t width = strlen(name);

	for (size_t j = 0; j <= width; j++)
		last[j] = j;
	for (size_t i = 1; i <= strlen(typed); i++) {
		size_t *spare = before_last;

		row[0] = i;
		for (size_t j = 1; j <= width; j++) {
			row[j] = last[j - 1] + (typed[i - 1] != name[j - 1]);
			row[j] = least(row[j], least(last[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && typed[i - 1] == name[j - 2] &&
			    typed[i - 2] == name[j - 1])
				row[j] = least(row[j], before_last[j - 2] + 1);
		}
		before_last = last;
		last = row;
		row = spare;
	}
	return last[width];
}

/* A name that is near enough to what was typed, or that it is the beginning of. */
static const struct command *nearest(const char *typed)
{
	size_t len = strlen(typed);
	size_t limit = len < 5 ? 1 : 2;
	const struct command *found = NULL;

	for (size_t i = 0; i < commands_total; i++) {
		size_t needed = distance(typed, commands[i].name);
		if (len > 1 && strncmp(commands[i].name, typed, len) == 0)
			needed = 1;
		if (needed > limit || needed >= len)
			continue;
		limit = needed - 1;
		found = &commands[i];
	}
	return found;
}

void commands_suggest(const char *name)
{
	const struct command *found = command_find(name);

	if (found) {
		fprintf(stderr, "qubesdb-cmd: did you mean '-c %s', or qubesdb-%s?\n",
			name, name);
		return;
	}
	found = nearest(name);
	fprintf(stderr, "qubesdb-cmd: there is no command '%s'", name);
	if (found)
		fprintf(stderr, "; did you mean '%s'?", found->name);
	fputc('\n', stderr);
}
