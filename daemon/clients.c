/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A turn of the event loop reads each ready client once and lets its session serve what
 * arrived. All output, whoever it is for, waits for the end of the turn, which begins
 * with the commit of what has changed. What a client cannot finish in one turn waits for
 * the next, behind everyone else. An ordinary request costs three system calls: the wait,
 * one read and one send.
 */
#include "daemon/clients.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/trace.h"

/* Sends to one client in one turn, 32 KiB each. */
#define SENDS_PER_TURN 4

struct client {
	struct clients *clients;
	struct session *session;
	struct user *user;
	struct ucred peer;
	time_t since;
	int fd;
	bool at_end;  /* it will send no more */
	bool dead;    /* it cannot be reached */
	bool blocked; /* it does not take its output */
	bool reading;
	bool has_asked;
	bool is_touched;
	bool is_waiting;
	TAILQ_ENTRY(client) all;
	TAILQ_ENTRY(client) touched;
	TAILQ_ENTRY(client) waiting;
	struct event readable;
	struct event writable;
};

static void touch(struct client *client)
{
	if (client->is_touched)
		return;
	client->is_touched = true;
	TAILQ_INSERT_TAIL(&client->clients->touched, client, touched);
}

static void untouch(struct client *client)
{
	if (client->is_touched)
		TAILQ_REMOVE(&client->clients->touched, client, touched);
	client->is_touched = false;
}

static void set_waiting(struct client *client, bool waiting)
{
	if (waiting && !client->is_waiting)
		TAILQ_INSERT_TAIL(&client->clients->waiting, client, waiting);
	else if (!waiting && client->is_waiting)
		TAILQ_REMOVE(&client->clients->waiting, client, waiting);
	client->is_waiting = waiting;
}

/* A client that cannot be waited for is not kept waiting. */
static bool await(struct client *client, struct event *event)
{
	if (event_add(event, NULL) == 0)
		return true;
	log_offence(client->peer.uid, "waiting",
		    "process %ld of user %lu is disconnected: %s", (long)client->peer.pid,
		    (unsigned long)client->peer.uid, strerror(errno));
	client->dead = true;
	touch(client);
	return false;
}

static void set_reading(struct client *client, bool reading)
{
	if (reading && !client->reading)
		reading = await(client, &client->readable);
	else if (!reading && client->reading)
		event_del(&client->readable);
	client->reading = reading;
}

static void flush(struct client *client)
{
	const uint8_t *bytes;
	size_t len;
	ssize_t n;

	for (int sends = 0; sends < SENDS_PER_TURN && !client->blocked; sends++) {
		bytes = session_output(client->session, &len);
		if (len == 0)
			return;
		n = send(client->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n >= 0) {
			session_sent(client->session, (size_t)n);
			continue;
		}
		if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS) {
			client->dead = true;
			return;
		}
		client->blocked = true;
		session_stalled(client->session);
		await(client, &client->writable);
	}
}

static void close_client(struct client *client)
{
	TAILQ_REMOVE(&client->clients->all, client, all);
	untouch(client);
	set_waiting(client, false);
	event_del(&client->readable);
	event_del(&client->writable);
	session_free(client->session);
	users_leave(client->user);
	close(client->fd);
	free(client);
}

static void log_refusal(const struct client *client, enum quota quota)
{
	const struct quota_description *q = &quota_descriptions[quota];

	log_offence(client->peer.uid, q->name,
		    "process %ld of user %lu is refused requests: over the quota %s, "
		    "%zu%s%s",
		    (long)client->peer.pid, (unsigned long)client->peer.uid, q->name,
		    q->limit, q->unit[0] ? " " : "", q->unit);
}

static void log_failure(const struct client *client, const char *why)
{
	const struct quota_description *q;
	char over[64] = "";
	enum quota quota;

	if (session_exceeded(client->session, &quota)) {
		q = &quota_descriptions[quota];
		snprintf(over, sizeof(over), ", over the quota %s, %zu%s%s", q->name,
			 q->limit, q->unit[0] ? " " : "", q->unit);
	}
	log_offence(client->peer.uid, why,
		    "process %ld of user %lu is disconnected: %s%s",
		    (long)client->peer.pid, (unsigned long)client->peer.uid, why, over);
}

static void settle(struct client *client)
{
	const char *failure;
	enum quota quota;
	uint8_t *space;
	size_t len;

	if (session_was_refused(client->session, &quota))
		log_refusal(client, quota);
	flush(client);
	failure = session_failure(client->session);
	if (failure)
		log_failure(client, failure);
	if (failure || client->dead ||
	    (client->at_end && session_is_idle(client->session))) {
		close_client(client);
		return;
	}
	session_output(client->session, &len);
	set_waiting(client,
		    !client->blocked && (len > 0 || session_has_work(client->session)));
	set_reading(client,
		    !client->at_end && session_space(client->session, &space) > 0);
}

