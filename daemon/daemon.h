/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_DAEMON_H
#define QDB_DAEMON_H

#include "daemon/options.h"

/*
 * Runs the daemon until a signal or the end of its VM stops it. Returns the process's
 * exit status; why it could not start is in the log and on standard error.
 */
int daemon_run(const struct options *o);

#endif
