/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
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
	time_t refilled; /* seconds of a clock that nobody sets */
} state = {.name = "-", .file = -1, .to_stderr = true, .left = BURST};

void log_set_name(const char *name)
{
	state.name = name;
}

int log_open(const char *path)
{
	struct stat file;
	int r = 0;
	int fd = open(path,
		      O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY |
			      O_CLOEXEC,
		      0664);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &file) < 0)
		r = -errno;
	else if (!S_ISREG(file.st_mode))
		r = -EINVAL;
	/* Fails if the file is another user's, whose business its mode then is. */
	else if (fchmod(fd, 0664) < 0 && errno != EPERM)
		r = -errno;
	if (r < 0)
		close(fd);
	else
		state.file = fd;
	return r;
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

static bool may_log(void)
{
	struct timespec now = {0};
	time_t passed;

	clock_gettime(CLOCK_MONOTONIC, &now);
	passed = now.tv_sec - state.refilled;
	if (passed > 0) {
		state.left = passed < BURST - (time_t)state.left
				     ? state.left + (unsigned)passed
				     : BURST;
		state.refilled = now.tv_sec;
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
	static const char *const names[] = {"info", "warning", "error", "trace"};
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

	if (level != LOG_LEVEL_TRACE && !may_log())
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

/* Nothing here but what may be called from a handler, so neither snprintf nor the time.
 */
void log_from_handler(const char *text, unsigned number)
{
	char line[LINE_SIZE] = "- error: ", digits[16];
	char *end = line + strlen(line), *first = digits + sizeof(digits);
	const char *const room = line + sizeof(line) - sizeof(digits) - 1;

	while (*text && end < room)
		*end++ = *text++;
	do
		*--first = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	while (first < digits + sizeof(digits))
		*end++ = *first++;
	*end++ = '\n';
	if (state.file >= 0)
		put(state.file, line, (size_t)(end - line));
	if (state.to_stderr)
		put(STDERR_FILENO, line, (size_t)(end - line));
}
