/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/claim.h"
#include "daemon/log.h"

/* A snapshot is due when the changes since the last one are half its size and this. */
#define SNAPSHOT_AFTER (64u * 1024u)

/* So much of a snapshot goes into one commit, in bytes. */
#define PIECE (16u * 1024u)

#define LAST_DELAY_S 60

#define TRIES 4

#define WAL_SUFFIX "-wal"
#define ASIDE_SUFFIX ".aside"

static void join(char *out, const char *path, const char *suffix, const char *more)
{
	snprintf(out, PATH_MAX, "%s%s%s", path, suffix, more);
}

/* ---- writing ---- */

static bool is_due(const struct state *s, size_t more)
{
	return s->log_size + more > SNAPSHOT_AFTER + s->snapshot_size / 2;
}

static bool begin_snapshot(struct state *s)
{
	s->in_snapshot = true;
	s->cursor = (struct journal_cursor){.has_begun = false};
	s->next_log_size = s->next_snapshot_size = 0;
	return statefile_begin_log(&s->file);
}

static bool end_snapshot(struct state *s)
{
	s->in_snapshot = false;
	s->log_size = s->next_log_size;
	s->snapshot_size = s->next_snapshot_size;
	return statefile_use_log(&s->file);
}

/* Writes `size` bytes of the snapshot, or a little more. */
static bool go_on_with_snapshot(struct state *s, size_t size)
{
	uint8_t piece[PIECE];
	size_t len, written = 0;

	while (written < size && !s->cursor.is_done) {
		len = journal_snapshot(s->domain, &s->cursor, piece, sizeof(piece));
		if (len > 0 && !statefile_append_next(&s->file, piece, len))
			return false;
		written += len;
	}
	s->next_snapshot_size += written;
	return !s->cursor.is_done || end_snapshot(s);
}

/*
 * A snapshot grows at least as fast as the changes that come in the meantime, and so it
 * is soon done; but a namespace of many megabytes must not hold up a turn.
 */
static bool append(struct state *s)
{
	const struct journal *j = &s->domain->journal;
	const bool has_begun = s->in_snapshot;

	if (!has_begun && !is_due(s, j->used)) {
		s->log_size += j->used;
		return statefile_append(&s->file, j->bytes, j->used);
	}
	if (!statefile_begin(&s->file) || !statefile_append(&s->file, j->bytes, j->used))
		return false;
	if (!has_begun && !begin_snapshot(s))
		return false;
	if (has_begun && !statefile_append_next(&s->file, j->bytes, j->used))
		return false;
	s->log_size += j->used;
	s->next_log_size += has_begun ? j->used : 0;
	return go_on_with_snapshot(s, MAX(j->used, PIECE)) && statefile_commit(&s->file);
}

static bool write_all(struct state *s)
{
	return statefile_begin(&s->file) && begin_snapshot(s) &&
	       go_on_with_snapshot(s, SIZE_MAX) && statefile_commit(&s->file);
}

static bool commit(struct state *s)
{
	if (!s->is_open)
		return false;
	if (s->domain->journal.incomplete ? write_all(s) : append(s)) {
		journal_committed(&s->domain->journal);
		return true;
	}
	log_error("cannot write the state %s: %s", s->path, statefile_error(&s->file));
	statefile_rollback(&s->file);
	return false;
}

static void try_later(struct state *s)
{
	const struct timeval pause = {.tv_sec = s->delay_s};

	if (!s->is_failing)
		log_error("changes are not kept from now on; trying again");
	s->is_failing = true;
	journal_failed(&s->domain->journal);
	event_add(&s->retry, &pause);
	s->delay_s = s->delay_s * 2 < LAST_DELAY_S ? s->delay_s * 2 : LAST_DELAY_S;
}

void state_commit(struct state *s)
{
	if (!s->path || s->is_failing ||
	    !journal_prepare(&s->domain->journal, &s->domain->replica))
		return;
	if (!commit(s))
		try_later(s);
}

/* ---- opening ---- */

