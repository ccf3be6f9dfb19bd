/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of the crash loop: daemons that are killed (daemons.c), clients that write,
 * remove and read all the time (client.c), and what may be there afterwards (model.c).
 *
 * Each writer has a directory of SLOTS entries, half of them in a directory below. Its
 * operations are numbered, and a value begins with the number of its write, so that one
 * look at an entry tells how far its writer had come. A writer alone in its directory
 * must find there, after a crash, what its first N operations make, for some N between
 * those that were acknowledged, or seen by others, and those that were sent. Where dom0
 * and the VM write to the same entries, either side's last operation may have won.
 */
#ifndef QDB_CRASH_H
#define QDB_CRASH_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "protocol/message.h"

#define DOMID "5"
#define NAME "work"
#define TIMEOUT_MS 30000

/* ---- chance ---- */

uint64_t chance_next(uint64_t *state);

/* A number below `n`, which is not 0. */
unsigned chance(uint64_t *state, unsigned n);

/* ---- daemons ---- */

enum side { DOM0, VM };

struct home {
	const char *program;
	char path[64];
	char sockets[2][128];
	int notify;
	pid_t daemons[2];
};

/* Prints the reason and ends the program; the directory stays. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

void home_create(struct home *h, const char *program);
void home_remove(struct home *h);

/* Starts one, and does not wait. */
void home_start(struct home *h, enum side side);

/* Whether somebody has said READY=1 since the last home_start(). */
bool home_is_ready(struct home *h);

/* Returns when it is ready. */
void home_start_and_wait(struct home *h, enum side side);

/* Waits for its end: by this signal, or with exit status 0 if that is 0. */
void home_wait(pid_t pid, int by_signal);

void home_kill(struct home *h, enum side side, int signal);

/* ---- model ---- */

#define SLOTS 12
#define SLOTS_BELOW 6
#define ALL_SLOTS ((1u << SLOTS) - 1)
#define MAX_DEPTH 32

struct operation {
	uint64_t number;
	unsigned slots; /* a set */
	bool removes;
};

struct slot_history {
	uint64_t shown;   /* dom0 has shown the VM's write of this number */
	uint64_t removed; /* the last removal sent */
};

/* What one writer has done. */
struct writer {
	char directory[16];
	unsigned id;
	uint64_t random;
	uint64_t number; /* of the last operation sent */
	struct operation pending[MAX_DEPTH];
	unsigned n_pending;
	uint64_t state[SLOTS];  /* the number of the write whose value it has, or 0 */
	uint64_t shown_through; /* the other end has seen an operation of this number */
	struct slot_history history[SLOTS];
	struct shared *shared; /* NULL: alone in the directory */
	enum side side;
};

/* Where both sides write. */
#define MAX_CANDIDATES 256
struct candidate {
	uint64_t number;
	bool removes;
	bool acknowledged;
};
struct shared {
	uint64_t base[SLOTS];
	unsigned base_writer[SLOTS];
	struct candidate candidates[2][SLOTS][MAX_CANDIDATES];
	unsigned n[2][SLOTS];
};

/* What is in a directory. */
struct snapshot {
	uint64_t numbers[SLOTS];
	unsigned writers[SLOTS];
};

void writer_init(struct writer *w, enum side side, unsigned id, uint64_t seed,
		 struct shared *shared);

/* Chooses the next operation and returns the size of its message. */
size_t writer_next(struct writer *w, uint8_t *out);

/* The answer to the oldest operation that is pending. */
void writer_answered(struct writer *w, enum qdb_msg answer);

/* Another side has read this value in that slot of it. */
void writer_was_seen(struct writer *w, unsigned slot, uint64_t number);

/* The daemon has gone, and answers no more: what is there now must be explained. */
void writer_check_prefix(struct writer *w, const struct snapshot *s);

/* dom0's daemon is a new one, and has not gone back behind what it has shown. */
void writer_check_shown(struct writer *w, const struct snapshot *s);

/* Both ends have been found equal, with this. */
void writer_check_exactly(const struct writer *w, const struct snapshot *s);
void shared_check(struct shared *shared, const struct snapshot *s);

/* "c1/s/p3" gives slot 9. -1: not in this directory. */
int slot_of_path(const char *directory, const char *path, size_t len);
size_t path_of_slot(const char *directory, unsigned slot, char *path);

/* Checks a value and says whose it is. */
uint64_t parse_value(const char *value, size_t len, unsigned *writer);

/* ---- clients ---- */

struct reading {
	struct writer *writer;
	unsigned slot;
};

/* A connection: of a writer, of a reader, or of the loop itself. */
struct client {
	enum side side;
	struct writer *writer; /* or NULL */
	struct writer **read;  /* whose entries a reader reads */
	unsigned n_read;
	struct reading pending[MAX_DEPTH];
	unsigned n_pending;
	uint64_t random;
	unsigned depth; /* requests under way at one time */
	int fd;         /* -1: not connected */
	uint8_t out[MAX_DEPTH * 64 + MESSAGE_MAX_SIZE * 8];
	size_t out_len;
	uint8_t in[64 * 1024];
	size_t in_len;
	uint64_t answers;
	bool has_event;
};

void client_connect(struct client *c, const struct home *h);
void client_close(struct client *c);

/* Prepares requests as long as there is room, and sends. */
void client_load(struct client *c);

/* Takes what has arrived; returns false at the end of the stream. */
bool client_receive(struct client *c);

/* Takes what has arrived before the end, and closes. */
void client_drain_and_close(struct client *c);

/* Whether nothing is under way. */
bool client_is_idle(const struct client *c);

/* One request, and its answer. */
enum qdb_msg client_ask(struct client *c, enum qdb_msg type, const char *path,
			const char *value, char *answer, size_t *answer_len);
void client_snapshot(struct client *c, const char *directory, struct snapshot *s);

#endif
