/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The conformance suite of the vchan transports: what daemon/vchan/vchan.h promises,
 * asked of each implementation by the same cases.
 *
 *   conform [--vchan=NAME] [CASE...]                      both ends, on this machine
 *   conform --end=server|client --domid=N [--vchan=NAME] [CASE...]
 *
 * The second form plays one end; standard input and output are to be joined with those of
 * the other end, crosswise. Results go to standard error. A case runs in a process of its
 * own at each end, so that one that fails, hangs or dies is no more than one failure.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/vchan/cases.h"
#include "tests/vchan/control.h"

#define FIRST_PORT 300
#define OWN_DOMID 0
#define OTHER_DOMID 5

static const struct conformance_case *const groups[] = {
	connecting_cases,
	moving_cases,
	lasting_cases,
};

struct options {
	const char *vchan;
	const char *end;
	int domid;
	unsigned limit;
	unsigned reconnects;
	char **wanted;
};

static bool is_wanted(const struct options *o, const char *name)
{
	if (!*o->wanted)
		return true;
	for (char **wanted = o->wanted; *wanted; wanted++)
		if (strcmp(*wanted, name) == 0)
			return true;
	return false;
}

/* Each case has a port of its own: nothing that another one left is in its way. */
static struct end make_end(const struct options *o, int number)
{
	const bool server = strcmp(o->end, "server") == 0;

	return (struct end){
		.transport = vchan_transport_find(o->vchan),
		.address = {.end = server ? VCHAN_SERVER : VCHAN_CLIENT,
			    .remote_domid = o->domid,
			    .port = FIRST_PORT + number},
		.server = server,
		.reconnects = o->reconnects,
	};
}

static int run_case(const struct options *o, const struct conformance_case *c, int number)
{
	struct end e = make_end(o, number);

	control_begin(o->end, o->limit);
	c->run(&e);
	control_end();
	return EXIT_SUCCESS;
}

static bool passes(const struct options *o, const struct conformance_case *c, int number)
{
	const pid_t pid = fork();
	int status;
	bool passed;

	if (pid == 0)
		exit(run_case(o, c, number));
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return false;
	passed = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
	if (WIFSIGNALED(status))
		fprintf(stderr, "# %s: died of signal %d\n", o->end, WTERMSIG(status));
	return control_over(passed, WIFEXITED(status) &&
					    WEXITSTATUS(status) == CONTROL_GIVEN_UP) &&
	       passed;
}

static int run_end(const struct options *o)
{
	int number = 0, passed = 0, failed = 0;

	for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
		for (const struct conformance_case *c = groups[g]; c->name;
		     c++, number++) {
			bool ok;

			if (!is_wanted(o, c->name))
				continue;
			ok = passes(o, c, number);
			*(ok ? &passed : &failed) += 1;
			if (!o->domid)
				continue;
			fprintf(stderr, "%s %s\n", ok ? "ok" : "not ok", c->name);
		}
	}
	if (o->domid)
		fprintf(stderr, "%d passed, %d failed\n", passed, failed);
	return passed > 0 && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The two ends as two processes, joined by a socket pair. */
static pid_t start_end(const struct options *common, const char *which,
		       const int control[2])
{
	const bool server = strcmp(which, "server") == 0;
	struct options o = *common;
	char own[16];
	const pid_t pid = fork();

	if (pid != 0)
		return pid;
	o.end = which;
	o.domid = server ? OTHER_DOMID : OWN_DOMID;
	snprintf(own, sizeof(own), "%d", server ? OWN_DOMID : OTHER_DOMID);
	setenv("VCHAN_DOMAIN", own, 1);
	dup2(control[!server], STDIN_FILENO);
	dup2(control[!server], STDOUT_FILENO);
	close(control[0]);
	close(control[1]);
	exit(run_end(&o));
}

static int run_both(const struct options *o)
{
	char directory[] = "/tmp/conform.XXXXXX";
	int control[2], result = EXIT_SUCCESS;

	if (!mkdtemp(directory) || socketpair(AF_UNIX, SOCK_STREAM, 0, control) < 0) {
		perror("conform");
		return EXIT_FAILURE;
	}
	setenv("VCHAN_SOCKET_DIR", directory, 1);
	if (start_end(o, "server", control) < 0 || start_end(o, "client", control) < 0)
		result = EXIT_FAILURE;
	close(control[0]);
	close(control[1]);
	for (int status; wait(&status) > 0;)
		if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_SUCCESS)
			result = EXIT_FAILURE;
	if (rmdir(directory) < 0 && result == EXIT_SUCCESS) {
		perror(directory);
		result = EXIT_FAILURE;
	}
	return result;
}

static bool parse(struct options *o, int argc, char **argv)
{
	static const struct option known[] = {
		{"vchan", required_argument, NULL, 'v'},
		{"end", required_argument, NULL, 'e'},
		{"domid", required_argument, NULL, 'd'},
		{"limit", required_argument, NULL, 'l'},
		{"reconnects", required_argument, NULL, 'r'},
		{0},
	};
	int option;

	*o = (struct options){
		.vchan = "socket", .domid = -1, .limit = 120, .reconnects = 1000};
	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (option == 'v')
			o->vchan = optarg;
		else if (option == 'e')
			o->end = optarg;
		else if (option == 'd')
			o->domid = atoi(optarg);
		else if (option == 'l')
			o->limit = (unsigned)atoi(optarg);
		else if (option == 'r')
			o->reconnects = (unsigned)atoi(optarg);
		else
			return false;
	}
	o->wanted = argv + optind;
	if (!o->end)
		return o->domid < 0;
	return o->domid >= 0 && (!strcmp(o->end, "server") || !strcmp(o->end, "client"));
}

int main(int argc, char **argv)
{
	struct options o;

	if (!parse(&o, argc, argv)) {
		fputs("usage: conform [--end=server|client --domid=N] [--vchan=NAME] "
		      "[--limit=SECONDS] [--reconnects=N] [CASE...]\n",
		      stderr);
		return EXIT_FAILURE;
	}
	if (!vchan_transport_find(o.vchan)) {
		fprintf(stderr, "conform: no such vchan here: %s\n", o.vchan);
		return EXIT_FAILURE;
	}
	signal(SIGPIPE, SIG_IGN);
	return o.end ? run_end(&o) : run_both(&o);
}
