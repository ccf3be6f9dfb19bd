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
	REPLICA_CONNECTED, /* the VM's request for the dump is on its way */
	REPLICA_RESUMING,  /* the VM sends what dom0 has missed */
	REPLICA_DUMPING,   /* entries go from dom0 to the VM, and no changes either way */
	REPLICA_LIVE,      /* either side sends what it changes */
};

/* Why a change of one side is not there on the other. */
enum replica_refusal {
	REFUSED_BY_PEER,   /* ours */
	REFUSED_FOR_QUOTA, /* the peer's; by dom0, which then tells what stands */
	REFUSED_AS_BAD,    /* the peer's, which cannot be an entry */
	REPLICA_REFUSALS,
};

struct replica {
	enum replica_role role;
	enum replica_state state;
	struct domain *domain;
	const char *failure; /* why the link must end, or NULL */
	size_t refused[REPLICA_REFUSALS];
	bool peer_is_legacy;
	bool served_legacy;    /* a legacy VM has begun to get a dump, and may hold it */
	bool peer_resumes;     /* dom0: the VM has a namespace already */
	bool peer_is_known;    /* dom0: and has once brought it here */
	bool peer_is_stranger; /* dom0: it has not, and is about to */
	bool overran;          /* our changes were too many to be kept: start over */
	bool said_last;        /* then: and the link ends when all is answered */
	bool lacks_memory;     /* for what is to be sent */
	bool stopped;          /* whole messages may wait in `in` for the next turn */
	bool lost_track;       /* dom0: nobody knows what the VM has not heard of */
	bool has_news; /* dom0: entries are marked for the VM's watchers (news.h) */

	uint64_t id;           /* the VM's instance, or the generation of dom0's state */
	uint64_t peer_id;      /* the other's when it was last heard, or 0 */
	uint64_t processed;    /* operations of that peer that were processed here */
	uint64_t base;         /* of ours, when this link came up, there */
	uint64_t sent_on_link; /* operations since then */

	size_t resume_left; /* VM: what is still to be sent before the dump */
	unsigned dump;      /* VM: the number of the newest dump */
	bool next_is_news;  /* VM: what the dump names next */
	char cursor[QDB_MAX_PATH];
	size_t cursor_len; /* dom0: the dump has passed everything from here up */
	size_t dump_piece; /* dom0: bytes of the dump to be prepared at a time */

	struct message_stream in;
	struct outq out;
	size_t answers; /* bytes of answers at the front of `out`, nothing else between */
	struct changes changes;
};

void replica_init(struct replica *r, enum replica_role role, uint64_t id,
		  struct domain *d);
void replica_free(struct replica *r);

/* The link has come, or gone. */
void replica_connected(struct replica *r);
void replica_disconnected(struct replica *r);

/*
 * Where to put the bytes that arrive, and how many; 0 while the peer does not take its
 * answers, or what has arrived is too much work for one turn. After replica_received()
 * call replica_run().
 */
size_t replica_space(struct replica *r, uint8_t **space);
void replica_received(struct replica *r, size_t len);

/* Whether there is something left to be done in the next turn; and does that. */
bool replica_has_work(const struct replica *r);
void replica_resume(struct replica *r);

/* Prepares output as far as the bounds allow. Also to be called when output has left. */
void replica_run(struct replica *r);

/* Whether that was not possible for want of memory: call it again a little later. */
bool replica_lacks_memory(const struct replica *r);

/*
 * Whether there is output and it may wait some milliseconds for more: a few answers, for
 * which nobody waits. To leave with what comes next they cost both ends nothing.
 */
bool replica_may_wait(const struct replica *r);

/*
 * Whether the link could end without loss: the peer has confirmed all our changes, and
 * has the dump that it has asked for or is about to. A legacy VM needs that, see
 * sending_run().
 */
bool replica_is_settled(const struct replica *r);

/*
 * Whether all that has arrived is to be read before more is sent: a legacy peer is about
 * to get operations, and exits if it finds no room for its answer to an RM.
 */
bool replica_drains_first(const struct replica *r);

/* At most `max` bytes to be put into the vchan, all of them at once; see outq_peek(). */
const uint8_t *replica_output(struct replica *r, size_t max, size_t *len);
void replica_sent(struct replica *r, size_t len);

/*
 * Whether local writes of `n` entries can be taken now: 0, -ENOMEM, or, in the VM,
 * -EDQUOT. dom0 refuses nothing because of its VM.
 */
int replica_admit(struct replica *r, size_t n);

/* A local client has written this entry, after replica_admit(). */
void replica_forward_write(struct replica *r, const char *path, size_t len,
			   const char *value, size_t value_len);

/*
 * A local client is about to remove this entry or directory, in which there is something.
 * 0, or as replica_admit(): then it must not be removed.
 */
int replica_forward_remove(struct replica *r, const char *path, size_t len);

#endif
