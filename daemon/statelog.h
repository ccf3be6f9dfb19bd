/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the pieces of a snapshot lie in the blocks of a state file.
 *
 * A log is a stream of bytes, cut into blocks of one size; in the stream each piece comes
 * after its length. A block that is full is followed by another, which may be empty; so
 * the end is known, and a lost block is missed.
 *
 *	bytes  0  checksum of what follows, as far as it is used, and of all blocks before
 *	       8  how many bytes are used
 *	      12  the bytes
 *
 * Numbers have their low byte first. Nothing here does input or output.
 */
#ifndef QDB_STATELOG_H
#define QDB_STATELOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* With sqlite's own headers, the most that a leaf page of 4096 bytes takes. */
#define STATELOG_BLOCK 4040

/* The longest piece, so that a damaged length asks for no more memory. */
#define STATELOG_MAX_PIECE (16u * 1024u * 1024u)

struct statelog {
	uint64_t sum;    /* of the blocks before this one */
	uint32_t number; /* of the block, from 0 */
	uint32_t used;
	uint8_t block[STATELOG_BLOCK];
};

/* A checksum that goes on from another one; any change of one byte changes it. */
uint64_t statelog_checksum(uint64_t before, const void *bytes, size_t len);

/* Empty; `seed` stands for whose log it is. The first block is still to be written. */
void statelog_begin(struct statelog *l, uint64_t seed);

/*
 * Takes as much as fits of `len` bytes at `bytes` into the block, and returns how much;
 * less than `len` only if the block is full then.
 */
size_t statelog_fill(struct statelog *l, const uint8_t *bytes, size_t len);
bool statelog_is_full(const struct statelog *l);

/* How many bytes there are in all blocks so far. */
size_t statelog_size(const struct statelog *l);

/* Makes the block ready to be written: STATELOG_BLOCK bytes at l->block. */
void statelog_seal(struct statelog *l);

/* Goes on with an empty block after one that is full and written. */
void statelog_next(struct statelog *l);

/* Reading: the pieces, as they come together out of blocks. */
struct statelog_reader {
	struct statelog *log;
	int (*take)(const uint8_t *bytes, size_t len, void *context);
	void *context;
	uint8_t header[4];
	uint8_t *piece; /* of the reader */
	size_t len;     /* of the piece */
	size_t have;    /* of the header and the piece */
};

/* By way of `log`, which begins as statelog_begin() and ends with the last block. */
void statelog_reader_init(struct statelog_reader *r, struct statelog *log, uint64_t seed,
			  int (*take)(const uint8_t *, size_t, void *), void *context);
void statelog_reader_free(struct statelog_reader *r);

/*
 * Takes the next block. 0; -EBADMSG if it is damaged, -ENOMEM, or what `take` returned.
 * `is_last` tells whether it is the last one.
 */
int statelog_read(struct statelog_reader *r, const void *block, size_t len,
		  bool *is_last);

#endif
