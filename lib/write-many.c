/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Paths and values hold no NUL, so each is ended by one: the data of the request is the
 * entries' strings, one after the other.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/handle.h"

static int check_entry(const struct qdb_entry *e)
{
	if (e->path == NULL || (e->value == NULL && e->value_len > 0))
		return -EINVAL;
	if (!path_is_sendable(e->path))
		return REFUSED;
	if (e->value_len > QDB_MAX_DATA ||
	    memchr(e->value_len > 0 ? e->value : "", 0, e->value_len) != NULL)
		return REFUSED;
	return 0;
}

static int measure(const struct qdb_entry *entries, unsigned count, size_t *len)
{
	*len = 0;
	for (unsigned i = 0; i < count; i++) {
		int result = check_entry(&entries[i]);

		if (result != 0)
			return result;
		*len += strlen(entries[i].path) + 1 + entries[i].value_len + 1;
		if (*len > QDB_MAX_MANY)
			return -E2BIG;
	}
	return 0;
}

static char *append(char *end, const char *bytes, size_t len)
{
	if (len > 0)
		memcpy(end, bytes, len);
	end[len] = '\0';
	return end + len + 1;
}

static char *gather(const struct qdb_entry *entries, unsigned count, size_t len)
{
	char *data = malloc(len), *end = data;

	for (unsigned i = 0; data != NULL && i < count; i++) {
		end = append(end, entries[i].path, strlen(entries[i].path));
		end = append(end, entries[i].value, entries[i].value_len);
	}
	return data;
}

int write_many_message(const struct qdb_entry *entries, unsigned count, uint8_t **message,
		       size_t *size)
{
	size_t len;
	char *data;
	int result =
		entries == NULL || count == 0 ? -EINVAL : measure(entries, count, &len);

	if (result != 0)
		return result;
	data = gather(entries, count, len);
	*message = data != NULL ? malloc(MESSAGE_HEADER_SIZE + len) : NULL;
	if (*message != NULL)
		*size = message_encode(*message, QDB_CMD_WRITE_MANY, "", 0, data, len);
	free(data);
	return *message != NULL ? 0 : -ENOMEM;
}

int write_many_refusal(const struct message *m, bool is_read_only)
{
	return m->path_len == 0 && !is_read_only ? -ENOTSUP : REFUSED;
}

static int write_many(struct qdb_handle *h, const uint8_t *message, size_t size)
{
	const struct request r = {
		.type = QDB_CMD_WRITE_MANY,
		.message = message,
		.size = size,
	};
	struct reply reply;
	int result = request(h, &r, &reply);

	if (result == 0 && reply.message.type == QDB_RESP_ERROR)
		return write_many_refusal(&reply.message, h->is_read_only);
	return result;
}

int qdb_write_many(qdb_handle_t h, const struct qdb_entry *entries, unsigned int count)
{
	uint8_t *message = NULL;
	size_t size;
	int result =
		h != NULL ? write_many_message(entries, count, &message, &size) : -EINVAL;

	if (result == 0)
		result = write_many(h, message, size);
	free(message);
	if (result != 0)
		set_errno(result);
	return result == 0;
}
