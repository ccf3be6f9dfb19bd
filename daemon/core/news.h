/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the VM's watchers must hear of when a link begins. Only for the replica. */
#ifndef QDB_NEWS_H
#define QDB_NEWS_H

#include "daemon/core/replica.h"

/* dom0: what is still owed or in flight. Then, until the VM has the dump, one entry. */
void news_gather(struct replica *r);
void news_add(struct replica *r, const char *path, size_t len);

/* dom0: the VM has the dump. */
void news_forget(struct replica *r);

/* The VM: the dump changes or removes this entry; and the dump has ended. */
void news_note_signals(struct replica *r, const char *path, size_t len);
void news_give_signals(struct replica *r);

#endif
