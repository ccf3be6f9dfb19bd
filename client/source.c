/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lists of entries that come from a file. Everything is read and checked before anybody
 * sees an entry, so that a mistake in the last line is as harmless as one in the first.
 */
#include "client/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/failure.h"
#include "client/json.h"
#include "client/text.h"

/* Several times what the largest namespace comes to if every byte is escaped. */
#define SOURCE_LIMIT ((size_t)256 << 20)

bool source_fault(const struct source *s, const char *fault)
{
	failure_say(s->o, "%s:%lu: %s", s->name, s->line, fault);
	return false;
}

bool source_hex(const char *digits, char *byte)
{
	static const char known[] = "0123456789abcdef0123456789ABCDEF";
	const char *high = digits[0] ? strchr(known, digits[0]) : NULL;
	const char *low = high && digits[1] ? strchr(known, digits[1]) : NULL;

	if (!low)
		return false;
	*byte = (char)((high - known) % 16 * 16 + (low - known) % 16);
	return true;
}

static const char *find_fault(const struct source *s, const char *path, size_t path_len,
			      struct span value)
{
	const char *fault = failure_path_fault(ATTEMPT_WRITE, path);

	if (strlen(path) < path_len)
		return "the path contains a NUL byte";
	if (!fault && strncmp(path, s->prefix, strlen(s->prefix)) != 0)
		return "the path does not begin with the prefix that was given";
	return fault ? fault : failure_value_fault(value.at, value.len);
}

bool source_add(struct source *s, struct entries *e, struct span path, struct span value)
{
	char *name = malloc(path.len + 1);
	bool added = false;
	const char *fault;

	if (!name)
		return source_fault(s, strerror(errno));
	memcpy(name, path.at, path.len);
	name[path.len] = '\0';
	fault = find_fault(s, name, path.len, value);
	if (!fault) {
		added = entries_add(e, name, value.at, value.len, s->line);
		fault = strerror(errno);
	}
	free(name);
	return added ? true : source_fault(s, fault);
}

static bool read_text(struct source *s, FILE *file)
{
	size_t room = 0;

	do {
		size_t wanted = room ? 2 * room : 65536;
		char *text = realloc(s->text, wanted + 1);
		if (!text)
			return false;
		s->text = text;
		room = wanted;
		s->len += fread(s->text + s->len, 1, room - s->len, file);
	} while (s->len == room && room < SOURCE_LIMIT);
	s->text[s->len] = '\0';
	if (s->len < SOURCE_LIMIT)
		return !ferror(file);
	errno = EFBIG;
	return false;
}

static bool read_source(struct source *s, const char *path)
{
	FILE *file = path ? fopen(path, "re") : stdin;
	bool complete = file && read_text(s, file);

	if (!complete)
		failure_say(s->o, "Failed to read %s: %s", s->name, strerror(errno));
	if (path && file)
		fclose(file);
	return complete;
}

/* Only one of the two can begin with a brace. */
static bool looks_like_json(const struct source *s)
{
	return s->text[strspn(s->text, " \t\r\n")] == '{';
}

/* The end of a JSON text is marked; this one may have been cut off. */
static bool is_whole(struct source *s, const struct entries *e)
{
	if (e->count == 0)
		return source_fault(s,
				    "no entries, so nothing is done; {} stands for none");
	if (s->text[s->len - 1] != '\n')
		return source_fault(s, "the last line has no end, so nothing is done; "
				       "what follows may have been cut off");
	return true;
}

static bool parse(struct source *s, struct entries *e)
{
	bool json = s->o->json || looks_like_json(s);

	if (!(json ? json_parse(s, e) : text_parse(s, e)))
		return false;
	return json || !s->o->exact || is_whole(s, e);
}

static bool has_no_duplicates(struct source *s, const struct entries *e)
{
	for (size_t i = 1; i < e->count; i++) {
		const struct entry *first = &e->list[i - 1], *second = &e->list[i];
		if (strcmp(first->path, second->path) != 0)
			continue;
		failure_say(s->o, "%s:%lu: the path %s is already in line %lu", s->name,
			    second->line, second->path, first->line);
		return false;
	}
	return true;
}

bool source_load(const struct options *o, const char *file, const char *prefix,
		 struct entries *e)
{
	struct source s = {.o = o, .name = file, .line = 1, .prefix = prefix};
	bool sound;

	if (!file || strcmp(file, "-") == 0) {
		file = NULL;
		s.name = "standard input";
	}
	sound = read_source(&s, file) && parse(&s, e);
	free(s.text);
	entries_sort(e);
	return sound && has_no_duplicates(&s, e);
}
