/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The linker sends every allocation through here; see -Wl,--wrap in Makefile.inc. Those
 * that the core makes are known by where they are made, so that a test can tell whether
 * each of them has failed.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

unsigned *alloc_starve;
bool alloc_has_starved;
unsigned alloc_failures;

static struct alloc_site {
	const void *caller;
	bool has_failed;
} sites[ALLOC_SITES];

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *s);

static struct alloc_site *find_site(const void *caller)
{
	struct alloc_site *site = sites;

	while (site < sites + ALLOC_SITES - 1 && site->caller && site->caller != caller)
		site++;
	site->caller = caller;
	return site;
}

static bool fails(const void *caller)
{
	struct alloc_site *site;

	if (!alloc_starve)
		return false;
	site = find_site(caller);
	if (*alloc_starve == 0 || --*alloc_starve > 0)
		return false;
	site->has_failed = true;
	alloc_has_starved = true;
	alloc_failures++;
	return true;
}

unsigned alloc_sites(unsigned *failed)
{
	unsigned n = 0;

	*failed = 0;
	for (; n < ALLOC_SITES && sites[n].caller; n++)
		*failed += sites[n].has_failed;
	return n;
}

#define FAILS fails(__builtin_return_address(0))

void *__wrap_malloc(size_t size)
{
	return FAILS ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return FAILS ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return FAILS ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *s)
{
	return FAILS ? NULL : __real_strdup(s);
}
