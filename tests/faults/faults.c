/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Preloaded into a program, this makes one of its system calls fail. A call is known by
 * its function and its site, the place in the program or library that makes it:
 *
 *   QDB_FAULTS_LOG=FILE     appends "FUNCTION SITE" to it for each call
 *   QDB_FAULT="FUNCTION SITE NTH ERRNO"
 *                           lets the NTH such call fail with that number, or cuts a
 *                           transfer down to one byte if it is 0
 *   QDB_FAULT_DONE=FILE     which gets a byte when that happens, and only if it has none:
 *                           once, whatever forks or starts again
 *   QDB_FAULT_WHILE=FILE    lets all such calls fail as long as this file exists; NTH is
 *                           0, FUNCTION and SITE the beginning of one, or SITE "any"
 *
 * What fails in other ways on datagram sockets, and on what is no file, is a function of
 * its own here: connect_dgram, send_dgram and write_pipe.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static char wanted_function[32], wanted_site[128];
static unsigned wanted_nth, wanted_errno, count;

/* Opened at the start: later on a sandbox has its own idea of what can be opened. */
static int log_file = -1, done_file = -1;

#define HIGH_NUMBER 200

/* Only system calls here: this must not call what it wraps. */
static int open_file(const char *name)
{
	const int flags = O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC;
	const long fd = name ? syscall(SYS_openat, AT_FDCWD, name, flags, 0666) : -1;
	const long high =
		fd < 0 ? -1 : syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, HIGH_NUMBER);

	if (fd >= 0)
		syscall(SYS_close, fd);
	return (int)high;
}

__attribute__((constructor)) static void begin(void)
{
	const char *fault = getenv("QDB_FAULT");

	if (!fault || sscanf(fault, "%31s %127s %u %u", wanted_function, wanted_site,
			     &wanted_nth, &wanted_errno) != 4)
		wanted_nth = 0;
	log_file = open_file(getenv("QDB_FAULTS_LOG"));
	done_file = open_file(getenv("QDB_FAULT_DONE"));
}

/* In this run of the test, whatever program it is in. */
static bool is_first(void)
{
	return done_file >= 0 && syscall(SYS_lseek, done_file, 0, SEEK_END) == 0 &&
	       syscall(SYS_write, done_file, "x", 1) == 1;
}

static void name_site(char *site, size_t size, const void *caller)
{
	const char *slash;
	Dl_info info;

	if (!dladdr(caller, &info) || !info.dli_fname) {
		snprintf(site, size, "?");
		return;
	}
	slash = strrchr(info.dli_fname, '/');
	snprintf(site, size, "%s+%tx", slash ? slash + 1 : info.dli_fname,
		 (const char *)caller - (const char *)info.dli_fbase);
}

static bool exists(const char *name)
{
	return syscall(SYS_faccessat, AT_FDCWD, name, F_OK) == 0;
}

static bool begins_with(const char *text, const char *beginning)
{
	return strncmp(text, beginning, strlen(beginning)) == 0;
}

static bool is_faulty(const char *function, const void *caller)
{
	const char *during = getenv("QDB_FAULT_WHILE");
	char site[128], line[192];

	if (log_file < 0 && !begins_with(function, wanted_function))
		return false;
	name_site(site, sizeof(site), caller);
	snprintf(line, sizeof(line), "%s %s\n", function, site);
	if (log_file >= 0)
		syscall(SYS_write, log_file, line, strlen(line));
	if (during)
		return begins_with(function, wanted_function) &&
		       (strcmp(wanted_site, "any") == 0 ||
			begins_with(site, wanted_site)) &&
		       exists(during);
	if (strcmp(function, wanted_function) != 0 || strcmp(site, wanted_site) != 0)
		return false;
	return ++count == wanted_nth && is_first();
}

/* 1: it has failed, with errno set; 0: it goes on; -1: it is cut short. */
static int fault(const char *function, const void *caller)
{
	const int before = errno;
	const bool faulty = is_faulty(function, caller);

	errno = faulty && wanted_errno ? (int)wanted_errno : before;
	return !faulty ? 0 : wanted_errno ? 1 : -1;
}

static bool is_datagram(int fd)
{
	socklen_t len = sizeof(int);
	int type = 0;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
	       type == SOCK_DGRAM;
}

#define CALLER __builtin_return_address(0)
#define REAL(type, name, parameters) \
	static type(*real) parameters; \
	if (!real) \
	*(void **)&real = dlsym(RTLD_NEXT, name)

