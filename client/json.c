/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Values as JSON. A string of JSON is Unicode, a value any bytes but NUL. Those that are
 * UTF-8 become strings, which is nearly all, and the others objects, so that neither can
 * be taken for the other. Control characters, also those above 0x7f, are escaped, since
 * a terminal may obey them.
 */
#include "client/json.h"

#include <string.h>

/* The four rows of well-formed UTF-8: its length, and what narrows the second byte. */
static const struct {
	unsigned char first_min, first_max, second_min, second_max, len;
} utf8_rows[] = {
	{0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2},
	{0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
	{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
	{0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
	{0xf4, 0xf4, 0x80, 0x8f, 4},
};

static size_t match_row(size_t row, const unsigned char *text, size_t len)
{
	size_t wanted = utf8_rows[row].len;

	if (len < wanted)
		return 0;
	if (wanted > 1 &&
	    (text[1] < utf8_rows[row].second_min || text[1] > utf8_rows[row].second_max))
		return 0;
	for (size_t i = 2; i < wanted; i++)
		if (text[i] < 0x80 || text[i] > 0xbf)
			return 0;
	return wanted;
}

size_t json_utf8(const char *text, size_t len)
{
	const unsigned char *bytes = (const unsigned char *)text;

	for (size_t i = 0; i < sizeof(utf8_rows) / sizeof(utf8_rows[0]) && len > 0; i++)
		if (bytes[0] >= utf8_rows[i].first_min &&
		    bytes[0] <= utf8_rows[i].first_max)
			return match_row(i, bytes, len);
	return 0;
}

static bool is_utf8(const char *bytes, size_t len)
{
	for (size_t i = 0, step; i < len; i += step) {
		step = json_utf8(bytes + i, len - i);
		if (step == 0)
			return false;
	}
	return true;
}

static void print_character(FILE *to, const char *bytes, size_t len)
{
	unsigned char first = (unsigned char)bytes[0];

	if (first == '"' || first == '\\')
		fprintf(to, "\\%c", first);
	else if (first == '\n')
		fputs("\\n", to);
	else if (first < 0x20 || first == 0x7f)
		fprintf(to, "\\u%04x", first);
	else if (first == 0xc2 && (unsigned char)bytes[1] < 0xa0)
		fprintf(to, "\\u%04x", (unsigned char)bytes[1]);
	else
		fwrite(bytes, 1, len, to);
}

void json_print_value(FILE *to, const char *bytes, size_t len)
{
	if (!is_utf8(bytes, len)) {
		fputs("{\"hex\": \"", to);
		for (size_t i = 0; i < len; i++)
			fprintf(to, "%02x", (unsigned char)bytes[i]);
		fputs("\"}", to);
		return;
	}
	fputc('"', to);
	for (size_t i = 0, step; i < len; i += step) {
		step = json_utf8(bytes + i, len - i);
		print_character(to, bytes + i, step);
	}
	fputc('"', to);
}

void json_print(FILE *to, const struct entries *e)
{
	fputc('{', to);
	for (size_t i = 0; i < e->count; i++) {
		fprintf(to, "%s\n  \"%s\": ", i > 0 ? "," : "", e->list[i].path);
		json_print_value(to, e->list[i].value, e->list[i].len);
	}
	fputs("\n}\n", to);
}
