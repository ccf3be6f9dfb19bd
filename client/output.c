/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/failure.h"

void output_reserve_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

bool output_finish(const struct options *o)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return true;
	failure_say(o, "Failed to write output: %s", strerror(errno));
	return false;
}

static bool end_line(const struct options *o)
{
	putchar('\n');
	return output_finish(o);
}

void output_escaped(FILE *to, const char *bytes, size_t len, const char *special)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char byte = (unsigned char)bytes[i];
		if (byte < 0x20 || byte > 0x7f) {
			fprintf(to, "\\x%02x", byte);
			continue;
		}
		if (strchr(special, byte))
			fputc('\\', to);
		fputc(byte, to);
	}
}

bool output_wants_colour(void)
{
	const char *refusal = getenv("NO_COLOR");
	const char *terminal = getenv("TERM");

	return !(refusal && refusal[0]) && terminal && strcmp(terminal, "dumb") != 0 &&
	       isatty(STDOUT_FILENO);
}

void output_ink(const struct options *o, enum ink ink)
{
	static const char *const sequences[] = {[INK_NONE] = "0",
						[INK_NAME] = "1;34",
						[INK_VALUE] = "32",
						[INK_TIME] = "2"};

	if (o->colour)
		printf("\033[%sm", sequences[ink]);
}

bool output_line(const struct options *o, const char *text)
{
	fputs(text, stdout);
	return end_line(o);
}

bool output_value(const struct options *o, const char *label, const char *value,
		  unsigned int len)
{
	if (label)
		printf("%s = ", label);
	if (o->raw)
		fwrite(value, 1, len, stdout);
	else
		output_escaped(stdout, value, len, "");
	return end_line(o);
}

const char *output_path(const struct options *o, const char *path, const char *prefix)
{
	size_t len = strlen(prefix);

	return o->full || strncmp(path, prefix, len) != 0 ? path : path + len;
}
