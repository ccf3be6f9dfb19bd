/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/users.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* One place in so many is for those who are not counted. */
#define KEPT_BACK 16

void users_init(struct users *users, const struct account *connections,
		struct account *watches)
{
	LIST_INIT(&users->all);
	account_init(&users->connections, QUOTA_CONNECTIONS);
	users->connections.limit = connections->limit - connections->limit / KEPT_BACK;
	account_init_below(&users->watches, QUOTA_WATCHES, watches);
	users->watches.limit = watches->limit - watches->limit / KEPT_BACK;
}

static struct user *find(struct users *users, uid_t uid)
{
	struct user *user;

	LIST_FOREACH (user, &users->all, all)
		if (user->uid == uid)
			return user;
	user = malloc(sizeof(*user));
	if (!user)
		return NULL;
	user->uid = uid;
	account_init_below(&user->connections, QUOTA_USER_CONNECTIONS,
			   &users->connections);
	account_init_below(&user->watches, QUOTA_USER_WATCHES, &users->watches);
	account_init(&user->output, QUOTA_USER_OUTPUT);
	LIST_INSERT_HEAD(&users->all, user, all);
	return user;
}

static void drop_if_unused(struct user *user)
{
	if (user->connections.used > 0)
		return;
	LIST_REMOVE(user, all);
	free(user);
}

int users_join(struct users *users, const struct ucred *peer, struct user **user)
{
	int r;

	*user = NULL;
	if (peer->uid == 0 || peer->uid == geteuid())
		return 0;
	*user = find(users, peer->uid);
	if (!*user)
		return -ENOMEM;
	r = account_charge(&(*user)->connections, 1);
	if (r < 0) {
		drop_if_unused(*user);
		*user = NULL;
	}
	return r;
}

void users_leave(struct user *user)
{
	if (!user)
		return;
	account_release(&user->connections, 1);
	drop_if_unused(user);
}
