/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What daemons of this kind tell each other in an RESP_OK whose path begins with '@'.
 * Such a path never names an entry, and a legacy daemon ignores it.
 *
 * "@qdb:1:ID:COUNT" is a hello. ID is 16 hexadecimal digits: from the VM the instance of
 * its daemon, from dom0 the generation of its state. COUNT is how many operations of the
 * other side this one has processed, also hexadecimal; a VM that has never had a whole
 * dump says "fresh" instead.
 *
 * "@qdb:1:go": the VM has sent what dom0 had missed, and is ready for the dump.
 *
 * "@qdb:1:news": the next entry of the dump was written since the VM last heard of it,
 * and its watchers are to be told even if it is the same.
 *
 * "@qdb:1:got": the VM has the whole dump.
 */
#ifndef QDB_ANNOUNCEMENT_H
#define QDB_ANNOUNCEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum announcement_kind {
	ANNOUNCEMENT_NONE,    /* not one: an ordinary path */
	ANNOUNCEMENT_UNKNOWN, /* one that this version does not know, to be ignored */
	ANNOUNCEMENT_HELLO,
	ANNOUNCEMENT_GO,
	ANNOUNCEMENT_NEWS,
	ANNOUNCEMENT_GOT,
};

struct announcement {
	enum announcement_kind kind;
	uint64_t id;
	uint64_t processed;
	bool fresh;
};

/* Writes the path of one of a known kind, with a NUL, and returns its length. */
size_t announcement_format(char *path, size_t size, const struct announcement *a);

/* Never fails: what it cannot read is ANNOUNCEMENT_UNKNOWN. */
void announcement_parse(struct announcement *a, const char *path);

#endif
