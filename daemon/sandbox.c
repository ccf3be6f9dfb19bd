/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/sandbox.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/sandbox_parts.h"

/* Of what another try may find more of; not a lack of the kernel's. */
static bool is_shortage(int r)
{
	return r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOSPC ||
	       r == -EAGAIN;
}

static int allow(struct sandbox *s, const char *path, enum sandbox_access access)
{
	int r = s->files < 0 ? 0 : sandbox_files_allow(s->files, path, access);

	if (is_shortage(r))
		s->shortage = r;
	return r;
}

void sandbox_init(struct sandbox *s, bool is_wanted)
{
	*s = (struct sandbox){.is_wanted = is_wanted, .files = -ENOSYS};
	if (!is_wanted)
		return;
	s->files = sandbox_files_new();
	sandbox_allow_calls(s, sandbox_common);
	sandbox_allow_calls(s, sandbox_build_calls);
	for (const char *const *d = sandbox_build_directories; *d; d++)
		allow(s, *d, SANDBOX_READS);
}

void sandbox_allow_files(struct sandbox *s, const char *directory)
{
	int r = allow(s, directory, SANDBOX_USES_FILES);

	if (r < 0)
		log_warning("%s will be out of reach: %s", directory, strerror(-r));
}

void sandbox_allow_device(struct sandbox *s, const char *path)
{
	allow(s, path, SANDBOX_USES_DEVICES);
}

void sandbox_allow_calls(struct sandbox *s, const struct sandbox_call *table)
{
	if (s->n_tables < SANDBOX_TABLES)
		s->tables[s->n_tables++] = table;
}

/*
 * A limit of 0 would still have the kernel hand the memory to a program that takes core
 * dumps from a pipe; 1 prevents that, too, and is too little for a file.
 */
static void forbid_core_dumps(void)
{
	static const struct rlimit limits[] = {{1, 1}, {0, 0}};

	if (setrlimit(RLIMIT_CORE, &limits[0]) < 0)
		setrlimit(RLIMIT_CORE, &limits[1]);
}

static int enforce_files(struct sandbox *s)
{
	int rules, r;

	sandbox_allow_device(s, "/dev/null");
	sandbox_allow_device(s, "/dev/urandom");
	rules = s->files;
	if (rules < 0)
		return rules;
	r = s->shortage < 0 ? s->shortage : sandbox_files_enforce(rules);
	close(rules);
	s->files = -EINVAL;
	return r;
}

/* The filter is made here, before the first thread. */
int sandbox_restrict_files(struct sandbox *s)
{
	int r;

	if (!s->is_wanted)
		return 0;
	tzset();
	forbid_core_dumps();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		log_warning("new privileges are not ruled out: %s", strerror(errno));
	s->filtering = sandbox_filter_new(&s->filter, s->tables, s->n_tables);
	r = enforce_files(s);
	if (is_shortage(r) || is_shortage(s->filtering)) {
		r = is_shortage(r) ? r : s->filtering;
		log_error("cannot make the sandbox: %s", strerror(-r));
		return r;
	}
	if (r < 0)
		log_warning("files are not restricted (Landlock): %s", strerror(-r));
	return 0;
}

void sandbox_free(struct sandbox *s)
{
	sandbox_filter_free(&s->filter);
}

static void on_forbidden_call(int number, siginfo_t *info, void *context)
{
	(void)context;
	log_from_handler("the sandbox ends this daemon for system call ",
			 info->si_syscall);
	/* Forbidden itself, and fatal inside this handler. */
	signal(number, SIG_DFL);
	_exit(1);
}

void sandbox_restrict_calls(struct sandbox *s)
{
	const struct sigaction action = {
		.sa_sigaction = on_forbidden_call,
		.sa_flags = SA_SIGINFO,
	};
	int r;

	if (!s->is_wanted)
		return;
	sigaction(SIGSYS, &action, NULL);
	r = s->filtering;
	if (r == 0)
		r = sandbox_filter_enforce(&s->filter);
	sandbox_free(s);
	if (r < 0)
		log_warning("system calls are not restricted (seccomp): %s",
			    strerror(-r));
}
