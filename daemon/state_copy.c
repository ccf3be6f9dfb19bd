/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/state_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/aside.h"
#include "daemon/state_open.h"

static bool copy_bytes(int from, int to)
{
	uint8_t bytes[4096];
	off_t at = 0;
	ssize_t n;

	while ((n = pread(from, bytes, sizeof(bytes), at)) > 0) {
		if (pwrite(to, bytes, (size_t)n, at) != n)
			return false;
		at += n;
	}
	explicit_bzero(bytes, sizeof(bytes));
	return n == 0;
}

static bool copy_file(int from, const char *to)
{
	const int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bool done;

	if (fd < 0)
		return false;
	done = copy_bytes(from, fd);
	close(fd);
	return done;
}

static bool copy_beside(const char *path, const char *copy, const char *suffix)
{
	char from[PATH_MAX], to[PATH_MAX];
	bool done;
	int fd;

	snprintf(from, sizeof(from), "%s%s", path, suffix);
	snprintf(to, sizeof(to), "%s%s", copy, suffix);
	fd = open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT;
	done = aside_is_ordinary(fd) && copy_file(fd, to);
	close(fd);
	return done;
}

bool state_copy_make(int fd, const char *path, const char *copy)
{
	return copy_file(fd, copy) && copy_beside(path, copy, WAL_SUFFIX) &&
	       copy_beside(path, copy, TAIL_SUFFIX);
}

void state_copy_remove(const char *copy)
{
	char name[PATH_MAX];

	for (int i = 0; i < STATE_FILES; i++) {
		snprintf(name, sizeof(name), "%s%s", copy, state_suffixes[i]);
		unlink(name);
	}
}
