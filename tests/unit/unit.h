/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the unit tests share: one main() for a suite, and messages as text. */
#ifndef QDB_UNIT_H
#define QDB_UNIT_H

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/message.h"

/* A main() that runs the given test case; `fill` adds the tests. */
#define UNIT_MAIN(name, fill) \
	int main(void) \
	{ \
		Suite *suite = suite_create(name); \
		TCase *tcase = tcase_create(name); \
		SRunner *runner = srunner_create(suite); \
		int failed; \
\
		tcase_set_timeout(tcase, 0); \
		fill(tcase); \
		suite_add_tcase(suite, tcase); \
		srunner_run_all(runner, CK_NORMAL); \
		failed = srunner_ntests_failed(runner); \
		srunner_free(runner); \
		return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE; \
	}

/* "WRITE /a=1" for a message; "OK /a" for one without data. Valid until the next call. */
static inline const char *unit_text(unsigned type, const char *path, const char *data,
				    size_t len)
{
	static char text[QDB_MAX_PATH + QDB_MAX_DATA + 32];

	if (len > 0)
		snprintf(text, sizeof(text), "%s %s=%.*s", message_name(type), path,
			 (int)len, data);
	else
		snprintf(text, sizeof(text), "%s %s", message_name(type), path);
	return text;
}

/*
 * Takes all whole messages out of `bytes` and appends them to `text`, separated by "; ".
 * Fails the test if a header byte that says nothing is not zero, or if bytes remain.
 */
static inline void unit_append_messages(char *text, size_t size, const uint8_t *bytes,
					size_t len)
{
	struct qdb_hdr h;
	size_t path_len;

	while (len > 0) {
		ck_assert_uint_ge(len, sizeof(h));
		memcpy(&h, bytes, sizeof(h));
		path_len = strnlen(h.path, sizeof(h.path));
		ck_assert_uint_lt(path_len, sizeof(h.path));
		for (size_t i = path_len; i < sizeof(h.path); i++)
			ck_assert_int_eq(h.path[i], 0);
		ck_assert(!h.padding[0] && !h.padding[1] && !h.padding[2]);
		ck_assert_uint_ge(len - sizeof(h), h.data_len);
		if (*text)
			strncat(text, "; ", size - strlen(text) - 1);
		strncat(text,
			unit_text(h.type, h.path, (const char *)bytes + sizeof(h),
				  h.data_len),
			size - strlen(text) - 1);
		bytes += sizeof(h) + h.data_len;
		len -= sizeof(h) + h.data_len;
	}
}

static inline size_t unit_encode(uint8_t *out, enum qdb_msg type, const char *path,
				 const char *data)
{
	return message_encode(out, type, path, strlen(path), data,
			      data ? strlen(data) : 0);
}

#endif
