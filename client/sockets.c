/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where daemons can be reached, found in the same way as the library finds it. */
#include "client/sockets.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/qubesdb-client.h"

const char *sockets_directory(void)
{
	const char *given = secure_getenv("QUBESDB_RUNTIME_DIR");

	return given && given[0] ? given : "/var/run/qubes";
}

int sockets_try(const char *domain, bool read_only)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int len = qdb_find_socket(domain, read_only, address.sun_path,
				  sizeof(address.sun_path));
	int fd, error = 0;

	if (len < 0 || (size_t)len >= sizeof(address.sun_path))
		return len < 0 ? EINVAL : ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		error = errno;
	close(fd);
	return error;
}

/* Neither qubesdb.sock nor qubesdb.ro.sock, which have no name in them. */
static int names_domain(const struct dirent *entry)
{
	return fnmatch("qubesdb.?*.sock", entry->d_name, 0) == 0 &&
	       strcmp(entry->d_name, "qubesdb.ro.sock") != 0;
}

/* Turns qubesdb.NAME.sock or qubesdb.NAME.ro.sock into NAME. */
static void cut_domain(char *file)
{
	size_t start = strlen("qubesdb.");
	size_t len = strlen(file) - start - strlen(".sock");

	if (len > 3 && strncmp(file + start + len - 3, ".ro", 3) == 0)
		len -= 3;
	memmove(file, file + start, len);
	file[len] = '\0';
}

void sockets_each_domain(void (*found)(const char *domain, void *context), void *context)
{
	struct dirent **files;
	int count = scandir(sockets_directory(), &files, names_domain, alphasort);

	for (int i = 0; i < count; i++) {
		cut_domain(files[i]->d_name);
		if (i == 0 || strcmp(files[i]->d_name, files[i - 1]->d_name) != 0)
			found(files[i]->d_name, context);
		if (i > 0)
			free(files[i - 1]);
	}
	if (count > 0)
		free(files[count - 1]);
	if (count >= 0)
		free(files);
}
