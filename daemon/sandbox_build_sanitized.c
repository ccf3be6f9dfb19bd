/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the sanitizers' own code needs: to look for leaks at the end it stops this process
 * from a thread of its own, and to print a report it reads what the program consists of.
 */
#include <stddef.h>

#include "daemon/sandbox.h"

const struct sandbox_call sandbox_build_calls[] = {
	{"clone"},  {"getdents"},          {"getdents64"},  {"getppid"}, {"prctl"},
	{"ptrace"}, {"sched_getaffinity"}, {"sigaltstack"}, {"uname"},   {"wait4"},
	{NULL},
};

const char *const sandbox_build_directories[] = {"/proc", "/usr", NULL};
