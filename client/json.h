/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_CLIENT_JSON_H
#define QDB_CLIENT_JSON_H

#include <stdio.h>

#include "client/source.h"

/*
 * Writes bytes as one JSON value: a string if they are UTF-8, otherwise an object
 * {"hex": "..."} with two digits a byte. The caller looks for errors of the stream.
 */
void json_print_value(FILE *to, const char *bytes, size_t len);

/* Writes an object with a member for each entry, one a line. */
void json_print(FILE *to, const struct entries *e);

/* Adds what the source says; returns false after the first fault, which it names. */
bool json_parse(struct source *s, struct entries *e);

/* The length of the UTF-8 character that `text` begins with, or 0 if it is none. */
size_t json_utf8(const char *text, size_t len);

#endif
