/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "test_lib_fake.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

char fake_dir[] = "/tmp/qdb-lib-XXXXXX";
int fake_listener = -1;
int fake_peer = -1;
qdb_handle_t fake_handle;
volatile sig_atomic_t fake_signals;
static pthread_t thread, main_thread;

static void fill_address(struct sockaddr_un *address, const char *name)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	snprintf(address->sun_path, sizeof(address->sun_path), "%s/%s", fake_dir, name);
}

int fake_listen(const char *name)
{
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	fill_address(&address, name);
	unlink(address.sun_path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	return fd;
}

void fake_unlisten(void)
{
	close(fake_listener);
	fake_listener = -1;
}

void fake_accept(void)
{
	fake_peer = accept(fake_listener, NULL, NULL);
	ck_assert_int_ge(fake_peer, 0);
}

void fake_hang_up(void)
{
	close(fake_peer);
	fake_peer = -1;
}

bool fake_is_asked_to_accept(void)
{
	return fake_is_readable(fake_listener);
}

void fake_setup_listener(void)
{
	ck_assert_ptr_nonnull(mkdtemp(fake_dir));
	ck_assert_int_eq(setenv("QUBESDB_RUNTIME_DIR", fake_dir, 1), 0);
	fake_listener = fake_listen("qubesdb.sock");
}

void fake_setup(void)
{
	fake_setup_listener();
	fake_handle = qdb_open(NULL);
	ck_assert_ptr_nonnull(fake_handle);
	fake_accept();
}

void fake_teardown(void)
{
	static const char *const names[] = {"qubesdb.sock", "qubesdb.ro.sock",
					    "qubesdb.vm-1.sock", "qubesdb.vm-1.ro.sock"};
	struct sockaddr_un address;

	qdb_close(fake_handle);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		fill_address(&address, names[i]);
		unlink(address.sun_path);
	}
	ck_assert_int_eq(rmdir(fake_dir), 0);
}

int fake_run(const char *name, TCase **tcases)
{
	Suite *suite = suite_create(name);
	SRunner *runner = srunner_create(suite);
	int failed;

	for (; *tcases != NULL; tcases++) {
		tcase_set_timeout(*tcases, 60);
		suite_add_tcase(suite, *tcases);
	}
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

void fake_header(struct qdb_hdr *hdr, unsigned type, const char *path, size_t data_len)
{
	memset(hdr, 0xa5, sizeof(*hdr));
	hdr->type = (uint8_t)type;
	memcpy(hdr->path, path, strlen(path) + 1);
	hdr->data_len = (uint32_t)data_len;
}

void fake_send_bytes(const void *bytes, size_t len)
{
	ck_assert_int_eq(send(fake_peer, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

void fake_send(enum qdb_msg type, const char *path, const char *value)
{
	struct qdb_hdr hdr;
	size_t len = value != NULL ? strlen(value) : 0;

	struct iovec parts[] = {{&hdr, sizeof(hdr)}, {(char *)value, len}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = len > 0 ? 2 : 1};

	fake_header(&hdr, type, path, len);
	ck_assert_int_eq(sendmsg(fake_peer, &message, MSG_NOSIGNAL),
			 (ssize_t)(sizeof(hdr) + len));
}

void fake_expect(enum qdb_msg type, const char *path, const char *value)
{
	struct qdb_hdr expected = {.type = (uint8_t)type}, hdr;
	char data[QDB_MAX_DATA];
	size_t len = value != NULL ? strlen(value) : 0;

	memcpy(expected.path, path, strlen(path));
	expected.data_len = (uint32_t)len;
	ck_assert_int_eq(recv(fake_peer, &hdr, sizeof(hdr), MSG_WAITALL), sizeof(hdr));
	ck_assert_mem_eq(&hdr, &expected, sizeof(hdr));
	if (len == 0)
		return;
	ck_assert_int_eq(recv(fake_peer, data, len, MSG_WAITALL), (ssize_t)len);
	ck_assert_mem_eq(data, value, len);
}

void fake_expect_nothing(void)
{
	ck_assert_uint_eq(fake_unread(fake_peer), 0);
}

void fake_set_watch(const char *path)
{
	fake_send(QDB_RESP_OK, path, NULL);
	ck_assert_int_eq(qdb_watch(fake_handle, path), 1);
	fake_expect(QDB_CMD_WATCH, path, NULL);
}

void fake_expect_event(const char *path)
{
	char *event = qdb_read_watch(fake_handle);

	ck_assert_ptr_nonnull(event);
	ck_assert_str_eq(event, path);
	free(event);
}

bool fake_is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

size_t fake_unread(int fd)
{
	int n = 0;

	ck_assert_int_eq(ioctl(fd, FIONREAD, &n), 0);
	return (size_t)n;
}

bool fake_is_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void *run(void *body)
{
	(*(void (**)(void))body)();
	return NULL;
}

void fake_start(void (*body)(void))
{
	static void (*current)(void);
	sigset_t all, old;

	current = body;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ck_assert_int_eq(pthread_create(&thread, NULL, run, &current), 0);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void fake_join(void)
{
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

static long current_syscall(void)
{
	char name[64], text[256] = "";
	int fd;

	snprintf(name, sizeof(name), "/proc/self/task/%d/syscall", (int)getpid());
	fd = open(name, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_gt(read(fd, text, sizeof(text) - 1), 0);
	close(fd);
	return text[0] == 'r' ? -1 : strtol(text, NULL, 10);
}

/* The C library may make either of poll(). */
static bool is_wait(long number)
{
#ifdef SYS_poll
	if (number == SYS_poll)
		return true;
#endif
	return number == SYS_recvfrom || number == SYS_ppoll;
}

void fake_await_recv(void)
{
	while (!is_wait(current_syscall()))
		sched_yield();
}

void fake_await_send(void)
{
	while (current_syscall() != SYS_sendto)
		sched_yield();
}

/* poll() is ppoll() where there is no other. */
#ifndef SYS_poll
#define SYS_poll SYS_ppoll
#endif

void fake_await_poll(void)
{
	while (current_syscall() != SYS_poll)
		sched_yield();
}

void fake_await_connect(void)
{
	while (current_syscall() != SYS_connect)
		sched_yield();
}

void fake_await_all_read(void)
{
	int n = 1;

	while (n > 0) {
		ck_assert_int_eq(ioctl(fake_peer, SIOCOUTQ, &n), 0);
		sched_yield();
	}
}

static void count_signal(int signal)
{
	(void)signal;
	fake_signals++;
}

void fake_on_signal(int flags)
{
	struct sigaction action = {.sa_handler = count_signal, .sa_flags = flags};

	ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
	main_thread = pthread_self();
}

void fake_interrupt(void)
{
	ck_assert_int_eq(pthread_kill(main_thread, SIGUSR1), 0);
}

void fake_interrupt_and(void (*await)(void))
{
	int before = fake_signals;

	await();
	fake_interrupt();
	while (fake_signals == before)
		sched_yield();
	await();
}
