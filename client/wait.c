/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qubesdb-wait. No call of the library but qdb_read_watch() gives up for a signal, and
 * any of them may take long: a VM's daemon lets requests wait for its first connection to
 * dom0. So the alarm does not interrupt the waiting, but ends the process.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include "client/commands.h"
#include "client/failure.h"
#include "client/waiting.h"

#define STATUS_TIMED_OUT 3

static char last_words[256];
static volatile size_t last_words_len;

static void give_up(int signal)
{
	(void)signal;
	if (write(STDERR_FILENO, last_words, last_words_len) < 0)
		_exit(STATUS_TIMED_OUT);
	_exit(STATUS_TIMED_OUT);
}

static void prepare_last_words(const struct options *o, const char *path)
{
	int len = snprintf(last_words, sizeof(last_words),
			   "Failed to wait for %.80s: not so after %g seconds\n", path,
			   o->timeout);

	if (len > 0 && !o->quiet)
		last_words_len = (size_t)len;
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
		prepare_last_words(o, path);
		start_alarm(o->timeout);
	}
	value = wait_for_value(h, path, o->arg_count > 1 ? o->args[1] : NULL, NULL);
	if (!value) {
		failure_report(o, ATTEMPT_WAIT_FOR, path, NULL);
		return 1;
	}
	free(value);
	return 0;
}
