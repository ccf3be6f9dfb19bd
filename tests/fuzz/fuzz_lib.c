/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's bytes into libqubesdb. The linker puts the functions below in the place of
 * the system calls that the library makes, so that the daemon is the script: it answers
 * honestly unless told otherwise, and system calls fail or are cut short. Every call must
 * end as qubesdb-client.h says, whatever has come.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/qubesdb-client.h"
#include "tests/fuzz/fuzz.h"

#define DESCRIPTORS 1000 /* above any real one */
#define ANSWER_SIZE (256 * 1024)

struct lib_run {
	struct script script;
	qdb_handle_t handle;
	int fd; /* the connection's, or -1 */
	int n_sockets;
	bool at_end; /* the daemon has hung up */
	bool calling;
	bool interrupted;      /* a signal came during this call */
	bool watches_anything; /* the daemon has accepted an ill-formed path */
	bool waited;           /* an EAGAIN has not been followed by poll() */
	struct framing asked;
	struct framing read;
	size_t start;
	size_t len;
	uint8_t answer[ANSWER_SIZE];
};

static struct lib_run run = {.fd = -1};

int __real_socket(int domain, int type, int protocol);
int __real_connect(int fd, const struct sockaddr *address, socklen_t len);
ssize_t __real_send(int fd, const void *bytes, size_t len, int flags);
ssize_t __real_recv(int fd, void *buf, size_t len, int flags);
int __real_poll(struct pollfd *fds, nfds_t n, int timeout);
int __real_close(int fd);
int __wrap_socket(int domain, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len);
ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout);
int __wrap_close(int fd);

/* ---- what the daemon says ---- */

static void say_bytes(const void *bytes, size_t len)
{
	if (ANSWER_SIZE - run.len < len)
		return;
	memcpy(run.answer + run.len, bytes, len);
	run.len += len;
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
	const unsigned n = script_byte(&run.script);
	char path[QDB_MAX_PATH + 2] = "/a";
	size_t len = 2;

	if (m->kind >= WIRE_ENTRY && m->path_len < QDB_MAX_PATH - 2) {
		len = m->path_len;
		memcpy(path, m->path, len);
	}
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

	say_bytes(message, script_message(&run.script, message));
}

