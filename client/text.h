/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_CLIENT_TEXT_H
#define QDB_CLIENT_TEXT_H

#include <stdio.h>

#include "client/source.h"

/* Writes the entries as lines of text; the caller looks for errors of the stream. */
void text_print(FILE *to, const struct entries *e);

/* Adds what the source says; returns false after the first fault, which it names. */
bool text_parse(struct source *s, struct entries *e);

#endif
