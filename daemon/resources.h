/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a daemon takes from the kernel when it starts. */
#ifndef QDB_RESOURCES_H
#define QDB_RESOURCES_H

#include <stdint.h>

#include "daemon/core/quota.h"

/* Gives the path hash its secret key, or says in the log that there is none. */
void resources_key_paths(void);

/* A number that no other daemon has. */
uint64_t resources_draw_id(void);

/*
 * Takes as many descriptors as the process may have. Clients get all but those that the
 * daemon needs itself, up to the limit that `connections` has. -EMFILE, which is logged,
 * if that leaves too few of them.
 */
int resources_bound(struct account *connections);

#endif
