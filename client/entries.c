/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/entries.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/failure.h"

static struct entry *new_entry(struct entries *e)
{
	if (e->count == e->room) {
		size_t room = e->room ? 2 * e->room : 64;
		struct entry *list = reallocarray(e->list, room, sizeof(*list));
		if (!list)
			return NULL;
		e->list = list;
		e->room = room;
	}
	return &e->list[e->count];
}

bool entries_add(struct entries *e, const char *path, const char *value, size_t len,
		 unsigned long line)
{
	struct entry *entry = new_entry(e);

	if (!entry)
		return false;
	*entry = (struct entry){strdup(path), strndup(value, len), len, line};
	if (entry->path && entry->value) {
		e->count++;
		return true;
	}
	free(entry->path);
	free(entry->value);
	return false;
}

void strings_free(char **strings)
{
	for (char **string = strings; string && *string; string++)
		free(*string);
	free(strings);
}

bool entries_count(qdb_handle_t h, const char *prefix, unsigned int *count)
{
	char **paths = qdb_list(h, prefix, count);
	const bool is_known = paths != NULL;

	strings_free(paths);
	return is_known;
}

/* MULTIREAD knows no refusal, only an empty answer; LIST does. */
static bool is_empty(qdb_handle_t h, const char *prefix)
{
	unsigned int count;

	if (!entries_count(h, prefix, &count))
		return false;
	errno = 0;
	return count == 0;
}

bool entries_load(struct entries *e, qdb_handle_t h, const char *prefix)
{
	unsigned int *lens, count;
	char **found;

	if (failure_path_fault(ATTEMPT_MULTIREAD, prefix)) {
		errno = 0;
		return false;
	}
	found = qdb_multiread(h, prefix, &lens, &count);
	if (!found)
		return false;
	e->list = calloc(count ? count : 1, sizeof(*e->list));
	for (unsigned int i = 0; i < count; i++) {
		struct entry entry = {found[2 * i], found[2 * i + 1], lens[i], 0};
		if (e->list) {
			e->list[e->count++] = entry;
			continue;
		}
		free(entry.path);
		free(entry.value);
	}
	e->room = e->count;
	free(found);
	free(lens);
	if (!e->list)
		errno = ENOMEM;
	return e->list && (count > 0 || is_empty(h, prefix));
}

static int compare_places(const void *a, const void *b)
{
	const struct entry *one = a, *other = b;
	int order = strcmp(one->path, other->path);

	return order ? order : (one->line > other->line) - (one->line < other->line);
}

static int compare_paths(const void *path, const void *entry)
{
	return strcmp(path, ((const struct entry *)entry)->path);
}

void entries_sort(struct entries *e)
{
	if (e->count > 0)
		qsort(e->list, e->count, sizeof(*e->list), compare_places);
}

const struct entry *entries_find(const struct entries *e, const char *path)
{
	if (e->count == 0)
		return NULL;
	return bsearch(path, e->list, e->count, sizeof(*e->list), compare_paths);
}

bool entries_agree(const struct entry *a, const struct entry *b)
{
	if (!a || !b)
		return a == b;
	return a->len == b->len && memcmp(a->value, b->value, a->len) == 0;
}

void entries_free(struct entries *e)
{
	for (size_t i = 0; i < e->count; i++) {
		free(e->list[i].path);
		free(e->list[i].value);
	}
	free(e->list);
	*e = (struct entries){0};
}
