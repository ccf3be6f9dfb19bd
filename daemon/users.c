/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/users.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static struct user *find(struct user_list *users, uid_t uid)
{
	struct user *user;

	LIST_FOREACH (user, users, all)
		if (user->uid == uid)
			return user;
	user = malloc(sizeof(*user));
	if (!user)
		return NULL;
	user->uid = uid;
	account_init(&user->connections, QUOTA_USER_CONNECTIONS);
	account_init(&user->output, QUOTA_USER_OUTPUT);
	LIST_INSERT_HEAD(users, user, all);
	return user;
}

int users_join(struct user_list *users, const struct ucred *peer, struct user **user)
{
	int r;

	*user = NULL;
	if (peer->uid == 0 || peer->uid == geteuid())
		return 0;
	*user = find(users, peer->uid);
	if (!*user)
		return -ENOMEM;
	r = account_charge(&(*user)->connections, 1);
	if (r < 0)
		*user = NULL;
	return r;
}

void users_leave(struct user *user)
{
	if (!user)
		return;
	account_release(&user->connections, 1);
	if (user->connections.used > 0)
		return;
	LIST_REMOVE(user, all);
	free(user);
}
