/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_CLIENT_FAILURE_H
#define QDB_CLIENT_FAILURE_H

#include <stdbool.h>

#include "client/options.h"

enum attempt {
	ATTEMPT_READ,
	ATTEMPT_WAIT,
	ATTEMPT_WRITE,
	ATTEMPT_RM,
	ATTEMPT_LIST,
	ATTEMPT_MULTIREAD,
	ATTEMPT_WATCH,
};

/*
 * Prints "Failed to VERB PATH: REASON" on standard error, unless -q, after a call of the
 * library failed with errno. An absent entry needs no reason. `value` is what was to be
 * written, NULL for the other attempts.
 */
void failure_report(const struct options *o, enum attempt attempt, const char *path,
		    const char *value);

/* Prints that there is no connection, unless -q. */
void failure_report_connect(const struct options *o);

/* Prints a sentence about the arguments, unless -q. */
void failure_report_arguments(const struct options *o, const char *sentence);

/*
 * Returns what makes `path` unfit for the attempt whatever the daemon holds, in words, or
 * NULL if nothing does.
 */
const char *failure_path_fault(enum attempt attempt, const char *path);

#endif