#define FAILING(name, parameters, arguments) \
	FAILING_AS(name, #name, parameters, arguments)
#define FAILING_AS(name, label, parameters, arguments) \
	int name parameters; \
	int name parameters \
	{ \
		REAL(int, #name, parameters); \
		return fault(label, CALLER) ? -1 : real arguments; \
	}

#define CUT_SHORT(name, size, parameters, arguments) \
	CUT_SHORT_AS(name, #name, size, parameters, arguments)
#define CUT_SHORT_AS(name, label, size, parameters, arguments) \
	ssize_t name parameters; \
	ssize_t name parameters \
	{ \
		REAL(ssize_t, #name, parameters); \
		const int f = fault(label, CALLER); \
\
		if (f < 0 && size > 1) \
			size = 1; \
		return f > 0 ? -1 : real arguments; \
	}

/* clang-format off */
FAILING(accept4, (int fd, struct sockaddr *a, socklen_t *n, int flags), (fd, a, n, flags))
FAILING(bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
FAILING(chdir, (const char *path), (path))
FAILING(dup, (int fd), (fd))
FAILING(dup2, (int fd, int to), (fd, to))
FAILING(epoll_create1, (int flags), (flags))
FAILING(epoll_wait, (int fd, struct epoll_event *e, int n, int ms), (fd, e, n, ms))
FAILING(eventfd, (unsigned value, int flags), (value, flags))
FAILING(fchmod, (int fd, mode_t mode), (fd, mode))
FAILING(fdatasync, (int fd), (fd))
FAILING(flock, (int fd, int how), (fd, how))
FAILING(fork, (void), ())
FAILING(fstat, (int fd, struct stat *st), (fd, st))
FAILING(fsync, (int fd), (fd))
FAILING(ftruncate, (int fd, off_t size), (fd, size))
FAILING(link, (const char *path, const char *to), (path, to))
FAILING(listen, (int fd, int backlog), (fd, backlog))
FAILING(lstat, (const char *path, struct stat *st), (path, st))
FAILING(mkdir, (const char *path, mode_t mode), (path, mode))
FAILING(pipe2, (int ends[2], int flags), (ends, flags))
FAILING(poll, (struct pollfd *fds, nfds_t n, int ms), (fds, n, ms))
FAILING(rename, (const char *path, const char *to), (path, to))
FAILING(socket, (int domain, int type, int protocol), (domain, type, protocol))
FAILING(symlink, (const char *target, const char *path), (target, path))
FAILING(timerfd_create, (int clock, int flags), (clock, flags))
FAILING(waitpid, (pid_t pid, int *status, int options), (pid, status, options))
CUT_SHORT(getrandom, n, (void *buf, size_t n, unsigned flags), (buf, n, flags))
CUT_SHORT(pwrite, n, (int fd, const void *buf, size_t n, off_t at), (fd, buf, n, at))
FAILING_AS(ftruncate64, "ftruncate", (int fd, off64_t size), (fd, size))
FAILING_AS(fstat64, "fstat", (int fd, struct stat64 *st), (fd, st))
FAILING_AS(lstat64, "lstat", (const char *path, struct stat64 *st), (path, st))
CUT_SHORT(pread, n, (int fd, void *buf, size_t n, off_t at), (fd, buf, n, at))
CUT_SHORT_AS(pread64, "pread", n, (int fd, void *buf, size_t n, off64_t at), (fd, buf, n, at))
CUT_SHORT_AS(pwrite64, "pwrite", n, (int fd, const void *buf, size_t n, off64_t at), (fd, buf, n, at))
CUT_SHORT(read, n, (int fd, void *buf, size_t n), (fd, buf, n))
CUT_SHORT(recv, n, (int fd, void *buf, size_t n, int flags), (fd, buf, n, flags))
/* clang-format on */

int connect(int fd, const struct sockaddr *a, socklen_t n)
{
	REAL(int, "connect", (int, const struct sockaddr *, socklen_t));

	return fault(is_datagram(fd) ? "connect_dgram" : "connect", CALLER)
		       ? -1
		       : real(fd, a, n);
}

ssize_t send(int fd, const void *buf, size_t n, int flags)
{
	REAL(ssize_t, "send", (int, const void *, size_t, int));
	const int f = fault(is_datagram(fd) ? "send_dgram" : "send", CALLER);

	if (f < 0 && n > 1)
		n = 1;
	return f > 0 ? -1 : real(fd, buf, n, flags);
}

ssize_t write(int fd, const void *buf, size_t n)
{
	REAL(ssize_t, "write", (int, const void *, size_t));
	struct stat st = {0};
	const bool is_file = syscall(SYS_fstat, fd, &st) == 0 && S_ISREG(st.st_mode);
	const int f = fault(is_file ? "write" : "write_pipe", CALLER);

	if (f < 0 && n > 1)
		n = 1;
	return f > 0 ? -1 : real(fd, buf, n);
}

#define PWRITEV(name, offset) \
	ssize_t name(int fd, const struct iovec *part, int n, offset at) \
	{ \
		REAL(ssize_t, #name, (int, const struct iovec *, int, offset)); \
		const int f = fault("pwritev", CALLER); \
\
		if (f < 0) \
			return syscall(SYS_pwrite64, fd, part[0].iov_base, 1, at); \
		return f > 0 ? -1 : real(fd, part, n, at); \
	}

PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

/* Only what adds a descriptor needs memory. */
int epoll_ctl(int fd, int op, int of, struct epoll_event *e)
{
	REAL(int, "epoll_ctl", (int, int, int, struct epoll_event *));

	return op == EPOLL_CTL_ADD && fault("epoll_ctl", CALLER) ? -1
								 : real(fd, op, of, e);
}

#define OPEN(name) \
	int name(const char *path, int flags, ...) \
	{ \
		REAL(int, #name, (const char *, int, ...)); \
		va_list args; \
		mode_t mode; \
\
		va_start(args, flags); \
		mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0; \
		va_end(args); \
		return fault("open", CALLER) ? -1 : real(path, flags, mode); \
	}

OPEN(open)
OPEN(open64)
