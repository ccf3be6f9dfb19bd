/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The trace: a line in the log for each request and change, without values. */
#ifndef QDB_TRACE_H
#define QDB_TRACE_H

#include <sys/socket.h>

#include "protocol/message.h"

/* `peer` has asked this, and was answered with this type and size of data. */
void trace_request(const struct ucred *peer, const struct message *m, enum qdb_msg answer,
		   size_t answer_len);

/* The daemon at the other end has asked this, and was answered with this type. */
void trace_peer(const struct message *m, enum qdb_msg answer);

#endif
