/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which file is the state, and whose. Two mistakes would cost entries: to believe a file
 * that lacks some, and to write to one that a daemon still has.
 *
 * The claim (claim.h) comes before the first look inside: only when the daemon before has
 * ended does its file have everything. That daemon may have removed the file, or moved
 * another into its place, while it was waited for. So what was claimed is compared with
 * what is at the path, and if they differ all begins anew, a few times at most.
 *
 * A daemon that cannot write any more leaves a mark on the file. One with the mark, a
 * damaged one, one of another domain or of a newer program is set aside, whole, and a new
 * one is created; the reason goes into the log.
 *
 * Not being able to read is no damage: there may be no memory or no descriptors for now.
 * It is tried again for more than a second, since what is set aside for that is missed.
 * After that a copy is read (state_copy.h), and state.c has the file tried again later.
 * If even that fails, the domain begins without a file; the one that could not be read is
 * then set aside, too.
 *
 * Closing any descriptor of the file gives up the claim, by the rules of POSIX locks, and
 * sqlite opens and closes it as it likes. So what does not go well ends by closing all
 * and claiming again.
 */
#include "daemon/state_open.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/aside.h"
#include "daemon/claim.h"
#include "daemon/log.h"
#include "daemon/signals.h"
#include "daemon/state_copy.h"

#define TRIES 4

/* A file that is there but cannot be read is tried again, after pauses that double. */
#define LOADS 6
#define FIRST_PAUSE_MS 50

const char *const state_suffixes[STATE_FILES] = {
	[STATE_DATABASE] = "",
	[STATE_WAL] = WAL_SUFFIX,
	[STATE_INDEX] = "-shm",
	[STATE_TAIL] = TAIL_SUFFIX,
};

