/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a link begins. Only for replica.c. */
#ifndef QDB_RESYNC_H
#define QDB_RESYNC_H

#include "daemon/core/replica.h"
#include "protocol/announcement.h"

/* The VM greets dom0 and asks for the dump. */
void resync_ask(struct replica *r);

/* What the other end says: a request for the dump, a part of it, a hello or go. */
void resync_dump_request(struct replica *r, const struct message *m);
void resync_dump_entry(struct replica *r, const struct message *m);
void resync_announcement(struct replica *r, const struct announcement *a);

/* The VM: dom0 has this entry, so the end of a dump that did not name it spares it. */
void resync_confirm(struct replica *r, const char *path, size_t len);

#endif
