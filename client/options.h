/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_CLIENT_OPTIONS_H
#define QDB_CLIENT_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>

struct command;

/* One invocation, as the command line asked for it. Points into argv. */
struct options {
	const struct command *command; /* NULL while, or when, it is not known */
	const char *unknown;           /* what was given in place of a command, or NULL */
	char *domain;                  /* -d: NULL means this VM's own daemon */
	char *default_value;           /* -e: NULL means none */
	long events;                   /* -n: negative means without end */
	bool full;                     /* -f */
	bool quiet;                    /* -q */
	bool raw;                      /* -r */
	bool wait;                     /* -w */
	bool remove;                   /* -x */
	bool all;                      /* --all */
	bool json;                     /* --json, --format=json */
	bool openmetrics;              /* --format=openmetrics */
	bool values;                   /* --values */
	bool timestamps;               /* --timestamps */
	double timeout;                /* --timeout: in seconds; 0 means none */
	const char *exact;             /* --exact: what has to begin with this; or NULL */
	bool colour; /* output goes to a terminal whose user wants colours */
	char **args;
	int arg_count;
};

enum options_result {
	OPTIONS_RUN,   /* o->command is set and may run */
	OPTIONS_HELP,  /* the usage was asked for: on standard output */
	OPTIONS_USAGE, /* as deployed commands take it: on standard error, success */
	OPTIONS_WRONG, /* a mistake, already named on standard error */
};

/* Fills in `o` but for its colour; reorders argv. Does not look at the environment. */
enum options_result options_parse(struct options *o, int argc, char **argv);

/* The prefix that a command got as its argument, or "/", which is everything. */
const char *options_prefix(const struct options *o);

/* The command in a program's name: what follows the last '-'. */
const char *options_program_command(const char *program);

/* What getopt_long() gets; a capital is the letter of an option without a short form. */
extern const char options_letters[];
extern const struct option options_long[];
/* Letters of those that only commands with the letter among their own_options take. */
extern const char options_owned[];

#endif
