/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The status of one daemon, and the ways to print it. */
#ifndef QDB_CLIENT_REPORT_H
#define QDB_CLIENT_REPORT_H

#include "client/entries.h"
#include "client/options.h"

struct report {
	const char *domain;   /* how it is called here */
	bool is_known;        /* the daemon has answered */
	struct entries items; /* sorted, numbers in their order */
};

/* The text of an item, or NULL. */
const char *report_get(const struct report *r, const char *path);

/* Whether `path` is PREFIX/NAME/KEY or, with key NULL, PREFIX/NAME; gives the NAME. */
bool report_match(const char *path, const char *prefix, const char *key,
		  const char **name, size_t *len);

/* Makes what is not printable a '?', for a terminal or a collector. */
void report_clean(struct report *r);

void report_print_text(const struct report *r);

/* An object. `depth` is how far it is indented already. */
void report_print_json(const struct report *r, int depth);

/* All of them together, in the format of OpenMetrics. */
void report_print_metrics(const struct report *reports, size_t count);

#endif