static void on_request(void *context, const struct wire_message *m)
{
	uint8_t bytes[256];

	(void)context;
	fuzz_require(!m->dirty && m->type <= QDB_CMD_UNWATCH);
	fuzz_require(m->data_len == 0 || m->type == QDB_CMD_WRITE);
	fuzz_require(m->data_len <= QDB_MAX_DATA);
	switch (script_byte(&run.script) & 0xf) {
	case 1:
		say_events(script_byte(&run.script));
		break;
	case 2:
		say_anything();
		return;
	case 3:
		say_anything();
		break;
	case 4:
		say_bytes(bytes,
			  script_bytes(&run.script, bytes, script_byte(&run.script)));
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

/* Whether the script lets this call fail; only the library's own. */
static bool fails(int *error, const int *errors, unsigned n)
{
	const unsigned b = script_byte(&run.script);

	if (b % 16 == 0 || b % 16 > n)
		return false;
	*error = errors[b % 16 - 1];
	run.interrupted |= *error == EINTR;
	run.waited = *error == EAGAIN;
	errno = *error;
	return true;
}

int __wrap_socket(int domain, int type, int protocol)
{
	static const int errors[] = {EMFILE, ENFILE, ENOMEM};
	int error;

	if (!run.calling)
		return __real_socket(domain, type, protocol);
	fuzz_require(domain == AF_UNIX && type & SOCK_CLOEXEC);
	if (fails(&error, errors, 3))
		return -1;
	run.n_sockets++;
	return DESCRIPTORS + (int)(script_byte(&run.script) & 0xf);
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len)
{
	static const int errors[] = {ENOENT, ECONNREFUSED, EINTR, EACCES, EAGAIN};
	int error;

	if (!run.calling)
		return __real_connect(fd, address, len);
	if (fails(&error, errors, 5))
		return -1;
	fuzz_require(run.fd < 0);
	run.fd = fd;
	run.at_end = false;
	run.start = run.len = 0;
	memset(&run.asked, 0, sizeof(run.asked));
	memset(&run.read, 0, sizeof(run.read));
	return 0;
}

ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags)
{
	static const int errors[] = {EINTR, EAGAIN, EPIPE, ECONNRESET};
	int error;

	if (!run.calling)
		return __real_send(fd, bytes, len, flags);
	fuzz_require(fd == run.fd && len > 0 && flags & MSG_NOSIGNAL);
	if (fails(&error, errors, 4))
		return -1;
	if (script_byte(&run.script) & 1)
		len = 1 + script_byte(&run.script) % len;
	framing_feed(&run.asked, bytes, len, on_request, NULL);
	return (ssize_t)len;
}

static void ignore(void *context, const struct wire_message *m)
{
	(void)context, (void)m;
}

/* Never more than the message that is being read: the next one stays in the socket. */
static void check_not_ahead(size_t len)
{
	if (run.read.have < HEADER_SIZE)
		fuzz_require(len <= HEADER_SIZE - run.read.have);
	else
		fuzz_require(len <= run.read.left);
}

ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags)
{
	static const int errors[] = {EINTR, EAGAIN, ECONNRESET};
	int error;

	if (!run.calling)
		return __real_recv(fd, buf, len, flags);
	fuzz_require(fd == run.fd && len > 0);
	check_not_ahead(len);
	if (fails(&error, errors, 3))
		return -1;
	if (len > run.len - run.start)
		len = run.len - run.start;
	if (len == 0 || run.at_end) {
		run.at_end = true;
		return 0;
	}
	if (script_byte(&run.script) & 1)
		len = 1 + script_byte(&run.script) % len;
	memcpy(buf, run.answer + run.start, len);
	framing_feed(&run.read, buf, len, ignore, NULL);
	run.start += len;
	if (run.start == run.len)
		run.start = run.len = 0;
	return (ssize_t)len;
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	static const int errors[] = {EINTR};
	int error;

	if (!run.calling)
		return __real_poll(fds, n, timeout);
	fuzz_require(n == 1 && fds->fd == run.fd && timeout == -1 && run.waited);
	return fails(&error, errors, 1) ? -1 : 1;
}

int __wrap_close(int fd)
{
	if (!run.calling)
		return __real_close(fd);
	fuzz_require(fd >= DESCRIPTORS && run.n_sockets > 0);
	run.n_sockets--;
	if (run.fd == fd)
		run.fd = -1;
	return 0;
}

/* ---- what the program does ---- */

#define CALL(call) \
	(run.calling = true, run.interrupted = false, errno = ERANGE, (call), \
	 run.calling = false)

/* errno is one of those that the header names. */
static void check_failure(bool reads, bool waits)
{
	switch (errno) {
	case ENOENT:
		fuzz_require(reads);
		break;
	case EINTR:
		fuzz_require(waits && run.interrupted);
		break;
	default:
		fuzz_require(errno == 0 || errno == EPROTO || errno == EPIPE);
	}
}

/* Whatever was not wanted has been read to its end, or the connection is closed. */
static void check_between(void)
{
	fuzz_require(run.fd < 0 || framing_is_between(&run.read));
}

static void do_read(char *path)
{
	unsigned len = 12345;
	char *value;

	CALL(value = qdb_read(run.handle, path, &len));
	if (value) {
		fuzz_require(strlen(value) == len && len <= QDB_MAX_DATA);
		check_between();
	} else {
		fuzz_require(len == 12345);
		check_failure(true, false);
	}
	free(value);
}

static void check_strings(char **strings, unsigned n, unsigned width, const char *prefix,
			  const unsigned *lens)
{
	for (unsigned i = 0; i < n; i++) {
		const char *path = strings[i * width];

		fuzz_require(strncmp(path, prefix, strlen(prefix)) == 0);
		fuzz_require(wire_classify(path, strlen(path)) == WIRE_ENTRY);
		if (lens)
			fuzz_require(strlen(strings[i * width + 1]) == lens[i]);
	}
	for (unsigned i = 0; i < n * width; i++)
		free(strings[i]);
	for (unsigned i = 0; i < width; i++)
		fuzz_require(!strings[n * width + i]);
	free(strings);
	check_between();
}

