/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sandbox with the transports' own tables, without a hypervisor. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/sandbox.h"
#include "daemon/vchan/transports.h"
#include "tests/unit/unit.h"

static const struct vchan_transport *xen_or_other(void)
{
	return vchan_xen_transport.confine ? &vchan_xen_transport
					   : &vchan_socket_transport;
}

static enum vchan_end end = VCHAN_SERVER;

static void confine(const struct vchan_transport *transport)
{
	const struct vchan_address address = {.end = end, .port = 111};
	struct sandbox s;

	sandbox_init(&s, true);
	vchan_confine(transport, &s, &address);
	if (sandbox_restrict_files(&s) < 0)
		_exit(EXIT_FAILURE);
	sandbox_restrict_calls(&s);
}

/* How a process ends that is confined like that and then acts: its wait status. */
static int act_confined(const struct vchan_transport *transport, bool (*act)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		confine(transport);
		_exit(act() ? EXIT_SUCCESS : EXIT_FAILURE);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static void check_allowed(bool (*act)(void))
{
	int status = act_confined(xen_or_other(), act);

	if (xen_or_other() == &vchan_xen_transport)
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%d",
			      status);
}

static void check_forbidden(bool (*act)(void))
{
	int status = act_confined(xen_or_other(), act);

	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%d", status);
}

static void *wait_for_ever(void *pipe)
{
	char byte;

	while (read(*(int *)pipe, &byte, 1) >= 0)
		;
	return NULL;
}

/* As libxenstore does when a daemon has lost xenstore and comes back to it. */
static bool use_thread(void)
{
	pthread_t thread;
	void *result = NULL;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0 ||
	    pthread_create(&thread, NULL, wait_for_ever, ends) != 0)
		return false;
	pthread_cancel(thread);
	pthread_join(thread, &result);
	return result == PTHREAD_CANCELED;
}

static bool use_devices(void)
{
	static const char drivers[] = {'E', 'G', 'P'};

	for (size_t i = 0; i < sizeof(drivers); i++)
		ioctl(STDIN_FILENO, _IO(drivers[i], 0), NULL);
	isatty(STDERR_FILENO);
	return socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
}

START_TEST(xen_has_what_its_libraries_need)
{
	check_allowed(use_thread);
	check_allowed(use_devices);
}
END_TEST

static bool type_into_terminal(void)
{
	return ioctl(STDIN_FILENO, TIOCSTI, "x") == 0;
}

static bool start_process(void)
{
	return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) >= 0;
}

static bool start_program(void)
{
	return execl("/bin/true", "true", NULL) == 0;
}

static bool use_network(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) >= 0;
}

START_TEST(xen_has_no_more_than_that)
{
	check_forbidden(type_into_terminal);
	check_forbidden(start_program);
	check_forbidden(use_network);
	if (!sandbox_build_calls[0].name)
		check_forbidden(start_process);
}
END_TEST

static bool connect_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* A VM has a device for xenstore; to what sockets lead the sandbox could not tell. */
START_TEST(xen_connects_where_xenstore_is_a_socket)
{
	char directory[] = "/tmp/qubesdb-sandbox.XXXXXX", path[64];
	int fd;

	ck_assert(mkdtemp(directory) == directory);
	snprintf(path, sizeof(path), "%s/socket", directory);
	setenv("XENSTORED_PATH", path, 1);
	end = VCHAN_CLIENT;
	check_forbidden(connect_socket);
	fd = listen_at(path);
	check_allowed(connect_socket);
	close(fd);
	unlink(path);
	end = VCHAN_SERVER;
	check_allowed(connect_socket);
	rmdir(directory);
	unsetenv("XENSTORED_PATH");
}
END_TEST

static int commands[2];

static void *execute(void *nothing)
{
	char byte;

	if (read(commands[0], &byte, 1) == 1)
		start_program();
	return nothing;
}

/* One that was there before the filter. */
START_TEST(threads_are_no_way_out)
{
	int status;
	pid_t pid;

	ck_assert_int_eq(pipe2(commands, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		pthread_t thread;

		pthread_create(&thread, NULL, execute, NULL);
		confine(&vchan_socket_transport);
		_exit(write(commands[1], "x", 1) == 1 && pthread_join(thread, NULL));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%d", status);
}
END_TEST

static void fill(TCase *tcase)
{
	tcase_add_test(tcase, xen_has_what_its_libraries_need);
	tcase_add_test(tcase, xen_has_no_more_than_that);
	if (vchan_xen_transport.confine)
		tcase_add_test(tcase, xen_connects_where_xenstore_is_a_socket);
	tcase_add_test(tcase, threads_are_no_way_out);
}

UNIT_MAIN("sandbox", fill)
