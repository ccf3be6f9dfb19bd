/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the targets that drive the daemon's core share. */
#ifndef QDB_FUZZ_CORE_H
#define QDB_FUZZ_CORE_H

#include "daemon/core/domain.h"
#include "daemon/core/session.h"
#include "tests/fuzz/fuzz.h"

/* ---- check.c: what is true of a domain after every step ---- */

/* `clients` are connected. Big namespaces are looked at only if `all`. */
void check_domain(struct domain *d, size_t clients, bool all);

/* Restores the limits that squeeze_domain() made small. */
void squeeze_domain(struct domain *d, unsigned how);
void relax_domain(struct domain *d);

void check_equal(struct domain *a, struct domain *b);

/* ---- client.c: a local client that knows which answers it must get ---- */

#define CLIENT_PENDING 8192
#define CLIENT_SOCKET 16384

struct expected {
	unsigned type;
	bool refused; /* the answer must not be that it was done */
	char path[QDB_MAX_PATH];
	size_t path_len;
	enum wire_path kind;
	struct wire_many many;
};

struct fuzz_client {
	struct domain *domain;
	struct session *session; /* NULL: not connected */
	bool read_only;
	bool is_trusted;
	bool is_shared; /* its output is charged to the run's user */
	bool has_watched;
	bool stalled;
	bool torn; /* something was sent in part */
	struct framing sent;
	struct framing received;
	uint8_t socket[CLIENT_SOCKET]; /* sent and not delivered */
	size_t waiting;
	struct expected pending[CLIENT_PENDING];
	size_t n_pending;
	size_t first;
	bool many_written; /* by the last request for many entries */
	size_t listed;     /* entries of the list that is under way */
	char last[QDB_MAX_PATH];
};

/* Whether there was room for it. */
bool client_open(struct fuzz_client *c, struct domain *d, bool read_only);

/* From now on it may switch the trace. */
void client_trust(struct fuzz_client *c);
void client_close(struct fuzz_client *c);

/* Puts bytes into the socket; false, and none of them, if it is full. */
bool client_send(struct fuzz_client *c, const uint8_t *bytes, size_t len);

/* The daemon reads at most `max` bytes. */
void client_deliver(struct fuzz_client *c, size_t max);

/* The client reads at most `max` bytes; false: there are none. */
bool client_take(struct fuzz_client *c, size_t max);

/* What all clients have read; an input that makes them read more is cut off. */
#define CLIENT_BUDGET (1u << 20)
extern size_t client_bytes;

/* A turn of the daemon: sessions that are active, or must go. */
void client_settle(struct fuzz_client *c);

/* Everything is delivered, answered and read. */
void client_finish(struct fuzz_client *c);

/* A client that behaves; fails unless it is served. */
void client_must_be_served(struct domain *d);

/* ---- link.c ---- */

int fuzz_link(enum replica_role role, const uint8_t *data, size_t size);

#endif
