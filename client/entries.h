/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_CLIENT_ENTRIES_H
#define QDB_CLIENT_ENTRIES_H

#include <stdbool.h>
#include <stddef.h>

#include "client/options.h"
#include "lib/qubesdb-client.h"

struct entry {
	char *path;
	char *value; /* NUL-terminated */
	size_t len;
	unsigned long line; /* where it stood in a text, or 0 */
};

/* A list of entries that owns what is in it. All zeros is an empty one. */
struct entries {
	struct entry *list;
	size_t count, room;
};

/*
 * Fills an empty list with the entries whose paths begin with `prefix`, in
 * ascending order. Returns false with errno as the library sets it.
 */
bool entries_load(struct entries *e, qdb_handle_t h, const char *prefix);

/* How many paths begin with `prefix`; false as above. */
bool entries_count(qdb_handle_t h, const char *prefix, unsigned int *count);

/* Frees an array of strings, as the library gives it. NULL is ignored. */
void strings_free(char **strings);

/* Adds copies at the end. Returns false with errno ENOMEM. */
bool entries_add(struct entries *e, const char *path, const char *value, size_t len,
		 unsigned long line);

/* Puts the list into ascending byte order of path; equal paths stay in that of lines. */
void entries_sort(struct entries *e);

/* Looks a path up in a sorted list. Returns NULL if it is not there. */
const struct entry *entries_find(const struct entries *e, const char *path);

/* Whether both are there and have the same value, or none is there. */
bool entries_agree(const struct entry *a, const struct entry *b);

void entries_free(struct entries *e);

#endif
