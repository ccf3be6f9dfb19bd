/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "client/commands.h"
#include "client/entries.h"
#include "client/failure.h"

/* A daemon that tells its status knows the trace, too. */
static bool is_known(qdb_handle_t h)
{
	char **items = qdb_status(h, "/daemon/tracing", NULL);
	const bool found = items != NULL;

	strings_free(items);
	return found;
}

static const char *find_reason(qdb_handle_t h)
{
	if (errno == EPIPE)
		return "the connection to the daemon is lost";
	if (errno != 0)
		return strerror(errno);
	if (!is_known(h))
		return "not supported by this daemon";
	if (qdb_is_read_only(h))
		return "the connection is read-only; only root and the daemon's own user "
		       "may, on the read-write socket";
	return "only root and the daemon's own user may";
}

int command_trace(qdb_handle_t h, const struct options *o)
{
	const bool on = strcmp(o->args[0], "on") == 0;

	if (!on && strcmp(o->args[0], "off") != 0) {
		failure_say(o, "Failed to switch the trace: neither on nor off: %s",
			    o->args[0]);
		return 1;
	}
	if (qdb_trace(h, on))
		return 0;
	failure_say(o, "Failed to switch the trace of the %s daemon: %s",
		    failure_domain(o), find_reason(h));
	return 1;
}
