/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/announcement.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "@qdb:1:"
#define DIGITS 16

/* Those that say nothing else. */
static const char *const words[] = {
	[ANNOUNCEMENT_GO] = "go",
	[ANNOUNCEMENT_NEWS] = "news",
	[ANNOUNCEMENT_GOT] = "got",
};
#define WORDS (sizeof(words) / sizeof(words[0]))

size_t announcement_format(char *path, size_t size, const struct announcement *a)
{
	int n;

	if (a->kind != ANNOUNCEMENT_HELLO)
		n = snprintf(path, size, PREFIX "%s", words[a->kind]);
	else if (a->fresh)
		n = snprintf(path, size, PREFIX "%016" PRIx64 ":fresh", a->id);
	else
		n = snprintf(path, size, PREFIX "%016" PRIx64 ":%" PRIx64, a->id,
			     a->processed);
	return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

/* At least one and at most 16 digits; returns what follows them, or NULL. */
static const char *parse_hex(uint64_t *value, const char *s)
{
	static const char digits[] = "0123456789abcdef";
	const char *digit, *begin = s;

	*value = 0;
	while (*s && (digit = strchr(digits, *s))) {
		*value = *value << 4 | (uint64_t)(digit - digits);
		s++;
	}
	return s > begin && s <= begin + DIGITS ? s : NULL;
}

void announcement_parse(struct announcement *a, const char *path)
{
	const char *rest;

	*a = (struct announcement){.kind = ANNOUNCEMENT_NONE};
	if (path[0] != '@')
		return;
	a->kind = ANNOUNCEMENT_UNKNOWN;
	if (strncmp(path, PREFIX, strlen(PREFIX)) != 0)
		return;
	path += strlen(PREFIX);
	for (size_t i = ANNOUNCEMENT_GO; i < WORDS; i++)
		if (strcmp(path, words[i]) == 0) {
			a->kind = (enum announcement_kind)i;
			return;
		}
	rest = parse_hex(&a->id, path);
	if (!rest || *rest != ':')
		return;
	a->fresh = strcmp(rest + 1, "fresh") == 0;
	if (!a->fresh) {
		rest = parse_hex(&a->processed, rest + 1);
		if (!rest || *rest != '\0')
			return;
	}
	a->kind = ANNOUNCEMENT_HELLO;
}
