/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A listening socket, and who comes through it. */
#ifndef QDB_LISTENER_H
#define QDB_LISTENER_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>

#include "daemon/core/session.h"

struct clients;

struct listener {
	struct clients *clients;
	enum session_access access;
	int fd;
	struct event accept;
	struct event resume;
};

/* Accepts clients into `c`, with this access. The socket then belongs to `l`. */
void listener_open(struct listener *l, struct event_base *base, struct clients *c,
		   enum session_access access, int fd);
void listener_close(struct listener *l);

#endif