void state_forget(struct state *s)
{
	if (s->is_open)
		statefile_close(&s->file);
	s->is_open = false;
	for (int i = 0; i < STATE_FILES; i++)
		installed_forget(&s->installed[i]);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

bool state_set_aside(struct state *s, const char *why)
{
	const bool done = aside_move(s->path, why);

	state_forget(s);
	return done;
}

/*
 * The mark is the sticky bit, which means nothing else on a file. It needs no room on a
 * full disk, and no other file that would have to be found.
 */
bool state_mark(struct state *s, bool out_of_date)
{
	return fchmod(s->fd, out_of_date ? 0600 | S_ISVTX : 0600) == 0;
}

static bool is_marked(const struct state *s)
{
	struct stat ours;

	return fstat(s->fd, &ours) == 0 && ours.st_mode & S_ISVTX;
}

bool state_is_at_path(const struct state *s)
{
	struct stat ours, there;

	return fstat(s->fd, &ours) == 0 && lstat(s->path, &there) == 0 &&
	       ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
}

/* The file, created if need be. 0, -EAGAIN, another negative errno, or `why` is set. */
static int open_descriptor(struct state *s, const char **why)
{
	const int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;

	*why = aside_reason(s->path);
	if (*why)
		return 0;
	s->fd = open(s->path, flags);
	s->is_read_only = s->fd < 0 && (errno == EROFS || errno == EACCES);
	if (s->is_read_only)
		s->fd = open(s->path, (flags & ~O_ACCMODE) | O_RDONLY);
	s->is_new = s->fd < 0 && errno == ENOENT;
	if (s->is_new) {
		*why = aside_reason_beside(s->path, true);
		if (*why)
			return 0;
		s->fd = open(s->path, flags | O_CREAT | O_EXCL, 0600);
		if (s->fd >= 0 && !state_mark(s, s->is_failing)) /* whatever the umask */
			return -errno;
	}
	return s->fd >= 0 ? 0 : errno == EEXIST ? -EAGAIN : -errno;
}

/* This daemon becomes the only one of its domain. As above. */
static int claim_descriptor(struct state *s, const char **why)
{
	int r = claim_take(s->fd, s->owner.name, s->owner.domid);

	if (r == -EBUSY)
		*why = "is in use for another domain";
	else if (r == -EPERM || r == -ETIMEDOUT)
		*why = "is in use by a daemon that cannot be ended";
	else if (r == 0 && !state_is_at_path(s))
		return -EAGAIN; /* removed by who has just ended */
	else if (r == 0)
		*why = !s->is_new && is_marked(s) ? "is out of date"
						  : aside_reason_beside(s->path, false);
	return *why ? 0 : r;
}

static bool claim_file(struct state *s)
{
	const char *why;
	int r = -EAGAIN;

	for (int i = 0; i < TRIES && r == -EAGAIN; i++) {
		state_forget(s);
		r = open_descriptor(s, &why);
		if (r == 0 && !why)
			r = claim_descriptor(s, &why);
		if (r == 0 && !why)
			return true;
		if (r == 0)
			r = state_set_aside(s, why) ? -EAGAIN : -EPERM;
	}
	s->is_given_up = r == -EINTR;
	s->is_anothers = r == -EEXIST;
	if (s->is_anothers)
		log_error(
			"the state %s is left to the daemon of another name that has it",
			s->path);
	else if (!s->is_given_up)
		log_error("cannot open the state %s: %s", s->path, strerror(-r));
	return false;
}

void state_adopt(struct state *s)
{
	char name[PATH_MAX];

	for (int i = 0; i < STATE_FILES; i++) {
		snprintf(name, sizeof(name), "%s%s", s->path, state_suffixes[i]);
		installed_forget(&s->installed[i]);
		installed_adopt(&s->installed[i], name);
	}
}

static const char *const reasons[] = {
	[STATEFILE_DAMAGED] = "is damaged",
	[STATEFILE_NEWER] = "is of a newer version of this program",
	[STATEFILE_FOREIGN] = "is of another domain",
};

/* What sqlite would do with an empty file is to remove the log beside it. */
static bool is_empty(const struct state *s)
{
	struct stat ours;

	return fstat(s->fd, &ours) == 0 && ours.st_size == 0;
}

static void log_failure(const struct state *s)
{
	log_error("cannot use the state %s: %s", s->path, statefile_error(&s->file));
}

enum statefile_result state_open_file(struct state *s, struct statefile_owner *owner)
{
	enum statefile_result result;

	if (!s->is_new && is_empty(s))
		return STATEFILE_DAMAGED;
	if (s->is_read_only) {
		log_error("the state %s can only be read", s->path);
		return STATEFILE_FAILED;
	}
	result = statefile_open(&s->file, s->path, owner, s->sync, s->is_new);
	s->is_open = true;
	if (result == STATEFILE_FAILED)
		log_failure(s);
	return result;
}

static int take_piece(const uint8_t *bytes, size_t len, void *context)
{
	return journal_replay(context, bytes, len);
}

/* What was taken under other quotas is kept. */
static enum statefile_result read_file(struct state *s)
{
	struct namespace *ns = &s->domain->entries;
	struct account *accounts[] = {&ns->entries, &ns->bytes, &ns->peer_entries,
				      &ns->peer_bytes};
	enum statefile_result result;
	size_t limits[4];

	for (int i = 0; i < 4; i++) {
		limits[i] = accounts[i]->limit;
		accounts[i]->limit = SIZE_MAX;
	}
	result = statefile_read(&s->file, take_piece, s->domain);
	if (result == STATEFILE_FAILED)
		log_failure(s);
	for (int i = 0; i < 4; i++)
		accounts[i]->limit = limits[i];
	return result;
}

static void start_over(struct state *s)
{
	struct replica *r = &s->domain->replica;

	namespace_clear(&s->domain->entries);
	s->domain->journal.peer = (struct record_peer){.id = 0};
	r->peer_id = r->processed = 0;
	r->served_legacy = r->peer_is_known = false;
}

/* What could not be made is not left for the next daemon. */
static void abandon(struct state *s)
{
	if (s->is_new && s->fd >= 0) {
		state_adopt(s);
		for (int i = 0; i < STATE_FILES; i++)
			installed_remove(&s->installed[i]);
	}
	state_forget(s);
}

static enum statefile_result take_entries(struct state *s,
					  const struct statefile_owner *owner)
{
	const enum statefile_result result = read_file(s);

	if (result != STATEFILE_FINE)
		return result;
	s->owner = *owner;
	s->domain->replica.id = owner->generation;
	return STATEFILE_FINE;
}

/* On a full disk the file can be read, and is not to be lost; it is tried again later. */
static void begin_writing(struct state *s)
{
	const bool done = statefile_go_on(&s->file);

	state_adopt(s);
	if (done)
		return;
	log_failure(s);
	s->is_copy = s->is_current = true;
	state_suspend(s);
}

static enum statefile_result load(struct state *s)
{
	struct statefile_owner owner = s->owner;
	enum statefile_result result = STATEFILE_FAILED;

	if (claim_file(s))
		result = state_open_file(s, &owner);
	if (result == STATEFILE_FINE)
		result = take_entries(s, &owner);
	if (result != STATEFILE_FINE) {
		start_over(s);
		return result;
	}
	begin_writing(s);
	return STATEFILE_FINE;
}

/* The file itself stays claimed, if it can be, but is not open. */
static bool load_copy(struct state *s, const char *copy)
{
	struct statefile_owner owner = s->owner;
	enum statefile_result result;

	if (!claim_file(s) || s->is_new || !state_copy_make(s->fd, s->path, copy))
		return false;
	result = statefile_open(&s->file, copy, &owner, s->sync, false);
	if (result == STATEFILE_FINE)
		result = take_entries(s, &owner);
	statefile_close(&s->file);
	return result == STATEFILE_FINE;
}

static void read_copy(struct state *s)
{
	char copy[PATH_MAX];

	snprintf(copy, sizeof(copy), "%s/.qdb%ld.state", s->spare, (long)getpid());
	s->is_copy = s->is_current = load_copy(s, copy);
	state_copy_remove(copy);
	if (s->is_copy) {
		state_adopt(s);
	} else {
		start_over(s);
		abandon(s);
	}
}

bool state_is_there(const struct state *s)
{
	struct stat there;

	return lstat(s->path, &there) == 0;
}

/* An empty state, by this daemon's generation. */
bool state_create(struct state *s)
{
	if (claim_file(s) && state_open_file(s, &s->owner) == STATEFILE_FINE) {
		state_adopt(s);
		return true;
	}
	abandon(s);
	return false;
}

/* sqlite may take what it could not read for damage. */
static bool is_worth_another_look(enum statefile_result result, int looks)
{
	return result == STATEFILE_FAILED || (result == STATEFILE_DAMAGED && looks == 1);
}

bool state_load(struct state *s)
{
	enum statefile_result result;
	int pause_ms = FIRST_PAUSE_MS;

	for (int i = 1; is_worth_another_look(result = load(s), i); i++) {
		const bool is_last = i == LOADS || s->is_read_only || s->is_anothers;

		abandon(s);
		if (!s->is_given_up && !s->is_anothers && is_last && state_is_there(s))
			read_copy(s);
		if (s->is_given_up || is_last || !state_is_there(s))
			return false;
		s->is_given_up = signals_wait(-1, pause_ms) == -EINTR;
		if (s->is_given_up)
			return false;
		pause_ms *= 2;
	}
	if (result == STATEFILE_FINE)
		return s->is_open;
	return state_set_aside(s, reasons[result]) && state_create(s);
}
