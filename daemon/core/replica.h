/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One end of the conversation that keeps both namespaces equal. It takes bytes that came
 * over the vchan and gives bytes to put into it; where they come from it does not know.
 */
#ifndef QDB_REPLICA_H
#define QDB_REPLICA_H

#include "daemon/core/changes.h"
#include "daemon/core/outq.h"
#include "protocol/message.h"

struct domain;

enum replica_role {
	REPLICA_ALONE, /* dom0's own namespace: there is no other end */
	REPLICA_DOM0,
	REPLICA_VM,
};

enum replica_state {
	REPLICA_DOWN,      /* no link */
	REPLICA_CONNECTED, /* dom0: the VM has not asked for the dump */
	REPLICA_DUMPING,   /* entries go from dom0 to the VM, and nothing else */
	REPLICA_LIVE,      /* either side sends what it changes */
};

struct replica {
	enum replica_role role;
	enum replica_state state;
	struct domain *domain;
	bool peer_is_legacy;
	bool keeps_changes;  /* the peer may hold a namespace that ours must reach */
	const char *failure; /* why the link must end, or NULL */
	size_t refused;      /* operations that either end has refused so far */
	struct message_stream in;
	struct outq dump;       /* leaves first */
	struct outq operations; /* leaves when dump is empty and complete */
	char cursor[QDB_MAX_PATH];
	size_t cursor_len;
	struct changes changes;
};

void replica_init(struct replica *r, enum replica_role role, struct domain *d);
void replica_free(struct replica *r);

/* The link has come, or gone. */
void replica_connected(struct replica *r);
void replica_disconnected(struct replica *r);

/*
 * Where to put the bytes that arrive, and how many; 0 while the peer does not take its
 * answers. After replica_received() call replica_run().
 */
size_t replica_space(struct replica *r, uint8_t **space);
void replica_received(struct replica *r, size_t len);

/* Prepares output as far as the bounds allow. Also to be called when output has left. */
void replica_run(struct replica *r);

/* At most `max` bytes to be put into the vchan, all of them at once; see outq_peek(). */
const uint8_t *replica_output(struct replica *r, size_t max, size_t *len);
void replica_sent(struct replica *r, size_t len);

/* Whether a local change can be taken now: 0 or -EDQUOT. */
int replica_admit(const struct replica *r);

/* A local client has made this change. */
void replica_forward_write(struct replica *r, const char *path, size_t len,
			   const char *value, size_t value_len);
void replica_forward_remove(struct replica *r, const char *path, size_t len);

/* Whether our own unconfirmed change of an entry wins over the peer's. */
bool replica_wins(struct replica *r, const char *path, size_t len);

#endif
