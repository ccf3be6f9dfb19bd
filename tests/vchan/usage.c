/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/vchan/usage.h"

#include <dirent.h>
#include <malloc.h>
#include <stdio.h>

static size_t count_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	size_t n = 0;

	while (directory && readdir(directory))
		n++;
	if (directory)
		closedir(directory);
	return n;
}

static size_t count_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	size_t n = 0;
	int c;

	while (maps && (c = getc(maps)) != EOF)
		n += c == '\n';
	if (maps)
		fclose(maps);
	return n;
}

struct usage usage_now(void)
{
	return (struct usage){
		.descriptors = count_descriptors(),
		.mappings = count_mappings(),
		.heap = mallinfo2().uordblks,
	};
}
