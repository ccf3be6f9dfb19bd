/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_CLIENT_FAILURE_H
#define QDB_CLIENT_FAILURE_H

#include <stdbool.h>
#include <stddef.h>

#include "client/options.h"
#include "lib/qubesdb-client.h"

enum attempt {
	ATTEMPT_READ,
	ATTEMPT_WAIT,
	ATTEMPT_WRITE,
	ATTEMPT_RM,
	ATTEMPT_LIST,
	ATTEMPT_MULTIREAD,
	ATTEMPT_WATCH,
	ATTEMPT_DUMP,
	ATTEMPT_RESTORE,
	ATTEMPT_EDIT,
	ATTEMPT_LS,
	ATTEMPT_COUNT,
	ATTEMPT_LOOK_FOR,
	ATTEMPT_WAIT_FOR,
};

/*
 * Prints "Failed to VERB PATH: REASON" on standard error, unless -q, after a call of the
 * library failed with errno. `value` is what was to be written, NULL for the other
 * attempts.
 */
void failure_report(qdb_handle_t h, const struct options *o, enum attempt attempt,
		    const char *path, const char *value);

/* Prints that there is no connection, and for each socket why, unless -q. */
void failure_report_connect(const struct options *o);

/* Prints a line of its own on standard error, unless -q. */
void failure_say(const struct options *o, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Returns what makes `path` unfit for the attempt whatever the daemon holds, in words, or
 * NULL if nothing does.
 */
const char *failure_path_fault(enum attempt attempt, const char *path);

/* The same for a value. */
const char *failure_value_fault(const char *value, size_t len);

/* The VM that the daemon serves, as messages name it. */
const char *failure_domain(const struct options *o);

#endif
