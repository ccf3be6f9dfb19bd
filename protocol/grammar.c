/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/grammar.h"

#include <string.h>

#include "protocol/qubesdb.h"

/* a-z A-Z 0-9 _ / . : @ -, written as the four runs that they form in ASCII. */
static bool is_path_character(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '-' && c <= ':') ||
	       (c >= '@' && c <= 'Z') || c == '_';
}

enum path_kind path_classify(const char *path, size_t len)
{
	if (len == 0)
		return PATH_NOTHING;
	if (len >= QDB_MAX_PATH || path[0] == '-')
		return PATH_ILL_FORMED;
	for (size_t i = 0; i < len; i++)
		if (!is_path_character((unsigned char)path[i]))
			return PATH_ILL_FORMED;
	if (path[0] != '/')
		return PATH_NOTHING;
	return path[len - 1] == '/' ? PATH_DIRECTORY : PATH_ENTRY;
}

bool value_is_valid(const char *value, size_t len)
{
	return len <= QDB_MAX_DATA && (len == 0 || memchr(value, '\0', len) == NULL);
}
