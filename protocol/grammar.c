/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/grammar.h"

#include <limits.h>
#include <string.h>

#include "protocol/qubesdb.h"

/* a-z A-Z 0-9 _ / . : @ -, written as the four runs that they form in ASCII. */
static const bool is_path_character[UCHAR_MAX + 1] = {
	['a' ... 'z'] = true,
	['-' ... ':'] = true,
	['@' ... 'Z'] = true,
	['_'] = true,
};

enum path_kind path_classify(const char *path, size_t len)
{
	bool is_fine = true;

	if (len == 0)
		return PATH_NOTHING;
	if (len >= QDB_MAX_PATH || path[0] == '-')
		return PATH_ILL_FORMED;
	for (size_t i = 0; i < len; i++)
		is_fine &= is_path_character[(unsigned char)path[i]];
	if (!is_fine)
		return PATH_ILL_FORMED;
	if (path[0] != '/')
		return PATH_NOTHING;
	return path[len - 1] == '/' ? PATH_DIRECTORY : PATH_ENTRY;
}

bool value_is_valid(const char *value, size_t len)
{
	return len <= QDB_MAX_DATA && (len == 0 || memchr(value, '\0', len) == NULL);
}
