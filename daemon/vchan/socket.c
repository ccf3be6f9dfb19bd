/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The vchan of machines without a hypervisor: a unix socket, named after both domains and
 * the port. For development, tests and containers; whoever can open the socket is the
 * other domain.
 *
 * The server keeps one listener for its whole life and serves one client at a time; the
 * next waits in the listener's backlog. The client tries again, ever more slowly, until
 * there is a server.
 */
#include <ctype.h>
#include <errno.h>
#include <event2/event_struct.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/installed.h"
#include "daemon/log.h"
#include "daemon/sandbox.h"
#include "daemon/vchan/transports.h"

#define DEFAULT_DIRECTORY "/var/run/vchan"

/* A unix socket takes this much whole or not at all. */
#define WRITE_SIZE (32u * 1024u)

#define FIRST_RETRY_MS 10
#define LAST_RETRY_MS 1000

struct socket_vchan {
	struct vchan common;
	struct sockaddr_un address;
	struct installed installed;
	int listener;
	int fd; /* the connection, or -1 */
	unsigned retry_ms;
	int failure; /* the errno of the last attempt to connect, or 0 */
	bool reading;
	struct event accept;
	struct event retry; /* the client's next attempt; the server's end of a delay */
	struct event readable;
	struct event writable;
};

static struct socket_vchan *of(struct vchan *v)
{
	return (struct socket_vchan *)(void *)v;
}

static const char *missing(void)
{
	return NULL;
}

static void schedule(struct socket_vchan *v, unsigned ms)
{
	const struct timeval delay = {.tv_sec = ms / 1000,
				      .tv_usec = (suseconds_t)(ms % 1000) * 1000};

	event_add(&v->retry, &delay);
}

static void on_ready(evutil_socket_t fd, short what, void *context)
{
	struct socket_vchan *v = context;

	(void)fd, (void)what;
	v->common.handlers->ready(v->common.context);
}

static void begin(struct socket_vchan *v, int fd)
{
	event_assign(&v->readable, v->common.base, fd, EV_READ | EV_PERSIST, on_ready, v);
	event_assign(&v->writable, v->common.base, fd, EV_WRITE, on_ready, v);
	if (event_add(&v->readable, NULL) < 0) {
		log_peer_warning(
			"cannot use a connection to %s, and waits for another: %s",
			v->address.sun_path, strerror(errno));
		close(fd);
		schedule(v, LAST_RETRY_MS);
		return;
	}
	v->fd = fd;
	v->reading = true;
	v->retry_ms = FIRST_RETRY_MS;
	v->failure = 0;
	v->common.handlers->connected(v->common.context);
}

static void on_accept(evutil_socket_t listener, short what, void *context)
{
	struct socket_vchan *v = context;
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)what;
	if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
		return;
	event_del(&v->accept);
	if (fd < 0) {
		log_peer_warning(
			"cannot accept the VM's connection to %s, and tries again: "
			"%s",
			v->address.sun_path, strerror(errno));
		schedule(v, LAST_RETRY_MS);
		return;
	}
	begin(v, fd);
}

static void retry_later(struct socket_vchan *v)
{
	schedule(v, v->retry_ms);
	v->retry_ms *= 2;
	if (v->retry_ms > LAST_RETRY_MS)
		v->retry_ms = LAST_RETRY_MS;
}

static void try_to_connect(struct socket_vchan *v)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error;

	if (fd >= 0 &&
	    connect(fd, (struct sockaddr *)&v->address, sizeof(v->address)) == 0) {
		begin(v, fd);
		return;
	}
	error = errno;
	if (error != v->failure && error != ENOENT && error != ECONNREFUSED &&
	    error != EAGAIN)
		log_peer_warning("cannot connect to %s, and tries again: %s",
				 v->address.sun_path, strerror(error));
	v->failure = error;
	if (fd >= 0)
		close(fd);
	retry_later(v);
}

static void on_retry(evutil_socket_t fd, short what, void *context)
{
	struct socket_vchan *v = context;

	(void)fd, (void)what;
	if (v->common.address.end == VCHAN_CLIENT)
		try_to_connect(v);
	else if (event_add(&v->accept, NULL) < 0)
		schedule(v, LAST_RETRY_MS);
}

/* VCHAN_DOMAIN tells a stand-in domain its own id; dom0's is the default. */
static int own_domid(void)
{
	const char *s = getenv("VCHAN_DOMAIN");
	char *end;
	long n;

	if (!s || !*s)
		return 0;
	n = strtol(s, &end, 10);
	if (isdigit((unsigned char)*s) && *end == '\0' && n < VCHAN_DOMIDS)
		return (int)n;
	log_error("VCHAN_DOMAIN is not a domain id, 0 to %d: %s", VCHAN_DOMIDS - 1, s);
	return -EINVAL;
}

/* VCHAN_SOCKET_DIR; absolute, for the daemon does not stay where it was started. */
static int find_directory(char *path, size_t size)
{
	const char *directory = getenv("VCHAN_SOCKET_DIR");
	char here[PATH_MAX] = "";
	int n;

	if (!directory || !*directory)
		directory = DEFAULT_DIRECTORY;
	if (*directory != '/' && !getcwd(here, sizeof(here)))
		return -errno;
	n = snprintf(path, size, "%s%s%s", here, *here ? "/" : "", directory);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* The server makes its socket at the start and removes it at the end. */
static void confine(struct sandbox *s, const struct vchan_address *address)
{
	char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];

	if (address->end == VCHAN_CLIENT)
		sandbox_allow_calls(s, sandbox_connecting);
	else if (find_directory(directory, sizeof(directory)) == 0 &&
		 installed_directory(directory) == 0)
		sandbox_allow_files(s, directory);
}

