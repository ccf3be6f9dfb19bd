/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files about a state file share: how sqlite is asked, and what it says. */
#ifndef QDB_STATEFILE_PARTS_H
#define QDB_STATEFILE_PARTS_H

#include <sqlite3.h>

#include "daemon/statefile.h"

/* What an sqlite result means for a state file. */
enum statefile_result statefile_result_of(int code);

/* Runs statements that give nothing back. Returns whether they succeeded. */
bool statefile_run(struct statefile *f, const char *sql);

/* An sqlite result; the statement is to be finalized, also after a failure. */
int statefile_prepare(struct statefile *f, sqlite3_stmt **statement, const char *sql);

/* Whether a row has this text. sqlite gives none when its memory is short. */
bool statefile_column_is(sqlite3_stmt *s, int column, const char *text);

/* Begins the epoch with nothing in it, in a file of its own. As the functions that write.
 */
bool statefile_make_tail(struct statefile *f);

#endif
