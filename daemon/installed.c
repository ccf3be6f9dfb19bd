/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/installed.h"

#include <errno.h>
#include <fcntl.h>
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

/*
 * Looking whether a name is still ours and removing it are two steps. A lock on the
 * directory keeps a successor's rename from coming between. Anyone may hold such a lock,
 * so it is tried for a short while only: without it a rename goes on, a removal does not.
 */
static int lock_directory(const char *path, bool *locked)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	char *directory = strdup(path);
	int fd = -1;

	*locked = false;
	if (!directory)
		return -1;
	*strrchr(directory, '/') = '\0';
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(directory);
	for (int tries = 0; fd >= 0 && !*locked && tries < 25; tries++) {
		*locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
		if (!*locked)
			nanosleep(&pause, NULL);
	}
	return fd;
}

static void unlock_directory(int fd)
{
	if (fd >= 0)
		close(fd);
}

static int temporary_name(char *name, size_t size, const char *path)
{
	const char *slash = strrchr(path, '/');
	int n;

	if (!slash)
		return -EINVAL;
	n = snprintf(name, size, "%.*s/.qdb%d", (int)(slash - path), path, (int)getpid());
	if (n < 0 || (size_t)n >= size)
		return -ENAMETOOLONG;
	if (unlink(name) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

static int move_into_place(struct installed *f, const char *temporary, const char *path)
{
	bool locked;
	int lock, r;

	f->path = strdup(path);
	f->fd = open(temporary, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (!f->path || f->fd < 0) {
		r = f->path ? -errno : -ENOMEM;
		goto fail;
	}
	lock = lock_directory(path, &locked);
	r = rename(temporary, path) < 0 ? -errno : 0;
	unlock_directory(lock);
	if (r == 0)
		return 0;
fail:
	unlink(temporary);
	if (f->fd >= 0)
		close(f->fd);
	free(f->path);
	*f = (struct installed)INSTALLED_NONE;
	return r;
}

int installed_directory(const char *path)
{
	return mkdir(path, 0775) < 0 && errno != EEXIST ? -errno : 0;
}

static int bind_and_listen(int fd, const char *name, int mode, int backlog)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	memcpy(address.sun_path, name, strlen(name) + 1);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	if ((mode >= 0 && chmod(name, (mode_t)mode) < 0) || listen(fd, backlog) < 0) {
		const int error = errno;

		unlink(name);
		return -error;
	}
	return 0;
}

int installed_listen(struct installed *f, const char *path, int mode, int backlog)
{
	char name[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int fd, r;

	if (strlen(path) >= sizeof(name))
		return -ENAMETOOLONG;
	r = temporary_name(name, sizeof(name), path);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = bind_and_listen(fd, name, mode, backlog);
	if (r == 0)
		r = move_into_place(f, name, path);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

int installed_symlink(struct installed *f, const char *path, const char *target)
{
	char name[4096];
	int r = temporary_name(name, sizeof(name), path);

	if (r < 0)
		return r;
	if (symlink(target, name) < 0)
		return -errno;
	return move_into_place(f, name, path);
}

int installed_file(struct installed *f, const char *path, const char *text, int mode)
{
	char name[4096];
	int fd, r = temporary_name(name, sizeof(name), path);

	if (r < 0)
		return r;
	fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (fchmod(fd, (mode_t)mode) < 0)
		r = -errno;
	else if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		r = errno ? -errno : -EIO;
	close(fd);
	if (r < 0) {
		unlink(name);
		return r;
	}
	return move_into_place(f, name, path);
}

static bool is_ours(const struct installed *f)
{
	struct stat there, ours;

	return lstat(f->path, &there) == 0 && fstat(f->fd, &ours) == 0 &&
	       there.st_dev == ours.st_dev && there.st_ino == ours.st_ino;
}

void installed_remove(struct installed *f)
{
	bool locked;
	int lock;

	if (!f->path)
		return;
	lock = lock_directory(f->path, &locked);
	if (locked && is_ours(f))
		unlink(f->path);
	unlock_directory(lock);
	close(f->fd);
	free(f->path);
	*f = (struct installed)INSTALLED_NONE;
}
