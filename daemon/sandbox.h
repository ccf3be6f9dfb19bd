/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What this process may still do once it serves: reach a few directories, and make the
 * system calls that serving takes. Whoever takes it over by way of a bug is left with
 * that. What the kernel lacks is logged, and done without.
 *
 * First, what will be needed is told: the part that is the same everywhere is known here
 * (sandbox_filter.c), a transport tells its own. Files are restricted before the first
 * thread begins, for that holds for the calling thread and its children only; system
 * calls when everything is open, for all threads.
 */
#ifndef QDB_SANDBOX_H
#define QDB_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* When a call that is in a table is let through. */
enum sandbox_condition {
	SANDBOX_ALWAYS,
	SANDBOX_IF_EQUAL,   /* the argument is `value` */
	SANDBOX_UNLESS,     /* it is not */
	SANDBOX_IF_MASKED,  /* of its bits in `mask` those in `value` are set */
	SANDBOX_IF_OWN_PID, /* it is this process */
	SANDBOX_FAILS,      /* never: it fails with the errno `value` */
};

/* Tables end with a row without a name; several rows for a call are alternatives. A name
 * that this machine does not know is left out. */
struct sandbox_call {
	const char *name;
	enum sandbox_condition condition;
	unsigned argument; /* counted from 0 */
	uint64_t value;
	uint64_t mask;
};

/* New connections to unix sockets, to whatever is found by its path. */
extern const struct sandbox_call sandbox_connecting[];

/* What else this build of the program needs; and directories it reads, up to NULL. */
extern const struct sandbox_call sandbox_build_calls[];
extern const char *const sandbox_build_directories[];

#define SANDBOX_TABLES 4

struct sandbox_filter {
	void *code;
	size_t size;
};

struct sandbox {
	bool is_wanted;
	int files;    /* the rules so far, or a negative errno */
	int shortage; /* a negative errno: what to make the rules with has run out */
	const struct sandbox_call *tables[SANDBOX_TABLES];
	size_t n_tables;
	struct sandbox_filter filter;
	int filtering; /* a negative errno: there is no filter */
};

/* `is_wanted` false: nothing below has an effect. */
void sandbox_init(struct sandbox *s, bool is_wanted);

/* Files in this directory, which must be there, may be made, used, renamed, removed. */
void sandbox_allow_files(struct sandbox *s, const char *directory);

/* This device, or those in this directory, may be opened. One that is missing is not. */
void sandbox_allow_device(struct sandbox *s, const char *path);

/* Calls beside the common ones; the table must outlive `s`. At most SANDBOX_TABLES. */
void sandbox_allow_calls(struct sandbox *s, const struct sandbox_call *table);

/*
 * No other files from now on, no new privileges, no core dumps, no TCP. A negative errno
 * if descriptors or memory have run out, which is logged.
 */
int sandbox_restrict_files(struct sandbox *s);

/* Any other system call is from now on the end of the process, which the log tells. */
void sandbox_restrict_calls(struct sandbox *s);

/* Frees what is left when a start does not come that far. */
void sandbox_free(struct sandbox *s);

#endif
