/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two halves of the sandbox; each may be missing on a kernel, or in a build. */
#ifndef QDB_SANDBOX_PARTS_H
#define QDB_SANDBOX_PARTS_H

#include "daemon/sandbox.h"

enum sandbox_access { SANDBOX_READS, SANDBOX_USES_FILES, SANDBOX_USES_DEVICES };

/* A set of rules that allows nothing yet: a descriptor or a negative errno. */
int sandbox_files_new(void);

/* 0 or a negative errno. */
int sandbox_files_allow(int rules, const char *path, enum sandbox_access access);

/* Puts them into force for this thread. 0 or a negative errno. */
int sandbox_files_enforce(int rules);

/*
 * Lets through what these tables say. Forks, so there must be no other thread yet. 0 or a
 * negative errno: then there is nothing to free.
 */
int sandbox_filter_new(struct sandbox_filter *f, const struct sandbox_call *const *tables,
		       size_t n_tables);

/* Puts it into force for all threads. 0 or a negative errno. */
int sandbox_filter_enforce(const struct sandbox_filter *f);

void sandbox_filter_free(struct sandbox_filter *f);

/* What the daemon needs whatever the transport. */
extern const struct sandbox_call sandbox_common[];

#endif
