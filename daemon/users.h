/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How many connections and watches each local user has, and how much these leave unread,
 * so that one of them cannot take all places, nor all memory by way of many connections.
 * Root and the user of the daemon itself, who could end it anyway, are not counted; and
 * all who are leave some places to these two.
 */
#ifndef QDB_USERS_H
#define QDB_USERS_H

#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "daemon/core/quota.h"

struct user {
	uid_t uid;
	struct account connections;
	struct account watches; /* for session_share(), as is the next one */
	struct account output;
	LIST_ENTRY(user) all;
};

struct users {
	LIST_HEAD(, user) all;
	struct account connections; /* of all who are counted */
	struct account watches;
};

/* Takes the limits from the accounts of all clients, and charges `watches`. */
void users_init(struct users *users, const struct account *connections,
		struct account *watches);

/*
 * Counts a connection of the process `peer`. *user, NULL for who is not counted, goes to
 * users_leave() when it is closed. 0, -EDQUOT or -ENOMEM.
 */
int users_join(struct users *users, const struct ucred *peer, struct user **user);
void users_leave(struct user *user);

#endif
