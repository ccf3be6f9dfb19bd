/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries as text for people: a line "PATH = VALUE" each.
 *
 * No path contains a blank or a '=', so the first '=' ends it. Blanks around the path and
 * the value mean nothing, hence a blank at either end of a value is written as \x20,
 * which no editor cuts off. Other bytes of a value are as qubesdb-read prints them,
 * except that a backslash is doubled, for otherwise "\x41" and "A" would be the same. A
 * byte above 0x7f may also stand for itself, since that is what a person types. Empty
 * lines, and those that begin with '#', mean nothing.
 */
#include "client/text.h"

#include <string.h>

#include "client/output.h"

static void print_value(FILE *to, const char *value, size_t len)
{
	bool first = len > 0 && value[0] == ' ';
	bool last = len > 1 && value[len - 1] == ' ';

	if (first)
		fputs("\\x20", to);
	output_escaped(to, value + first, len - first - last, "\\");
	if (last)
		fputs("\\x20", to);
}

void text_print(FILE *to, const struct entries *e)
{
	for (size_t i = 0; i < e->count; i++) {
		fprintf(to, "%s =", e->list[i].path);
		if (e->list[i].len > 0)
			fputc(' ', to);
		print_value(to, e->list[i].value, e->list[i].len);
		fputc('\n', to);
	}
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct span trim(struct span span)
{
	while (span.len > 0 && is_blank(span.at[span.len - 1]))
		span.len--;
	while (span.len > 0 && is_blank(span.at[0])) {
		span.at++;
		span.len--;
	}
	return span;
}

/* Turns escapes into what they stand for, in place. Returns the fault, or NULL. */
static const char *unescape(struct span *value)
{
	char *out = value->at;
	char *end = value->at + value->len;

	for (char *in = value->at; in < end; in++) {
		if ((unsigned char)*in < 0x20)
			return "a control character: write it as \\xNN";
		if (*in != '\\') {
			*out++ = *in;
		} else if (end - in >= 2 && in[1] == '\\') {
			*out++ = *in++;
		} else if (end - in >= 4 && in[1] == 'x' && source_hex(in + 2, out)) {
			out++;
			in += 3;
		} else {
			return "a backslash that is not part of \\\\ or \\xNN: double it";
		}
	}
	value->len = (size_t)(out - value->at);
	return NULL;
}

static bool parse_line(struct source *s, struct entries *e, struct span line)
{
	struct span path, value;
	const char *fault;
	char *equals;

	line = trim(line);
	if (line.len == 0 || line.at[0] == '#')
		return true;
	equals = memchr(line.at, '=', line.len);
	if (!equals)
		return source_fault(s, "no '=' after the path");
	path = trim((struct span){line.at, (size_t)(equals - line.at)});
	value = trim(
		(struct span){equals + 1, line.len - (size_t)(equals + 1 - line.at)});
	fault = unescape(&value);
	if (fault)
		return source_fault(s, fault);
	return source_add(s, e, path, value);
}

bool text_parse(struct source *s, struct entries *e)
{
	char *end = s->text + s->len;

	for (char *at = s->text; at < end; s->line++) {
		char *newline = memchr(at, '\n', (size_t)(end - at));
		char *line_end = newline ? newline : end;
		if (!parse_line(s, e, (struct span){at, (size_t)(line_end - at)}))
			return false;
		at = line_end + 1;
	}
	return true;
}
