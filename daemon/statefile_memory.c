/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memory that sqlite works with: it holds values, and is wiped when it is freed. The
 * size of a piece is what malloc() has made of it.
 */
#include "daemon/statefile_memory.h"

#include <malloc.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

static void *take(int size)
{
	return malloc((size_t)size);
}

static int size_of(void *piece)
{
	return (int)malloc_usable_size(piece);
}

static void wipe_and_free(void *piece)
{
	if (piece)
		explicit_bzero(piece, malloc_usable_size(piece));
	free(piece);
}

static void *resize(void *piece, int size)
{
	const size_t before = malloc_usable_size(piece);
	void *other;

	if ((size_t)size <= before && (size_t)size > before / 2)
		return piece;
	other = malloc((size_t)size);
	if (!other)
		return NULL;
	memcpy(other, piece, before < (size_t)size ? before : (size_t)size);
	wipe_and_free(piece);
	return other;
}

static int round_up(int size)
{
	return (size + 7) & ~7;
}

static int begin(void *nothing)
{
	(void)nothing;
	return SQLITE_OK;
}

static void end(void *nothing)
{
	(void)nothing;
}

void statefile_wipe_memory(void)
{
	static const struct sqlite3_mem_methods methods = {
		.xMalloc = take,
		.xFree = wipe_and_free,
		.xRealloc = resize,
		.xSize = size_of,
		.xRoundup = round_up,
		.xInit = begin,
		.xShutdown = end,
	};

	sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}