static void forget_file(struct state *s)
{
	if (s->is_open)
		statefile_close(&s->file);
	s->is_open = false;
	for (int i = 0; i < 2; i++)
		installed_forget(&s->installed[i]);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static bool set_aside(struct state *s, const char *why)
{
	char from[PATH_MAX], to[PATH_MAX];
	int r;

	forget_file(s);
	join(to, s->path, ASIDE_SUFFIX, "");
	r = installed_move(s->path, to);
	log_warning("the state %s %s: %s %s", s->path, why,
		    r < 0 ? "and cannot be moved to" : "it is moved to", to);
	if (r < 0)
		return false;
	join(from, s->path, WAL_SUFFIX, "");
	join(to, s->path, ASIDE_SUFFIX, WAL_SUFFIX);
	if (installed_move(from, to) < 0)
		unlink(to);
	return true;
}

static bool is_at_path(const struct state *s)
{
	struct stat ours, there;

	return fstat(s->fd, &ours) == 0 && lstat(s->path, &there) == 0 &&
	       ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
}

static bool is_usable(const struct state *s)
{
	struct stat there;

	return fstat(s->fd, &there) == 0 && S_ISREG(there.st_mode) &&
	       there.st_uid == geteuid() && there.st_nlink <= 1;
}

/* The file, created if need be, and this daemon as the only one of its domain. */
static bool claim_file(struct state *s)
{
	const int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	int r;

	for (int i = 0; i < TRIES; i++) {
		s->fd = open(s->path, flags);
		s->is_new = s->fd < 0 && errno == ENOENT;
		if (s->is_new)
			s->fd = open(s->path, flags | O_CREAT | O_EXCL, 0600);
		if (s->fd < 0 && errno == EEXIST)
			continue;
		if (s->fd < 0 && errno == ELOOP) {
			if (!set_aside(s, "is a symbolic link"))
				return false;
			continue;
		}
		if (s->fd < 0) {
			log_error("cannot open the state %s: %s", s->path,
				  strerror(errno));
			return false;
		}
		r = is_usable(s) ? claim_take(s->fd, s->owner.domid) : -EPERM;
		if (r == 0 && is_at_path(s))
			return true;
		if (r == 0)
			forget_file(s); /* removed by who has just ended */
		else if (!set_aside(s, r == -EBUSY ? "is in use for another domain"
				       : r == -EPERM
					       ? "is not an ordinary file of this user"
					       : strerror(-r)))
			return false;
	}
	return false;
}

static void adopt(struct state *s)
{
	char log[PATH_MAX];

	join(log, s->path, WAL_SUFFIX, "");
	installed_adopt(&s->installed[0], s->path);
	installed_adopt(&s->installed[1], log);
}

static const char *const reasons[] = {
	[STATEFILE_DAMAGED] = "is damaged",
	[STATEFILE_NEWER] = "is of a newer version of this program",
	[STATEFILE_FOREIGN] = "is of another domain",
};

static enum statefile_result open_file(struct state *s, struct statefile_owner *owner,
				       bool create)
{
	enum statefile_result result;

	result = statefile_open(&s->file, s->path, owner, s->sync, create);
	s->is_open = true;
	if (result == STATEFILE_FAILED)
		log_error("cannot use the state %s: %s", s->path,
			  statefile_error(&s->file));
	return result;
}

/* An empty state, by this daemon's generation. */
static bool create(struct state *s)
{
	if (!claim_file(s) || open_file(s, &s->owner, true) != STATEFILE_FINE) {
		forget_file(s);
		return false;
	}
	adopt(s);
	return true;
}

static int take_row(const uint8_t *bytes, size_t len, void *context)
{
	struct state *s = context;

	s->log_size += len;
	return journal_replay(s->domain, bytes, len);
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
	result = statefile_read(&s->file, take_row, s);
	for (int i = 0; i < 4; i++)
		accounts[i]->limit = limits[i];
	return result;
}

static size_t size_of_snapshot(const struct domain *d)
{
	const struct namespace *entries = &d->entries;

	return entries->bytes.used + entries->entries.used * RECORD_HEADER_SIZE;
}

static enum statefile_result load(struct state *s)
{
	struct statefile_owner owner = s->owner;
	enum statefile_result result = open_file(s, &owner, s->is_new);

	if (result == STATEFILE_FINE)
		result = read_file(s);
	if (result == STATEFILE_FINE) {
		s->owner = owner;
		s->domain->replica.id = owner.generation;
		s->snapshot_size = size_of_snapshot(s->domain);
		s->log_size -= MIN(s->log_size, s->snapshot_size);
		adopt(s);
	}
	return result;
}

static void start_over(struct state *s)
{
	struct replica *r = &s->domain->replica;

	namespace_clear(&s->domain->entries);
	s->domain->journal.peer = (struct record_peer){.id = 0};
	r->peer_id = r->processed = 0;
	r->served_legacy = r->peer_is_known = false;
	s->log_size = s->snapshot_size = 0;
}

static bool load_or_create(struct state *s)
{
	enum statefile_result result;

	if (!claim_file(s))
		return false;
	result = load(s);
	if (result == STATEFILE_FINE)
		return true;
	start_over(s);
	if (result == STATEFILE_FAILED) {
		forget_file(s);
		return false;
	}
	return set_aside(s, reasons[result]) && create(s);
}

/* What a file holds by now that could not be opened before is older than the domain. */
static bool try_again(struct state *s)
{
	struct stat there;

	if (!s->is_open && lstat(s->path, &there) == 0 && there.st_size > 0 &&
	    !set_aside(s, "has become out of date"))
		return false;
	if (!s->is_open && !create(s))
		return false;
	journal_prepare(&s->domain->journal, &s->domain->replica);
	if (!commit(s))
		return false;
	log_info("changes are kept again in the state %s", s->path);
	s->is_failing = false;
	s->delay_s = 1;
	return true;
}

static void on_retry(evutil_socket_t fd, short what, void *context)
{
	struct state *s = context;

	(void)fd, (void)what;
	if (!try_again(s))
		try_later(s);
}

void state_init(struct state *s)
{
	*s = (struct state){
		.fd = -1,
		.delay_s = 1,
		.installed = {INSTALLED_NONE, INSTALLED_NONE},
	};
}

void state_open(struct state *s, const char *path, const char *name, int domid,
		enum statefile_sync sync, struct domain *d, struct event_base *base)
{
	s->path = strdup(path);
	if (!s->path) {
		log_error("no memory for the state %s", path);
		return;
	}
	s->owner = (struct statefile_owner){name, domid, d->replica.id};
	s->sync = sync;
	s->domain = d;
	evtimer_assign(&s->retry, base, on_retry, s);
	d->journal.enabled = true;
	if (!load_or_create(s))
		try_later(s);
	else if (d->entries.entries.used > 0)
		log_info("continuing with %zu entries", d->entries.entries.used);
}

/* ---- the end ---- */

static void end(struct state *s)
{
	event_del(&s->retry);
	forget_file(s);
	free(s->path);
	s->path = NULL;
}

/* The log goes before the file is closed: from then on a successor may have its own. */
void state_close(struct state *s)
{
	if (!s->path)
		return;
	if (s->is_failing)
		try_again(s);
	else
		state_commit(s);
	if (s->is_open && statefile_empty_log(&s->file))
		installed_remove(&s->installed[1]);
	end(s);
}

void state_remove(struct state *s)
{
	if (!s->path)
		return;
	for (int i = 0; i < 2; i++)
		installed_remove(&s->installed[i]);
	end(s);
}
