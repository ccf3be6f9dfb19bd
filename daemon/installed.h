/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files that the daemon leaves in a directory for others to find: sockets, links, the
 * pidfile. Each is made under a temporary name and renamed into place, so that its name
 * never points to nothing or to half of it, and is removed only if it is still ours: old
 * and new daemon of one name overlap.
 */
#ifndef QDB_INSTALLED_H
#define QDB_INSTALLED_H

struct installed {
	char *path; /* NULL: nothing is installed */
	int fd;     /* O_PATH; keeps the inode number from being used again */
};

#define INSTALLED_NONE \
	{ \
		.path = 0, .fd = -1 \
	}

/* Creates a directory if it is missing, mode 0775 less umask. 0 or a negative errno. */
int installed_directory(const char *path);

/*
 * A listening unix stream socket at `path`, mode exactly `mode`, or as umask has it if
 * that is negative. Returns the descriptor, non-blocking and close-on-exec, or a negative
 * errno: -ENAMETOOLONG where the path does not fit a socket address.
 */
int installed_listen(struct installed *f, const char *path, int mode, int backlog);

/* A symbolic link at `path` to `target`. 0 or a negative errno. */
int installed_symlink(struct installed *f, const char *path, const char *target);

/* A file at `path` with this text, mode exactly `mode`. 0 or a negative errno. */
int installed_file(struct installed *f, const char *path, const char *text, int mode);

/* Removes it, if it is still ours, and frees what `f` holds. */
void installed_remove(struct installed *f);

#endif
