/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <unistd.h>

#include "daemon/aside.h"
#include "daemon/log.h"
#include "daemon/state_open.h"

/* A snapshot is due when the changes since the last one are half its size and this. */
#define SNAPSHOT_AFTER (256u * 1024u)

/* So much of a snapshot goes into one commit, in bytes. */
#define PIECE (8u * 1024u)

#define LAST_DELAY_S 60

_Static_assert(JOURNAL_SIZE <= STATELOG_MAX_PIECE, "a turn's changes are one piece");

/* ---- writing ---- */

static bool is_due(const struct state *s)
{
	return statefile_appended(&s->file) > SNAPSHOT_AFTER + s->file.snapshot_size / 2;
}

static bool begin_snapshot(struct state *s)
{
	if (!statefile_begin(&s->file))
		return false;
	statefile_begin_snapshot(&s->file);
	s->cursor = (struct journal_cursor){.has_begun = false};
	s->in_snapshot = true;
	return true;
}

/* The changes of this turn are in what is to come, or must be told besides. */
static bool continue_snapshot(struct state *s)
{
	const struct journal *j = &s->domain->journal;

	if (!s->in_snapshot)
		return begin_snapshot(s);
	return statefile_begin(&s->file) && statefile_add(&s->file, j->bytes, j->used);
}

/* Writes `size` bytes of the snapshot, or a little more. */
static bool add_to_snapshot(struct state *s, size_t size)
{
	uint8_t piece[PIECE];
	size_t len, written = 0;
	bool done = true;

	while (done && written < size && !s->cursor.is_done) {
		len = journal_snapshot(s->domain, &s->cursor, piece, sizeof(piece));
		done = len == 0 || statefile_add(&s->file, piece, len);
		written += len;
	}
	explicit_bzero(piece, MIN(written, sizeof(piece)));
	return done;
}

static bool commit_snapshot(struct state *s)
{
	if (!s->cursor.is_done)
		return statefile_commit(&s->file);
	s->in_snapshot = false;
	return statefile_use(&s->file);
}

/*
 * A snapshot grows at least as fast as the changes that come in the meantime, and so it
 * is soon done; but a namespace of many megabytes must not hold up a turn.
 */
static bool go_on_with_snapshot(struct state *s)
{
	return continue_snapshot(s) &&
	       add_to_snapshot(s, MAX(s->domain->journal.used, PIECE)) &&
	       commit_snapshot(s);
}

static bool append(struct state *s)
{
	const struct journal *j = &s->domain->journal;

	return statefile_append(&s->file, j->bytes, j->used) &&
	       ((!s->in_snapshot && !is_due(s)) || go_on_with_snapshot(s));
}

static bool begin_whole(struct state *s)
{
	return begin_snapshot(s) && add_to_snapshot(s, SIZE_MAX);
}

static bool write_all(struct state *s)
{
	return begin_whole(s) && commit_snapshot(s);
}

static void log_failure(const struct state *s)
{
	log_error("cannot write the state %s: %s", s->path, statefile_error(&s->file));
}

static bool commit(struct state *s)
{
	if (!s->is_open)
		return false;
	if (s->domain->journal.incomplete ? write_all(s) : append(s)) {
		journal_committed(&s->domain->journal);
		return true;
	}
	log_failure(s);
	statefile_rollback(&s->file);
	return false;
}

static bool commit_anew(struct state *s)
{
	journal_failed(&s->domain->journal);
	return commit(s);
}

static void mark_out_of_date(struct state *s)
{
	s->is_current = false;
	if ((s->is_open || s->is_copy) && !state_mark(s, true))
		log_error("if this daemon ends now, the next one continues with what the "
			  "state %s has: %s",
			  s->path, strerror(errno));
}

static void begin_failing(struct state *s)
{
	s->is_failing = true;
	log_error("changes are not kept from now on; trying again");
	if (!s->is_current)
		mark_out_of_date(s);
}

static void try_later(struct state *s)
{
	const struct timeval pause = {.tv_sec = s->delay_s};

	if (!s->is_failing)
		begin_failing(s);
	if (!s->is_current)
		journal_failed(&s->domain->journal);
	event_add(&s->retry, &pause);
	s->delay_s = s->delay_s * 2 < LAST_DELAY_S ? s->delay_s * 2 : LAST_DELAY_S;
}

