/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The data of a CMD_WRITE_MANY: for each entry its path, a NUL, its value, a NUL. All of
 * it is read with this, since it comes from outside.
 */
#ifndef QDB_MANY_H
#define QDB_MANY_H

#include <stddef.h>

enum many_result {
	MANY_END,
	MANY_ENTRY,     /* the next one, which may be written */
	MANY_BAD_ENTRY, /* only the path is set: it, or its value, may not be written */
	MANY_MALFORMED, /* no entry, or one whose path does not fit into a message */
};

struct many {
	const char *at;
	const char *end;
};

struct many_entry {
	const char *path; /* NUL-terminated, 1 to QDB_MAX_PATH - 1 characters */
	size_t path_len;
	const char *value; /* value_len bytes */
	size_t value_len;
};

void many_begin(struct many *m, const char *bytes, size_t len);

/* Takes the next entry, which points into the bytes. Only after MANY_ENTRY may it go on.
 */
enum many_result many_next(struct many *m, struct many_entry *e);

#endif
