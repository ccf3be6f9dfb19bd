/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_TESTS_USAGE_H
#define QDB_TESTS_USAGE_H

#include <stddef.h>

/* What this process holds of what can leak. */
struct usage {
	size_t descriptors;
	size_t mappings;
	size_t heap; /* bytes; 0 under the sanitizers, which tell of leaks themselves */
};

struct usage usage_now(void);

#endif
