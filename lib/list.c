/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Answers of many entries. The two commands differ in the number of strings that an entry
 * has, its width: the path alone, or the path and the value.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/handle.h"

#define FIRST_CAPACITY 32

struct entries {
	size_t width;
	size_t len;
	size_t capacity;       /* entries, the terminating one included */
	char **strings;        /* width for each entry, then width times NULL */
	unsigned int *lengths; /* of the values */
};

static int entries_grow(struct entries *e, size_t capacity)
{
	char **strings = reallocarray(e->strings, capacity, e->width * sizeof(*strings));
	unsigned int *lengths;

	if (strings == NULL)
		return -ENOMEM;
	e->strings = strings;
	lengths = reallocarray(e->lengths, capacity, sizeof(*lengths));
	if (lengths == NULL)
		return -ENOMEM;
	e->lengths = lengths;
	e->capacity = capacity;
	return 0;
}

static void entries_clear(struct entries *e)
{
	for (size_t i = 0; i < e->len * e->width; i++)
		free(e->strings[i]);
	e->len = 0;
}

static void entries_free(struct entries *e)
{
	entries_clear(e);
	free(e->strings);
	free(e->lengths);
}

static int entries_add(struct entries *e, const struct message *m)
{
	char *path, *value = NULL;

	if (e->len + 1 == e->capacity && entries_grow(e, 2 * e->capacity) < 0)
		return -ENOMEM;
	path = duplicate(m->path, m->path_len);
	if (e->width == 2)
		value = duplicate(m->data, m->data_len);
	if (path == NULL || (e->width == 2 && value == NULL)) {
		free(path);
		free(value);
		return -ENOMEM;
	}
	e->strings[e->len * e->width] = path;
	if (e->width == 2)
		e->strings[e->len * e->width + 1] = value;
	e->lengths[e->len] = (unsigned int)m->data_len;
	e->len++;
	return 0;
}

/*
 * Callers cut the prefix off the paths that they get, so a path without it must not reach
 * them.
 */
static int take_entry(struct entries *e, const char *prefix, const struct message *m)
{
	if (strncmp(m->path, prefix, strlen(prefix)) != 0)
		return -EPROTO;
	return entries_add(e, m);
}

/* In a request for the status it follows an '@'. */
static const char *prefix_of(const struct request *r)
{
	return r->path + (r->type == QDB_CMD_STATUS);
}

static int collect_once(struct qdb_handle *h, struct entries *e, const struct request *r)
{
	struct reply reply;
	int result = request_once(h, r, &reply);

	while (result == 0) {
		if (reply.message.type == QDB_RESP_ERROR)
			return r->type == QDB_CMD_STATUS ? -ENOTSUP : REFUSED;
		if (reply.message.path_len == 0)
			return 0;
		result = take_entry(e, prefix_of(r), &reply.message);
		if (result == 0)
			result = request_next(h, r->type, &reply);
	}
	connection_close(h);
	return result;
}

static int collect(struct qdb_handle *h, struct entries *e, const struct request *r)
{
	int result;

	request_begin(h);
	do {
		entries_clear(e);
		result = collect_once(h, e, r);
	} while (request_again(h, result));
	return result;
}

/* Fills in `e`, which is to be freed on success only. */
static int list(struct qdb_handle *h, struct entries *e, const struct request *r)
{
	int result = entries_grow(e, FIRST_CAPACITY);

	if (result == 0)
		result = collect(h, e, r);
	if (result == 0)
		memset(e->strings + e->len * e->width, 0, e->width * sizeof(*e->strings));
	else
		entries_free(e);
	return result;
}

/* The whole of a call, of which `checked` says whether it is to be refused at once. */
static char **give_list(struct qdb_handle *h, int checked, const struct request *r,
			unsigned int **values_len, unsigned int *list_len)
{
	struct entries e = {.width = r->type == QDB_CMD_LIST ? 1 : 2};
	int result = checked == 0 ? list(h, &e, r) : checked;

	if (result != 0) {
		set_errno(result);
		return NULL;
	}
	if (values_len != NULL)
		*values_len = e.lengths;
	else
		free(e.lengths);
	if (list_len != NULL)
		*list_len = (unsigned int)e.len;
	return e.strings;
}

char **qdb_list(qdb_handle_t h, const char *path, unsigned int *list_len)
{
	const struct request r = {
		.type = QDB_CMD_LIST,
		.path = path,
	};

	return give_list(h, request_check(h, path), &r, NULL, list_len);
}

char **qdb_multiread(qdb_handle_t h, const char *path, unsigned int **values_len,
		     unsigned int *list_len)
{
	const struct request r = {
		.type = QDB_CMD_MULTIREAD,
		.path = path,
	};

	return give_list(h, request_check(h, path), &r, values_len, list_len);
}

char **qdb_status(qdb_handle_t h, const char *prefix, unsigned int *list_len)
{
	char path[QDB_MAX_PATH] = "@";
	const struct request r = {
		.type = QDB_CMD_STATUS,
		.path = path,
	};
	const bool is_all = h != NULL && prefix != NULL && prefix[0] == '\0';
	int checked = is_all ? 0 : request_check(h, prefix);

	if (checked == 0 && strlen(prefix) + 1 >= sizeof(path))
		checked = REFUSED;
	if (checked == 0)
		strcpy(path + 1, prefix);
	return give_list(h, checked, &r, NULL, list_len);
}
