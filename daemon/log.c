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

static struct {
	const char *name;
	int file;
	bool to_stderr;
} state = {.name = "-", .file = -1, .to_stderr = true};

/* So many lines in a period. Others cannot use up what the daemon needs for itself. */
static struct budget {
	const char *whose;
	unsigned most;
	time_t period;
	time_t begun; /* seconds of a clock that nobody sets */
	unsigned used;
	unsigned left_out;
} budgets[] = {
	[LOG_OWN] = {.whose = "", .most = 50, .period = 60},
	[LOG_PEER] = {.whose = " about the other side", .most = 20, .period = 600},
	[LOG_CLIENTS] = {.whose = " about clients", .most = 50, .period = 600},
};

/* Nobody is told of for the same thing more often. */
#define OFFENCE_PERIOD 600
#define OFFENCES 32

static struct offence {
	unsigned long user;
	const char *what; /* NULL: unused */
	time_t told;
	unsigned untold; /* times since then */
} offences[OFFENCES];

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

static time_t uptime(void)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

__attribute__((format(printf, 1, 2))) static void write_notice(const char *format, ...)
{
	char text[LINE_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	write_line(time(NULL), LOG_LEVEL_WARNING, text);
}

static void begin_period(struct budget *b, time_t now)
{
	const unsigned left_out = b->left_out;

	b->begun = now;
	b->used = b->left_out = 0;
	if (left_out > 0)
		write_notice("%u lines%s left out", left_out, b->whose);
}

static bool may_log(struct budget *b)
{
	const time_t now = uptime();

	if (now - b->begun >= b->period)
		begin_period(b, now);
	if (b->used < b->most) {
		b->used++;
		return true;
	}
	if (b->left_out++ == 0)
		write_notice("more lines%s are left out for %ld s", b->whose,
			     (long)(b->begun + b->period - now));
	return false;
}

void log_line(enum log_cause cause, enum log_level level, const char *format, ...)
{
	char text[LINE_SIZE];
	va_list args;

	if (level != LOG_LEVEL_TRACE && !may_log(&budgets[cause]))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	write_line(time(NULL), level, text);
}

/* This one, or what is to be forgotten for it. */
static struct offence *recall(unsigned long user, const char *what)
{
	struct offence *oldest = offences;

	for (struct offence *o = offences; o < offences + OFFENCES; o++) {
		if (o->what && o->user == user && strcmp(o->what, what) == 0)
			return o;
		if (!o->what || (oldest->what && o->told < oldest->told))
			oldest = o;
	}
	*oldest = (struct offence){.user = user};
	return oldest;
}

void log_offence(unsigned long user, const char *what, const char *format, ...)
{
	struct offence *o = recall(user, what);
	const time_t now = uptime();
	char text[LINE_SIZE];
	va_list args;
	size_t n;

	if ((o->what && now - o->told < OFFENCE_PERIOD) ||
	    !may_log(&budgets[LOG_CLIENTS])) {
		o->untold++;
		return;
	}
	va_start(args, format);
	n = clamp(vsnprintf(text, sizeof(text), format, args), sizeof(text));
	va_end(args);
	if (o->untold > 0)
		snprintf(text + n, sizeof(text) - n, "; %u times since it was last told",
			 o->untold);
	*o = (struct offence){.user = user, .what = what, .told = now};
	write_line(time(NULL), LOG_LEVEL_WARNING, text);
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
