/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/aside.h"
#include "daemon/log.h"
#include "daemon/signals.h"

/* Each name has a range, in which each domain id has an offset. */
#define FIRST_OFFSET ((off_t)1 << 48)
#define DOMIDS ((off_t)1 << 15)
#define RANGE (DOMIDS << 32)

/* How long a daemon has to end by itself, and how long the kernel has to end it. */
#define PATIENCE_MS 5000

#define TRIES 10

/* A number of 32 bits; two names that are used at one time have the same only by an
 * accident that will not happen. */
static off_t number_of(const char *name)
{
	uint32_t n = 2166136261u;

	for (; *name; name++)
		n = (n ^ (uint8_t)*name) * 16777619u;
	return n;
}

static off_t offset_of(const char *name, int domid)
{
	return FIRST_OFFSET + number_of(name) * DOMIDS + domid;
}

static struct flock lock_of(off_t offset, off_t len)
{
	return (struct flock){
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = offset,
		.l_len = len,
	};
}

/* 0 if nobody holds it. */
static pid_t find_holder(int fd, off_t *offset)
{
	struct flock lock = lock_of(FIRST_OFFSET, RANGE);

	if (fcntl(fd, F_GETLK, &lock) < 0)
		return -errno;
	*offset = lock.l_start;
	return lock.l_type == F_UNLCK ? 0 : lock.l_pid > 0 ? lock.l_pid : -ESRCH;
}

bool claim_is_held(int fd)
{
	off_t offset;

	return find_holder(fd, &offset) != 0;
}

/* 0 once it has ended, -ETIMEDOUT, or another negative errno. */
static int send_and_wait(int pidfd, int number)
{
	int r;

	if (pidfd_send_signal(pidfd, number, NULL, 0) < 0)
		return errno == ESRCH ? 0 : -errno;
	r = signals_wait(pidfd, PATIENCE_MS);
	return r > 0 ? 0 : r == 0 ? -ETIMEDOUT : r;
}

/* The holder is looked up again, since its number may have passed to another process. */
static int end_holder(int fd, pid_t pid)
{
	int pidfd = pidfd_open(pid, 0), r = 0;
	off_t offset;

	if (pidfd < 0)
		return errno == ESRCH ? 0 : -errno;
	if (find_holder(fd, &offset) == pid) {
		log_info("taking over from the daemon with process id %ld", (long)pid);
		r = send_and_wait(pidfd, SIGTERM);
		if (r == -ETIMEDOUT) {
			log_warning("the daemon with process id %ld does not end, so it "
				    "is killed",
				    (long)pid);
			r = send_and_wait(pidfd, SIGKILL);
		}
	}
	close(pidfd);
	return r;
}

static bool is_same_name(off_t offset, off_t other)
{
	return offset / DOMIDS == other / DOMIDS;
}

int claim_take(int fd, const char *name, int domid)
{
	const off_t ours = offset_of(name, domid);
	struct flock lock = lock_of(ours, 1);
	off_t theirs;
	pid_t pid;
	int r = 0;

	for (int i = 0; i < TRIES && r == 0; i++) {
		pid = find_holder(fd, &theirs);
		if (pid < 0)
			return pid;
		if (pid > 0 && theirs != ours)
			return is_same_name(theirs, ours) ? -EBUSY : -EEXIST;
		if (pid == 0 && (fcntl(fd, F_SETLK, &lock) == 0 || errno == EBADF))
			return 0;
		if (pid == 0 && errno != EACCES && errno != EAGAIN)
			return -errno;
		if (pid > 0)
			r = end_holder(fd, pid);
	}
	return r < 0 ? r : -EAGAIN;
}

/* Others may write to the directory: what is no file of this user's goes. */
static int open_file(const char *path)
{
	const int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	int fd = open(path, flags, 0600);

	if (fd >= 0 && aside_is_ordinary(fd))
		return fd;
	if (fd < 0 && errno != ELOOP && errno != ENXIO && errno != EACCES)
		return -errno;
	if (fd >= 0)
		close(fd);
	return unlink(path) == 0 || errno == ENOENT ? -EAGAIN : -errno;
}

static bool is_at(const char *path, int fd)
{
	struct stat ours, there;

	return fstat(fd, &ours) == 0 && lstat(path, &there) == 0 &&
	       ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
}

/* Who has ended has removed the file, and a third daemon may have made another one. */
int claim_take_at(const char *path, const char *name, int domid)
{
	int fd, r = -EAGAIN;

	for (int i = 0; i < TRIES && r == -EAGAIN; i++) {
		fd = open_file(path);
		r = fd < 0 ? fd : claim_take(fd, name, domid);
		if (r == 0 && is_at(path, fd))
			return fd;
		if (fd >= 0)
			close(fd);
		if (r == 0)
			r = -EAGAIN;
	}
	return r;
}
