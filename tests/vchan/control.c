/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/vchan/control.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE 64
#define OVER_PASSED "over: passed"
#define OVER_FAILED "over: failed"
#define TURNS_AT_ONCE 20

static struct event_base *base;
static struct event *readable;
static const char *name;
static const char *step;
static char line[LINE_SIZE];
static bool line_there;

/* Byte by byte, because what follows the line may be for another process. */
static bool read_line(char *to)
{
	size_t n = 0;

	while (n < LINE_SIZE && read(STDIN_FILENO, to + n, 1) == 1) {
		if (to[n] == '\n') {
			to[n] = '\0';
			return true;
		}
		n++;
	}
	return false;
}

static void write_line(const char *text)
{
	char out[LINE_SIZE + 1];
	const int n = snprintf(out, sizeof(out), "%s\n", text);

	if (write(STDOUT_FILENO, out, (size_t)n) != n)
		perror("the other end cannot be told");
}

static void complain(const char *what)
{
	fprintf(stderr, "# %s: %s: %s\n", name, step, what);
}

static void hear(void)
{
	if (!read_line(line)) {
		complain("the other end is gone");
		exit(CONTROL_GIVEN_UP);
	}
	if (strcmp(line, OVER_FAILED) == 0) {
		complain("given up, because the other end did");
		exit(CONTROL_GIVEN_UP);
	}
	line_there = true;
}

/* The next line is for the next control_sync(); until then there can be one more. */
static void on_readable(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what, (void)context;
	hear();
	event_del(readable);
}

static void on_limit(int signal)
{
	static const char why[] = ": never came to an end\n";

	(void)signal;
	if (write(STDERR_FILENO, name, strlen(name)) < 0 ||
	    write(STDERR_FILENO, ": ", 2) < 0 ||
	    write(STDERR_FILENO, step, strlen(step)) < 0 ||
	    write(STDERR_FILENO, why, sizeof(why) - 1) < 0)
		_exit(2);
	_exit(1);
}

void control_begin(const char *who, unsigned limit)
{
	name = who;
	step = "beginning";
	line_there = false;
	base = event_base_new();
	readable = event_new(base, STDIN_FILENO, EV_READ | EV_PERSIST, on_readable, NULL);
	event_add(readable, NULL);
	signal(SIGALRM, on_limit);
	alarm(limit);
}

/* Not before both are done: what comes then is for the parent. */
void control_end(void)
{
	control_sync_asleep("done");
	event_free(readable);
	event_base_free(base);
}

struct event_base *control_base(void)
{
	return base;
}

void control_step(const char *now)
{
	step = now;
}

void control_turn(void)
{
	if (event_base_loop(base, EVLOOP_ONCE) != 0)
		control_fail("there is nothing to wait for");
}

void control_turns_at_once(void)
{
	for (int i = 0; i < TURNS_AT_ONCE; i++)
		event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static void take_line(const char *label)
{
	check(strcmp(line, label) == 0, "the other end is at \"%s\" already", line);
	line_there = false;
	event_add(readable, NULL);
}

void control_sync(const char *label)
{
	control_step(label);
	write_line(label);
	while (!line_there)
		event_base_loop(base, EVLOOP_ONCE);
	take_line(label);
}

void control_sync_asleep(const char *label)
{
	control_step(label);
	write_line(label);
	if (!line_there)
		hear();
	take_line(label);
}

void control_fail(const char *format, ...)
{
	char why[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why, sizeof(why), format, arguments);
	va_end(arguments);
	complain(why);
	exit(1);
}

bool control_over(bool passed, bool heard)
{
	write_line(passed ? OVER_PASSED : OVER_FAILED);
	while (!heard) {
		if (!read_line(line))
			return false;
		if (strcmp(line, OVER_PASSED) == 0)
			return true;
		heard = strcmp(line, OVER_FAILED) == 0;
	}
	return false;
}
