/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qubesdb-wait. No call of the library but qdb_read_watch() gives up for a signal, and
 * any of them may take long: a VM's daemon lets requests wait for its first connection to
 * dom0, and one with too many clients takes no more connections. So the alarm does not
 * interrupt the waiting, but ends the process.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "client/commands.h"
#include "client/failure.h"
#include "client/waiting.h"

#define STATUS_TIMED_OUT 3

/* What is said when the time is up, before there is a connection and after. */
static char never_connected[512], not_so[512];
static const char *volatile last_words = never_connected;

static void give_up(int signal)
{
	ssize_t written;

	(void)signal;
	written = write(STDERR_FILENO, last_words, strlen(last_words));
	(void)written;
	_exit(STATUS_TIMED_OUT);
}

static void prepare_last_words(const struct options *o)
{
	const bool has_value = o->arg_count > 1;
	char what[256];

	if (o->quiet)
		return;
	snprintf(what, sizeof(what),
		 "Failed to wait for %.80s%s%.40s at the %.64s daemon", o->args[0],
		 has_value ? " = " : "", has_value ? o->args[1] : "", failure_domain(o));
	snprintf(never_connected, sizeof(never_connected),
		 "%s: no connection to it after %g seconds; does the daemon run?\n", what,
		 o->timeout);
	snprintf(not_so, sizeof(not_so),
		 "%s: not so after %g seconds; does run what should write it?\n", what,
		 o->timeout);
}

static void start_alarm(double seconds)
{
	struct itimerval timer = {.it_value.tv_sec = (time_t)seconds};
	sigset_t alarm_only;

	timer.it_value.tv_usec =
		(suseconds_t)((seconds - (double)timer.it_value.tv_sec) * 1e6);
	if (!timer.it_value.tv_sec && !timer.it_value.tv_usec)
		timer.it_value.tv_usec = 1;
	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	signal(SIGALRM, give_up);
	sigprocmask(SIG_UNBLOCK, &alarm_only, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

int command_wait(qdb_handle_t h, const struct options *o)
{
	char *path = o->args[0];
	char *value;

	if (o->timeout > 0) {
		prepare_last_words(o);
		start_alarm(o->timeout);
	}
	h = wait_for_daemon(o->domain);
	if (!h) {
		failure_report_connect(o);
		return 1;
	}
	last_words = not_so;
	value = wait_for_value(h, path, o->arg_count > 1 ? o->args[1] : NULL, NULL);
	if (!value)
		failure_report(h, o, ATTEMPT_WAIT_FOR, path, NULL);
	free(value);
	qdb_close(h);
	return value ? 0 : 1;
}
