/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hardware abstraction: a byte channel between two domains. A hypervisor, or a
 * stand-in for one, is a struct vchan_transport in a file of its own here and a row in
 * vchan.c; the rest of the daemon does not know which one it runs on.
 *
 * A vchan outlives its connections. The server waits for a client, the client looks for
 * the server; after vchan_restart() both do so again. Handlers are called from the event
 * loop and may call any of these functions. No function waits for the peer; with Xen,
 * those that begin or end a connection wait for xenstored. One thread.
 */
#ifndef QDB_VCHAN_H
#define QDB_VCHAN_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol/message.h"

/* The most that a caller may insist on putting into a channel whole: a WRITE and an RM.
 */
#define VCHAN_PIECE_SIZE (MESSAGE_MAX_SIZE + MESSAGE_HEADER_SIZE)

/* Xen's DOMID_FIRST_RESERVED: ids from here on are not domains. Stand-ins are as choosy.
 */
#define VCHAN_DOMIDS 0x7ff0

enum vchan_end { VCHAN_SERVER, VCHAN_CLIENT };

struct vchan_handlers {
	/* A peer is there. Nothing of the one before remains. */
	void (*connected)(void *context);
	/* There may be something to read, its end included, or room to write. */
	void (*ready)(void *context);
	/* The other domain is gone for good: nobody will ever connect. */
	void (*gone)(void *context);
};

struct vchan_address {
	enum vchan_end end;
	int remote_domid;
	int port;
};

struct vchan {
	const struct vchan_transport *transport;
	struct event_base *base;
	struct vchan_address address;
	const struct vchan_handlers *handlers;
	void *context;
};

struct sandbox;

struct vchan_transport {
	const char *name;
	/* Why it cannot be had here, in words, or NULL if it can. */
	const char *(*missing)(void);
	/* Tells the sandbox, before open(), what it must allow. NULL: nothing. */
	void (*confine)(struct sandbox *s, const struct vchan_address *address);
	/* Allocates a struct whose first member is a struct vchan, a copy of `common`. */
	int (*open)(struct vchan **v, const struct vchan *common);
	ssize_t (*read)(struct vchan *v, void *buf, size_t len);
	void (*listen_to)(struct vchan *v, bool wanted);
	size_t (*room)(struct vchan *v);
	ssize_t (*write)(struct vchan *v, const void *buf, size_t len);
	size_t (*untaken)(struct vchan *v);
	void (*restart)(struct vchan *v, unsigned delay_ms);
	void (*close)(struct vchan *v);
};

/* The transport of this name, "auto" for any, if this machine has it; else NULL. */
const struct vchan_transport *vchan_transport_find(const char *name);

/* Why there is none of this name, in words. */
const char *vchan_transport_missing(const char *name);

/* Tells the sandbox what a vchan at `address` needs, for all its life. */
void vchan_confine(const struct vchan_transport *transport, struct sandbox *s,
		   const struct vchan_address *address);

/*
 * Begins to wait for a connection at `address`. 0 or a negative errno, with the reason
 * logged. `handlers` and `context` must outlive *v.
 */
int vchan_open(struct vchan **v, const struct vchan_transport *transport,
	       struct event_base *base, const struct vchan_address *address,
	       const struct vchan_handlers *handlers, void *context);

/*
 * Bytes read, at most `len`; -EAGAIN when there are none now; -EPIPE when the peer is
 * gone and everything it sent has been read.
 */
ssize_t vchan_read(struct vchan *v, void *buf, size_t len);

/* Whether ready() is to be called for what can be read. At first it is. */
void vchan_listen_to(struct vchan *v, bool wanted);

/*
 * How many bytes vchan_write() would take whole now. When that is less than
 * VCHAN_PIECE_SIZE, ready() is called once there is more.
 */
size_t vchan_room(struct vchan *v);

/*
 * Puts `len` bytes, at most vchan_room(), into the channel at once. Bytes taken: all,
 * save for a transport that cannot promise it; -EAGAIN when ready() will tell of room;
 * -EPIPE when the peer is gone, which vchan_read() may tell only later.
 */
ssize_t vchan_write(struct vchan *v, const void *buf, size_t len);

/*
 * How much of what was written the peer has not taken yet: 0 when it has taken all, else
 * a measure that shrinks as it does, of bytes, or of the pieces that a transport keeps
 * whole until their last byte is taken. Nothing tells when.
 */
size_t vchan_untaken(struct vchan *v);

/* Ends the connection, if there is one, and waits for another after `delay_ms`. */
void vchan_restart(struct vchan *v, unsigned delay_ms);

/* Ends it for good. NULL is ignored. */
void vchan_close(struct vchan *v);

#endif
