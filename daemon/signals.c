/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/signals.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

static sigset_t ending(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	return set;
}

void signals_hold(void)
{
	const sigset_t set = ending();

	sigprocmask(SIG_BLOCK, &set, NULL);
}

void signals_release(void)
{
	const sigset_t set = ending();

	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Looking at the signals does not take them: they are still there for the loop. */
int signals_wait(int fd, int ms)
{
	const sigset_t set = ending();
	const int64_t end = now_ms() + ms;
	struct pollfd p[] = {
		{.fd = fd, .events = POLLIN},
		{.fd = signalfd(-1, &set, SFD_CLOEXEC), .events = POLLIN},
	};
	int64_t left = ms;
	int r;

	do {
		r = poll(p, 2, (int)left) < 0 ? -errno : 0;
		left = end - now_ms();
	} while (r == -EINTR && left > 0);
	if (p[1].fd >= 0)
		close(p[1].fd);
	if (r < 0)
		return r == -EINTR ? 0 : r;
	return p[0].revents ? 1 : p[1].revents ? -EINTR : 0;
}
