/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the daemon becomes one and says that it serves: to the supervisor that set
 * NOTIFY_SOCKET, or to whoever waits for the process that was started.
 */
#ifndef QDB_STARTUP_H
#define QDB_STARTUP_H

#include <event2/event.h>

/*
 * Makes sure that descriptors 0 to 2 are open, lest another file becomes one of them. 0
 * or a negative errno.
 */
int startup_standard_files(void);

/*
 * Forks, with signals held back (signals.h). In the child returns 0 and the caller goes
 * on as the daemon. In the parent waits until the child calls startup_ready() or ends,
 * passing on SIGTERM and SIGINT, and returns 1 with *status what the parent shall exit
 * with. Or a negative errno.
 */
int startup_fork(int *status);

/*
 * Looks for the supervisor, while that may still be connected to. One that is not there
 * or cannot be reached is done without.
 */
void startup_find_supervisor(struct event_base *base);

/* Everything is served from now on. Once. A busy supervisor is told later, in the loop.
 */
void startup_ready(void);

/* What the daemon does, for those who ask the supervisor. Kept by reference. */
void startup_status(const char *text);

/* The daemon is about to end, and nothing is told any more. */
void startup_end(void);

#endif
