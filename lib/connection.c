/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Programs poll the connection's descriptor and take one event at each wake-up, so what
 * has not been asked for has to stay in the socket: a message is received as its 72 bytes
 * of header, then as many bytes as that announces, and nothing is read ahead.
 *
 * The descriptor is a blocking one, but a program's event loop may change that. To wait
 * for an event takes a recv(), and SA_RESTART means something to it, unless the
 * descriptor does not wait by itself. All other waits take a poll(): either they have an
 * end, or it is an answer that comes. A recv() would be woken up, for nothing, when the
 * daemon takes the request from the socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/handle.h"

#define DEFAULT_RUNTIME_DIR "/var/run/qubes"

static const char *runtime_dir(void)
{
	const char *dir = secure_getenv("QUBESDB_RUNTIME_DIR");

	return dir != NULL && dir[0] != '\0' ? dir : DEFAULT_RUNTIME_DIR;
}

/* Length of the path, whether or not it fits. */
static int format_path(char *path, size_t size, const char *vmname, bool read_only)
{
	return snprintf(path, size, "%s/qubesdb%s%s%s", runtime_dir(),
			vmname != NULL ? "." : "", vmname != NULL ? vmname : "",
			read_only ? ".ro.sock" : ".sock");
}

static bool is_name(const char *vmname)
{
	return vmname == NULL || strchr(vmname, '/') == NULL;
}

/* The address of a path that does not fit is empty. */
static int set_address(struct sockaddr_un *address, const char *vmname, bool read_only)
{
	int len = format_path(address->sun_path, sizeof(address->sun_path), vmname,
			      read_only);

	address->sun_family = AF_UNIX;
	if (len >= 0 && (size_t)len < sizeof(address->sun_path))
		return 0;
	address->sun_path[0] = '\0';
	return -ENAMETOOLONG;
}

int connection_set_addresses(struct endpoint *e, const char *vmname)
{
	if (!is_name(vmname))
		return -EINVAL;
	set_address(&e->read_only, vmname, true);
	return set_address(&e->read_write, vmname, false);
}

int64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int ms_until(int64_t limit)
{
	int64_t now = clock_ms();

	if (limit <= now)
		return 0;
	return limit - now < INT_MAX ? (int)(limit - now) : INT_MAX;
}

/* A daemon with a full backlog keeps connect() waiting. */
static void limit_connect(int fd, int64_t deadline)
{
	struct timeval limit = {.tv_usec = 1};
	int ms;

	if (deadline == 0 || deadline == DEADLINE_NOW)
		return;
	ms = ms_until(deadline);
	if (ms > 0)
		limit = (struct timeval){.tv_sec = ms / 1000,
					 .tv_usec = ms % 1000 * 1000};
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static int connect_once(const struct sockaddr_un *address, int64_t deadline)
{
	const int flags = deadline == DEADLINE_NOW ? SOCK_NONBLOCK : 0;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	int result;

	if (fd < 0)
		return -errno;
	limit_connect(fd, deadline);
	result = connect(fd, (const struct sockaddr *)address, sizeof(*address));
	if (result == 0)
		return fd;
	result = errno == EAGAIN ? -ETIMEDOUT : -errno;
	close(fd);
	return result;
}

/*
 * A daemon that has been replaced may close its socket between the look at the name and
 * the connection. Then the next look finds the new one.
 */
static int connect_to(const struct sockaddr_un *address, int64_t deadline)
{
	int fd = address->sun_path[0] != '\0' ? -ECONNREFUSED : -ENAMETOOLONG;

	for (int i = 0; i < CONNECTIONS_PER_CALL && fd == -ECONNREFUSED; i++)
		fd = connect_once(address, deadline);
	return fd;
}

static int take_number(int old, int fd)
{
	int result = dup3(fd, old, O_CLOEXEC) < 0 ? -errno : old;

	close(fd);
	return result;
}

int connection_to(const struct endpoint *e, int64_t deadline, bool *is_read_only)
{
	int fd = connect_to(&e->read_write, deadline);

	*is_read_only = fd < 0 && fd != -ETIMEDOUT && fd != -EINTR;
	return *is_read_only ? connect_to(&e->read_only, deadline) : fd;
}

int connection_to_read_write(const struct endpoint *e, int64_t deadline)
{
	int fd;

	do {
		fd = connect_to(&e->read_write, deadline);
	} while (fd == -EINTR);
	return fd;
}

void connection_take(struct qdb_handle *h, int fd, bool is_read_only)
{
	h->fd = fd;
	h->is_read_only = is_read_only;
	h->could_write |= !is_read_only;
	h->is_shared = h->is_shared && h->lost;
	h->lost = false;
}

int connection_open(struct qdb_handle *h)
{
	bool is_read_only;
	int fd;

	do {
		fd = connection_to(&h->endpoint, h->deadline, &is_read_only);
	} while (fd == -EINTR && !h->is_for_events);
	if (fd >= 0 && h->lost)
		fd = take_number(h->fd, fd);
	if (fd < 0)
		return fd;
	connection_take(h, fd, is_read_only);
	return 0;
}

void connection_close(struct qdb_handle *h)
{
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
	h->lost = false;
}

/* What stays looks closed to everybody: the daemon, and whoever polls it. */
void connection_fail(struct qdb_handle *h, int result)
{
	if (!h->is_for_events || h->fd < 0 || result == -EINTR) {
		connection_close(h);
		return;
	}
	shutdown(h->fd, SHUT_RDWR);
	h->lost = true;
}

static int socket_error(void)
{
	return errno == ECONNRESET ? -EPIPE : -errno;
}

/* Waits until the descriptor is ready, or `limit` has passed, which is none if it is 0.
 */
static int await(int fd, short events, int64_t limit)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};
	int n = poll(&poll_fd, 1, limit == 0 ? -1 : ms_until(limit));

	if (n < 0)
		return -errno;
	return n == 0 ? -ETIMEDOUT : 0;
}

