/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_GRAMMAR_H
#define QDB_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>

/* What a string of bytes is as a path. Every path is exactly one of these. */
enum path_kind {
	PATH_ILL_FORMED, /* a forbidden character, or '-' in front: refuse it */
	PATH_NOTHING,    /* well-formed, yet names neither an entry nor a directory */
	PATH_ENTRY,      /* "/a/b": begins with '/' and ends with something else */
	PATH_DIRECTORY,  /* "/a/": begins and ends with '/' */
};

enum path_kind path_classify(const char *path, size_t len);

/* Whether `len` bytes may be stored as a value: at most QDB_MAX_DATA, none of them NUL.
 */
bool value_is_valid(const char *value, size_t len);

#endif
