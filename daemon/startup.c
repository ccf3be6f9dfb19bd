/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The notification protocol is one datagram, and documented as stable for being sent
 * without libsystemd; that library would cost an idle daemon more memory than all else.
 */
#include "daemon/startup.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/signals.h"

static int to_parent = -1;
static int to_supervisor = -1;
static struct event supervisor_listens;
static bool is_ready;
static bool has_told;    /* that it is */
static const char *news; /* yet to be told, or NULL */
static volatile sig_atomic_t child;

static void pass_on(int signal)
{
	const int saved = errno;

	kill(child, signal);
	errno = saved;
}

/*
 * The child says one byte when it serves. Without it, its exit status says why not; but
 * one that was told to end before does not serve either.
 */
static int wait_for_child(int from_child)
{
	int status;
	char byte;
	ssize_t n;

	do
		n = read(from_child, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return EXIT_SUCCESS;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_FAILURE;
	return WIFEXITED(status) && WEXITSTATUS(status) != EXIT_SUCCESS
		       ? WEXITSTATUS(status)
		       : EXIT_FAILURE;
}

int startup_fork(int *status)
{
	const struct sigaction passing = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (child < 0)
		return -errno;
	if (child == 0) {
		close(ends[0]);
		to_parent = ends[1];
		setsid();
		return 0;
	}
	close(ends[1]);
	sigaction(SIGTERM, &passing, NULL);
	sigaction(SIGINT, &passing, NULL);
	signals_release();
	*status = wait_for_child(ends[0]);
	return 1;
}

static int connect_to_supervisor(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const size_t len = strlen(path);

	if (path[0] != '/' && path[0] != '@')
		return -EAFNOSUPPORT;
	if (len >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, len);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	to_supervisor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (to_supervisor < 0 ||
	    connect(to_supervisor, (struct sockaddr *)&address,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		return -errno;
	return 0;
}

static int send_to_supervisor(const char *message)
{
	ssize_t n = send(to_supervisor, message, strlen(message), MSG_NOSIGNAL);

	return n < 0 ? -errno : 0;
}

/* The status is told with READY=1 or after it. */
static int tell_supervisor(void)
{
	char message[256];
	int r;

	if (!is_ready || (has_told && !news))
		return 0;
	snprintf(message, sizeof(message), "%s%s%s%s", has_told ? "" : "READY=1\n",
		 news ? "STATUS=" : "", news ? news : "", news ? "\n" : "");
	r = send_to_supervisor(message);
	if (r == 0) {
		has_told = true;
		news = NULL;
	}
	return r;
}

static void leave_supervisor(void)
{
	event_del(&supervisor_listens);
	if (to_supervisor >= 0)
		close(to_supervisor);
	to_supervisor = -1;
}

static void settle_supervisor(int r)
{
	if (r == -EAGAIN || r == -ENOBUFS) {
		event_add(&supervisor_listens, NULL);
	} else if (r < 0) {
		log_warning("cannot tell the supervisor at %s, NOTIFY_SOCKET: %s",
			    getenv("NOTIFY_SOCKET"), strerror(-r));
		leave_supervisor();
	}
}

static void on_supervisor_listens(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what, (void)context;
	settle_supervisor(tell_supervisor());
}

void startup_find_supervisor(struct event_base *base)
{
	const char *path = getenv("NOTIFY_SOCKET");
	int r;

	if (!path)
		return;
	r = connect_to_supervisor(path);
	event_assign(&supervisor_listens, base, to_supervisor, EV_WRITE,
		     on_supervisor_listens, NULL);
	settle_supervisor(r);
}

void startup_status(const char *text)
{
	news = text;
	if (to_supervisor >= 0)
		settle_supervisor(tell_supervisor());
}

void startup_end(void)
{
	if (to_supervisor < 0)
		return;
	if (has_told)
		send_to_supervisor("STOPPING=1\n");
	leave_supervisor();
}

int startup_standard_files(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* Whoever started the daemon may wait for the end of its output. */
static void leave_standard_files(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = 0; fd >= 0 && i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
}

void startup_ready(void)
{
	is_ready = true;
	if (to_supervisor >= 0)
		settle_supervisor(tell_supervisor());
	if (to_parent < 0)
		return;
	log_leave_stderr();
	leave_standard_files();
	if (write(to_parent, "", 1) < 0)
		log_warning("nobody waits for this daemon any more: %s", strerror(errno));
	close(to_parent);
	to_parent = -1;
}
