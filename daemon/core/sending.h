/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a replica sends of its own accord. Only for replica.c. */
#ifndef QDB_SENDING_H
#define QDB_SENDING_H

#include "daemon/core/replica.h"
#include "protocol/announcement.h"

/* Ends the link as soon as the daemon looks; the first reason counts. */
void sending_fail(struct replica *r, const char *why);

/*
 * The same, because of something that the protocol forbids. Who does that is no legacy
 * VM, and the next one may be the first.
 */
void sending_violated(struct replica *r, const char *how);

/* Queues a message without data that is not an operation. */
void sending_say(struct replica *r, enum qdb_msg type, const char *path, size_t len);

/* Queues an announcement that carries nothing else. */
void sending_announce(struct replica *r, enum announcement_kind kind);

/* The peer's change of this path is refused, and it shall get the state that stands. */
void sending_owe_refusal(struct replica *r, const char *path, size_t len);

/* Makes a legacy VM forget what it holds. */
void sending_emptying(struct replica *r);

/* Nothing that we have changed so far is owed to the peer any more, or unanswered. */
void sending_forget(struct replica *r);

/* Our changes are too many to be kept: they are forgotten, and the link starts over. */
void sending_overrun(struct replica *r);

/* Sends on: the changes that are owed, or the dump, up to the bounds. */
void sending_run(struct replica *r);

#endif