static int set_address(struct socket_vchan *v)
{
	const struct vchan_address *a = &v->common.address;
	const bool server = a->end == VCHAN_SERVER;
	const int own = own_domid();
	char directory[sizeof(v->address.sun_path)] = "";
	int n, r;

	if (own < 0)
		return own;
	v->address.sun_family = AF_UNIX;
	r = find_directory(directory, sizeof(directory));
	if (r == 0) {
		n = snprintf(v->address.sun_path, sizeof(v->address.sun_path),
			     "%s/vchan.%d.%d.%d.sock", directory,
			     server ? own : a->remote_domid,
			     server ? a->remote_domid : own, a->port);
		if (n < 0 || (size_t)n >= sizeof(v->address.sun_path))
			r = -ENAMETOOLONG;
	}
	if (r == 0 && server)
		r = installed_directory(directory);
	if (r < 0)
		log_error(
			"cannot use the vchan directory %s: %s; VCHAN_SOCKET_DIR chooses "
			"another",
			directory, strerror(-r));
	return r;
}

static int begin_to_listen(struct socket_vchan *v)
{
	const char *path = v->address.sun_path;
	int r;

	v->listener = r = installed_listen(&v->installed, path, -1, 1);
	if (r >= 0)
		r = installed_appear(&v->installed);
	if (r < 0) {
		log_error("cannot listen on %s: %s; VCHAN_SOCKET_DIR chooses another "
			  "directory",
			  path, strerror(-r));
		installed_remove(&v->installed);
		if (v->listener >= 0)
			close(v->listener);
		return r;
	}
	event_assign(&v->accept, v->common.base, v->listener, EV_READ | EV_PERSIST,
		     on_accept, v);
	if (event_add(&v->accept, NULL) < 0)
		schedule(v, LAST_RETRY_MS);
	return 0;
}

static int open_socket(struct vchan **ret, const struct vchan *common)
{
	struct socket_vchan *v = calloc(1, sizeof(*v));
	int r;

	if (!v) {
		log_error("no memory for a vchan");
		return -ENOMEM;
	}
	v->common = *common;
	v->installed = (struct installed)INSTALLED_NONE;
	v->listener = v->fd = -1;
	v->retry_ms = FIRST_RETRY_MS;
	evtimer_assign(&v->retry, v->common.base, on_retry, v);
	r = set_address(v);
	if (r == 0 && common->address.end == VCHAN_SERVER)
		r = begin_to_listen(v);
	else if (r == 0)
		schedule(v, 0);
	if (r < 0) {
		free(v);
		return r;
	}
	*ret = &v->common;
	return 0;
}

static ssize_t read_socket(struct vchan *v, void *buf, size_t len)
{
	ssize_t n;

	if (of(v)->fd < 0)
		return -EAGAIN;
	n = recv(of(v)->fd, buf, len, MSG_DONTWAIT);
	if (n > 0)
		return n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	return -EPIPE;
}

static void listen_to_socket(struct vchan *v, bool wanted)
{
	struct socket_vchan *s = of(v);

	if (s->fd < 0 || s->reading == wanted)
		return;
	if (!wanted)
		event_del(&s->readable);
	else if (event_add(&s->readable, NULL) < 0)
		return;
	s->reading = wanted;
}

static size_t room_in_socket(struct vchan *v)
{
	return of(v)->fd < 0 ? 0 : WRITE_SIZE;
}

static ssize_t write_socket(struct vchan *v, const void *buf, size_t len)
{
	ssize_t n = send(of(v)->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n >= 0)
		return n;
	if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
		return -EPIPE;
	return event_add(&of(v)->writable, NULL) < 0 ? -EPIPE : -EAGAIN;
}

static size_t untaken_in_socket(struct vchan *v)
{
	int n;

	return of(v)->fd >= 0 && ioctl(of(v)->fd, TIOCOUTQ, &n) == 0 ? (size_t)n : 0;
}

static void end_connection(struct socket_vchan *v)
{
	if (v->fd < 0)
		return;
	event_del(&v->readable);
	event_del(&v->writable);
	close(v->fd);
	v->fd = -1;
}

static void restart_socket(struct vchan *v, unsigned delay_ms)
{
	end_connection(of(v));
	if (v->address.end == VCHAN_SERVER)
		event_del(&of(v)->accept);
	schedule(of(v), delay_ms);
}

/* A legacy VM that sees its connection end and finds another place to ask hangs there. */
static void close_socket(struct vchan *v)
{
	struct socket_vchan *s = of(v);

	installed_remove(&s->installed);
	event_del(&s->retry);
	if (s->listener >= 0) {
		event_del(&s->accept);
		close(s->listener);
	}
	end_connection(s);
	free(s);
}

const struct vchan_transport vchan_socket_transport = {
	.name = "socket",
	.missing = missing,
	.confine = confine,
	.open = open_socket,
	.read = read_socket,
	.listen_to = listen_to_socket,
	.room = room_in_socket,
	.write = write_socket,
	.untaken = untaken_in_socket,
	.restart = restart_socket,
	.close = close_socket,
};
