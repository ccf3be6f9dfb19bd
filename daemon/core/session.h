/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One local client's conversation. Bytes that it sent are put in, bytes for it are taken
 * out; requests are served in order while there is room for their answers.
 */
#ifndef QDB_SESSION_H
#define QDB_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/quota.h"

struct domain;
struct session;

enum session_access { SESSION_READ_WRITE, SESSION_READ_ONLY };

/*
 * 0, -EDQUOT when the domain has as many clients as it may, or -ENOMEM. `owner` is for
 * session_owner() only.
 */
int session_new(struct session **ret, struct domain *d, enum session_access access,
		void *owner);
void session_free(struct session *s);

/* The client may switch the trace. */
void session_trust(struct session *s);

/*
 * For a session that has done nothing yet. Its watches and its unsent output are charged
 * to these accounts, which must outlive it, too. As much output as answers alone may need
 * is not: so a client is given up over what others have not read only if it has unread
 * events itself.
 */
void session_share(struct session *s, struct account *watches, struct account *output);

void *session_owner(const struct session *s);

/*
 * Where to put what the client sends, and how many bytes; 0 while its requests wait for
 * room, or when as many as it holds wait for the domain to serve.
 * After session_received() call session_run().
 */
size_t session_space(struct session *s, uint8_t **space);
void session_received(struct session *s, size_t len);

/* Serves requests until none is whole, enough output waits, or it was enough at once. */
void session_run(struct session *s);

/* Whether session_run() would have something to do. */
bool session_has_work(const struct session *s);

/* Whether everything received has been answered and taken. */
bool session_is_idle(const struct session *s);

/*
 * The next bytes for the client, at most 32 KiB of whole messages, so that a unix socket
 * takes them whole or not at all; NULL with *len 0 if there are none.
 */
const uint8_t *session_output(const struct session *s, size_t *len);
void session_sent(struct session *s, size_t len);

/* The client did not take the output: from now on equal events are merged. */
void session_stalled(struct session *s);

/* Whether a request was refused for a quota, and which; true once only, for the log. */
bool session_was_refused(struct session *s, enum quota *quota);

/* Why the session must be closed, or NULL; and whether for a quota. */
const char *session_failure(const struct session *s);
bool session_exceeded(const struct session *s, enum quota *quota);

/* Takes a session off the domain's list of those with new output; NULL at the end. */
struct session *session_next_active(struct domain *d);

#endif
