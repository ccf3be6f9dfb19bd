/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/async.h"

#define FIRST_CAPACITY 16

struct task *task_new(enum qdb_msg type, uint8_t *message, size_t size)
{
	struct task *t = calloc(1, sizeof(*t));

	if (t == NULL) {
		free(message);
		return NULL;
	}
	t->type = type;
	t->message = message;
	t->size = size;
	return t;
}

struct task *task_new_plain(enum qdb_msg type, const char *path, const char *value,
			    size_t value_len)
{
	uint8_t *message = malloc(MESSAGE_HEADER_SIZE + value_len);

	if (message == NULL)
		return NULL;
	message_encode(message, type, path, strlen(path), value, value_len);
	return task_new(type, message, MESSAGE_HEADER_SIZE + value_len);
}

void task_restart(struct task *t)
{
	for (unsigned i = 0; i < t->count; i++)
		free((void *)(uintptr_t)t->entries[i].path);
	t->count = 0;
	t->answered = 0;
}

void task_free(struct task *t)
{
	task_restart(t);
	free(t->entries);
	free(t->message);
	free(t);
}

void task_finish(struct task *t, int error)
{
	const struct qdb_result result = {
		.error = error,
		.count = error == 0 ? t->count : 0,
		.entries = t->entries,
	};

	if (t->done != NULL)
		t->done(t->token, &result);
	task_free(t);
}

static int grow(struct task *t)
{
	unsigned capacity = t->capacity == 0 ? FIRST_CAPACITY : 2 * t->capacity;
	struct qdb_entry *entries = reallocarray(t->entries, capacity, sizeof(*entries));

	if (entries == NULL)
		return ENOMEM;
	t->entries = entries;
	t->capacity = capacity;
	return 0;
}

/* Path and value are one piece of memory. */
static int add_entry(struct task *t, const struct message *m)
{
	const bool has_value = t->type != QDB_CMD_LIST;
	char *strings = malloc(m->path_len + 1 + m->data_len + 1), *value;

	if (strings == NULL || (t->count == t->capacity && grow(t) != 0)) {
		free(strings);
		return ENOMEM;
	}
	memcpy(strings, m->path, m->path_len + 1);
	value = strings + m->path_len + 1;
	if (m->data_len > 0)
		memcpy(value, m->data, m->data_len);
	value[m->data_len] = '\0';
	t->entries[t->count++] = (struct qdb_entry){
		.path = strings,
		.value = has_value ? value : NULL,
		.value_len = (unsigned)m->data_len,
	};
	return 0;
}

/* An entry of a list, or its end. */
static bool take_listed(struct task *t, const struct message *m, int *error)
{
	const char *prefix = (const char *)t->message + offsetof(struct qdb_hdr, path);

	*error = 0;
	if (m->path_len == 0)
		return true;
	*error = strncmp(m->path, prefix, strlen(prefix)) != 0 ? EPROTO : add_entry(t, m);
	return *error != 0;
}

static int refusal(const struct task *t, const struct message *m, bool is_read_only)
{
	if (t->type == QDB_CMD_WRITE_MANY &&
	    write_many_refusal(m, is_read_only) == -ENOTSUP)
		return ENOTSUP;
	if (is_read_only && request_is_change(t->type) && t->connections > 0)
		return EPIPE;
	return EPERM;
}

bool task_take(struct task *t, const struct message *m, bool is_read_only, int *error)
{
	t->answered += MESSAGE_HEADER_SIZE + m->data_len;
	*error = EPROTO;
	if (t->answered > ANSWER_MAX || !request_takes(t->type, m->type))
		return true;
	switch (m->type) {
	case QDB_RESP_LIST:
	case QDB_RESP_MULTIREAD:
		return take_listed(t, m, error);
	case QDB_RESP_READ:
		*error = add_entry(t, m);
		break;
	case QDB_RESP_ERROR_NOENT:
		*error = t->type == QDB_CMD_READ ? ENOENT : 0;
		break;
	case QDB_RESP_ERROR:
		*error = refusal(t, m, is_read_only);
		break;
	default:
		*error = 0;
	}
	return true;
}
