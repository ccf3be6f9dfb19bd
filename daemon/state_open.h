/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a state begins: which file is used, and which is not. Only for state*.c. */
#ifndef QDB_STATE_OPEN_H
#define QDB_STATE_OPEN_H

#include "daemon/state.h"

/*
 * Each of these returns whether there is a file to write to, by now the domain's and
 * claimed by this daemon. state_load() takes the entries over from the one that is there,
 * if it can be used, or sets `is_given_up`. state_begin_again() is for when the domain
 * has entries already: the file has none of them.
 */
bool state_load(struct state *s);
bool state_begin_again(struct state *s);

/* Whether somebody has removed the file or its tail, and what was committed with it. */
bool state_is_removed(const struct state *s);

/* Closes the file, keeping the claim, so that state_begin_again() can empty it: by then
 * it is out of date, and may be what fills the disk. */
void state_suspend(struct state *s);

/* Closes it. */
void state_forget(struct state *s);

/* Says, for the next daemon, that the file lacks changes, or has them all. */
bool state_mark(struct state *s, bool out_of_date);

/* What a path is followed by in the names of a state's files. */
extern const char *const state_suffixes[STATE_FILES];

/* Between state_open.c and state_again.c. */
bool state_set_aside(struct state *s, const char *why);
bool state_is_there(const struct state *s);
bool state_is_at_path(const struct state *s); /* the one that is open */
enum statefile_result state_open_file(struct state *s, struct statefile_owner *owner);
bool state_create(struct state *s);
void state_adopt(struct state *s);

#endif