/* Not even an answer can reach it, as opposed to one that will only send no more. */
static bool has_left(const struct client *client)
{
	struct pollfd p = {.fd = client->fd};

	return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP);
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	struct client *client = context;
	uint8_t *space;
	size_t room = session_space(client->session, &space);
	ssize_t n;

	(void)what;
	if (room == 0)
		return;
	n = recv(fd, space, room, MSG_DONTWAIT);
	if (n > 0) {
		client->has_asked = true;
		session_received(client->session, (size_t)n);
		session_run(client->session);
	} else if (n == 0) {
		client->at_end = true;
		client->dead = !client->clients->domain->serving && has_left(client);
	} else if (errno != EAGAIN && errno != EINTR) {
		client->dead = true;
	}
	touch(client);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
	struct client *client = context;

	(void)fd, (void)what;
	client->blocked = false;
	touch(client);
}

bool clients_turn(struct clients *c)
{
	struct client *client;
	struct session *s;

	while ((s = session_next_active(c->domain)))
		touch(session_owner(s));
	while ((client = TAILQ_FIRST(&c->touched))) {
		untouch(client);
		settle(client);
	}
	return !TAILQ_EMPTY(&c->waiting);
}

void clients_resume(struct clients *c)
{
	struct client_list now;
	struct client *client;
	size_t busy = 0;

	TAILQ_INIT(&now);
	TAILQ_CONCAT(&now, &c->waiting, waiting);
	TAILQ_FOREACH (client, &now, waiting)
		busy++;
	c->domain->busy = busy;
	while ((client = TAILQ_FIRST(&now))) {
		TAILQ_REMOVE(&now, client, waiting);
		client->is_waiting = false;
		session_run(client->session);
		touch(client);
	}
}

bool clients_expect_requests(const struct clients *c)
{
	const struct client *client;

	TAILQ_FOREACH (client, &c->all, all)
		if (!client->has_asked)
			return true;
	return false;
}

void clients_serve(struct clients *c)
{
	struct client *client;

	TAILQ_FOREACH (client, &c->all, all) {
		session_run(client->session);
		touch(client);
	}
}

void clients_add_status(struct status *st, const char *section, const void *owner)
{
	const struct client *client = owner;

	status_add(st, section, "pid", "%ld", (long)client->peer.pid);
	status_add(st, section, "uid", "%lu", (unsigned long)client->peer.uid);
	status_add(st, section, "since", "%lld", (long long)client->since);
}

void clients_trace(const void *owner, const struct message *m, enum qdb_msg answer,
		   size_t answer_len)
{
	const struct client *client = owner;

	trace_request(&client->peer, m, answer, answer_len);
}

/* Counts the user, too. */
static int identify(struct client *client, int fd)
{
	socklen_t len = sizeof(client->peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &client->peer, &len) < 0)
		return -errno;
	return users_join(&client->clients->users, &client->peer, &client->user);
}

int clients_add(struct clients *c, enum session_access access, int fd)
{
	struct client *client = calloc(1, sizeof(*client));
	int r = -ENOMEM;

	if (client) {
		client->clients = c;
		r = identify(client, fd);
	}
	if (r == 0)
		r = session_new(&client->session, c->domain, access, client);
	if (r < 0) {
		users_leave(client ? client->user : NULL);
		free(client);
		return r;
	}
	if (client->user)
		session_share(client->session, &client->user->watches,
			      &client->user->output);
	else
		session_trust(client->session);
	client->fd = fd;
	client->since = time(NULL);
	TAILQ_INSERT_TAIL(&c->all, client, all);
	event_assign(&client->readable, c->base, fd, EV_READ | EV_PERSIST, on_readable,
		     client);
	event_assign(&client->writable, c->base, fd, EV_WRITE, on_writable, client);
	set_reading(client, true);
	return 0;
}

bool clients_are_full(const struct clients *c)
{
	return account_room(&c->domain->connections) == 0 ||
	       account_room(&c->users.connections) == 0;
}

bool clients_are_leaving(const struct clients *c)
{
	const size_t most = c->domain->connections.used;
	struct pollfd *fds = calloc(most, sizeof(*fds));
	const struct client *client;
	bool any = false;
	size_t n = 0;

	if (!fds)
		return false;
	TAILQ_FOREACH (client, &c->all, all)
		if (n < most && (client->reading || client->blocked))
			fds[n++].fd = client->fd;
	if (poll(fds, n, 0) > 0)
		for (size_t i = 0; i < n; i++)
			any |= fds[i].revents & (POLLHUP | POLLERR);
	free(fds);
	return any;
}

void clients_init(struct clients *c, struct event_base *base, struct domain *d)
{
	memset(c, 0, sizeof(*c));
	c->base = base;
	c->domain = d;
	TAILQ_INIT(&c->all);
	TAILQ_INIT(&c->touched);
	TAILQ_INIT(&c->waiting);
	users_init(&c->users, &d->connections, &d->watches.account);
	for (int i = 0; i < 2; i++)
		c->listeners[i].fd = -1;
}

void clients_listen(struct clients *c, enum session_access access, int fd)
{
	listener_open(&c->listeners[access], c->base, c, access, fd);
}

void clients_close(struct clients *c)
{
	struct client *client;

	for (int i = 0; i < 2; i++)
		listener_close(&c->listeners[i]);
	while ((client = TAILQ_FIRST(&c->all)))
		close_client(client);
}
