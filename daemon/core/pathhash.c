/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SipHash (Aumasson and Bernstein) with one round a word and three at the end. The VM
 * chooses paths, so without a secret key it could choose them to collide, and every
 * look-up would cost the size of the namespace.
 */
#include "daemon/core/pathhash.h"

#include <endian.h>
#include <string.h>

static uint64_t keys[2];

void path_hash_key(const uint8_t key[16])
{
	memcpy(keys, key, sizeof(keys));
}

static inline uint64_t rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void mix(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

static inline void absorb(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	mix(v);
	v[0] ^= word;
}

/* What follows the last whole word, as a word. */
static uint64_t rest_of(const char *path, size_t len)
{
	const size_t n = len % sizeof(uint64_t);
	uint64_t word = 0;

	if (n == 0)
		return 0;
	if (len > sizeof(word)) {
		memcpy(&word, path + len - sizeof(word), sizeof(word));
		return le64toh(word) >> (64 - 8 * n);
	}
	for (size_t i = 0; i < n; i++)
		word |= (uint64_t)(unsigned char)path[i] << 8 * i;
	return word;
}

uint64_t path_hash(const char *path, size_t len)
{
	uint64_t v[4] = {
		keys[0] ^ 0x736f6d6570736575u,
		keys[1] ^ 0x646f72616e646f6du,
		keys[0] ^ 0x6c7967656e657261u,
		keys[1] ^ 0x7465646279746573u,
	};
	uint64_t word;

	for (size_t i = 0; i + sizeof(word) <= len; i += sizeof(word)) {
		memcpy(&word, path + i, sizeof(word));
		absorb(v, le64toh(word));
	}
	absorb(v, rest_of(path, len) | (uint64_t)len << 56);
	v[2] ^= 0xff;
	mix(v);
	mix(v);
	mix(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
