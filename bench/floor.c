/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The floor: what framing, sockets and wake-ups cost before any work is done.
 *
 * It answers each request with one and the same header and forgets it. Level-triggered
 * epoll, one thread, one read() and one send() per readable connection; nothing is looked
 * up, copied, checked or queued. A client that does not take its answers is dropped.
 *
 * No daemon that keeps these round trips can be faster, so the distance to the floor is
 * what the daemon itself costs, on whatever machine and under whatever load both ran.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol/message.h"

#define READ_SIZE 32768
#define EVENTS 64

struct client {
	int fd;
	uint32_t skip; /* data still to come of a request whose header has been seen */
	size_t len;    /* bytes of a header that has come only in part */
	uint8_t partial[MESSAGE_HEADER_SIZE];
};

static uint8_t input[MESSAGE_HEADER_SIZE + READ_SIZE];
static uint8_t answers[MESSAGE_HEADER_SIZE + READ_SIZE];

static uint32_t announced(const uint8_t *header)
{
	uint32_t len;

	memcpy(&len, header + offsetof(struct qdb_hdr, data_len), sizeof(len));
	return len;
}

/* How many requests end within these bytes. */
static size_t count_requests(struct client *c, const uint8_t *at, size_t len)
{
	size_t requests = 0;

	for (;;) {
		if (c->skip > len) {
			c->skip -= (uint32_t)len;
			return requests;
		}
		if (c->skip > 0) {
			at += c->skip;
			len -= c->skip;
			c->skip = 0;
			requests++;
		}
		if (len < MESSAGE_HEADER_SIZE)
			break;
		c->skip = announced(at);
		at += MESSAGE_HEADER_SIZE;
		len -= MESSAGE_HEADER_SIZE;
		requests += c->skip == 0;
	}
	memcpy(c->partial, at, len);
	c->len = len;
	return requests;
}

/* Returns whether the client stays. */
static bool serve(struct client *c)
{
	size_t before = c->len, size;
	ssize_t n;

	n = read(c->fd, input + before, READ_SIZE);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	memcpy(input, c->partial, before);
	c->len = 0;
	size = MESSAGE_HEADER_SIZE * count_requests(c, input, before + (size_t)n);
	return size == 0 || send(c->fd, answers, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static int add(int epoll, int fd, struct client *c)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void accept_client(int epoll, int listener)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return;
	c->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (c->fd >= 0 && add(epoll, c->fd, c) == 0)
		return;
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

static int loop(int epoll, int listener)
{
	struct epoll_event events[EVENTS];
	int i, n;

	for (;;) {
		n = epoll_wait(epoll, events, EVENTS, -1);
		if (n < 0 && errno != EINTR)
			return -errno;
		for (i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;

			if (!c) {
				accept_client(epoll, listener);
			} else if (!serve(c)) {
				close(c->fd);
				free(c);
			}
		}
	}
}

static int listen_at(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 64) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

int main(int argc, char **argv)
{
	int listener, epoll, r;
	size_t i;

	if (argc != 2) {
		fprintf(stderr, "usage: floor SOCKET\n");
		return 1;
	}
	for (i = 0; i + MESSAGE_HEADER_SIZE <= sizeof(answers); i += MESSAGE_HEADER_SIZE)
		message_encode(answers + i, QDB_RESP_OK, "", 0, NULL, 0);
	listener = listen_at(argv[1]);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (listener < 0 || epoll < 0 || add(epoll, listener, NULL) < 0) {
		fprintf(stderr, "floor: cannot listen at %s\n", argv[1]);
		return 1;
	}
	puts("ready");
	fflush(stdout);
	r = loop(epoll, listener);
	fprintf(stderr, "floor: %s\n", strerror(-r));
	return 1;
}