/* ---- after a failure ---- */

static bool try_again(struct state *s)
{
	if (!s->is_open && !state_begin_again(s))
		return false;
	journal_prepare(&s->domain->journal, &s->domain->replica);
	if (!commit_anew(s) || !state_mark(s, false)) {
		state_suspend(s);
		return false;
	}
	log_info("changes are kept again in the state %s", s->path);
	s->is_failing = s->is_current = s->is_copy = false;
	s->delay_s = 1;
	return true;
}

static void replace(struct state *s)
{
	log_warning("the state %s has been removed: it is written anew", s->path);
	state_suspend(s);
	if (!try_again(s))
		try_later(s);
}

static void on_retry(evutil_socket_t fd, short what, void *context)
{
	struct state *s = context;

	(void)fd, (void)what;
	if (!try_again(s))
		try_later(s);
}

void state_commit(struct state *s)
{
	if (!s->path || (s->is_failing && !s->is_current) ||
	    !journal_prepare(&s->domain->journal, &s->domain->replica))
		return;
	if (s->is_current) {
		mark_out_of_date(s);
		journal_failed(&s->domain->journal);
	} else if (state_is_removed(s))
		replace(s);
	else if (commit(s))
		return;
	else if (commit_anew(s))
		log_info("all is written to the state %s now", s->path);
	else
		try_later(s);
}

/* Empty if it cannot be told. */
static void read_boot(char *boot)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, boot, STATE_BOOT_SIZE - 1);

	boot[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
}

void state_init(struct state *s)
{
	*s = (struct state){
		.fd = -1,
		.delay_s = 1,
		.file = {.tail = STATETAIL_NONE},
		.installed = {INSTALLED_NONE, INSTALLED_NONE, INSTALLED_NONE,
			      INSTALLED_NONE},
	};
	read_boot(s->boot);
}

static void end(struct state *s)
{
	event_del(&s->retry);
	state_forget(s);
	free(s->path);
	s->path = NULL;
}

static void log_entries(const struct state *s)
{
	if (s->domain->entries.entries.used > 0)
		log_info("continuing with %zu entries", s->domain->entries.entries.used);
}

int state_open(struct state *s, const char *path, const char *spare, const char *name,
	       int domid, enum statefile_sync sync, struct domain *d,
	       struct event_base *base)
{
	s->path = strdup(path);
	if (!s->path) {
		log_error("no memory for the state %s", path);
		return 0;
	}
	s->spare = spare;
	s->owner = (struct statefile_owner){
		.name = name,
		.domid = domid,
		.generation = d->replica.id,
		/* dom0 is always the same; the other is as its user wants it */
		.boot = domid == 0 || sync == STATEFILE_SYNC_DISK ? "" : s->boot,
	};
	s->sync = sync;
	s->domain = d;
	evtimer_assign(&s->retry, base, on_retry, s);
	d->journal.enabled = true;
	if (!state_load(s)) {
		if (s->is_given_up) {
			end(s);
			return -EINTR;
		}
		try_later(s);
	}
	log_entries(s);
	return 0;
}

/* ---- the end ---- */

/*
 * What is beside the file goes before that is closed: from then on a successor may have
 * its own. If not everything can be put into the file, all stays as it is.
 */
static void leave_one_file(struct state *s)
{
	if (begin_whole(s) && statefile_end(&s->file)) {
		installed_remove(&s->installed[STATE_WAL]);
		installed_remove(&s->installed[STATE_TAIL]);
	} else {
		log_failure(s);
	}
}

void state_close(struct state *s)
{
	if (!s->path)
		return;
	if (s->is_failing)
		try_again(s);
	else if (state_is_removed(s))
		replace(s);
	else
		state_commit(s);
	if (s->is_open && !s->is_failing)
		leave_one_file(s);
	end(s);
}

void state_remove(struct state *s)
{
	if (!s->path)
		return;
	aside_remove(s->path);
	for (int i = 0; i < STATE_FILES; i++)
		installed_remove(&s->installed[i]);
	end(s);
}
