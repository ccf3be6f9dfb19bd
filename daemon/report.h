/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The part of the status that the core does not know: processes, times, files. */
#ifndef QDB_REPORT_H
#define QDB_REPORT_H

#include <time.h>

#include "daemon/clients.h"
#include "daemon/link.h"
#include "daemon/options.h"
#include "daemon/state.h"

struct report {
	const struct options *options;
	const struct clients *clients;
	const struct link *link;
	const struct state *state;
	time_t started;
};

/* Fills in domain->host. All of these outlive the sessions. */
void report_init(struct report *r, const struct options *o, const struct clients *c,
		 const struct link *l, const struct state *s);

#endif
