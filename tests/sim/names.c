/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The paths that clients use come first and in byte order; whatever else appears on the
 * wire gets a number when it does. A value is its number in decimal, and some are long,
 * so that the ring fills up.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

static const char *const known[KNOWN_PATHS] = {
	"/",   "/d", "/d/", "/d/a", "/d/b", "/d/s/", "/d/s/x", "/d/s/y",
	"/da", "/e", "/e/", "/e/a", "/e/b", "/f",    "/g",
};
const int known_entries[KNOWN_ENTRIES] = {3, 1, 4, 6, 11, 9, 13, 7, 12, 8, 14};
const int known_directories[KNOWN_PATHS - KNOWN_ENTRIES] = {2, 10, 5, 0};

static char names[PATHS][QDB_MAX_PATH];
static size_t lengths[PATHS];
static int count;

static int add(const char *path, size_t len)
{
	memcpy(names[count], path, len);
	names[count][len] = '\0';
	lengths[count] = len;
	return count++;
}

void names_reset(void)
{
	if (count == 0)
		for (int i = 0; i < KNOWN_PATHS; i++)
			add(known[i], strlen(known[i]));
	count = KNOWN_PATHS;
}

int names_count(void)
{
	return count;
}

int path_number(const char *path, size_t len)
{
	for (int i = 0; i < count; i++)
		if (lengths[i] == len && memcmp(names[i], path, len) == 0)
			return i;
	if (count == PATHS) {
		fprintf(stderr, "sim: more than %d paths\n", PATHS);
		abort();
	}
	return add(path, len);
}

const char *path_name(int path)
{
	return names[path];
}

size_t path_length(int path)
{
	return lengths[path];
}

bool path_is_directory(int path)
{
	return lengths[path] > 0 && names[path][lengths[path] - 1] == '/';
}

bool path_covers(int directory, int path)
{
	return directory != path && path_is_directory(directory) &&
	       lengths[path] > lengths[directory] &&
	       memcmp(names[path], names[directory], lengths[directory]) == 0;
}

const char *value_name(int value)
{
	static char text[4][16];
	static unsigned next;
	char *out = text[next++ % 4];

	if (value == VALUE_ABSENT)
		return "absent";
	if (value == VALUE_FOREIGN)
		return "-";
	snprintf(out, sizeof(text[0]), value == 0 ? "\"\"" : "%d", value);
	return out;
}

static size_t value_length(int value, size_t digits)
{
	if (value % 23 == 0)
		return 3000;
	return value % 7 == 0 ? 700 : digits;
}

size_t value_encode(int value, char *out)
{
	size_t len = 0, size;
	char digits[16];

	if (value == 0)
		return 0;
	if (value < 0) {
		out[0] = '-';
		return 1;
	}
	for (int v = value; v > 0; v /= 10)
		digits[len++] = (char)('0' + v % 10);
	size = value_length(value, len);
	for (size_t i = 0; i < len; i++)
		out[i] = digits[len - 1 - i];
	memset(out + len, 'x', size - len);
	return size;
}

int value_decode(const char *data, size_t len)
{
	size_t digits = 0;
	int value = 0;

	if (len == 0)
		return 0;
	while (digits < len && data[digits] >= '0' && data[digits] <= '9')
		value = 10 * value + (data[digits++] - '0');
	if (digits == 0 || value_length(value, digits) != len)
		return VALUE_FOREIGN;
	return value;
}
