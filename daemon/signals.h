/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SIGTERM and SIGINT while the daemon starts: held back from its first moment on until
 * the loop can take them, and seen by whatever waits in between.
 */
#ifndef QDB_SIGNALS_H
#define QDB_SIGNALS_H

void signals_hold(void);
void signals_release(void);

/*
 * Waits at most `ms` until there is something to read from `fd`, or for nothing if that
 * is negative. 1 if there is, 0 if not, -EINTR if a signal that is held back says to end,
 * or another negative errno.
 */
int signals_wait(int fd, int ms);

#endif
