/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Landlock: which files a process may reach. The numbers are the kernel's interface; its
 * headers here may be older than the kernel that this runs on.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/sandbox_parts.h"

enum {
	WRITE_FILE = 1 << 1,
	READ_FILE = 1 << 2,
	READ_DIR = 1 << 3,
	REMOVE_DIR = 1 << 4,
	REMOVE_FILE = 1 << 5,
	MAKE_DIR = 1 << 7,
	MAKE_REG = 1 << 8,
	MAKE_SOCK = 1 << 9,
	MAKE_FIFO = 1 << 10,
	MAKE_SYM = 1 << 12,
	TRUNCATE = 1 << 14,
	IOCTL_DEV = 1 << 15,
};

#define OF_A_FILE (WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV)

#define VERSION 1u /* flag: asks which one the kernel has */
#define PATH_BENEATH 1

/* Zeros at its end are fine for a kernel that does not know that far. */
struct ruleset {
	uint64_t files;
	uint64_t net;
	uint64_t scopes;
};

struct path_beneath {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

/* All that could be forbidden, by the version that brought it. */
static const struct {
	int version;
	struct ruleset added;
} handled[] = {
	{1, {.files = (1 << 13) - 1}}, /* everything with files, but: */
	{2, {.files = 1 << 13}},       /* from one directory to another */
	{3, {.files = TRUNCATE}},
	{4, {.net = 1 << 0 | 1 << 1}}, /* TCP: bind, connect */
	{5, {.files = IOCTL_DEV}},
	{6, {.scopes = 1 << 0}}, /* abstract unix sockets */
};

static const uint64_t allowed_by[] = {
	[SANDBOX_READS] = READ_FILE | READ_DIR,
	[SANDBOX_USES_FILES] = WRITE_FILE | READ_FILE | READ_DIR | REMOVE_FILE |
			       MAKE_REG | MAKE_SOCK | MAKE_SYM | TRUNCATE |
			       /* to move aside what is in the way */
			       REMOVE_DIR | MAKE_DIR | MAKE_FIFO,
	[SANDBOX_USES_DEVICES] = WRITE_FILE | READ_FILE | READ_DIR | IOCTL_DEV,
};

static struct ruleset everything(int version)
{
	struct ruleset all = {0};

	for (size_t i = 0; i < sizeof(handled) / sizeof(handled[0]); i++) {
		if (handled[i].version > version)
			break;
		all.files |= handled[i].added.files;
		all.net |= handled[i].added.net;
		all.scopes |= handled[i].added.scopes;
	}
	return all;
}

static int version_here(void)
{
	return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION);
}

int sandbox_files_new(void)
{
	const int version = version_here();
	const struct ruleset all = everything(version);
	long fd;

	if (version < 0)
		return -errno;
	fd = syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);
	return fd < 0 ? -errno : (int)fd;
}

int sandbox_files_allow(int rules, const char *path, enum sandbox_access access)
{
	struct path_beneath rule = {.allowed = allowed_by[access]};
	struct stat target;
	int r = 0;

	rule.parent = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent < 0)
		return -errno;
	rule.allowed &= everything(version_here()).files;
	if (fstat(rule.parent, &target) < 0)
		r = -errno;
	else if (!S_ISDIR(target.st_mode))
		rule.allowed &= OF_A_FILE;
	if (r == 0 && syscall(SYS_landlock_add_rule, rules, PATH_BENEATH, &rule, 0) < 0)
		r = -errno;
	close(rule.parent);
	return r;
}

int sandbox_files_enforce(int rules)
{
	return syscall(SYS_landlock_restrict_self, rules, 0) < 0 ? -errno : 0;
}
