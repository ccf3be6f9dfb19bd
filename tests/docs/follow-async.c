/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Around the event loop of libqubesdb(3): prints each value, until one is "end". */
#include <poll.h>
#include <qubesdb-async.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void apply(const char *value, unsigned int len)
{
	printf("%.*s\n", (int)len, value);
	fflush(stdout);
	if (len == strlen("end") && memcmp(value, "end", len) == 0)
		exit(0);
}

#include "example.inc"

int main(void)
{
	return follow();
}
