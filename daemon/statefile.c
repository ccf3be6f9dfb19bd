/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/statefile.h"

#include <sqlite3.h>
#include <string.h>

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

#define APPLICATION_ID 0x51444231 /* "QDB1" */
#define FORMAT 1

/* The beginning of the chain of checksums; this is 64-bit FNV-1a. */
#define CHECKSUM_FIRST 0xcbf29ce484222325u
#define CHECKSUM_PRIME 0x100000001b3u

static const char tables[] =
	"BEGIN IMMEDIATE;"
	"PRAGMA application_id = " TEXT(
		APPLICATION_ID) ";"
				"PRAGMA user_version = " TEXT(
					FORMAT) ";"
						"CREATE TABLE owner (name TEXT, domid "
						"INTEGER, generation INTEGER);"
						"CREATE TABLE changes (number INTEGER "
						"PRIMARY KEY, records BLOB, checksum "
						"INTEGER)";

/*
 * The write-ahead log makes a commit one append, and the lock on it, held for good, keeps
 * its index out of shared memory. A small cache is enough: nothing is read but at start.
 */
#define READING "PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -64"
#define WRITING \
	"PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 64;" \
	"PRAGMA journal_size_limit = 524288; PRAGMA synchronous = "

static enum statefile_result result_of(int code)
{
	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return STATEFILE_FINE;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_FORMAT:
	case SQLITE_ERROR: /* no such table */
		return STATEFILE_DAMAGED;
	default:
		return STATEFILE_FAILED;
	}
}

