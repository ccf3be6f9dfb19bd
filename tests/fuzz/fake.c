/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fake.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct fake fake = {.fd = -1};

int __real_socket(int domain, int type, int protocol);
int __real_connect(int fd, const struct sockaddr *address, socklen_t len);
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __real_dup3(int fd, int to, int flags);
int __real_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
ssize_t __real_send(int fd, const void *bytes, size_t len, int flags);
ssize_t __real_recv(int fd, void *buf, size_t len, int flags);
int __real_poll(struct pollfd *fds, nfds_t n, int timeout);
int __real_close(int fd);
int __wrap_socket(int domain, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __wrap_dup3(int fd, int to, int flags);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout);
int __wrap_close(int fd);

/* ---- what the daemon says ---- */

static void say_bytes(const void *bytes, size_t len)
{
	if (FAKE_ANSWER_SIZE - fake.len < len)
		return;
	memcpy(fake.answer + fake.len, bytes, len);
	fake.len += len;
}

static void say(unsigned type, const char *path, const char *data)
{
	uint8_t header[HEADER_SIZE];
	const uint32_t len = (uint32_t)strlen(data);

	memset(header, 0xa5, sizeof(header));
	header[0] = (uint8_t)type;
	memcpy(header + 1, path, strlen(path) + 1);
	memcpy(header + 68, &len, sizeof(len));
	say_bytes(header, sizeof(header));
	say_bytes(data, len);
}

static void say_list(const struct wire_message *m, unsigned type, const char *value)
{
	const unsigned n = script_byte(&fake.script);
	const char *prefix = m->path + (type == QDB_RESP_STATUS);
	char path[QDB_MAX_PATH + 2] = "/a";
	size_t len = strlen(prefix);

	if (len > 0 && len < QDB_MAX_PATH - 2)
		memcpy(path, prefix, len);
	else
		len = 2;
	for (unsigned i = 0; i < n; i++) {
		path[len] = (char)('a' + i % 16);
		path[len + 1] = (char)('a' + i / 16);
		say(type, path, value);
	}
	say(type, "", "");
}

static void answer_honestly(const struct wire_message *m)
{
	switch (m->type) {
	case QDB_CMD_READ:
		say(QDB_RESP_READ, m->path, "value");
		break;
	case QDB_CMD_LIST:
		say_list(m, QDB_RESP_LIST, "");
		break;
	case QDB_CMD_MULTIREAD:
		say_list(m, QDB_RESP_MULTIREAD, "value");
		break;
	case QDB_CMD_STATUS:
		say_list(m, QDB_RESP_STATUS, "text");
		break;
	default:
		say(QDB_RESP_OK, m->path, "");
	}
}

static void say_events(unsigned n)
{
	char path[] = "/event/aaa";

	for (unsigned i = 0; i < n; i++) {
		path[7] = (char)('a' + i % 16);
		path[8] = (char)('a' + i / 16 % 16);
		path[9] = (char)('a' + i / 256 % 16);
		say(QDB_RESP_WATCH, path, "");
	}
}

static void say_anything(void)
{
	uint8_t message[REQUEST_SIZE];

	say_bytes(message, script_message(&fake.script, message));
}

static void on_request(void *context, const struct wire_message *m)
{
	uint8_t bytes[256];

	(void)context;
	fuzz_require(!m->dirty);
	fuzz_require(m->type != QDB_CMD_STATUS || m->path[0] == '@');
	if (m->type == QDB_CMD_WRITE_MANY) {
		fuzz_require(m->path_len == 0 && m->data_len <= QDB_MAX_MANY);
	} else {
		fuzz_require(m->type <= QDB_CMD_UNWATCH || m->type == QDB_CMD_STATUS ||
			     m->type == QDB_CMD_TRACE);
		fuzz_require(m->data_len == 0 || m->type == QDB_CMD_WRITE);
		fuzz_require(m->data_len <= QDB_MAX_DATA);
	}
	switch (script_byte(&fake.script) & 0xf) {
	case 1:
		say_events(script_byte(&fake.script));
		break;
	case 2:
		say_anything();
		return;
	case 3:
		say_anything();
		break;
	case 4:
		say_bytes(bytes,
			  script_bytes(&fake.script, bytes, script_byte(&fake.script)));
		return;
	case 5:
		return;
	case 6:
		say(QDB_RESP_ERROR, m->path, "");
		return;
	case 7:
		say(QDB_RESP_ERROR_NOENT, m->path, "");
		return;
	case 8:
		say_events(1300);
		break;
	}
	answer_honestly(m);
}

/* ---- the system calls ---- */

/* Whether the script lets this call fail. */
static bool fails(const int *errors, unsigned n)
{
	const unsigned b = script_byte(&fake.script);

	if (b % 16 == 0 || b % 16 > n)
		return false;
	errno = errors[b % 16 - 1];
	fake.interrupted |= errno == EINTR;
	return true;
}

static bool is_fake(int fd)
{
	return fd >= FAKE_FIRST && fd < FAKE_FIRST + FAKE_SOCKETS &&
	       fake.is_open[fd - FAKE_FIRST];
}

