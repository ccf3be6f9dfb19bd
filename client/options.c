/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command line to a struct options.
 *
 * Options and arguments may be mixed, so getopt is told (by the '-' in front of its
 * letters) to hand out both in the order in which they stand, whatever POSIXLY_CORRECT
 * says. That order matters: -c is taken only before the first argument, and an option
 * that belongs to one command only after that command is known. Arguments are collected
 * at the front of argv, where what stood there has been read already.
 */
#include "client/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/commands.h"

struct parser {
	struct options *o;
	const char *program;
	bool may_name_command; /* called as qubesdb-cmd, and no -c so far */
};

static enum options_result misplaced(const struct parser *p, int letter)
{
	fprintf(stderr, "%s: option -%c is not allowed here\n", p->program, letter);
	return OPTIONS_WRONG;
}

static enum options_result take_command(struct parser *p, const char *name)
{
	if (!p->may_name_command || p->o->arg_count > 0)
		return misplaced(p, 'c');
	p->may_name_command = false;
	p->o->command = command_find(name);
	return OPTIONS_RUN;
}

static enum options_result take_events(struct parser *p, const char *text)
{
	char *end;

	errno = 0;
	p->o->events = strtol(text, &end, 10);
	if (errno == 0 && end != text && *end == '\0')
		return OPTIONS_RUN;
	fprintf(stderr, "%s: not a number: %s\n", p->program, text);
	return OPTIONS_WRONG;
}

static bool belongs_to_command(const struct options *o, int letter)
{
	return o->command && o->command->own_option == letter;
}

static enum options_result take(struct parser *p, int letter, char *value)
{
	struct options *o = p->o;

	switch (letter) {
	case 1:
		o->args[o->arg_count++] = value;
		return OPTIONS_RUN;
	case 'c':
		return take_command(p, value);
	case 'd':
		o->domain = value;
		return OPTIONS_RUN;
	case 'e':
		if (!belongs_to_command(o, letter))
			return misplaced(p, letter);
		o->default_value = value;
		return OPTIONS_RUN;
	case 'f':
		o->full = true;
		return OPTIONS_RUN;
	case 'h':
		return OPTIONS_USAGE;
	case 'n':
		if (!belongs_to_command(o, letter))
			return misplaced(p, letter);
		return take_events(p, value);
	case 'q':
		o->quiet = true;
		return OPTIONS_RUN;
	case 'r':
		o->raw = true;
		return OPTIONS_RUN;
	case 'w':
		o->wait = true;
		return OPTIONS_RUN;
	case 'x':
		o->remove = true;
		return OPTIONS_RUN;
	default:
		return OPTIONS_WRONG;
	}
}

/* The command is what follows the last '-' of the program's name. */
static const char *command_part(const char *program)
{
	const char *slash = strrchr(program, '/');
	const char *base = slash ? slash + 1 : program;
	const char *dash = strrchr(base, '-');

	return dash ? dash + 1 : base;
}

enum options_result options_parse(struct options *o, int argc, char **argv)
{
	static const char letters[] = "-c:d:e:fhn:qrwx";
	static const struct option long_options[] = {
		{"default", required_argument, NULL, 'e'}, {NULL, 0, NULL, 0}};
	struct parser p = {.o = o};
	int letter;

	*o = (struct options){.events = 1};
	if (argc < 1)
		return OPTIONS_USAGE;
	o->args = argv + 1;
	p.program = argv[0];
	p.may_name_command = strcmp(command_part(argv[0]), "cmd") == 0;
	o->command = command_find(command_part(argv[0]));
	if (argc < 2)
		return OPTIONS_USAGE;

	while ((letter = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		enum options_result result = take(&p, letter, optarg);
		if (result != OPTIONS_RUN)
			return result;
	}
	while (optind < argc)
		o->args[o->arg_count++] = argv[optind++];
	return o->command ? OPTIONS_RUN : OPTIONS_USAGE;
}