static void do_list(char *path)
{
	unsigned n = 12345;
	char **paths;

	CALL(paths = qdb_list(run.handle, path, &n));
	if (paths) {
		check_strings(paths, n, 1, path, NULL);
		return;
	}
	fuzz_require(n == 12345);
	check_failure(false, false);
}

static void do_multiread(char *path)
{
	unsigned n = 12345, *lens = NULL;
	const bool wants_lens = script_byte(&run.script) & 1;
	char **strings;

	CALL(strings = qdb_multiread(run.handle, path, wants_lens ? &lens : NULL, &n));
	if (strings) {
		check_strings(strings, n, 2, path, lens);
		free(lens);
		return;
	}
	fuzz_require(n == 12345 && !lens);
	check_failure(false, false);
}

static void check_int(int result)
{
	fuzz_require(result == 0 || result == 1);
	if (result == 1)
		check_between();
	else
		check_failure(false, false);
}

static void do_write(char *path)
{
	static char value[QDB_MAX_DATA + 1];
	const unsigned len = script_word(&run.script) % (QDB_MAX_DATA + 2);
	int result;

	memset(value, 'v', sizeof(value));
	CALL(result = qdb_write(run.handle, path, value, len));
	check_int(result);
	fuzz_require(result == 0 || len <= QDB_MAX_DATA);
}

static void do_other(char *path, int (*function)(qdb_handle_t, const char *))
{
	int result;

	CALL(result = function(run.handle, path));
	check_int(result);
	run.watches_anything |= wire_classify(path, strlen(path)) == WIRE_ILL_FORMED;
}

static void do_read_watch(void)
{
	const int queued = qdb_watches_pending(run.handle);
	char *path;

	CALL(path = qdb_read_watch(run.handle));
	if (path) {
		fuzz_require(strlen(path) < QDB_MAX_PATH);
		fuzz_require(run.watches_anything ||
			     wire_classify(path, strlen(path)) != WIRE_ILL_FORMED);
		if (queued == 0)
			check_between();
	} else {
		fuzz_require(queued == 0);
		check_failure(false, true);
	}
	free(path);
}

/* It keeps its number while the connection lives. */
static void do_watch_fd(void)
{
	const int before = run.fd;
	int fd;

	CALL(fd = qdb_watch_fd(run.handle));
	fuzz_require(fd == run.fd && (before < 0 || fd == before));
	fuzz_require(fd >= 0 || errno == EPIPE);
}

static void step(void)
{
	const unsigned op = script_byte(&run.script);
	char path[QDB_MAX_PATH];

	script_path(&run.script, path);
	switch (op % 9) {
	case 0:
		do_read(path);
		break;
	case 1:
		do_list(path);
		break;
	case 2:
		do_multiread(path);
		break;
	case 3:
		do_write(path);
		break;
	case 4:
		do_other(path, qdb_rm);
		break;
	case 5:
		do_other(path, qdb_watch);
		break;
	case 6:
		do_other(path, qdb_unwatch);
		break;
	case 7:
		do_read_watch();
		break;
	case 8:
		do_watch_fd();
		break;
	}
}

/* The daemon sends what nobody asked for. */
static void surprise(void)
{
	if (run.fd < 0)
		return;
	if (script_byte(&run.script) & 1)
		say_events(script_byte(&run.script));
	else
		say_anything();
}

static void open_handle(void)
{
	static char name[] = "vm";
	char *vmname = script_byte(&run.script) & 1 ? name : NULL;

	CALL(run.handle = qdb_open(vmname));
	fuzz_require(run.handle || errno != ERANGE);
	fuzz_require(!run.handle == (run.fd < 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	run.script = (struct script){data, data + size};
	run.at_end = run.watches_anything = false;
	open_handle();
	while (run.handle && !script_is_over(&run.script)) {
		step();
		if (script_byte(&run.script) >= 0xc0)
			surprise();
	}
	CALL(qdb_close(run.handle));
	fuzz_require(run.n_sockets == 0 && run.fd < 0);
	return 0;
}
