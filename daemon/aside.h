/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * State files that cannot be used. They are never changed nor overwritten, but moved with
 * all that lies beside them to PATH.aside, or PATH.aside.1 and so on; only the last of
 * ASIDE_MOST names is used again.
 */
#ifndef QDB_ASIDE_H
#define QDB_ASIDE_H

#include <stdbool.h>

#define ASIDE_MOST 10

#define TAIL_SUFFIX "-tail"
#define WAL_SUFFIX "-wal"

/* Why what is at `path` must not even be opened, or NULL. */
const char *aside_reason(const char *path);

/* The same for what is beside it, when no other daemon uses it. */
const char *aside_reason_beside(const char *path, bool is_new);

/* Whether an open file is an ordinary one of this user, with no name but one. */
bool aside_is_ordinary(int fd);

/* Moves them, and says `why` in the log. */
bool aside_move(const char *path, const char *why);

/* Removes what was set aside, but not what another daemon uses there. */
void aside_remove(const char *path);

#endif
