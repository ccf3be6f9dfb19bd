/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What other programs find in the runtime directory: sockets, links to them, a pidfile;
 * and what other daemons of the same domain find there, a file with a lock.
 */
#ifndef QDB_RUNTIME_H
#define QDB_RUNTIME_H

#include <limits.h>

#include "daemon/clients.h"
#include "daemon/installed.h"
#include "daemon/options.h"

/* In the order in which they appear. */
enum { RW_SOCKET, RO_SOCKET, RW_LINK, RO_LINK, PIDFILE, RUNTIME_FILES };

struct runtime {
	char directory[PATH_MAX]; /* absolute */
	struct installed files[RUNTIME_FILES];
	struct installed lock;
	int fd; /* holds the claim */
};

void runtime_init(struct runtime *r);

/*
 * Does everything that can fail, short of being found, and has `c` listen. The functions
 * here return 0 or a negative errno, with the reason logged.
 */
int runtime_prepare(struct runtime *r, const struct options *o, struct clients *c);

/*
 * Another daemon that serves on the read-write socket: a connection to it, on which an
 * answer comes that is to be dropped, and which ends when the daemon does; -ENOENT if
 * there is none; another negative errno if there is one that cannot be told of.
 */
int runtime_find_other(const struct runtime *r);

/* Where the state is kept, an absolute path, to which a suffix can be added in PATH_MAX.
 */
int runtime_state_path(const struct runtime *r, const struct options *o, char *path);

/* Takes the place of whoever is found now: until another daemon does, or for good. */
int runtime_show(struct runtime *r);
int runtime_appear(struct runtime *r);

/*
 * Ends a daemon of the same domain (claim.h). What is against that it logs, and returns
 * 0; -EINTR if a signal that is held back (signals.h) has come before that.
 */
int runtime_claim(struct runtime *r, const struct options *o);

/*
 * Removes what is still ours: the ways to this daemon, the read-only ones first, so that
 * nobody who may write finds only those; and then also the rest.
 */
void runtime_withdraw(struct runtime *r);
void runtime_remove(struct runtime *r);

#endif
