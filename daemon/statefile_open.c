/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a state file is made, recognised and closed. */
#include <errno.h>
#include <string.h>

#include "daemon/resources.h"
#include "daemon/statefile_memory.h"
#include "daemon/statefile_parts.h"

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

#define APPLICATION_ID 0x51444231 /* "QDB1" */
#define FORMAT 1

/* clang-format off */
static const char tables[] =
	"BEGIN IMMEDIATE;"
	"PRAGMA application_id = " TEXT(APPLICATION_ID) ";"
	"PRAGMA user_version = " TEXT(FORMAT) ";"
	"CREATE TABLE owner (name TEXT, domid INTEGER, generation INTEGER, boot TEXT,"
	"                    secret INTEGER, epoch INTEGER, has_tail INTEGER);"
	"CREATE TABLE blocks (number INTEGER PRIMARY KEY, block BLOB)";
/* clang-format on */

/* A block has the same size each time, so that sqlite changes its page in place. */
static const char *const statements[] = {
	[STATEFILE_BEGIN] = "BEGIN",
	[STATEFILE_COMMIT] = "COMMIT",
	[STATEFILE_PUT] = "INSERT OR REPLACE INTO blocks VALUES (?, ?)",
	[STATEFILE_CHOOSE] = "UPDATE owner SET epoch = ?, has_tail = ?",
};

/*
 * Of a write-ahead log it is known what a crash leaves, whatever program looks at the
 * file then; and the lock on it, held for good, keeps its index out of shared memory. A
 * small cache is enough: nothing is read but at start.
 */
#define WAL_KEPT 262144
#define READING "PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -64"
#define WRITING \
	"PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 64; " \
	"PRAGMA journal_size_limit = " TEXT(WAL_KEPT) "; PRAGMA synchronous = "

/* The one number that a query gives. */
static int ask(struct statefile *f, const char *sql, int64_t *number)
{
	sqlite3_stmt *s;
	int code = statefile_prepare(f, &s, sql);

	if (code != SQLITE_OK)
		return code;
	code = sqlite3_step(s);
	*number = code == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
	sqlite3_finalize(s);
	return code;
}

/* Of this run of the machine, as far as that matters to either. */
static bool is_of_boot(sqlite3_stmt *s, int column, const char *boot)
{
	return boot[0] == '\0' || statefile_column_is(s, column, "") ||
	       statefile_column_is(s, column, boot);
}

static enum statefile_result compare_owner(struct statefile *f,
					   struct statefile_owner *owner)
{
	enum statefile_result result = STATEFILE_DAMAGED;
	sqlite3_stmt *s;
	int code = statefile_prepare(f, &s,
				     "SELECT name, domid, generation, boot, secret, "
				     "epoch, has_tail FROM owner");

	if (code == SQLITE_OK)
		code = sqlite3_step(s);
	if (code == SQLITE_ROW) {
		if (statefile_column_is(s, 0, owner->name) &&
		    sqlite3_column_int64(s, 1) == owner->domid &&
		    is_of_boot(s, 3, owner->boot))
			result = STATEFILE_FINE;
		else
			result = STATEFILE_FOREIGN;
		owner->generation = (uint64_t)sqlite3_column_int64(s, 2);
		f->secret = (uint64_t)sqlite3_column_int64(s, 4);
		f->epoch = (uint64_t)sqlite3_column_int64(s, 5);
		f->has_tail = sqlite3_column_int(s, 6);
	} else if (code != SQLITE_DONE) {
		result = statefile_result_of(code);
	}
	sqlite3_finalize(s);
	return result;
}

/* As this program leaves it; else opening it for writing would change it. */
static bool has_log(struct statefile *f)
{
	bool found = false;
	sqlite3_stmt *s;

	if (statefile_prepare(f, &s, "PRAGMA journal_mode") == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW)
		found = statefile_column_is(s, 0, "wal");
	sqlite3_finalize(s);
	return found;
}

static enum statefile_result check(struct statefile *f, struct statefile_owner *owner)
{
	int64_t application, format;
	int code = ask(f, "PRAGMA application_id", &application);

	if (code == SQLITE_ROW)
		code = ask(f, "PRAGMA user_version", &format);
	if (code != SQLITE_ROW)
		return statefile_result_of(code);
	if (application != APPLICATION_ID || !has_log(f))
		return STATEFILE_DAMAGED;
	if (format != FORMAT)
		return format > FORMAT ? STATEFILE_NEWER : STATEFILE_DAMAGED;
	return compare_owner(f, owner);
}

