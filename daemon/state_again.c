/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A state begins again when the domain has entries already, and the file has none of them
 * or not all: it is emptied and written anew, since it is out of date and may be what
 * fills the disk. Only one that could be read and not written to, by itself or as a copy
 * (state_copy.h), is not to be lost before the entries are in it again.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/aside.h"
#include "daemon/claim.h"
#include "daemon/log.h"
#include "daemon/state_open.h"

/* Closing the database has lost the claim. */
void state_suspend(struct state *s)
{
	statefile_close(&s->file);
	s->is_open = false;
	if (claim_is_held(s->fd) || claim_take(s->fd, s->owner.name, s->owner.domid) < 0)
		state_forget(s);
}

/* Others may have put something else there; only an ordinary file is written to. */
static int empty_beside(const struct state *s, const char *suffix)
{
	char name[PATH_MAX];
	int fd, r;

	snprintf(name, sizeof(name), "%s%s", s->path, suffix);
	fd = open(name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	r = fd >= 0 && aside_is_ordinary(fd) ? ftruncate(fd, 0) : unlink(name);
	r = r < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	return r;
}

static bool empty(struct state *s)
{
	int r = ftruncate(s->fd, 0) < 0 ? -errno : empty_beside(s, WAL_SUFFIX);

	if (r == 0)
		r = empty_beside(s, TAIL_SUFFIX);
	if (r < 0) {
		log_error("cannot empty the state %s: %s", s->path, strerror(-r));
		return false;
	}
	s->is_new = true;
	if (state_open_file(s, &s->owner) == STATEFILE_FINE) {
		state_adopt(s);
		return true;
	}
	state_suspend(s);
	return false;
}

/* A daemon that has taken over meanwhile has its state there. */
static bool is_anothers(const struct state *s)
{
	const int fd = open(s->path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	const bool held = fd >= 0 && claim_is_held(fd);

	if (fd >= 0)
		close(fd);
	return held;
}

static bool is_removed(int fd)
{
	struct stat ours;

	return fd >= 0 && fstat(fd, &ours) == 0 && ours.st_nlink == 0;
}

bool state_is_removed(const struct state *s)
{
	return is_removed(s->fd) || is_removed(s->installed[STATE_TAIL].fd);
}

static bool claim_again(struct state *s)
{
	state_forget(s);
	s->is_new = s->is_read_only = false;
	s->fd = open(s->path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (s->fd < 0)
		log_error("cannot open the state %s: %s", s->path, strerror(errno));
	return s->fd >= 0 && aside_is_ordinary(s->fd) && !claim_is_held(s->fd) &&
	       claim_take(s->fd, s->owner.name, s->owner.domid) == 0 &&
	       state_is_at_path(s) && !aside_reason_beside(s->path, false);
}

/* The file that was read; it is not to be lost before the entries are in it again. */
static bool open_again(struct state *s)
{
	struct statefile_owner owner = s->owner;
	enum statefile_result result = STATEFILE_FAILED;

	if (claim_again(s))
		result = state_open_file(s, &owner);
	if (result == STATEFILE_FINE && owner.generation == s->owner.generation) {
		state_adopt(s);
		return true;
	}
	s->is_copy = result == STATEFILE_FAILED;
	state_forget(s);
	return false;
}

bool state_begin_again(struct state *s)
{
	if (s->is_copy && state_is_there(s))
		return open_again(s);
	if (s->fd >= 0 && state_is_at_path(s))
		return empty(s);
	installed_remove(&s->installed[STATE_WAL]); /* which are not a new file's */
	installed_remove(&s->installed[STATE_TAIL]);
	state_forget(s);
	if (!state_is_there(s))
		return state_create(s);
	if (!s->is_anothers && !is_anothers(s))
		return state_set_aside(s, "could not be read") && state_create(s);
	log_error("the state %s is kept by another daemon", s->path);
	return false;
}
