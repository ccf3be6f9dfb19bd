/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/many.h"

#include <string.h>

#include "protocol/grammar.h"
#include "protocol/qubesdb.h"

void many_begin(struct many *m, const char *bytes, size_t len)
{
	m->at = bytes;
	m->end = bytes + len;
}

/* Takes the string that ends with the next NUL, or gives NULL. */
static const char *take_string(struct many *m, size_t *len)
{
	const char *string = m->at;
	const char *nul = memchr(string, '\0', (size_t)(m->end - string));

	if (!nul)
		return NULL;
	*len = (size_t)(nul - string);
	m->at = nul + 1;
	return string;
}

enum many_result many_next(struct many *m, struct many_entry *e)
{
	if (m->at == m->end)
		return MANY_END;
	e->path = take_string(m, &e->path_len);
	if (!e->path || e->path_len == 0 || e->path_len >= QDB_MAX_PATH)
		return MANY_MALFORMED;
	if (m->at == m->end)
		return MANY_MALFORMED;
	e->value = take_string(m, &e->value_len);
	if (!e->value)
		return MANY_MALFORMED;
	if (path_classify(e->path, e->path_len) != PATH_ENTRY ||
	    !value_is_valid(e->value, e->value_len))
		return MANY_BAD_ENTRY;
	return MANY_ENTRY;
}
