/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gives a fuzz target the files that are named on the command line, in directories or
 * alone, and without any its own corpus: so that every build runs what fuzzing has found.
 * Each name is printed before its input runs.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_SIZE (1u << 20)

static unsigned passed;

static bool run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = malloc(INPUT_SIZE);
	size_t n;

	if (!f || !data) {
		perror(path);
		return false;
	}
	printf("%s\n", path);
	fflush(stdout);
	n = fread(data, 1, INPUT_SIZE, f);
	fclose(f);
	LLVMFuzzerTestOneInput(data, n);
	free(data);
	passed++;
	return true;
}

static bool run_directory(const char *path)
{
	struct dirent **names;
	char file[4096];
	bool fine = true;
	int n = scandir(path, &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			fine &= run_file(file);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return fine && n >= 0;
}

static bool run(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		perror(path);
		return false;
	}
	return S_ISDIR(st.st_mode) ? run_directory(path) : run_file(path);
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/'), *srcdir = getenv("srcdir");
	char corpus[4096];
	bool fine = true;

	name = name ? name + 1 : argv[0];
	snprintf(corpus, sizeof(corpus), "%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".",
		 strncmp(name, "fuzz_", 5) == 0 ? name + 5 : name);
	for (int i = 1; i < argc; i++)
		fine &= run(argv[i]);
	if (argc == 1)
		fine = run(corpus);
	printf("%u passed, %d failed\n", passed, !fine);
	return fine && passed > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
