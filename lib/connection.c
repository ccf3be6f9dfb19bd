/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Programs poll the connection's descriptor and take one event at each wake-up, so what
 * has not been asked for has to stay in the socket: a message is received as its 72 bytes
 * of header, then as many bytes as that announces, and nothing is read ahead.
 *
 * The descriptor is a blocking one, but a program's event loop may change that. It costs
 * a poll() where there is nothing to do but wait.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/handle.h"

#define DEFAULT_RUNTIME_DIR "/var/run/qubes"

static const char *runtime_dir(void)
{
	const char *dir = secure_getenv("QUBESDB_RUNTIME_DIR");

	return dir != NULL && dir[0] != '\0' ? dir : DEFAULT_RUNTIME_DIR;
}

static int set_address(struct sockaddr_un *address, const char *vmname,
		       const char *suffix)
{
	int len = snprintf(address->sun_path, sizeof(address->sun_path),
			   "%s/qubesdb%s%s%s", runtime_dir(), vmname != NULL ? "." : "",
			   vmname != NULL ? vmname : "", suffix);

	address->sun_family = AF_UNIX;
	return len < 0 || (size_t)len >= sizeof(address->sun_path) ? -ENAMETOOLONG : 0;
}

static int set_addresses(struct qdb_handle *h, const char *vmname)
{
	int result;

	if (vmname != NULL && strchr(vmname, '/') != NULL)
		return -EINVAL;
	result = set_address(&h->read_write, vmname, ".sock");
	return result < 0 ? result : set_address(&h->read_only, vmname, ".ro.sock");
}

static int connect_to(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int result;

	if (fd < 0)
		return -errno;
	do {
		result = connect(fd, (const struct sockaddr *)address, sizeof(*address));
	} while (result < 0 && errno == EINTR);
	if (result == 0)
		return fd;
	result = -errno;
	close(fd);
	return result;
}

int connection_open(struct qdb_handle *h)
{
	int fd = connect_to(&h->read_write);

	if (fd < 0)
		fd = connect_to(&h->read_only);
	if (fd < 0)
		return fd;
	h->fd = fd;
	return 0;
}

void connection_close(struct qdb_handle *h)
{
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
	h->lost = false;
}

static int socket_error(void)
{
	return errno == ECONNRESET ? -EPIPE : -errno;
}

/* Whether errno says only that there is nothing yet, and there is now. */
static bool is_ready_now(int fd, short events)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};

	return errno == EAGAIN && poll(&poll_fd, 1, -1) >= 0;
}

static ssize_t send_some(int fd, const void *bytes, size_t len)
{
	ssize_t n;

	do {
		n = send(fd, bytes, len, MSG_NOSIGNAL);
	} while (n < 0 && is_ready_now(fd, POLLOUT));
	return n;
}

static ssize_t receive_some(int fd, void *buf, size_t len)
{
	ssize_t n;

	do {
		n = recv(fd, buf, len, 0);
	} while (n < 0 && is_ready_now(fd, POLLIN));
	return n;
}

int connection_send(struct qdb_handle *h, const uint8_t *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = send_some(h->fd, bytes, len);

		if (n >= 0) {
			bytes += n;
			len -= (size_t)n;
		} else if (errno != EINTR) {
			return socket_error();
		}
	}
	return 0;
}

static int read_exactly(int fd, void *buf, size_t len, bool interruptible)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = receive_some(fd, (char *)buf + got, len - got);

		if (n > 0)
			got += (size_t)n;
		else if (n == 0)
			return -EPIPE;
		else if (errno != EINTR)
			return socket_error();
		else if (interruptible && got == 0)
			return -EINTR;
	}
	return 0;
}

int connection_receive(struct qdb_handle *h, struct reply *reply, bool interruptible)
{
	struct message *m = &reply->message;
	int result;

	result = read_exactly(h->fd, reply->header, sizeof(reply->header), interruptible);
	if (result < 0)
		return result;
	if (message_parse_header(m, MESSAGE_FROM_DAEMON, reply->header) !=
		    MESSAGE_READY ||
	    m->fault != MESSAGE_FINE)
		return -EPROTO;
	result = read_exactly(h->fd, reply->data, m->data_len, false);
	if (result < 0)
		return result;
	message_parse_data(m, reply->data);
	return m->fault == MESSAGE_FINE ? 0 : -EPROTO;
}

qdb_handle_t qdb_open(char *vmname)
{
	struct qdb_handle *h = calloc(1, sizeof(*h));
	int result;

	if (h == NULL)
		return NULL;
	h->fd = -1;
	TAILQ_INIT(&h->watches);
	events_init(&h->events);
	result = set_addresses(h, vmname);
	if (result == 0)
		result = connection_open(h);
	if (result == 0)
		return h;
	free(h);
	set_errno(result);
	return NULL;
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
