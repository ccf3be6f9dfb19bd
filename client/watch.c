/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qubesdb-watch. Unlike a waiting read it ends when the daemon is gone: scripts run it in
 * a loop that is meant to end then.
 */
#include <errno.h>
#include <stdlib.h>

#include "client/commands.h"
#include "client/failure.h"
#include "client/output.h"

static bool set_watches(qdb_handle_t h, const struct options *o)
{
	for (int i = 0; i < o->arg_count; i++) {
		if (qdb_watch(h, o->args[i]))
			continue;
		failure_report(o, ATTEMPT_WATCH, o->args[i], NULL);
		return false;
	}
	return true;
}

static bool show_event(qdb_handle_t h, const struct options *o)
{
	char *path;
	bool shown;

	do
		path = qdb_read_watch(h);
	while (!path && errno == EINTR);
	if (!path) {
		failure_report(o, ATTEMPT_WATCH, o->args[0], NULL);
		return false;
	}
	shown = output_line(o, path);
	free(path);
	return shown;
}

int command_watch(qdb_handle_t h, const struct options *o)
{
	long left = o->arg_count > 0 ? o->events : 0;

	if (!set_watches(h, o))
		return 1;
	while (left != 0) {
		if (!show_event(h, o))
			return 1;
		if (left > 0)
			left--;
	}
	return 0;
}
