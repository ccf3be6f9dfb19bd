/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a daemon tells of itself: items with a path, such as "/peer/state", and a text.
 * There is nothing of the namespace in it, so every local client may ask. man
 * qubesdb-daemon(8) has the list, with the same words.
 *
 * The core knows most of it. Processes, times and files are the daemon's business: it
 * adds items through struct host (domain.h).
 */
#ifndef QDB_STATUS_H
#define QDB_STATUS_H

#include <stdbool.h>

struct session;

/* An answer to CMD_STATUS that is being made. */
struct status {
	struct session *to;
};

/* Adds "SECTION/KEY", if it was asked for. The text has less than 256 bytes. */
void status_add(struct status *st, const char *section, const char *key,
		const char *format, ...) __attribute__((format(printf, 4, 5)));

void status_add_flag(struct status *st, const char *section, const char *key, bool flag);

/*
 * Goes on with the session's answer. Only for answer.c. It costs more than other requests
 * do, however short the answer, so a session makes one step of it in a turn.
 */
void status_continue(struct session *s);

#endif