int connection_send(struct qdb_handle *h, const uint8_t *bytes, size_t len)
{
	const int flags = MSG_NOSIGNAL | (h->deadline != 0 ? MSG_DONTWAIT : 0);
	int result = 0;

	while (len > 0 && (result == 0 || result == -EINTR)) {
		ssize_t n = send(h->fd, bytes, len, flags);

		if (n >= 0) {
			bytes += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			result = await(h->fd, POLLOUT, h->deadline);
		} else if (errno != EINTR) {
			result = socket_error();
		}
	}
	return len == 0 ? 0 : result;
}

int connection_send_some(struct qdb_handle *h, const uint8_t *bytes, size_t len,
			 size_t *sent, bool *readable)
{
	struct pollfd poll_fd = {.fd = h->fd, .events = POLLIN | POLLOUT};
	ssize_t n = send(h->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	int ready;

	*readable = false;
	*sent = n > 0 ? (size_t)n : 0;
	if (n >= 0 || errno == EINTR)
		return 0;
	if (errno != EAGAIN)
		return socket_error();
	ready = poll(&poll_fd, 1, h->deadline != 0 ? ms_until(h->deadline) : -1);
	if (ready == 0)
		return -ETIMEDOUT;
	*readable = ready > 0 && (poll_fd.revents & POLLIN);
	return ready > 0 || errno == EINTR ? 0 : -errno;
}

/* One message on its way in. Times are those of clock_ms(), 0: none. */
struct arrival {
	int fd;
	bool interruptible;
	bool is_begun;
	int64_t deadline; /* of the command */
	int64_t stalled; /* when the rest is given up, known from the first wait for it */
};

static int await_bytes(struct arrival *a)
{
	if (a->is_begun && a->stalled == 0)
		a->stalled = clock_ms() + STALL_MS;
	if (a->is_begun && (a->deadline == 0 || a->stalled < a->deadline))
		return await(a->fd, POLLIN, a->stalled);
	return await(a->fd, POLLIN, a->deadline);
}

/* 0 if it is to be tried again. */
static int receive_some(struct arrival *a, char *buf, size_t len)
{
	const bool may_wait = a->interruptible && !a->is_begun && a->deadline == 0;
	int result = 0;
	ssize_t n;

	if (!a->interruptible && !a->is_begun && a->deadline == 0)
		result = await_bytes(a);
	if (result == 0) {
		n = recv(a->fd, buf, len, may_wait ? 0 : MSG_DONTWAIT);
		if (n > 0)
			return (int)n;
		if (n == 0)
			return -EPIPE;
		result = errno == EAGAIN ? await_bytes(a) : socket_error();
	}
	return result == -EINTR && (a->is_begun || !a->interruptible) ? 0 : result;
}

static int receive_exactly(struct arrival *a, void *buf, size_t len)
{
	size_t got = 0;

	while (got < len) {
		int n = receive_some(a, (char *)buf + got, len - got);

		if (n < 0)
			return n;
		got += (size_t)n;
		a->is_begun |= n > 0;
	}
	return 0;
}

static bool is_interruptible(const struct qdb_handle *h, enum awaited awaited)
{
	return awaited == AWAITED_EVENT ||
	       (awaited == AWAITED_ANSWER && h->is_for_events);
}

static int64_t deadline_for(const struct qdb_handle *h, enum awaited awaited)
{
	if (awaited == AWAITED_EVENT)
		return 0;
	return awaited == AWAITED_NOTHING ? DEADLINE_NOW : h->deadline;
}

int connection_receive(struct qdb_handle *h, struct reply *reply, enum awaited awaited)
{
	struct arrival arrival = {.fd = h->fd,
				  .interruptible = is_interruptible(h, awaited),
				  .is_begun = awaited == AWAITED_REST,
				  .deadline = deadline_for(h, awaited)};
	struct message *m = &reply->message;
	int result;

	result = receive_exactly(&arrival, reply->header, sizeof(reply->header));
	if (result < 0)
		return result;
	if (message_parse_header(m, MESSAGE_FROM_DAEMON, reply->header) !=
		    MESSAGE_READY ||
	    m->fault != MESSAGE_FINE)
		return -EPROTO;
	result = receive_exactly(&arrival, reply->data, m->data_len);
	if (result < 0)
		return result;
	message_parse_data(m, reply->data);
	return m->fault == MESSAGE_FINE ? 0 : -EPROTO;
}

static struct qdb_handle *new_handle(int timeout_ms)
{
	struct qdb_handle *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->fd = -1;
	h->timeout_ms = timeout_ms;
	TAILQ_INIT(&h->watches);
	events_init(&h->events);
	return h;
}

qdb_handle_t qdb_open_timeout(const char *vmname, int milliseconds)
{
	struct qdb_handle *h;
	int result;

	if (milliseconds < 0) {
		errno = EINVAL;
		return NULL;
	}
	h = new_handle(milliseconds);
	if (h == NULL)
		return NULL;
	h->deadline = milliseconds > 0 ? clock_ms() + milliseconds : 0;
	result = connection_set_addresses(&h->endpoint, vmname);
	if (result == 0)
		result = connection_open(h);
	if (result == 0)
		return h;
	free(h);
	set_errno(result);
	return NULL;
}

qdb_handle_t qdb_open(const char *vmname)
{
	return qdb_open_timeout(vmname, 0);
}

void qdb_close(qdb_handle_t h)
{
	struct watch *watch;

	if (h == NULL)
		return;
	connection_close(h);
	events_clear(&h->events);
	while ((watch = TAILQ_FIRST(&h->watches)) != NULL) {
		TAILQ_REMOVE(&h->watches, watch, link);
		free(watch);
	}
	free(h);
}

int qdb_is_read_only(qdb_handle_t h)
{
	if (h != NULL)
		return h->is_read_only;
	errno = EINVAL;
	return -1;
}

const char *qdb_socket_path(qdb_handle_t h)
{
	if (h == NULL) {
		errno = EINVAL;
		return NULL;
	}
	return h->is_read_only ? h->endpoint.read_only.sun_path
			       : h->endpoint.read_write.sun_path;
}

int qdb_find_socket(const char *vmname, int read_only, char *path, unsigned int size)
{
	int len = is_name(vmname) && (path != NULL || size == 0)
			  ? format_path(path, size, vmname, read_only != 0)
			  : -1;

	if (len < 0)
		errno = EINVAL;
	return len;
}
