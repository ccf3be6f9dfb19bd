/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a session is made of, and what its requests do. Only for session.c and these. */
#ifndef QDB_REQUESTS_H
#define QDB_REQUESTS_H

#include "daemon/core/domain.h"
#include "daemon/core/outq.h"
#include "daemon/core/pending.h"
#include "daemon/core/session.h"
#include "protocol/message.h"

/* No request is looked at, and no answer goes on, while so many bytes of output wait. */
#define OUTPUT_PIECE (128u * 1024u)

struct answer {
	enum qdb_msg type; /* RESP_LIST, RESP_MULTIREAD or RESP_STATUS */
	bool descending;
	size_t prefix_len;
	size_t cursor_len; /* the last path given; the first time, nothing */
	char prefix[QDB_MAX_PATH];
	char cursor[QDB_MAX_PATH];
	bool has_begun;  /* of a status: what comes before the clients is there */
	uint64_t serial; /* and the clients up to this one */
	size_t unread;   /* what had been queued before it */
};

struct session {
	struct watcher watcher;
	struct domain *domain;
	void *owner;
	TAILQ_ENTRY(session) all;
	uint64_t serial; /* no other of this domain has it */
	TAILQ_ENTRY(session) active;
	bool is_active;
	bool read_only;
	bool is_trusted;
	bool answering;    /* `answer` is not complete */
	bool stopped;      /* whole requests may wait in `in` */
	bool turn_is_over; /* others are served first */
	bool stalled;
	bool was_refused;       /* for a quota */
	enum quota refused_for; /* the first one */
	bool told_so;
	const char *failure;
	enum quota exceeded; /* which made it fail; QUOTAS: none */
	uint64_t requests;
	uint64_t last_response; /* position of the newest response in `out` */
	enum qdb_msg last_type; /* and what it is */
	size_t last_len;
	struct answer answer;
	struct gathering many; /* a CMD_WRITE_MANY that has come in part */
	struct outq out;
	struct pending pending;
	struct message_stream in;
};

/* session.c: queues a message of an answer, and returns whether there was memory. */
bool session_respond(struct session *s, enum qdb_msg type, const char *path,
		     size_t path_len, const char *data, size_t data_len);

/* answer.c: begins an answer of that type to `m`, and goes on with it. */
void answer_begin(struct session *s, const struct message *m, enum qdb_msg type);
void answer_continue(struct session *s);

/* requests.c: a message of a client, or a piece of one. */
void request_serve(struct session *s, const struct message *m);
void request_take_piece(struct session *s, const struct message *m);

#endif
