/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_CLIENT_WAITING_H
#define QDB_CLIENT_WAITING_H

#include "lib/qubesdb-client.h"

/*
 * As qdb_open(), but waits until there is a daemon that accepts connections. NULL for any
 * other reason why there is none.
 */
qdb_handle_t wait_for_daemon(const char *domain);

/*
 * Waits until the entry `path` has the value `wanted`, or any value for NULL, however
 * often the daemon is restarted meanwhile. Returns the value, to be freed by the caller,
 * and its length, or NULL with errno as the library sets it.
 */
char *wait_for_value(qdb_handle_t h, char *path, const char *wanted, unsigned int *len);

#endif
