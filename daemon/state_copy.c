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

static const char *log_of(char *out, const char *path)
{
	snprintf(out, PATH_MAX, "%s%s", path, WAL_SUFFIX);
	return out;
}

bool state_copy_make(int fd, const char *path, const char *copy)
{
	char name[PATH_MAX];
	bool done = copy_file(fd, copy);
	const int log =
		open(log_of(name, path), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (log < 0)
		return done && errno == ENOENT;
	done = done && aside_is_ordinary(log) && copy_file(log, log_of(name, copy));
	close(log);
	return done;
}

void state_copy_remove(const char *copy)
{
	static const char *const suffixes[] = {"", WAL_SUFFIX, "-shm"};
	char name[PATH_MAX];

	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s%s", copy, suffixes[i]);
		unlink(name);
	}
}
