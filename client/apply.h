/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_CLIENT_APPLY_H
#define QDB_CLIENT_APPLY_H

#include "client/entries.h"

/*
 * Makes the entries `before` to the entries `after`, both sorted: removes what is only
 * among the former, and writes what is new or differs, or with `rewrite` all of the
 * latter. Returns false if something failed, and has said so then.
 */
bool apply_changes(qdb_handle_t h, const struct options *o, const struct entries *before,
		   const struct entries *after, bool rewrite);

#endif
