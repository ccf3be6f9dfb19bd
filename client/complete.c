/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qubesdb-cmd --complete WORD...: what the shells' completion asks, so that they need not
 * know options and commands, and all give the same answers. The words are those of a
 * command line up to the cursor, so any of them may be wrong or missing.
 *
 * A path is completed by one directory at a time.
 */
#include "client/complete.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/commands.h"
#include "client/entries.h"
#include "client/options.h"
#include "client/sockets.h"

#define STATUS_FILES 2

struct line {
	const struct command *command;
	bool may_name_command;
	bool options_ended; /* by "--" */
	char *domain;
	int arg_count;
	int pending; /* letter of an option whose value is the next word, or 0 */
};

static void offer(const char *candidate, void *word)
{
	if (strncmp(candidate, word, strlen(word)) == 0)
		puts(candidate);
}

static void take_value(struct line *line, int letter, char *value)
{
	line->pending = 0;
	if (letter == 'd')
		line->domain = value;
	if (letter == 'c' && line->may_name_command) {
		line->may_name_command = false;
		line->command = command_find(value);
	}
}

static void take_argument(struct line *line, const char *word)
{
	const struct command *command = command_find(word);

	if (line->may_name_command && command && command->added) {
		line->may_name_command = false;
		line->command = command;
		return;
	}
	line->arg_count++;
}

static void take_long(struct line *line, const char *name)
{
	size_t len = strlen(name);

	for (const struct option *option = options_long; option->name; option++)
		if (option->has_arg == required_argument &&
		    strncmp(option->name, name, len) == 0)
			line->pending = option->val;
}

static void take_letters(struct line *line, char *word)
{
	for (; *word; word++) {
		const char *found = strchr(options_letters, *word);
		if (!found || found[1] != ':')
			continue;
		if (word[1])
			take_value(line, *word, word + 1);
		else
			line->pending = *word;
		return;
	}
}

static void take_word(struct line *line, char *word)
{
	if (line->pending)
		take_value(line, line->pending, word);
	else if (line->options_ended || word[0] != '-' || !word[1])
		take_argument(line, word);
	else if (strcmp(word, "--") == 0)
		line->options_ended = true;
	else if (word[1] == '-')
		take_long(line, word + 2);
	else
		take_letters(line, word + 1);
}

/* Whether the option does anything for the command, as its usage says. */
static bool applies(const struct line *line, int letter)
{
	const struct command *command = line->command;

	if (letter == 'h' || letter == 'H')
		return true;
	if (!command)
		return strchr("cdq", letter) != NULL;
	if (strchr(options_owned, letter))
		return strchr(command->own_options, letter) != NULL;
	return letter == 'd' ||
	       memchr(command->usage, letter, strcspn(command->usage, "]")) != NULL;
}

static void offer_options(const struct line *line, char *word)
{
	for (const char *letter = options_letters; *letter; letter++) {
		char text[] = {'-', *letter, '\0'};
		if (!strchr("-:", *letter) && applies(line, *letter))
			offer(text, word);
	}
	for (const struct option *option = options_long; option->name; option++) {
		char text[32];
		snprintf(text, sizeof(text), "--%s", option->name);
		if (applies(line, option->val))
			offer(text, word);
	}
}

static void offer_formats(char *word, const char *lead)
{
	static const char *const formats[] = {"text", "json", "openmetrics"};
	char text[32];

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		snprintf(text, sizeof(text), "%s%s", lead, formats[i]);
		offer(text, word);
	}
}

static void offer_commands(char *word, bool added_only)
{
	for (size_t i = 0; i < commands_total; i++)
		if (commands[i].added || !added_only)
			offer(commands[i].name, word);
}

/* Prints what follows `from` in each path up to the next '/', once. */
static void show_paths(char **paths, size_t from, const char *lead)
{
	const char *last = "";
	size_t last_len = 0;

	for (; *paths; paths++) {
		size_t len = from + strcspn(*paths + from, "/");
		len += (*paths)[len] == '/';
		if (len == last_len && strncmp(*paths, last, len) == 0)
			continue;
		printf("%s%.*s\n", lead, (int)len, *paths);
		last = *paths;
		last_len = len;
	}
}

/* A daemon that does not answer must not stop the shell, so this ends by itself. */
static void offer_paths(const struct line *line, char *word, const char *lead)
{
	const char *prefix = word[0] ? word : "/";
	qdb_handle_t h;
	char **paths;

	alarm(2);
	h = qdb_open(line->domain);
	paths = qdb_list(h, prefix, NULL);
	if (paths)
		show_paths(paths, strlen(prefix), lead);
	strings_free(paths);
	qdb_close(h);
}

static int offer_argument(const struct line *line, char *word)
{
	const struct command *command = line->command;
	int kind;

	if (line->may_name_command && line->arg_count == 0)
		offer_commands(word, true);
	if (!command || line->arg_count >= command->max_args)
		return 0;
	kind = command->arg_kinds[(size_t)line->arg_count % strlen(command->arg_kinds)];
	if (kind == ARG_FILE)
		return STATUS_FILES;
	if (kind == ARG_PATH)
		offer_paths(line, word, "");
	if (kind == ARG_SWITCH) {
		offer("on", word);
		offer("off", word);
	}
	return 0;
}

static int offer_word(const struct line *line, char *word)
{
	static const char exact[] = "--exact=", format[] = "--format=";

	if (line->pending == 'd')
		sockets_each_domain(offer, word);
	else if (line->pending == 'c')
		offer_commands(word, false);
	else if (line->pending == 'O')
		offer_formats(word, "");
	else if (line->pending)
		return 0;
	else if (line->options_ended || word[0] != '-')
		return offer_argument(line, word);
	else if (applies(line, 'X') && strncmp(word, exact, strlen(exact)) == 0)
		offer_paths(line, word + strlen(exact), exact);
	else if (applies(line, 'O') && strncmp(word, format, strlen(format)) == 0)
		offer_formats(word, format);
	else
		offer_options(line, word);
	return 0;
}

int complete(char **words, int count)
{
	struct line line = {0};
	const char *name;

	if (count < 2)
		return 0;
	name = options_program_command(words[0]);
	line.may_name_command = strcmp(name, "cmd") == 0;
	/* qubesdb-read-bool takes a path, too. */
	line.command = command_find(strcmp(name, "bool") == 0 ? "read" : name);
	for (int i = 1; i < count - 1; i++)
		take_word(&line, words[i]);
	return offer_word(&line, words[count - 1]);
}
