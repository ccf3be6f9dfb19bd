/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/aside.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/claim.h"
#include "daemon/installed.h"
#include "daemon/log.h"

#define JOURNAL_SUFFIX "-journal"

/* The file, and what the daemon and sqlite may make beside it. */
static const char *const parts[] = {"", TAIL_SUFFIX, WAL_SUFFIX, JOURNAL_SUFFIX, "-shm"};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

static const char *join(char *out, const char *path, const char *suffix)
{
	snprintf(out, PATH_MAX, "%s%s", path, suffix);
	return out;
}

static bool exists(const char *path, const char *suffix, struct stat *there)
{
	char name[PATH_MAX];

	return lstat(join(name, path, suffix), there) == 0;
}

static bool is_ordinary(const struct stat *there)
{
	return S_ISREG(there->st_mode) && there->st_uid == geteuid() &&
	       there->st_nlink <= 1;
}

bool aside_is_ordinary(int fd)
{
	struct stat there;

	return fstat(fd, &there) == 0 && is_ordinary(&there);
}

const char *aside_reason(const char *path)
{
	struct stat there;

	if (!exists(path, "", &there) || is_ordinary(&there))
		return NULL;
	return "is not an ordinary file of this user";
}

const char *aside_reason_beside(const char *path, bool is_new)
{
	static const char *const logs[] = {WAL_SUFFIX, TAIL_SUFFIX};
	struct stat there;

	if (exists(path, JOURNAL_SUFFIX, &there))
		return "is damaged";
	for (int i = 0; i < 2; i++) {
		if (!exists(path, logs[i], &there))
			continue;
		if (is_new)
			return "has left its log behind";
		if (!is_ordinary(&there))
			return "has something beside it that is not an ordinary file "
			       "of this user";
	}
	return NULL;
}

static void name_aside(char *out, const char *path, int number)
{
	if (number == 0)
		snprintf(out, PATH_MAX, "%s.aside", path);
	else
		snprintf(out, PATH_MAX, "%s.aside.%d", path, number);
}

static bool is_taken(const char *name)
{
	struct stat there;

	for (size_t i = 0; i < PARTS; i++)
		if (exists(name, parts[i], &there))
			return true;
	return false;
}

/* A part that is missing takes the place of what was there before, too. */
static int move_part(const char *path, const char *to, const char *part)
{
	char from_name[PATH_MAX], to_name[PATH_MAX];
	int r = installed_move(join(from_name, path, part), join(to_name, to, part));

	if (r != -ENOENT)
		return r;
	unlink(to_name);
	return 0;
}

bool aside_move(const char *path, const char *why)
{
	char to[PATH_MAX];
	int number = 0, r = 0;

	do
		name_aside(to, path, number);
	while (is_taken(to) && ++number < ASIDE_MOST);
	for (size_t i = 0; i < PARTS && r == 0; i++)
		r = move_part(path, to, parts[i]);
	if (r == 0)
		log_warning("the state %s %s: it is moved to %s", path, why, to);
	else
		log_error("the state %s %s, and cannot be moved to %s: %s", path, why, to,
			  strerror(-r));
	return r == 0;
}

/* What is not there may have left its log behind. */
static bool is_used(const char *name)
{
	const int fd = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	const bool used =
		fd < 0 ? errno != ENOENT : !aside_is_ordinary(fd) || claim_is_held(fd);

	if (fd >= 0)
		close(fd);
	return used;
}

void aside_remove(const char *path)
{
	char name[PATH_MAX], part[PATH_MAX];

	for (int number = 0; number < ASIDE_MOST; number++) {
		name_aside(name, path, number);
		for (size_t i = 0; i < PARTS && !is_used(name); i++)
			unlink(join(part, name, parts[PARTS - 1 - i]));
	}
}
