/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the fuzz targets share. An input is a script: its bytes choose operations, paths,
 * values, where messages are split and who stops reading, so that every input means
 * something and raw bytes are only one of the operations. What comes back is judged by
 * code that shares nothing with protocol/, for a fault there must not hide itself.
 */
#ifndef QDB_FUZZ_H
#define QDB_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/qubesdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process, as a crash that the fuzzer reports. */
#define fuzz_require(condition) \
	((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))
_Noreturn void fuzz_fail(const char *file, int line, const char *condition);

/* ---- script.c: the input ---- */

struct script {
	const uint8_t *at;
	const uint8_t *end;
};

/* At the end of the script they give 0. */
unsigned script_byte(struct script *s);
uint32_t script_word(struct script *s);
size_t script_bytes(struct script *s, uint8_t *out, size_t max);
bool script_is_over(const struct script *s);

#define HEADER_SIZE 72
#define REQUEST_SIZE (HEADER_SIZE + 4096)

/* A message as somebody without manners may send it: any type, path, padding, length. */
size_t script_message(struct script *s, uint8_t out[REQUEST_SIZE]);

/* The data of a CMD_WRITE_MANY, which may be damaged; at most `max` bytes. many.c */
size_t script_entries(struct script *s, uint8_t *out, size_t max);

/* A path as a script chooses it, NUL-terminated; returns its length. */
size_t script_path(struct script *s, char path[QDB_MAX_PATH]);

/* ---- wire.c: messages, read independently of protocol/ ---- */

enum wire_path { WIRE_ILL_FORMED, WIRE_NOTHING, WIRE_ENTRY, WIRE_DIRECTORY };

/* Data read as that of a CMD_WRITE_MANY. */
struct wire_many {
	char path[QDB_MAX_PATH]; /* of the entry at hand, or of the one to blame */
	size_t path_len;
	size_t value_len;
	size_t entries; /* those before that one */
	bool in_value;
	bool blamed;
	bool malformed;
};

struct wire_message {
	unsigned type;
	char path[QDB_MAX_PATH];
	size_t path_len;
	enum wire_path kind;
	uint32_t data_len;
	bool has_nul; /* in the data */
	struct wire_many many;
	bool dirty; /* a byte that says nothing is not zero */
};

/* One direction of a connection. */
struct framing {
	uint8_t header[HEADER_SIZE];
	size_t have;
	uint32_t left; /* of the data, once the header is there */
	bool has_nul;
	struct wire_many many;
};

enum wire_path wire_classify(const char *path, size_t len);

void framing_feed(struct framing *f, const uint8_t *bytes, size_t len,
		  void (*take)(void *context, const struct wire_message *m),
		  void *context);

/* The message of which the header is there and the data is not; or false. */
bool framing_header(const struct framing *f, struct wire_message *m);
bool framing_is_between(const struct framing *f);

#endif
