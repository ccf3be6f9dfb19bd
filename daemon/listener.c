/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/listener.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/clients.h"
#include "daemon/log.h"

#define ACCEPTS_PER_TURN 16

static void turn_away(int fd, int error)
{
	const struct quota_description *q = &quota_descriptions[quota_refused_last()];

	close(fd);
	if (error == -EDQUOT)
		log_offence(
			LOG_ANYBODY, q->name,
			"clients are turned away: more than %zu %s; --quota %s=NUMBER "
			"changes that",
			q->limit, q->bounds, q->name);
	else
		log_offence(LOG_ANYBODY, "joining", "clients are turned away: %s",
			    strerror(-error));
}

static void pause_accepting(struct listener *l)
{
	static const struct timeval pause = {.tv_usec = 100000};

	log_offence(LOG_ANYBODY, "accepting",
		    "cannot accept clients now, and tries again: %s", strerror(errno));
	event_del(&l->accept);
	event_add(&l->resume, &pause);
}

static void begin_accepting(struct listener *l)
{
	if (event_add(&l->accept, NULL) < 0)
		pause_accepting(l);
}

/* Nobody is turned away from a place that is just being left. */
static bool is_worth_waiting(const struct listener *l)
{
	return clients_are_full(l->clients) && clients_are_leaving(l->clients);
}

static void on_accept(evutil_socket_t listener, short what, void *context)
{
	struct listener *l = context;

	(void)what;
	for (int i = 0; i < ACCEPTS_PER_TURN && !is_worth_waiting(l); i++) {
		const int fd =
			accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		int r;

		if (fd < 0) {
			if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
				pause_accepting(l);
			return;
		}
		r = clients_add(l->clients, l->access, fd);
		if (r < 0)
			turn_away(fd, r);
	}
}

static void on_resume(evutil_socket_t fd, short what, void *context)
{
	struct listener *l = context;

	(void)fd, (void)what;
	begin_accepting(l);
}

void listener_open(struct listener *l, struct event_base *base, struct clients *c,
		   enum session_access access, int fd)
{
	l->clients = c;
	l->access = access;
	l->fd = fd;
	event_assign(&l->accept, base, fd, EV_READ | EV_PERSIST, on_accept, l);
	evtimer_assign(&l->resume, base, on_resume, l);
	begin_accepting(l);
}

void listener_close(struct listener *l)
{
	if (l->fd < 0)
		return;
	event_del(&l->accept);
	event_del(&l->resume);
	close(l->fd);
	l->fd = -1;
}
