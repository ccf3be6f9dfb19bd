/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers as they lie in a state file: `size` bytes, at most 8, the low one first. */
#ifndef QDB_NUMBER_H
#define QDB_NUMBER_H

#include <stddef.h>
#include <stdint.h>

static inline void number_put(uint8_t *out, uint64_t n, size_t size)
{
	for (size_t i = 0; i < size; i++)
		out[i] = (uint8_t)(n >> 8 * i);
}

static inline uint64_t number_get(const uint8_t *in, size_t size)
{
	uint64_t n = 0;

	for (size_t i = 0; i < size; i++)
		n |= (uint64_t)in[i] << 8 * i;
	return n;
}

#endif
