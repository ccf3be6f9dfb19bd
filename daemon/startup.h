/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the daemon becomes one and says that it serves: to the supervisor that set
 * NOTIFY_SOCKET, or to whoever waits for the process that was started.
 */
#ifndef QDB_STARTUP_H
#define QDB_STARTUP_H

#include <stdbool.h>

/*
 * Forks. In the child returns 0 and the caller goes on as the daemon. In the parent waits
 * until the child calls startup_ready() or ends, passing on SIGTERM and SIGINT, and
 * returns 1 with *status what the parent shall exit with. Or a negative errno.
 */
int startup_fork(int *status);

/* Everything is served from now on. Once. */
void startup_ready(void);

#endif