static enum statefile_result open_database(struct statefile *f, const char *path)
{
	const int flags =
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
	int code, keep_log = 1;

	sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	statefile_wipe_memory();
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
	sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
	code = sqlite3_open_v2(path, &f->db, flags, NULL);
	if (code != SQLITE_OK)
		return statefile_result_of(code);
	/* It is removed by name, and another daemon may own that by then. And what is
	 * refused must not be changed by closing it. */
	sqlite3_file_control(f->db, NULL, SQLITE_FCNTL_PERSIST_WAL, &keep_log);
	sqlite3_db_config(f->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	return statefile_result_of(sqlite3_exec(f->db, READING, NULL, NULL, NULL));
}

static enum statefile_result prepare_statements(struct statefile *f)
{
	int code = SQLITE_OK;

	for (int i = 0; i < STATEFILE_STATEMENTS && code == SQLITE_OK; i++)
		code = statefile_prepare(f, &f->statements[i], statements[i]);
	return statefile_result_of(code);
}

static bool insert_owner(struct statefile *f, const struct statefile_owner *owner)
{
	sqlite3_stmt *s;

	if (statefile_prepare(f, &s, "INSERT INTO owner VALUES (?, ?, ?, ?, ?, 0, 1)") !=
	    SQLITE_OK)
		return false;
	sqlite3_bind_text(s, 1, owner->name, -1, SQLITE_STATIC);
	sqlite3_bind_int(s, 2, owner->domid);
	sqlite3_bind_int64(s, 3, (int64_t)owner->generation);
	sqlite3_bind_text(s, 4, owner->boot, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 5, (int64_t)f->secret);
	sqlite3_step(s);
	return sqlite3_finalize(s) == SQLITE_OK;
}

/* All checksums go on from what the row says. */
static void begin_sums(struct statefile *f, const struct statefile_owner *owner)
{
	uint64_t seed = statelog_checksum(f->secret, owner->name, strlen(owner->name));

	seed = statelog_checksum(seed, &owner->domid, sizeof(owner->domid));
	f->seed = statelog_checksum(seed, &owner->generation, sizeof(owner->generation));
	f->tail.seed = f->seed;
}

static enum statefile_result create(struct statefile *f,
				    const struct statefile_owner *owner)
{
	f->secret = resources_draw_id();
	begin_sums(f, owner);
	statefile_begin_snapshot(f);
	if (!statefile_make_tail(f) || !statefile_run(f, tables) ||
	    !insert_owner(f, owner) || prepare_statements(f) != STATEFILE_FINE ||
	    !statefile_use(f))
		return STATEFILE_FAILED;
	return STATEFILE_FINE;
}

static enum statefile_result open_tail(struct statefile *f)
{
	const int r = statetail_open(&f->tail, f->path);

	if (r == -ENOENT)
		return f->has_tail ? STATEFILE_DAMAGED : STATEFILE_FINE;
	f->error = r;
	return r < 0 ? STATEFILE_FAILED : STATEFILE_FINE;
}

enum statefile_result statefile_open(struct statefile *f, const char *path,
				     struct statefile_owner *owner,
				     enum statefile_sync sync, bool new)
{
	const char *writing =
		sync == STATEFILE_SYNC_DISK ? WRITING "FULL" : WRITING "OFF";
	enum statefile_result result;

	*f = (struct statefile){
		.path = path,
		.tail = {.fd = -1, .sync = sync == STATEFILE_SYNC_DISK},
	};
	result = open_database(f, path);
	if (result == STATEFILE_FINE && !new)
		result = check(f, owner);
	if (result == STATEFILE_FINE && !new)
		result = open_tail(f);
	if (result == STATEFILE_FINE)
		result = statefile_result_of(
			sqlite3_exec(f->db, writing, NULL, NULL, NULL));
	if (result != STATEFILE_FINE)
		return result;
	if (new)
		return create(f, owner);
	begin_sums(f, owner);
	return prepare_statements(f);
}

void statefile_close(struct statefile *f)
{
	for (int i = 0; i < STATEFILE_STATEMENTS; i++)
		sqlite3_finalize(f->statements[i]);
	sqlite3_close(f->db);
	statetail_close(&f->tail);
	*f = (struct statefile){.tail = STATETAIL_NONE};
}

const char *statefile_error(const struct statefile *f)
{
	if (f->error < 0)
		return strerror(-f->error);
	return f->db ? sqlite3_errmsg(f->db) : strerror(errno);
}
