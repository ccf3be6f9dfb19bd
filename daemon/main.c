/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>

#include "config.h"
#include "daemon/daemon.h"

int main(int argc, char **argv)
{
	struct options options;

	switch (options_parse(&options, argc, argv)) {
	case OPTIONS_RUN:
		return daemon_run(&options);
	case OPTIONS_HELP:
		options_print_usage(stdout);
		options_print_quotas(stdout);
		return EXIT_SUCCESS;
	case OPTIONS_VERSION:
		puts(PACKAGE_STRING);
		return EXIT_SUCCESS;
	case OPTIONS_BAD:
		break;
	}
	options_print_usage(stderr);
	return EXIT_FAILURE;
}
