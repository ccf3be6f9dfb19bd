/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command line to a struct options.
 *
 * Options and arguments may be mixed, so getopt is told (by the '-' in front of its
 * letters) to hand out both in the order in which they stand, whatever POSIXLY_CORRECT
 * says. That order matters: -c is taken only before the first argument, and an option
 * that belongs to some commands only after the command is known. Arguments are collected
 * at the front of argv, where what stood there has been read already.
 *
 * Capitals stand for long options that have no letter.
 */
#include "client/options.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/commands.h"

const char options_owned[] = "enAJOSTVX";
const char options_letters[] = "-c:d:e:fhn:qrwx";
const struct option options_long[] = {
	{"all", no_argument, NULL, 'A'},
	{"default", required_argument, NULL, 'e'},
	{"exact", optional_argument, NULL, 'X'},
	{"format", required_argument, NULL, 'O'},
	{"help", no_argument, NULL, 'H'},
	{"json", no_argument, NULL, 'J'},
	{"timeout", required_argument, NULL, 'T'},
	{"timestamps", no_argument, NULL, 'S'},
	{"values", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

static const struct {
	int letter;
	size_t offset;
} flags[] = {
	{'f', offsetof(struct options, full)},
	{'q', offsetof(struct options, quiet)},
	{'r', offsetof(struct options, raw)},
	{'w', offsetof(struct options, wait)},
	{'x', offsetof(struct options, remove)},
	{'A', offsetof(struct options, all)},
	{'J', offsetof(struct options, json)},
	{'S', offsetof(struct options, timestamps)},
	{'V', offsetof(struct options, values)},
};

struct parser {
	struct options *o;
	const char *program;
	bool may_name_command; /* called as qubesdb-cmd, and no command so far */
};

static enum options_result misplaced(const struct parser *p, int letter)
{
	const struct option *named = options_long;

	while (named->name && named->val != letter)
		named++;
	if (strchr(options_letters, letter))
		fprintf(stderr, "%s: option -%c is not allowed here\n", p->program,
			letter);
	else
		fprintf(stderr, "%s: option --%s is not allowed here\n", p->program,
			named->name);
	return OPTIONS_WRONG;
}

static enum options_result take_command(struct parser *p, const char *name)
{
	if (!p->may_name_command || p->o->arg_count > 0)
		return misplaced(p, 'c');
	p->may_name_command = false;
	p->o->command = command_find(name);
	p->o->unknown = p->o->command ? NULL : name;
	return OPTIONS_RUN;
}

static enum options_result take_argument(struct parser *p, char *text)
{
	struct options *o = p->o;
	const struct command *command = command_find(text);

	if (p->may_name_command && o->arg_count == 0) {
		if (command && command->added)
			return take_command(p, text);
		o->unknown = text;
	}
	o->args[o->arg_count++] = text;
	return OPTIONS_RUN;
}

static enum options_result take_events(struct parser *p, const char *text)
{
	char *end;

	errno = 0;
	p->o->events = strtol(text, &end, 10);
	if (errno == 0 && end != text && *end == '\0')
		return OPTIONS_RUN;
	fprintf(stderr, "%s: -n: not a number: %s\n", p->program, text);
	return OPTIONS_WRONG;
}

/* Up to a billion, which no timer's type is too small for. */
static enum options_result take_timeout(struct parser *p, const char *text)
{
	char *end;

	p->o->timeout = strtod(text, &end);
	if (end != text && *end == '\0' && p->o->timeout > 0 && p->o->timeout <= 1e9)
		return OPTIONS_RUN;
	fprintf(stderr, "%s: --timeout: not a number of seconds above 0: %s\n",
		p->program, text);
	return OPTIONS_WRONG;
}

static enum options_result take_format(struct parser *p, const char *text)
{
	struct options *o = p->o;

	o->json = strcmp(text, "json") == 0;
	o->openmetrics = strcmp(text, "openmetrics") == 0;
	if (o->json || o->openmetrics || strcmp(text, "text") == 0)
		return OPTIONS_RUN;
	fprintf(stderr, "%s: not text, json or openmetrics: %s\n", p->program, text);
	return OPTIONS_WRONG;
}

static enum options_result take_flag(struct options *o, int letter)
{
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (flags[i].letter != letter)
			continue;
		*(bool *)((char *)o + flags[i].offset) = true;
		return OPTIONS_RUN;
	}
	return OPTIONS_WRONG;
}

static enum options_result take(struct parser *p, int letter, char *value)
{
	struct options *o = p->o;

	if (strchr(options_owned, letter) &&
	    !(o->command && strchr(o->command->own_options, letter)))
		return misplaced(p, letter);
	switch (letter) {
	case 1:
		return take_argument(p, value);
	case 'c':
		return take_command(p, value);
	case 'd':
		o->domain = value;
		return OPTIONS_RUN;
	case 'e':
		o->default_value = value;
		return OPTIONS_RUN;
	case 'h':
		return OPTIONS_USAGE;
	case 'H':
		return OPTIONS_HELP;
	case 'n':
		return take_events(p, value);
	case 'O':
		return take_format(p, value);
	case 'T':
		return take_timeout(p, value);
	case 'X':
		o->exact = value ? value : "";
		return OPTIONS_RUN;
	default:
		return take_flag(o, letter);
	}
}

const char *options_prefix(const struct options *o)
{
	return o->arg_count > 0 ? o->args[0] : "/";
}

const char *options_program_command(const char *program)
{
	const char *slash = strrchr(program, '/');
	const char *base = slash ? slash + 1 : program;
	const char *dash = strrchr(base, '-');

	return dash ? dash + 1 : base;
}

static void take_program(struct parser *p, const char *program)
{
	const char *name = options_program_command(program);

	p->program = program;
	p->may_name_command = strcmp(name, "cmd") == 0;
	p->o->command = command_find(name);
	if (!p->may_name_command && !p->o->command)
		p->o->unknown = name;
}

static enum options_result check_arguments(const struct parser *p)
{
	const struct options *o = p->o;

	if (!o->command)
		return OPTIONS_USAGE;
	if (o->arg_count >= o->command->min_args && o->arg_count <= o->command->max_args)
		return OPTIONS_RUN;
	fprintf(stderr, "%s: too %s arguments\n", p->program,
		o->arg_count < o->command->min_args ? "few" : "many");
	return OPTIONS_WRONG;
}

enum options_result options_parse(struct options *o, int argc, char **argv)
{
	struct parser p = {.o = o};
	int letter;

	*o = (struct options){.events = 1};
	if (argc < 1)
		return OPTIONS_USAGE;
	o->args = argv + 1;
	take_program(&p, argv[0]);
	if (argc < 2 && !(o->command && o->command->added))
		return OPTIONS_USAGE;

	while ((letter = getopt_long(argc, argv, options_letters, options_long, NULL)) !=
	       -1) {
		enum options_result result = take(&p, letter, optarg);
		if (result != OPTIONS_RUN)
			return result;
	}
	while (optind < argc)
		o->args[o->arg_count++] = argv[optind++];
	return check_arguments(&p);
}
