/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Others may write to the directory, too. So a name is taken only by creating what was
 * not there, nothing is changed by name afterwards, and what is moved into place is known
 * to be ours.
 */
#include "daemon/installed.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Not longer than "qubesdb.sock": where the socket's path fits, this one does. */
#define TEMPORARY_SIZE sizeof(".qdb01234567")

#define TRIES 100

/*
 * Looking whether a name is still ours and removing it are two steps. A lock on the
 * directory keeps a successor's move from coming between. Anyone may hold such a lock, so
 * it is tried for a short while only, and then done without.
 */
static int lock_directory(const char *path)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	char *directory = strdup(path);
	int fd = -1;

	if (!directory)
		return -1;
	*strrchr(directory, '/') = '\0';
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(directory);
	for (int tries = 0; fd >= 0 && tries < 25; tries++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			break;
		nanosleep(&pause, NULL);
	}
	return fd;
}

static void unlock_directory(int fd)
{
	if (fd >= 0)
		close(fd);
}

void installed_forget(struct installed *f)
{
	if (f->temporary)
		unlink(f->temporary);
	if (f->fd >= 0)
		close(f->fd);
	free(f->temporary);
	free(f->path);
	*f = (struct installed)INSTALLED_NONE;
}

/* Creates a file of a new name. 0 or a negative errno, with nothing created. */
typedef int (*create_fn)(const char *name, const void *what);

/* The number need not be random: a name that is taken is left alone. */
static int create_temporary(char *name, const char *path, create_fn create,
			    const void *what)
{
	const size_t directory = (size_t)(strrchr(path, '/') + 1 - path);
	struct timespec now;
	int r = -EEXIST;

	memcpy(name, path, directory);
	for (int i = 0; i < TRIES && (r == -EEXIST || r == -EADDRINUSE); i++) {
		clock_gettime(CLOCK_REALTIME, &now);
		snprintf(name + directory, TEMPORARY_SIZE, ".qdb%08lx",
			 (unsigned long)now.tv_nsec);
		r = create(name, what);
	}
	return r;
}

/* Makes sure that it is still what was created, and keeps hold of it. */
static int hold(struct installed *f, mode_t type)
{
	struct stat made;

	f->fd = open(f->temporary, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (f->fd < 0 || fstat(f->fd, &made) < 0)
		return -errno;
	return (made.st_mode & S_IFMT) == type && made.st_uid == geteuid() ? 0 : -EPERM;
}

static int prepare(struct installed *f, const char *path, create_fn create,
		   const void *what, mode_t type)
{
	char name[PATH_MAX];
	struct stat there;
	int r;

	if (strlen(path) + TEMPORARY_SIZE > sizeof(name))
		return -ENAMETOOLONG;
	if (lstat(path, &there) == 0 && S_ISDIR(there.st_mode))
		return -EISDIR;
	r = create_temporary(name, path, create, what);
	if (r < 0)
		return r;
	f->path = strdup(path);
	f->temporary = strdup(name);
	if (!f->temporary)
		unlink(name);
	r = f->path && f->temporary ? hold(f, type) : -ENOMEM;
	if (r < 0)
		installed_forget(f);
	return r;
}

int installed_directory(const char *path)
{
	return mkdir(path, 0775) < 0 && errno != EEXIST ? -errno : 0;
}

struct socket_to_make {
	int fd;
	int mode;
	int backlog;
};

static int make_socket(const char *name, const void *what)
{
	const struct socket_to_make *s = what;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t before = 0;
	int r;

	if (strlen(name) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, name, strlen(name) + 1);
	if (s->mode >= 0)
		before = umask(0777 & ~(mode_t)s->mode);
	r = bind(s->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	if (s->mode >= 0)
		umask(before);
	if (r == 0 && listen(s->fd, s->backlog) < 0) {
		r = -errno;
		unlink(name);
	}
	return r;
}

/*
 * The access list that a directory may give to what is made in it takes more away than
 * umask does. What the descriptor refers to is ours, whatever its name is by now.
 */
static int set_mode(const struct installed *f, int mode)
{
	char path[32];
	struct stat made;

	if (fstat(f->fd, &made) < 0)
		return -errno;
	if ((made.st_mode & 0777) == (mode_t)mode)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
	return chmod(path, (mode_t)mode) < 0 ? -errno : 0;
}

int installed_listen(struct installed *f, const char *path, int mode, int backlog)
{
	struct socket_to_make s = {.mode = mode, .backlog = backlog};
	int r;

	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return -ENAMETOOLONG;
	s.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s.fd < 0)
		return -errno;
	r = prepare(f, path, make_socket, &s, S_IFSOCK);
	if (r == 0 && mode >= 0)
		r = set_mode(f, mode);
	if (r == 0)
		return s.fd;
	installed_forget(f);
	close(s.fd);
	return r;
}

static int make_symlink(const char *name, const void *target)
{
	return symlink(target, name) < 0 ? -errno : 0;
}

int installed_symlink(struct installed *f, const char *path, const char *target)
{
	return prepare(f, path, make_symlink, target, S_IFLNK);
}

struct file_to_make {
	const char *text;
	int mode;
};

static int make_file(const char *name, const void *what)
{
	const struct file_to_make *m = what;
	const size_t len = strlen(m->text);
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = 0;

	if (fd < 0)
		return -errno;
	errno = EIO;
	if (fchmod(fd, (mode_t)m->mode) < 0 || write(fd, m->text, len) != (ssize_t)len) {
		r = -errno;
		unlink(name);
	}
	close(fd);
	return r;
}

int installed_file(struct installed *f, const char *path, const char *text, int mode)
{
	const struct file_to_make m = {.text = text, .mode = mode};

	return prepare(f, path, make_file, &m, S_IFREG);
}

int installed_adopt(struct installed *f, const char *path)
{
	f->path = strdup(path);
	f->fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return !f->path ? -ENOMEM : f->fd < 0 ? -errno : 0;
}

int installed_move(const char *from, const char *to)
{
	int lock = lock_directory(from);
	int r = rename(from, to) < 0 ? -errno : 0;

	unlock_directory(lock);
	return r;
}

static int make_link(const char *name, const void *of)
{
	return link(of, name) < 0 ? -errno : 0;
}

int installed_show(struct installed *f)
{
	char name[PATH_MAX];
	int r;

	if (!f->temporary)
		return 0;
	r = create_temporary(name, f->path, make_link, f->temporary);
	if (r < 0)
		return r;
	r = installed_move(name, f->path);
	if (r < 0)
		unlink(name);
	return r;
}

/* Where it is shown already, moving it there leaves both names. */
int installed_appear(struct installed *f)
{
	int r;

	if (!f->temporary)
		return 0;
	r = installed_move(f->temporary, f->path);
	if (r < 0)
		return r;
	unlink(f->temporary);
	free(f->temporary);
	f->temporary = NULL;
	return 0;
}

static bool is_ours(const struct installed *f)
{
	struct stat there, ours;

	return lstat(f->path, &there) == 0 && fstat(f->fd, &ours) == 0 &&
	       there.st_dev == ours.st_dev && there.st_ino == ours.st_ino;
}

void installed_remove(struct installed *f)
{
	int lock;

	if (!f->path)
		return;
	lock = lock_directory(f->path);
	if (is_ours(f))
		unlink(f->path);
	unlock_directory(lock);
	installed_forget(f);
}
