/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How many connections each local user has, so that one of them cannot take all places.
 * Root and the user of the daemon itself, who could end it anyway, are not counted.
 */
#ifndef QDB_USERS_H
#define QDB_USERS_H

#include <sys/queue.h>
#include <sys/types.h>

#include "daemon/core/quota.h"

struct user {
	uid_t uid;
	struct account connections;
	LIST_ENTRY(user) all;
};

LIST_HEAD(user_list, user);

/*
 * Counts a connection of `fd`'s other end. *user, NULL for who is not counted, goes to
 * users_leave() when it is closed. 0, -EDQUOT, -ENOMEM, or another negative errno if it
 * is not known who that is.
 */
int users_join(struct user_list *users, int fd, struct user **user);
void users_leave(struct user *user);

#endif
