/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a state begins: which file is used, and which is not. Only for state.c. */
#ifndef QDB_STATE_OPEN_H
#define QDB_STATE_OPEN_H

#include "daemon/state.h"

/*
 * Each of these returns whether there is a file to write to, by now the domain's and
 * claimed by this daemon. state_load() takes the entries over from the one that is there,
 * if it can be used; state_create_instead() is for when the domain has entries already.
 */
bool state_load(struct state *s);
bool state_create_instead(struct state *s);

/* Closes it. */
void state_forget(struct state *s);

/* Says, for the next daemon, that the file lacks changes, or has them all. */
bool state_mark(struct state *s, bool out_of_date);

#endif
