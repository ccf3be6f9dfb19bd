/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/statefile_parts.h"
#include "daemon/walcheck.h"

/* When it is moved into the file; there is room for the commit that makes it so long. */
#define LONG_WAL 128

static int note_length(void *context, sqlite3 *db, const char *name, int frames)
{
	int *noted = context;

	(void)db, (void)name;
	*noted = frames;
	return SQLITE_OK;
}

static bool checkpoint(struct statefile *f, int how)
{
	return sqlite3_wal_checkpoint_v2(f->db, NULL, how, NULL, NULL) == SQLITE_OK;
}

static bool extend(struct statefile *f)
{
	sqlite3_file *wal = NULL;
	sqlite3_int64 size;

	sqlite3_file_control(f->db, NULL, SQLITE_FCNTL_JOURNAL_POINTER, &wal);
	if (!wal || !wal->pMethods || wal->pMethods->xFileSize(wal, &size) != SQLITE_OK)
		return false;
	return size >= WAL_SIZE || wal->pMethods->xTruncate(wal, WAL_SIZE) == SQLITE_OK;
}

static bool say_lacks_wal(struct statefile *f, bool lacks_wal)
{
	if (f->lacks_wal != lacks_wal &&
	    !statefile_run(f, lacks_wal ? "UPDATE owner SET lacks_wal = 1"
					: "UPDATE owner SET lacks_wal = 0"))
		return false;
	f->lacks_wal = lacks_wal;
	return true;
}

/* On a full disk there is room at the beginning of a log that has been moved. */
static bool make_room_to_say(struct statefile *f)
{
	return say_lacks_wal(f, true) ||
	       (checkpoint(f, SQLITE_CHECKPOINT_RESTART) && say_lacks_wal(f, true));
}

bool statefile_begin_wal(struct statefile *f)
{
	sqlite3_wal_hook(f->db, note_length, &f->wal_frames);
	return extend(f) && make_room_to_say(f) &&
	       checkpoint(f, SQLITE_CHECKPOINT_RESTART) && say_lacks_wal(f, false);
}

void statefile_go_on_with_wal(struct statefile *f)
{
	if (f->wal_frames >= LONG_WAL)
		statefile_begin_wal(f);
}

bool statefile_end_wal(struct statefile *f)
{
	return say_lacks_wal(f, false) && checkpoint(f, SQLITE_CHECKPOINT_TRUNCATE);
}

/* Reading opens it. */
bool statefile_first_wal(struct statefile *f)
{
	return statefile_run(f, "SELECT * FROM sqlite_master") && extend(f);
}
