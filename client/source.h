/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_CLIENT_SOURCE_H
#define QDB_CLIENT_SOURCE_H

#include "client/entries.h"
#include "client/options.h"

/* A text from outside that lists entries, and how far it has been read. */
struct source {
	const struct options *o;
	const char *name; /* as messages call it */
	char *text;       /* NUL-terminated; parsing takes it apart */
	size_t len;
	unsigned long line;
	const char *prefix; /* what every path has to begin with */
};

struct span {
	char *at;
	size_t len;
};

/*
 * Reads a file, or standard input for NULL or "-", takes it apart as JSON or text, checks
 * every entry against the protocol, and leaves them sorted in the empty list `e`. Returns
 * false after the first fault, which is named with its line; the list is then not
 * complete. The caller frees the list, but nothing of the source.
 */
bool source_load(const struct options *o, const char *file, const char *prefix,
		 struct entries *e);

/* For the parsers: prints where the fault is and what, unless -q. Returns false. */
bool source_fault(const struct source *s, const char *fault);

/* For the parsers: adds an entry, if it is one that a daemon can hold. */
bool source_add(struct source *s, struct entries *e, struct span path, struct span value);

/* For the parsers: turns two hexadecimal digits into a byte. */
bool source_hex(const char *digits, char *byte);

#endif
