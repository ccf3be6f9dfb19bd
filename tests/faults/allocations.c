/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Preloaded into a program, this makes one of its allocations fail, whichever library
 * asks for it and whatever process of it, and counts them all:
 *
 *   QDB_ALLOCATIONS=FILE        has the number so far, in its first eight bytes
 *   QDB_FAULT_ALLOCATION=NTH    fails
 *
 * Not for sanitizers, which have allocators of their own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);

static _Atomic uint64_t *count;
static uint64_t wanted;

__attribute__((constructor)) static void begin(void)
{
	const char *nth = getenv("QDB_FAULT_ALLOCATION");
	const int fd = open(getenv("QDB_ALLOCATIONS"), O_RDWR | O_CLOEXEC);
	void *shared =
		mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	close(fd);
	wanted = nth ? strtoull(nth, NULL, 10) : 0;
	count = shared == MAP_FAILED ? NULL : shared;
}

static bool fails(void)
{
	if (!count || atomic_fetch_add(count, 1) + 1 != wanted)
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	return fails() ? NULL : __libc_realloc(p, size);
}
