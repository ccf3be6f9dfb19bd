/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Around the example of libqubesdb(3): prints each value, until one is "end". */
#include <errno.h>
#include <qubesdb-client.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void apply(const char *value)
{
	puts(value);
	fflush(stdout);
	if (strcmp(value, "end") == 0)
		exit(0);
}

static int example(void)
{
#include "example.inc"
}

int main(void)
{
	return example();
}