static bool run(struct statefile *f, const char *sql)
{
	return sqlite3_exec(f->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static int prepare(struct statefile *f, sqlite3_stmt **statement, const char *sql)
{
	return sqlite3_prepare_v3(f->db, sql, -1, SQLITE_PREPARE_PERSISTENT, statement,
				  NULL);
}

/* The one number that a query gives. */
static int ask(struct statefile *f, const char *sql, int64_t *number)
{
	sqlite3_stmt *s;
	int code = prepare(f, &s, sql);

	if (code != SQLITE_OK)
		return code;
	code = sqlite3_step(s);
	*number = code == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
	sqlite3_finalize(s);
	return code;
}

/* ---- opening ---- */

static enum statefile_result create_tables(struct statefile *f,
					   const struct statefile_owner *owner)
{
	sqlite3_stmt *s;

	if (!run(f, tables) || prepare(f, &s, "INSERT INTO owner VALUES (?, ?, ?)"))
		return STATEFILE_FAILED;
	sqlite3_bind_text(s, 1, owner->name, -1, SQLITE_STATIC);
	sqlite3_bind_int(s, 2, owner->domid);
	sqlite3_bind_int64(s, 3, (int64_t)owner->generation);
	sqlite3_step(s);
	if (sqlite3_finalize(s) != SQLITE_OK || !run(f, "COMMIT"))
		return STATEFILE_FAILED;
	return STATEFILE_FINE;
}

static enum statefile_result compare_owner(struct statefile *f,
					   struct statefile_owner *owner)
{
	enum statefile_result result = STATEFILE_DAMAGED;
	const char *name;
	sqlite3_stmt *s;
	int code = prepare(f, &s, "SELECT name, domid, generation FROM owner");

	if (code == SQLITE_OK)
		code = sqlite3_step(s);
	if (code == SQLITE_ROW) {
		name = (const char *)sqlite3_column_text(s, 0);
		if (name && strcmp(name, owner->name) == 0 &&
		    sqlite3_column_int64(s, 1) == owner->domid)
			result = STATEFILE_FINE;
		else
			result = STATEFILE_FOREIGN;
		owner->generation = (uint64_t)sqlite3_column_int64(s, 2);
	} else if (code != SQLITE_DONE) {
		result = result_of(code);
	}
	sqlite3_finalize(s);
	return result;
}

static enum statefile_result check(struct statefile *f, struct statefile_owner *owner)
{
	int64_t application, format;
	int code = ask(f, "PRAGMA application_id", &application);

	if (code == SQLITE_ROW)
		code = ask(f, "PRAGMA user_version", &format);
	if (code != SQLITE_ROW)
		return result_of(code);
	if (application != APPLICATION_ID)
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
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
	sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
	code = sqlite3_open_v2(path, &f->db, flags, NULL);
	if (code != SQLITE_OK)
		return result_of(code);
	/* It is removed by name, and another daemon may own that by then. */
	sqlite3_file_control(f->db, NULL, SQLITE_FCNTL_PERSIST_WAL, &keep_log);
	return result_of(sqlite3_exec(f->db, READING, NULL, NULL, NULL));
}

static enum statefile_result prepare_changes(struct statefile *f)
{
	const char *append = "INSERT INTO changes (records, checksum) VALUES (?, ?)";
	int code = prepare(f, &f->append, append);

	if (code == SQLITE_OK)
		code = prepare(f, &f->clear, "DELETE FROM changes");
	return result_of(code);
}

enum statefile_result statefile_open(struct statefile *f, const char *path,
				     struct statefile_owner *owner,
				     enum statefile_sync sync, bool create)
{
	const char *writing =
		sync == STATEFILE_SYNC_DISK ? WRITING "FULL" : WRITING "OFF";
	enum statefile_result result;

	*f = (struct statefile){.checksum = CHECKSUM_FIRST};
	result = open_database(f, path);
	if (result == STATEFILE_FINE && !create)
		result = check(f, owner);
	if (result == STATEFILE_FINE)
		result = result_of(sqlite3_exec(f->db, writing, NULL, NULL, NULL));
	if (result == STATEFILE_FINE && create)
		result = create_tables(f, owner);
	return result == STATEFILE_FINE ? prepare_changes(f) : result;
}

void statefile_close(struct statefile *f)
{
	sqlite3_finalize(f->append);
	sqlite3_finalize(f->clear);
	sqlite3_close(f->db);
	*f = (struct statefile){.db = NULL};
}

const char *statefile_error(const struct statefile *f)
{
	return f->db ? sqlite3_errmsg(f->db) : sqlite3_errstr(SQLITE_NOMEM);
}

/* ---- reading ---- */

static uint64_t checksum(uint64_t before, const uint8_t *bytes, size_t len)
{
	uint64_t sum = before ^ len;

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ bytes[i]) * CHECKSUM_PRIME;
	return sum;
}

static bool take_row(struct statefile *f, sqlite3_stmt *s,
		     int (*take)(const uint8_t *, size_t, void *), void *context)
{
	const uint8_t *bytes = sqlite3_column_blob(s, 0);
	const size_t len = (size_t)sqlite3_column_bytes(s, 0);

	f->checksum = checksum(f->checksum, bytes, len);
	return f->checksum == (uint64_t)sqlite3_column_int64(s, 1) &&
	       take(bytes, len, context) == 0;
}

static enum statefile_result check_structure(struct statefile *f)
{
	sqlite3_stmt *s;
	int code = prepare(f, &s, "PRAGMA quick_check(1)");
	bool fine = false;

	if (code == SQLITE_OK)
		code = sqlite3_step(s);
	if (code == SQLITE_ROW)
		fine = strcmp((const char *)sqlite3_column_text(s, 0), "ok") == 0;
	sqlite3_finalize(s);
	if (code != SQLITE_ROW)
		return result_of(code);
	return fine ? STATEFILE_FINE : STATEFILE_DAMAGED;
}

enum statefile_result statefile_read(struct statefile *f,
				     int (*take)(const uint8_t *, size_t, void *),
				     void *context)
{
	const char *rows = "SELECT records, checksum FROM changes ORDER BY number";
	enum statefile_result result = check_structure(f);
	sqlite3_stmt *s;
	int code;

	if (result != STATEFILE_FINE)
		return result;
	code = prepare(f, &s, rows);
	if (code != SQLITE_OK)
		return result_of(code);
	while ((code = sqlite3_step(s)) == SQLITE_ROW && result == STATEFILE_FINE)
		if (!take_row(f, s, take, context))
			result = STATEFILE_DAMAGED;
	sqlite3_finalize(s);
	return result == STATEFILE_FINE ? result_of(code) : result;
}

/* ---- writing ---- */

bool statefile_begin(struct statefile *f)
{
	return run(f, "BEGIN");
}

static bool run_prepared(sqlite3_stmt *s)
{
	sqlite3_step(s);
	return sqlite3_reset(s) == SQLITE_OK;
}

bool statefile_clear(struct statefile *f)
{
	f->checksum = CHECKSUM_FIRST;
	return run_prepared(f->clear);
}

bool statefile_append(struct statefile *f, const uint8_t *bytes, size_t len)
{
	f->checksum = checksum(f->checksum, bytes, len);
	sqlite3_bind_blob64(f->append, 1, bytes, len, SQLITE_STATIC);
	sqlite3_bind_int64(f->append, 2, (int64_t)f->checksum);
	return run_prepared(f->append);
}

bool statefile_commit(struct statefile *f)
{
	return run(f, "COMMIT");
}

void statefile_rollback(struct statefile *f)
{
	if (!sqlite3_get_autocommit(f->db))
		run(f, "ROLLBACK");
}

bool statefile_empty_log(struct statefile *f)
{
	return sqlite3_wal_checkpoint_v2(f->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL,
					 NULL) == SQLITE_OK;
}
