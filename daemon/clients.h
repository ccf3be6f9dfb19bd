/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The local sockets and the programs connected to them. */
#ifndef QDB_CLIENTS_H
#define QDB_CLIENTS_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "daemon/core/domain.h"
#include "daemon/core/session.h"
#include "daemon/listener.h"
#include "daemon/users.h"

struct client;
TAILQ_HEAD(client_list, client);

struct clients {
	struct event_base *base;
	struct domain *domain;
	struct client_list all;
	struct client_list touched; /* to be looked at when the turn ends */
	struct client_list waiting; /* have work left for the next turn */
	struct listener listeners[2];
	struct users users;
};

/* After the domain's limits are settled. */
void clients_init(struct clients *c, struct event_base *base, struct domain *d);

/* Serves the listening socket `fd`, which then belongs to `c`. */
void clients_listen(struct clients *c, enum session_access access, int fd);

/*
 * Serves a new connection, which is only taken over if this returns 0; -EDQUOT, -ENOMEM
 * or why its user cannot be known.
 */
int clients_add(struct clients *c, enum session_access access, int fd);

/*
 * Whether there is no place for another, or for one of a user who is counted; and whether
 * the loop will come to notice, at once, that a client has gone.
 */
bool clients_are_full(const struct clients *c);
bool clients_are_leaving(const struct clients *c);

/* Goes on with what the last turn has left. */
void clients_resume(struct clients *c);

/* The domain has begun to serve: goes on with every client's requests. */
void clients_serve(struct clients *c);

/*
 * Sends what the turn has produced. Returns whether there is more to do without waiting.
 */
bool clients_turn(struct clients *c);

/* Whether a client has connected that has not sent anything yet. */
bool clients_expect_requests(const struct clients *c);

/* A struct host's add_client(). */
void clients_add_status(struct status *st, const char *section, const void *owner);

/* And its trace(). */
void clients_trace(const void *owner, const struct message *m, enum qdb_msg answer,
		   size_t answer_len);

/*
 * Closes every listener, and then the connections: who comes back finds nobody. May be
 * called again.
 */
void clients_close(struct clients *c);

#endif
