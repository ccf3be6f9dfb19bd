/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A daemon behind libqubesdb, played by the script. The linker puts functions in the
 * place of the system calls that the library makes: the daemon answers honestly unless
 * told otherwise, and calls fail or are cut short.
 */
#ifndef QDB_FUZZ_FAKE_H
#define QDB_FUZZ_FAKE_H

#include "tests/fuzz/fuzz.h"

/* Above any real descriptor. */
#define FAKE_FIRST 1000
#define FAKE_SOCKETS 16
#define FAKE_ANSWER_SIZE (256 * 1024)

struct fake {
	struct script script;
	bool is_open[FAKE_SOCKETS];
	int fd;           /* of the connection, or -1 */
	bool at_end;      /* the daemon has hung up */
	bool calling;     /* the library is running */
	bool interrupted; /* a signal came during this call */
	bool timed_out;   /* a wait had no result */
	bool reads_ahead; /* the library may take more than the message it wants */
	struct framing asked;
	struct framing read;
	size_t start;
	size_t len;
	uint8_t answer[FAKE_ANSWER_SIZE];
};

extern struct fake fake;

void fake_begin(const uint8_t *data, size_t size);

/* Nothing is left open. */
void fake_end(void);

/* The daemon sends what nobody asked for. */
void fake_surprise(void);

/* Calls the library, with an errno that it never sets. */
#define FAKE_CALL(call) \
	(fake.calling = true, fake.interrupted = fake.timed_out = false, errno = ERANGE, \
	 (call), fake.calling = false)

#endif
