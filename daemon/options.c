/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/quota.h"
#include "daemon/vchan/vchan.h"

#define DEFAULT_RUNTIME_DIR "/var/run/qubes"
#define DEFAULT_LOG_DIR "/var/log/qubes"

/* What is left of a socket address for the name, with directory and suffixes around. */
#define NAME_SIZE 64

enum {
	OPT_RW_SOCKET_PERMS = 256,
	OPT_RUNTIME_DIR,
	OPT_LOG_DIR,
	OPT_VCHAN,
	OPT_STATE,
	OPT_STATE_SYNC,
	OPT_QUOTA,
	OPT_FOREGROUND,
	OPT_NO_SANDBOX,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{"rw-socket-perms", required_argument, NULL, OPT_RW_SOCKET_PERMS},
	{"runtime-dir", required_argument, NULL, OPT_RUNTIME_DIR},
	{"log-dir", required_argument, NULL, OPT_LOG_DIR},
	{"vchan", required_argument, NULL, OPT_VCHAN},
	{"state", required_argument, NULL, OPT_STATE},
	{"state-sync", required_argument, NULL, OPT_STATE_SYNC},
	{"quota", required_argument, NULL, OPT_QUOTA},
	{"foreground", no_argument, NULL, OPT_FOREGROUND},
	{"no-sandbox", no_argument, NULL, OPT_NO_SANDBOX},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, OPT_VERSION},
	{NULL, 0, NULL, 0},
};

void options_print_quotas(FILE *out)
{
	fputs("\nQuotas, for others' use of this daemon, and their defaults:\n", out);
	for (int i = 0; i < QUOTAS; i++) {
		const struct quota_description *q = &quota_descriptions[i];

		fprintf(out, "  %-17s%9zu  %s,\n%30sagainst %s\n", q->name, q->limit,
			q->bounds, "", q->against);
	}
}

void options_print_usage(FILE *out)
{
	fputs("Usage: qubesdb-daemon [OPTION]... REMOTE-DOMID [REMOTE-NAME]\n"
	      "Shares the configuration of one VM between dom0 and the VM.\n"
	      "With a name: the dom0 side, for the VM of that id and name (\"0 dom0\" "
	      "for\n"
	      "dom0 itself). Without: the VM's side; REMOTE-DOMID is then dom0's, 0.\n\n"
	      "  --rw-socket-perms=OCTAL  mode of the read-write socket (0666)\n"
	      "  --runtime-dir=DIR        where sockets and pidfile are "
	      "(" DEFAULT_RUNTIME_DIR ")\n"
	      "  --log-dir=DIR            where the log is (" DEFAULT_LOG_DIR ")\n"
	      "  --vchan=auto|xen|socket  how to reach the other side (auto)\n"
	      "  --state=FILE|none        where dom0 keeps the entries for the next "
	      "daemon\n"
	      "                           (qubesdb.NAME.state in the runtime directory)\n"
	      "                           /state/kept of qubesdb-status tells whether it "
	      "can\n"
	      "  --state-sync=process|disk\n"
	      "                           survive the end of the daemon or of the "
	      "machine "
	      "(process)\n"
	      "  --quota=NAME=VALUE       a limit; --help lists them\n"
	      "  --foreground             do not fork; log to standard error\n"
	      "  --no-sandbox             for debugging: keep every right of the user\n"
	      "  --help                   print this\n"
	      "  --version                print the version\n\n"
	      "See qubesdb-daemon(8).\n",
	      out);
}

/* A whole number in [0, limit) that is nothing but digits, or -1. */
static int parse_number(const char *s, int base, int limit)
{
	char *end;
	long n;

	if (!isdigit((unsigned char)*s))
		return -1;
	errno = 0;
	n = strtol(s, &end, base);
	return errno == 0 && *end == '\0' && n >= 0 && n < limit ? (int)n : -1;
}

static bool is_name(const char *s)
{
	const size_t len = strlen(s);

	if (len >= NAME_SIZE || s[0] == '.')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isgraph((unsigned char)s[i]) || s[i] == '/')
			return false;
	return true;
}

static bool bad(const char *what, const char *value)
{
	fprintf(stderr, "qubesdb-daemon: %s: %s\n", what, value);
	return false;
}

static bool take_sync(struct options *o, const char *value)
{
	if (strcmp(value, "process") == 0)
		o->state_sync = STATEFILE_SYNC_PROCESS;
	else if (strcmp(value, "disk") == 0)
		o->state_sync = STATEFILE_SYNC_DISK;
	else
		return bad("neither \"process\" nor \"disk\"", value);
	return true;
}

static bool take_option(struct options *o, int option)
{
	const char *wrong;

	switch (option) {
	case OPT_RW_SOCKET_PERMS:
		o->rw_socket_mode = parse_number(optarg, 8, 01000);
		return o->rw_socket_mode >= 0 || bad("not an octal mode", optarg);
	case OPT_RUNTIME_DIR:
		o->runtime_dir = optarg;
		return true;
	case OPT_LOG_DIR:
		o->log_dir = optarg;
		return true;
	case OPT_VCHAN:
		o->vchan = optarg;
		return vchan_transport_find(optarg) ||
		       bad(vchan_transport_missing(optarg), optarg);
	case OPT_STATE:
		o->state = optarg;
		return *optarg != '\0' || bad("not a file name", optarg);
	case OPT_STATE_SYNC:
		return take_sync(o, optarg);
	case OPT_QUOTA:
		wrong = quota_set(optarg);
		return !wrong || bad(wrong, optarg);
	case OPT_FOREGROUND:
		o->foreground = true;
		return true;
	case OPT_NO_SANDBOX:
		o->sandbox = false;
		return true;
	}
	return false;
}

static bool take_arguments(struct options *o, int n, char **arguments)
{
	if (n == 0)
		return bad("missing argument", "REMOTE-DOMID");
	if (n > 2)
		return bad("too many arguments, from", arguments[2]);
	o->remote_domid = parse_number(arguments[0], 10, VCHAN_DOMIDS);
	if (o->remote_domid < 0)
		return bad("not a domain id", arguments[0]);
	if (n == 1 || arguments[1][0] == '\0')
		return true;
	if (!is_name(arguments[1]))
		return bad("not a VM's name, which has 1 to 63 characters, none of them "
			   "a blank or '/', and no '.' in front",
			   arguments[1]);
	o->remote_name = arguments[1];
	return true;
}

enum options_result options_parse(struct options *o, int argc, char **argv)
{
	const char *directory = getenv("QUBESDB_RUNTIME_DIR");
	int option;

	*o = (struct options){
		.runtime_dir = directory && *directory ? directory : DEFAULT_RUNTIME_DIR,
		.log_dir = DEFAULT_LOG_DIR,
		.vchan = "auto",
		.rw_socket_mode = 0666,
		.sandbox = true,
		.foreground = getenv("NOTIFY_SOCKET") != NULL,
	};
	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'h')
			return OPTIONS_HELP;
		if (option == OPT_VERSION)
			return OPTIONS_VERSION;
		if (!take_option(o, option))
			return OPTIONS_BAD;
	}
	return take_arguments(o, argc - optind, argv + optind) ? OPTIONS_RUN
							       : OPTIONS_BAD;
}
