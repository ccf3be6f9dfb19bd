/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Waiting for a value. The watch is registered before the first look, so that a value
 * written in between is not missed. It outlives the daemon: when the connection is lost
 * this tries again until there is a new one, and the library brings the watch along.
 */
#include "client/waiting.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/failure.h"

/* There is nothing else to wait for: until it serves, a daemon has no socket. */
static void wait_to_connect_again(void)
{
	static const struct timespec before_reconnect = {.tv_nsec = 100 * 1000 * 1000};

	nanosleep(&before_reconnect, NULL);
}

qdb_handle_t wait_for_daemon(const char *domain)
{
	qdb_handle_t h = qdb_open(domain);

	while (!h && (errno == ENOENT || errno == ECONNREFUSED)) {
		wait_to_connect_again();
		h = qdb_open(domain);
	}
	return h;
}

/* After a look that found nothing: waits for a reason to look again, if there can be one.
 */
static bool wait_to_look_again(qdb_handle_t h)
{
	if (errno == ENOENT) {
		char *event = qdb_read_watch(h);
		if (event) {
			free(event);
			return true;
		}
	}
	if (errno == EPIPE) {
		wait_to_connect_again();
		return true;
	}
	return errno == EINTR;
}

/* Another value than the wanted is as good as none. */
static char *look(qdb_handle_t h, char *path, const char *wanted, unsigned int *len)
{
	char *value = qdb_read(h, path, len);

	if (!value || !wanted || strcmp(value, wanted) == 0)
		return value;
	free(value);
	errno = ENOENT;
	return NULL;
}

char *wait_for_value(qdb_handle_t h, char *path, const char *wanted, unsigned int *len)
{
	bool watching = false;
	char *value = NULL;

	if (failure_path_fault(ATTEMPT_WAIT, path)) {
		errno = 0;
		return NULL;
	}
	do {
		if (!watching)
			watching = qdb_watch(h, path);
		if (watching)
			value = look(h, path, wanted, len);
	} while (!value && wait_to_look_again(h));
	return value;
}
