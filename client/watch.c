/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qubesdb-watch. Unlike a waiting read it ends when the daemon is gone: scripts run it in
 * a loop that is meant to end then. So it must not go on with the next daemon unnoticed,
 * which the library does for who has not got the descriptor.
 *
 * An event says "look again", so a value is the one found by looking then, which may be
 * newer than the event.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "client/commands.h"
#include "client/failure.h"
#include "client/json.h"
#include "client/output.h"

struct event {
	char *path;
	char *value; /* NULL if it is absent, or was not asked for */
	unsigned int len;
	struct timespec when;
};

static bool set_watches(qdb_handle_t h, const struct options *o)
{
	for (int i = 0; i < o->arg_count; i++) {
		if (qdb_watch(h, o->args[i]) && qdb_watch_fd(h) >= 0)
			continue;
		failure_report(h, o, ATTEMPT_WATCH, o->args[i], NULL);
		return false;
	}
	return true;
}

static bool get_event(qdb_handle_t h, const struct options *o, struct event *event)
{
	do
		event->path = qdb_read_watch(h);
	while (!event->path && errno == EINTR);
	clock_gettime(CLOCK_REALTIME, &event->when);
	if (!event->path) {
		failure_report(h, o, ATTEMPT_WATCH, o->args[0], NULL);
		return false;
	}
	if (!o->values)
		return true;
	event->value = qdb_read(h, event->path, &event->len);
	if (event->value || errno == ENOENT)
		return true;
	failure_report(h, o, ATTEMPT_READ, event->path, NULL);
	return false;
}

/* RFC 3339, in UTC. */
static void print_time(const struct timespec *when)
{
	char text[32] = "";
	struct tm parts;

	if (gmtime_r(&when->tv_sec, &parts))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
	printf("%s.%06ldZ", text, when->tv_nsec / 1000);
}

static bool show_json(const struct options *o, const struct event *event)
{
	putchar('{');
	if (o->timestamps) {
		fputs("\"time\": \"", stdout);
		print_time(&event->when);
		fputs("\", ", stdout);
	}
	printf("\"path\": \"%s\"", event->path);
	if (o->values) {
		fputs(", \"value\": ", stdout);
		if (event->value)
			json_print_value(stdout, event->value, event->len);
		else
			fputs("null", stdout);
	}
	return output_line(o, "}");
}

static bool show_text(const struct options *o, const struct event *event)
{
	if (o->timestamps) {
		output_ink(o, INK_TIME);
		print_time(&event->when);
		output_ink(o, INK_NONE);
		putchar(' ');
	}
	if (event->value)
		return output_value(o, event->path, event->value, event->len);
	return output_line(o, event->path);
}

static bool take_event(qdb_handle_t h, const struct options *o)
{
	struct event event = {0};
	bool shown = get_event(h, o, &event) &&
		     (o->json ? show_json(o, &event) : show_text(o, &event));

	free(event.path);
	free(event.value);
	return shown;
}

int command_watch(qdb_handle_t h, const struct options *o)
{
	long left = o->arg_count > 0 ? o->events : 0;

	if (!set_watches(h, o))
		return 1;
	while (left != 0) {
		if (!take_event(h, o))
			return 1;
		if (left > 0)
			left--;
	}
	return 0;
}