int __wrap_socket(int domain, int type, int protocol)
{
	static const int errors[] = {EMFILE, ENFILE, ENOMEM};
	unsigned i = script_byte(&fake.script) % 2;

	if (!fake.calling)
		return __real_socket(domain, type, protocol);
	fuzz_require(domain == AF_UNIX && type & SOCK_CLOEXEC);
	if (fails(errors, 3))
		return -1;
	while (fake.is_open[i])
		i++;
	fuzz_require(i < FAKE_SOCKETS);
	fake.is_open[i] = true;
	return FAKE_FIRST + (int)i;
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len)
{
	static const int errors[] = {ENOENT, ECONNREFUSED, EINTR, EACCES, EAGAIN};

	if (!fake.calling)
		return __real_connect(fd, address, len);
	fuzz_require(is_fake(fd));
	if (fails(errors, 5)) {
		fake.timed_out |= errno == EAGAIN;
		return -1;
	}
	fake.fd = fd;
	fake.at_end = false;
	fake.start = fake.len = 0;
	memset(&fake.asked, 0, sizeof(fake.asked));
	memset(&fake.read, 0, sizeof(fake.read));
	return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	return is_fake(fd) ? 0 : __real_setsockopt(fd, level, name, value, len);
}

int __wrap_dup3(int fd, int to, int flags)
{
	static const int errors[] = {EBUSY};

	if (!is_fake(fd))
		return __real_dup3(fd, to, flags);
	fuzz_require(is_fake(to) && fd != to);
	if (fails(errors, 1))
		return -1;
	fake.fd = to;
	return to;
}

int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	static const int errors[] = {ENOMEM, ENOSPC};

	if (!is_fake(fd))
		return __real_epoll_ctl(epoll, operation, fd, event);
	return operation == EPOLL_CTL_ADD && fails(errors, 2) ? -1 : 0;
}

ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags)
{
	static const int errors[] = {EINTR, EAGAIN, EPIPE, ECONNRESET};

	if (!fake.calling)
		return __real_send(fd, bytes, len, flags);
	fuzz_require(is_fake(fd) && fd == fake.fd && len > 0 && flags & MSG_NOSIGNAL);
	if (fails(errors, 4))
		return -1;
	if (script_byte(&fake.script) & 1)
		len = 1 + script_byte(&fake.script) % len;
	framing_feed(&fake.asked, bytes, len, on_request, NULL);
	return (ssize_t)len;
}

static void ignore(void *context, const struct wire_message *m)
{
	(void)context, (void)m;
}

/* Never more than the message that is being read: the next one stays in the socket. */
static void check_not_ahead(size_t len)
{
	if (fake.reads_ahead)
		return;
	if (fake.read.have < HEADER_SIZE)
		fuzz_require(len <= HEADER_SIZE - fake.read.have);
	else
		fuzz_require(len <= fake.read.left);
}

ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags)
{
	static const int errors[] = {EINTR, EAGAIN, ECONNRESET};

	if (!fake.calling)
		return __real_recv(fd, buf, len, flags);
	fuzz_require(is_fake(fd) && len > 0);
	if (fd != fake.fd) /* of a connection that there is another for */
		return 0;
	check_not_ahead(len);
	if (fails(errors, 3))
		return -1;
	if (len > fake.len - fake.start)
		len = fake.len - fake.start;
	if (len == 0 || fake.at_end) {
		fake.at_end = true;
		return 0;
	}
	if (script_byte(&fake.script) & 1)
		len = 1 + script_byte(&fake.script) % len;
	memcpy(buf, fake.answer + fake.start, len);
	framing_feed(&fake.read, buf, len, ignore, NULL);
	fake.start += len;
	if (fake.start == fake.len)
		fake.start = fake.len = 0;
	return (ssize_t)len;
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	static const int errors[] = {EINTR};

	if (!fake.calling)
		return __real_poll(fds, n, timeout);
	fuzz_require(n == 1 && fds->fd == fake.fd && timeout >= -1);
	if (fails(errors, 1))
		return -1;
	fds->revents = fds->events;
	if (fake.start == fake.len && !fake.at_end && fds->events & POLLOUT)
		fds->revents = POLLOUT;
	if (timeout < 0 || !(script_byte(&fake.script) & 1))
		return 1;
	fake.timed_out = true;
	return 0;
}

int __wrap_close(int fd)
{
	if (fd < FAKE_FIRST || !fake.calling)
		return __real_close(fd);
	fuzz_require(is_fake(fd));
	fake.is_open[fd - FAKE_FIRST] = false;
	if (fake.fd == fd)
		fake.fd = -1;
	return 0;
}

/* ---- a run ---- */

void fake_surprise(void)
{
	if (fake.fd < 0)
		return;
	if (script_byte(&fake.script) & 1)
		say_events(script_byte(&fake.script));
	else
		say_anything();
}

void fake_begin(const uint8_t *data, size_t size)
{
	fake.script = (struct script){data, data + size};
	fake.at_end = false;
}

void fake_end(void)
{
	fuzz_require(fake.fd < 0);
	for (int i = 0; i < FAKE_SOCKETS; i++)
		fuzz_require(!fake.is_open[i]);
}
