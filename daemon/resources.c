/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/resources.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "daemon/core/pathhash.h"
#include "daemon/log.h"

/*
 * Kept when clients take all the others: 13 for Xen, 9 for the state file, 6 for signals,
 * the listeners and the supervisor, and a few.
 */
#define RESERVED_DESCRIPTORS 32
#define FEWEST_CLIENTS 4

int resources_bound(struct account *connections)
{
	const int next = dup(STDIN_FILENO);
	struct rlimit limit;
	size_t free_ones;

	if (next >= 0)
		close(next);
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (next < 0 ||
	    limit.rlim_cur < (rlim_t)next + RESERVED_DESCRIPTORS + FEWEST_CLIENTS) {
		log_error("cannot start with %lu file descriptors: raise the limit "
			  "(ulimit -n, LimitNOFILE)",
			  (unsigned long)limit.rlim_cur);
		return -EMFILE;
	}
	free_ones = (size_t)limit.rlim_cur - (size_t)next - RESERVED_DESCRIPTORS;
	if (free_ones < connections->limit)
		connections->limit = free_ones;
	return 0;
}

/* Inside a VM this may run before the kernel has gathered entropy, and must not wait. */
static bool draw(void *bytes, size_t len)
{
	static const unsigned flags[] = {GRND_INSECURE, GRND_NONBLOCK};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (getrandom(bytes, len, flags[i]) == (ssize_t)len)
			return true;
	return false;
}

void resources_key_paths(void)
{
	uint8_t key[16];

	if (draw(key, sizeof(key)))
		path_hash_key(key);
	else
		log_warning("paths are hashed without a secret key: %s; start it again "
			    "once the kernel has random numbers",
			    strerror(errno));
}

uint64_t resources_draw_id(void)
{
	struct timespec now;
	uint64_t id;

	if (draw(&id, sizeof(id)))
		return id;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec ^
	       (uint64_t)getpid() << 48;
}
