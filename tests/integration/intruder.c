/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Somebody who has got into a daemon: preloaded into a real one, this does what INTRUDE
 * names when the first READ of a client comes, and tells on standard error what came
 * of it; that is, unless the daemon has not outlived it. test_sandbox.py tries each row.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "protocol/qubesdb.h"

static const char *object(void)
{
	return getenv("INTRUDE_ON");
}

static long open_file(void)
{
	return open(object(), O_RDONLY | O_CLOEXEC);
}

static long create_file(void)
{
	return open(object(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

static long append_to_file(void)
{
	return open(object(), O_WRONLY | O_APPEND | O_CLOEXEC);
}

static long list_directory(void)
{
	return open(object(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static long remove_file(void)
{
	return unlink(object());
}

static long move_file(void)
{
	return rename(object(), getenv("INTRUDE_WITH"));
}

static long make_directory(void)
{
	return mkdir(object(), 0700);
}

static long execute(void)
{
	return execl("/bin/true", "true", NULL);
}

static long fork_process(void)
{
	const pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid;
}

static void *nothing(void *argument)
{
	return argument;
}

static long start_thread(void)
{
	pthread_t thread;

	errno = pthread_create(&thread, NULL, nothing, NULL);
	return errno ? -1 : pthread_join(thread, NULL);
}

static long unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static long inet_socket(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static long netlink_socket(void)
{
	return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
}

static long new_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
		       ? -1
		       : 0;
}

static long changed_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);

	return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static long signal_another(void)
{
	return kill(getppid(), 0);
}

static long signal_by_thread(void)
{
	const int parent = atoi(object());

	return syscall(SYS_tgkill, parent, parent, 0);
}

static long signal_by_file(void)
{
	return fcntl(STDERR_FILENO, F_SETOWN, atoi(object()));
}

static long hold_process(void)
{
	return syscall(SYS_pidfd_open, atoi(object()), 0);
}

static long trace(void)
{
	return ptrace(PTRACE_ATTACH, atoi(object()), NULL, NULL);
}

static long survive(void)
{
	struct sigaction ignoring = {.sa_handler = SIG_IGN};

	return sigaction(SIGSYS, &ignoring, NULL);
}

/* Blocking the signal must not help either. */
static long execute_unnoticed(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	return execute();
}

static long change_user(void)
{
	return setuid(getuid());
}

static long share_terminal(void)
{
	return syscall(SYS_ioctl, STDIN_FILENO, 0x5412UL /* TIOCSTI */, "x");
}

static long dump_core(void)
{
	const struct rlimit limit = {4096, 4096};

	return setrlimit(RLIMIT_CORE, &limit);
}

static const struct {
	const char *name;
	long (*act)(void);
} acts[] = {
	{"append_to_file", append_to_file},
	{"change_user", change_user},
	{"changed_code", changed_code},
	{"create_file", create_file},
	{"dump_core", dump_core},
	{"execute", execute},
	{"execute_unnoticed", execute_unnoticed},
	{"fork_process", fork_process},
	{"hold_process", hold_process},
	{"inet_socket", inet_socket},
	{"list_directory", list_directory},
	{"make_directory", make_directory},
	{"move_file", move_file},
	{"netlink_socket", netlink_socket},
	{"new_code", new_code},
	{"open_file", open_file},
	{"remove_file", remove_file},
	{"share_terminal", share_terminal},
	{"signal_another", signal_another},
	{"signal_by_file", signal_by_file},
	{"signal_by_thread", signal_by_thread},
	{"start_thread", start_thread},
	{"survive", survive},
	{"trace", trace},
	{"unix_socket", unix_socket},
};

static void intrude(const char *what)
{
	char line[128] = "intruder: nothing\n";

	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
		if (strcmp(acts[i].name, what) == 0)
			snprintf(line, sizeof(line), "intruder: %s\n",
				 acts[i].act() < 0 ? strerrorname_np(errno) : "done");
	if (write(STDERR_FILENO, line, strlen(line)) < 0)
		_exit(99);
}

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	static ssize_t (*real)(int, void *, size_t, int);
	static bool done;
	const char *what = getenv("INTRUDE");
	ssize_t n;

	if (!real)
		real = (ssize_t(*)(int, void *, size_t, int))dlsym(RTLD_NEXT, "recv");
	n = real(fd, buf, len, flags);
	if (n > 0 && *(const char *)buf == QDB_CMD_READ && what && !done) {
		done = true;
		intrude(what);
	}
	return n;
}
