/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/crash/crash.h"

static void make_notify_socket(struct home *h)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", h->path);
	h->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (h->notify < 0 ||
	    bind(h->notify, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail("cannot make %s: %s", address.sun_path, strerror(errno));
	setenv("NOTIFY_SOCKET", address.sun_path, 1);
}

void home_create(struct home *h, const char *program)
{
	const char *parent = getenv("TMPDIR");

	*h = (struct home){.program = program};
	snprintf(h->path, sizeof(h->path), "%s/qdb-crash.XXXXXX",
		 parent ? parent : "/tmp");
	if (!mkdtemp(h->path))
		fail("cannot make a directory: %s", strerror(errno));
	snprintf(h->sockets[DOM0], sizeof(h->sockets[DOM0]),
		 "%s/dom0/qubesdb." NAME ".sock", h->path);
	snprintf(h->sockets[VM], sizeof(h->sockets[VM]), "%s/vm/qubesdb.sock", h->path);
	make_notify_socket(h);
	setenv("VCHAN_SOCKET_DIR", h->path, 1);
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
	(void)s, (void)type, (void)f;
	return remove(path);
}

void home_remove(struct home *h)
{
	close(h->notify);
	nftw(h->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- starting ---- */

static void become(const struct home *h, enum side side)
{
	char run[128], log[128];
	int fd;

	snprintf(run, sizeof(run), "--runtime-dir=%s/%s", h->path,
		 side == DOM0 ? "dom0" : "vm");
	snprintf(log, sizeof(log), "%s/%s.log", h->path, side == DOM0 ? "dom0" : "vm");
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	setenv("VCHAN_DOMAIN", side == DOM0 ? "0" : DOMID, 1);
	if (side == DOM0)
		execl(h->program, h->program, "--foreground", "--vchan=socket", run,
		      DOMID, NAME, (char *)NULL);
	else
		execl(h->program, h->program, "--foreground", "--vchan=socket", run, "0",
		      (char *)NULL);
	_exit(127);
}

/* Whether any of those that have come says so; both daemons also tell how the link is. */
static bool take_notifications(struct home *h)
{
	bool is_ready = false;
	char message[256];
	ssize_t n;

	while ((n = recv(h->notify, message, sizeof(message) - 1, MSG_DONTWAIT)) > 0) {
		message[n] = '\0';
		is_ready |= strstr(message, "READY=1\n") != NULL;
	}
	return is_ready;
}

void home_start(struct home *h, enum side side)
{
	pid_t pid;

	take_notifications(h);
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		fail("cannot fork: %s", strerror(errno));
	if (pid == 0)
		become(h, side);
	h->daemons[side] = pid;
}

bool home_is_ready(struct home *h)
{
	return take_notifications(h);
}

void home_start_and_wait(struct home *h, enum side side)
{
	struct pollfd p = {.fd = h->notify, .events = POLLIN};

	home_start(h, side);
	do
		if (poll(&p, 1, TIMEOUT_MS) != 1)
			fail("a daemon does not become ready");
	while (!home_is_ready(h));
}

/* ---- ending ---- */

void home_wait(pid_t pid, int by_signal)
{
	const int pidfd = pidfd_open(pid, 0);
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	int status = 0;

	if (poll(&p, 1, TIMEOUT_MS) != 1)
		fail("process %d does not end", (int)pid);
	close(pidfd);
	waitpid(pid, &status, 0);
	if (by_signal ? !WIFSIGNALED(status) || WTERMSIG(status) != by_signal
		      : !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail("process %d has ended with status %#x", (int)pid, (unsigned)status);
}

void home_kill(struct home *h, enum side side, int number)
{
	kill(h->daemons[side], number);
	home_wait(h->daemons[side], number == SIGKILL ? number : 0);
	h->daemons[side] = 0;
}
