/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The linker sends every allocation through here; see -Wl,--wrap in Makefile.inc. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

unsigned *alloc_starve;
bool alloc_has_starved;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *s);

static bool fails(void)
{
	if (!alloc_starve || *alloc_starve == 0 || --*alloc_starve > 0)
		return false;
	alloc_has_starved = true;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}
