/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How long round trips take, told as scenarios read it. */
#ifndef QDB_TEST_XEN_TIMING_H
#define QDB_TEST_XEN_TIMING_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline long now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static inline int compare_times(const void *left, const void *right)
{
	long a = *(const long *)left, b = *(const long *)right;

	return (a > b) - (a < b);
}

/* Sorts them. */
static inline void print_times(long *took, int count)
{
	qsort(took, (size_t)count, sizeof(*took), compare_times);
	printf("median_us=%ld max_us=%ld\n", took[count / 2], took[count - 1]);
}

#endif
