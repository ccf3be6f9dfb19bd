/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A pipe that polls as writable takes this much at once (PIPE_BUF is 4096). */
#define LINE_SIZE 1024

/* So many lines at once, and one more every second. */
#define BURST 50

static struct {
	const char *name;
	int file;
	bool to_stderr;
	unsigned left;
	unsigned suppressed;
	time_t refilled;
} state = {.name = "-", .file = -1, .to_stderr = true, .left = BURST};

void log_set_name(const char *name)
{
	state.name = name;
}

int log_open(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0664);

	if (fd < 0)
		return -errno;
	/* Fails if the file is another user's, whose business its mode then is. */
	if (fchmod(fd, 0664) < 0 && errno != EPERM) {
		close(fd);
		return -errno;
	}
	state.file = fd;
	return 0;
}

void log_leave_stderr(void)
{
	state.to_stderr = false;
}

static void put(int fd, const char *line, size_t len)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	ssize_t n;

	if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT))
		return;
	do
		n = write(fd, line, len);
	while (n < 0 && errno == EINTR);
}

static bool may_log(time_t now)
{
	const long passed = (long)(now - state.refilled);

	if (passed > 0) {
		state.left = passed < BURST && state.left + (unsigned)passed < BURST
				     ? state.left + (unsigned)passed
				     : BURST;
		state.refilled = now;
	}
	if (state.left == 0) {
		state.suppressed++;
		return false;
	}
	state.left--;
	return true;
}

static size_t clamp(int printed, size_t room)
{
	if (printed < 0)
		return 0;
	return (size_t)printed < room ? (size_t)printed : room - 1;
}

static void write_line(time_t now, enum log_level level, const char *text)
{
	static const char *const names[] = {"info", "warning", "error"};
	char line[LINE_SIZE], stamp[32] = "";
	struct tm tm;
	size_t n;

	if (localtime_r(&now, &tm))
		strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", &tm);
	n = clamp(snprintf(line, sizeof(line) - 1, "%s %s %s: %s", stamp, names[level],
			   state.name, text),
		  sizeof(line) - 1);
	line[n++] = '\n';
	if (state.file >= 0)
		put(state.file, line, n);
	if (state.to_stderr)
		put(STDERR_FILENO, line, n);
}

void log_line(enum log_level level, const char *format, ...)
{
	const time_t now = time(NULL);
	char text[LINE_SIZE];
	va_list args;

	if (!may_log(now))
		return;
	if (state.suppressed > 0) {
		snprintf(text, sizeof(text), "%u lines left out", state.suppressed);
		state.suppressed = 0;
		write_line(now, LOG_LEVEL_WARNING, text);
	}
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	write_line(now, level, text);
}
