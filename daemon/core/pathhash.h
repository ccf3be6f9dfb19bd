/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_PATHHASH_H
#define QDB_PATHHASH_H

#include <stddef.h>
#include <stdint.h>

/*
 * Sets the key of all hashes of this process: 16 bytes that a peer cannot know. Once, and
 * before the first path is stored.
 */
void path_hash_key(const uint8_t key[16]);

uint64_t path_hash(const char *path, size_t len);

#endif
