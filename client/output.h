/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_CLIENT_OUTPUT_H
#define QDB_CLIENT_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

#include "client/options.h"

/*
 * Fills the gaps among descriptors 0, 1 and 2, so that a connection never becomes the
 * standard output or error of a program that was started without them.
 */
void output_reserve_descriptors(void);

/*
 * Each prints one line and hands it on at once, also into a pipe. They return false if it
 * could not be written, and have said so then.
 */
bool output_line(const struct options *o, const char *text);
/* Prints `label` and " = " in front, unless it is NULL; escapes the value without -r. */
bool output_value(const struct options *o, const char *label, const char *value,
		  unsigned int len);

/* Hands on what was printed; returns false if that failed, and has said so then. */
bool output_finish(const struct options *o);

/*
 * Writes bytes outside of 0x20 to 0x7f as \xNN, and those among `special` with a
 * backslash in front.
 */
void output_escaped(FILE *to, const char *bytes, size_t len, const char *special);

enum ink { INK_NONE, INK_NAME, INK_VALUE, INK_TIME };

/* Whether standard output is a terminal, and NO_COLOR and TERM allow for colours. */
bool output_wants_colour(void);

/* What follows is in this colour, if o->colour is set. */
void output_ink(const struct options *o, enum ink ink);

/* What of a found path is shown: all with -f, otherwise what follows `prefix`. */
const char *output_path(const struct options *o, const char *path, const char *prefix);

#endif
