/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files that the daemon leaves in a directory for others to find: sockets, links, the
 * pidfile. Each is prepared where nobody looks and then moved into place, so that its
 * name never points to nothing or to half of it, and is removed only if it is still ours:
 * old and new daemon of one name overlap.
 */
#ifndef QDB_INSTALLED_H
#define QDB_INSTALLED_H

struct installed {
	char *path;      /* NULL: there is nothing */
	char *temporary; /* where it is until it is moved to `path`, then NULL */
	int fd;          /* O_PATH; keeps the inode number from being used again */
};

#define INSTALLED_NONE \
	{ \
		.path = 0, .temporary = 0, .fd = -1 \
	}

/* Creates a directory if it is missing, mode 0775 less umask. 0 or a negative errno. */
int installed_directory(const char *path);

/*
 * Prepares a listening unix stream socket for `path`, mode exactly `mode`, at most 0777,
 * or as umask has it if that is negative. Returns the descriptor, non-blocking and
 * close-on-exec, or a negative errno: -ENAMETOOLONG where the path does not fit a socket
 * address.
 */
int installed_listen(struct installed *f, const char *path, int mode, int backlog);

/* Prepares a symbolic link to `target`. 0 or a negative errno. */
int installed_symlink(struct installed *f, const char *path, const char *target);

/* Prepares a file with this text, mode exactly `mode`. 0 or a negative errno. */
int installed_file(struct installed *f, const char *path, const char *text, int mode);

/* Takes what is at `path` for one of these, in place. 0 or a negative errno. */
int installed_adopt(struct installed *f, const char *path);

/* Moves what is at `from`, whoever's it is. 0 or a negative errno. */
int installed_move(const char *from, const char *to);

/*
 * Puts what was prepared into place: to be put there once more, should somebody else take
 * the name meanwhile, or for good. 0 or a negative errno.
 */
int installed_show(struct installed *f);
int installed_appear(struct installed *f);

/* Frees what `f` holds, and leaves the file alone. */
void installed_forget(struct installed *f);

/* Removes it, if it is still ours, and frees what `f` holds. */
void installed_remove(struct installed *f);

#endif
