/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * seccomp: which system calls a process may make. What is not in a table raises SIGSYS,
 * whose handler cannot be replaced any more. The library sorts the filter into a tree;
 * calls without a condition, among them all of an ordinary request, the kernel decides by
 * one look into a bitmap.
 *
 * The library works in a process of its own, for when it gets no memory it may say so,
 * leave out rules without a word, crash, or never end. What it gets it keeps there, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/sandbox_parts.h"

#define FILE_CONTROL(command) \
	{ \
		"fcntl", SANDBOX_IF_EQUAL, 1, command \
	}

const struct sandbox_call sandbox_common[] = {
	/* The event loop and its clients; of a request: epoll_wait, recvfrom, sendto. */
	{"accept4"},
	{"close"},
	{"dup2"},
	{"dup3"},
	{"epoll_ctl"},
	{"epoll_pwait"},
	{"epoll_pwait2"},
	{"epoll_wait"},
	{"getrandom"},
	{"getsockopt"},
	{"poll"},
	{"ppoll"},
	{"read"},
	{"recvfrom"},
	{"sendto"},
	{"write"},
	{"writev"},

	/* Time, where the kernel does not tell it without a call, as on Xen. */
	{"clock_gettime"},
	{"clock_nanosleep"},
	{"gettimeofday"},
	{"nanosleep"},
	{"time"},

	/* Files: the state, and what is found in the runtime directory. */
	{"access"},
	{"faccessat"},
	{"faccessat2"},
	{"fchmod"},
	{"fchown"},
	{"fdatasync"},
	{"flock"},
	{"fstat"},
	{"fsync"},
	{"ftruncate"},
	{"geteuid"},
	{"lseek"},
	{"lstat"},
	{"newfstatat"},
	{"open"},
	{"openat"},
	{"pread64"},
	{"pwrite64"},
	{"pwritev"},
	{"readlink"},
	{"readlinkat"},
	{"rename"},
	{"renameat"},
	{"renameat2"},
	{"stat"},
	{"statx"},
	{"unlink"},
	{"unlinkat"},

	/* What the peer has left in a socket; others do more than to tell. */
	{"ioctl", SANDBOX_IF_EQUAL, 1, TIOCOUTQ},

	/* Others could have a signal sent to anyone. */
	FILE_CONTROL(F_DUPFD_CLOEXEC),
	FILE_CONTROL(F_GETFD),
	FILE_CONTROL(F_SETFD),
	FILE_CONTROL(F_GETFL),
	FILE_CONTROL(F_SETFL),
	FILE_CONTROL(F_GETLK),
	FILE_CONTROL(F_SETLK),

	/* Memory, but never as code, and what every process does. */
	{"brk"},
	{"exit"},
	{"exit_group"},
	{"futex"},
	{"getpid"},
	{"gettid"},
	{"madvise"},
	{"mmap", SANDBOX_IF_MASKED, 2, 0, PROT_EXEC},
	{"mprotect", SANDBOX_IF_MASKED, 2, 0, PROT_EXEC},
	{"mremap"},
	{"munmap"},
	{"prlimit64", SANDBOX_IF_EQUAL, 2, 0},
	{"restart_syscall"},
	{"rt_sigaction", SANDBOX_UNLESS, 0, SIGSYS},
	{"rt_sigprocmask"},
	{"rt_sigreturn"},
	{"sched_yield"},
	{"tgkill", SANDBOX_IF_OWN_PID, 0},

	/* claim.c would end another daemon; but no state is claimed from one so late. */
	{"pidfd_open", SANDBOX_FAILS, 0, EACCES},
	{NULL},
};

const struct sandbox_call sandbox_connecting[] = {
	{"socket", SANDBOX_IF_EQUAL, 0, AF_UNIX},
	{"connect"},
	{NULL},
};

/* Where the library has not told that it had no memory, malloc() has. */
static int told(int r)
{
	return errno == ENOMEM ? -ENOMEM : r;
}

