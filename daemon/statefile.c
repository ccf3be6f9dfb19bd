/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/statefile.h"

#include <errno.h>
#include <string.h>

#include "daemon/statefile_parts.h"
#include "protocol/number.h"

enum statefile_result statefile_result_of(int code)
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

bool statefile_run(struct statefile *f, const char *sql)
{
	return sqlite3_exec(f->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

int statefile_prepare(struct statefile *f, sqlite3_stmt **statement, const char *sql)
{
	return sqlite3_prepare_v3(f->db, sql, -1, SQLITE_PREPARE_PERSISTENT, statement,
				  NULL);
}

bool statefile_column_is(sqlite3_stmt *s, int column, const char *text)
{
	const char *found = (const char *)sqlite3_column_text(s, column);

	return found && strcmp(found, text) == 0;
}

/* ---- reading ---- */

static enum statefile_result check_structure(struct statefile *f)
{
	sqlite3_stmt *s;
	int code = statefile_prepare(f, &s, "PRAGMA quick_check(1)");
	bool fine = false;

	if (code == SQLITE_OK)
		code = sqlite3_step(s);
	if (code == SQLITE_ROW)
		fine = statefile_column_is(s, 0, "ok");
	sqlite3_finalize(s);
	if (code != SQLITE_ROW)
		return statefile_result_of(code);
	return fine ? STATEFILE_FINE : STATEFILE_DAMAGED;
}

/* The blocks of two logs alternate. */
static int64_t row_of(uint64_t epoch, uint32_t number)
{
	return (int64_t)number * 2 + (int64_t)(epoch & 1);
}

static uint64_t seed_of_log(const struct statefile *f, uint64_t epoch)
{
	return statelog_checksum(f->seed, &epoch, sizeof(epoch));
}

static enum statefile_result read_blocks(struct statefile *f, sqlite3_stmt *s,
					 struct statelog_reader *reader)
{
	bool is_last = false;
	int code = SQLITE_ROW, error = 0;

	for (uint32_t number = 0; !is_last; number++) {
		sqlite3_reset(s);
		sqlite3_bind_int64(s, 1, row_of(f->epoch, number));
		code = sqlite3_step(s);
		if (code == SQLITE_DONE)
			return STATEFILE_DAMAGED;
		if (code != SQLITE_ROW)
			return statefile_result_of(code);
		error = statelog_read(reader, sqlite3_column_blob(s, 0),
				      (size_t)sqlite3_column_bytes(s, 0), &is_last);
		if (error < 0)
			return error == -ENOMEM ? STATEFILE_FAILED : STATEFILE_DAMAGED;
	}
	return STATEFILE_FINE;
}

static enum statefile_result read_snapshot(struct statefile *f,
					   int (*take)(const uint8_t *, size_t, void *),
					   void *context)
{
	enum statefile_result result;
	struct statelog_reader reader;
	sqlite3_stmt *s;
	const int code =
		statefile_prepare(f, &s, "SELECT block FROM blocks WHERE number = ?");

	if (code != SQLITE_OK)
		return statefile_result_of(code);
	statelog_reader_init(&reader, &f->next, seed_of_log(f, f->epoch), take, context);
	result = read_blocks(f, s, &reader);
	statelog_reader_free(&reader);
	sqlite3_finalize(s);
	f->snapshot_size = statelog_size(&f->next);
	explicit_bzero(&f->next, sizeof(f->next));
	return result;
}

static enum statefile_result read_tail(struct statefile *f,
				       int (*take)(const uint8_t *, size_t, void *),
				       void *context)
{
	if (f->tail.fd < 0)
		return STATEFILE_FINE;
	f->error = statetail_read(&f->tail, f->epoch, !f->has_tail, take, context);
	if (f->error == -EBADMSG)
		return STATEFILE_DAMAGED;
	return f->error < 0 ? STATEFILE_FAILED : STATEFILE_FINE;
}

enum statefile_result statefile_read(struct statefile *f,
				     int (*take)(const uint8_t *, size_t, void *),
				     void *context)
{
	enum statefile_result result = check_structure(f);

	if (result == STATEFILE_FINE)
		result = read_snapshot(f, take, context);
	return result == STATEFILE_FINE ? read_tail(f, take, context) : result;
}

/* ---- what comes after the snapshot ---- */

static bool begin_tail(struct statefile *f)
{
	f->error = statetail_begin(&f->tail, f->epoch);
	return f->error == 0;
}

bool statefile_make_tail(struct statefile *f)
{
	f->error = statetail_create(&f->tail, f->path);
	return f->error == 0 && begin_tail(f);
}

bool statefile_append(struct statefile *f, const uint8_t *bytes, size_t len)
{
	f->error = statetail_append(&f->tail, bytes, len);
	return f->error == 0;
}

size_t statefile_appended(const struct statefile *f)
{
	return (size_t)f->tail.at;
}

/* ---- the snapshot ---- */

static bool run_prepared(struct statefile *f, enum statefile_statement which)
{
	f->error = 0;
	sqlite3_step(f->statements[which]);
	return sqlite3_reset(f->statements[which]) == SQLITE_OK;
}

bool statefile_begin(struct statefile *f)
{
	return run_prepared(f, STATEFILE_BEGIN);
}

bool statefile_commit(struct statefile *f)
{
	return run_prepared(f, STATEFILE_COMMIT);
}

void statefile_rollback(struct statefile *f)
{
	if (!sqlite3_get_autocommit(f->db))
		statefile_run(f, "ROLLBACK");
}

static bool put_block(struct statefile *f)
{
	sqlite3_stmt *s = f->statements[STATEFILE_PUT];
	struct statelog *l = &f->next;

	statelog_seal(l);
	sqlite3_bind_int64(s, 1, row_of(f->epoch + 1, l->number));
	sqlite3_bind_blob(s, 2, l->block, sizeof(l->block), SQLITE_STATIC);
	return run_prepared(f, STATEFILE_PUT);
}

static bool fill(struct statefile *f, const uint8_t *bytes, size_t len)
{
	while (len > 0) {
		const size_t n = statelog_fill(&f->next, bytes, len);

		bytes += n;
		len -= n;
		if (!statelog_is_full(&f->next))
			continue;
		if (!put_block(f))
			return false;
		statelog_next(&f->next);
	}
	return true;
}

void statefile_begin_snapshot(struct statefile *f)
{
	statelog_begin(&f->next, seed_of_log(f, f->epoch + 1));
}

bool statefile_add(struct statefile *f, const uint8_t *bytes, size_t len)
{
	uint8_t header[4];

	number_put(header, len, sizeof(header));
	return fill(f, header, sizeof(header)) && fill(f, bytes, len);
}

static bool choose(struct statefile *f, uint64_t epoch, bool has_tail)
{
	sqlite3_stmt *s = f->statements[STATEFILE_CHOOSE];

	sqlite3_bind_int64(s, 1, (int64_t)epoch);
	sqlite3_bind_int(s, 2, has_tail);
	return run_prepared(f, STATEFILE_CHOOSE);
}

static bool checkpoint(struct statefile *f, int how)
{
	return sqlite3_wal_checkpoint_v2(f->db, NULL, how, NULL, NULL) == SQLITE_OK;
}

/* Out of the write-ahead log, which can be done the next time as well, and of memory. */
static void settle(struct statefile *f)
{
	checkpoint(f, SQLITE_CHECKPOINT_PASSIVE);
	sqlite3_db_release_memory(f->db);
}

bool statefile_use(struct statefile *f)
{
	if (f->tail.fd < 0 && !statefile_make_tail(f))
		return false;
	if (!put_block(f) || !choose(f, f->epoch + 1, true) || !statefile_commit(f))
		return false;
	f->epoch++;
	f->has_tail = true;
	f->snapshot_size = statelog_size(&f->next);
	explicit_bzero(&f->next, sizeof(f->next));
	settle(f);
	return begin_tail(f);
}

bool statefile_go_on(struct statefile *f)
{
	if (f->tail.fd < 0 && !statefile_make_tail(f))
		return false;
	if (f->tail.at == 0 && !begin_tail(f))
		return false;
	if (!f->has_tail && !choose(f, f->epoch, true))
		return false;
	f->has_tail = true;
	settle(f);
	return true;
}

bool statefile_end(struct statefile *f)
{
	return put_block(f) && choose(f, f->epoch + 1, false) && statefile_commit(f) &&
	       checkpoint(f, SQLITE_CHECKPOINT_TRUNCATE);
}
