/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One daemon per domain. Whoever serves a domain holds a lock in a file of the runtime
 * directory, and one in its state file, if there is one, as long as it lives; at an
 * offset that tells name and domid. So a daemon that starts finds the one that it is to
 * replace, and whether that is of the same domain: the kernel says who holds a lock, and
 * takes it from the dead.
 *
 * The offsets are far beyond those of sqlite's own locks.
 */
#ifndef QDB_CLAIM_H
#define QDB_CLAIM_H

#include <stdbool.h>

/*
 * Takes the lock. A daemon of the same domain that holds it is told to end (SIGTERM), and
 * is killed if it has not ended after some seconds: it loses nothing that it has
 * acknowledged. Waits for that. 0, -EBUSY if a daemon of another domain of this name uses
 * the file, -EEXIST if one of another name does, -EINTR if a signal that is held back
 * (signals.h) says to end, or another negative errno.
 *
 * A file that is open for reading only cannot be claimed; then nobody has it is enough.
 *
 * The lock is lost when any descriptor of this file is closed.
 */
int claim_take(int fd, const char *name, int domid);

/*
 * Does that in a file for nothing else, which is made if it is not there, and which the
 * holder removes while it holds the lock. Returns the descriptor, or a negative errno as
 * above.
 */
int claim_take_at(const char *path, const char *name, int domid);

/* Whether another process holds it, for whatever domain. */
bool claim_is_held(int fd);

#endif