static int add(scmp_filter_ctx filter, int number, const struct sandbox_call *c)
{
	struct scmp_arg_cmp condition = {
		.arg = c->argument,
		.op = SCMP_CMP_EQ,
		.datum_a = c->value,
	};

	switch (c->condition) {
	case SANDBOX_ALWAYS:
		return seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
	case SANDBOX_FAILS:
		return seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint16_t)c->value),
					number, 0);
	case SANDBOX_IF_EQUAL:
		break;
	case SANDBOX_UNLESS:
		condition.op = SCMP_CMP_NE;
		break;
	case SANDBOX_IF_OWN_PID:
		condition.datum_a = (scmp_datum_t)getppid(); /* not of the compiler */
		break;
	case SANDBOX_IF_MASKED:
		condition.op = SCMP_CMP_MASKED_EQ;
		condition.datum_a = c->mask;
		condition.datum_b = c->value;
		break;
	}
	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, 1, &condition);
}

/* A call that does not exist here needs no rule. */
static int add_row(scmp_filter_ctx filter, const struct sandbox_call *c)
{
	const int number = seccomp_syscall_resolve_name(c->name);
	int r = told(number == __NR_SCMP_ERROR ? 0 : add(filter, number, c));

	return r == -EDOM ? 0 : r;
}

static int prepare(scmp_filter_ctx filter)
{
	int r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return told(r);
}

static int build(scmp_filter_ctx filter, const struct sandbox_call *const *tables,
		 size_t n_tables)
{
	int r = prepare(filter);

	for (size_t i = 0; i < n_tables; i++)
		for (const struct sandbox_call *c = tables[i]; r == 0 && c->name; c++)
			r = add_row(filter, c);
	return r;
}

/* The library gives the program to a file only. */
static int compile(int to, const struct sandbox_call *const *tables, size_t n_tables)
{
	scmp_filter_ctx filter;
	int r;

	errno = 0;
	filter = seccomp_init(SCMP_ACT_TRAP);
	r = filter ? build(filter, tables, n_tables) : -ENOMEM;
	if (r == 0)
		r = told(seccomp_export_bpf(filter, to));
	return r;
}

_Noreturn static void be_compiler(int to, const struct sandbox_call *const *tables,
				  size_t n_tables)
{
	static const struct rlimit patience = {.rlim_cur = 1, .rlim_max = 1};

	setrlimit(RLIMIT_CPU, &patience);
	_exit(-compile(to, tables, n_tables));
}

static int wait_for(pid_t compiler)
{
	int status;

	while (waitpid(compiler, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -ENOMEM;
}

static int compile_apart(int to, const struct sandbox_call *const *tables,
			 size_t n_tables)
{
	pid_t compiler;

	signal(SIGCHLD, SIG_DFL); /* else there may be no status to wait for */
	compiler = fork();
	if (compiler == 0)
		be_compiler(to, tables, n_tables);
	return compiler < 0 ? -errno : wait_for(compiler);
}

static int map(struct sandbox_filter *f, int fd)
{
	struct stat file;
	void *code;

	if (fstat(fd, &file) < 0)
		return -errno;
	code = mmap(NULL, (size_t)file.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (code == MAP_FAILED)
		return -errno;
	f->code = code;
	f->size = (size_t)file.st_size;
	return 0;
}

int sandbox_filter_new(struct sandbox_filter *f, const struct sandbox_call *const *tables,
		       size_t n_tables)
{
	int fd = memfd_create("filter", MFD_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = compile_apart(fd, tables, n_tables);
	if (r == 0)
		r = map(f, fd);
	close(fd);
	return r;
}

void sandbox_filter_free(struct sandbox_filter *f)
{
	if (f->code)
		munmap(f->code, f->size);
	f->code = NULL;
}

int sandbox_filter_enforce(const struct sandbox_filter *f)
{
	const struct sock_fprog program = {
		.len = (unsigned short)(f->size / sizeof(struct sock_filter)),
		.filter = f->code,
	};
	long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
			 &program);

	if (r < 0)
		return -errno;
	return r == 0 ? 0 : -EBUSY; /* a thread that has a filter of its own */
}
