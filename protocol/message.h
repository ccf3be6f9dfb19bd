/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bytes to messages and back. This and grammar.h are the only code that interprets bytes
 * from outside; whatever they let through as MESSAGE_FINE obeys the table in message.c.
 *
 * No function here allocates, does I/O or fails in another way than its result says.
 */
#ifndef QDB_MESSAGE_H
#define QDB_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/grammar.h"
#include "protocol/qubesdb.h"

#define MESSAGE_HEADER_SIZE sizeof(struct qdb_hdr)
#define MESSAGE_MAX_SIZE (MESSAGE_HEADER_SIZE + QDB_MAX_DATA)

/* Who sent a message decides which types it may have. */
enum message_sender {
	MESSAGE_FROM_CLIENT, /* a program, on a local socket */
	MESSAGE_FROM_DAEMON, /* the daemon's answer to it */
	MESSAGE_FROM_VM,     /* the daemon in the VM, on the vchan */
	MESSAGE_FROM_DOM0,   /* the daemon in dom0, on the vchan */
};

/* What is wrong with a message that is whole and otherwise harmless. */
enum message_fault {
	MESSAGE_FINE,
	MESSAGE_UNKNOWN_TYPE,    /* no such type, or not one that this sender may send */
	MESSAGE_BAD_PATH,        /* ill-formed, or no entry where the type needs one */
	MESSAGE_BAD_VALUE,       /* too long, or with a NUL in it, or missing */
	MESSAGE_UNEXPECTED_DATA, /* data on a type that carries none */
};

struct message {
	enum qdb_msg type; /* may be out of range when fault is MESSAGE_UNKNOWN_TYPE */
	enum message_fault fault;
	enum path_kind kind;
	const char *path; /* NUL-terminated, path_len characters */
	size_t path_len;
	const char *data; /* data_len bytes; NULL when they have passed by already */
	size_t data_len;
};

enum message_status {
	MESSAGE_INCOMPLETE, /* nothing whole yet: more bytes are needed */
	MESSAGE_READY,
	MESSAGE_PIECE,     /* of a message's data, which is not kept: see below */
	MESSAGE_VIOLATION, /* the sender does not speak this protocol: give it up */
};

/*
 * Fills in everything that a header tells: type, path, data_len and the faults visible in
 * them. `header` is MESSAGE_HEADER_SIZE bytes, of which the last byte of the path is set
 * to NUL; m->path points into it. Never MESSAGE_INCOMPLETE. Local clients never violate,
 * they only send faults.
 */
enum message_status message_parse_header(struct message *m, enum message_sender from,
					 uint8_t *header);

/* Looks at the m->data_len bytes of data that followed the header. */
void message_parse_data(struct message *m, const char *data);

/*
 * One direction of one connection, cut into messages wherever the bytes were split. Data
 * that is too long to be taken is discarded as it arrives, so nothing a sender announces
 * costs more than this structure. Data that has been taken is wiped. A violation is
 * final.
 *
 * The data of a CMD_WRITE_MANY is handed out in pieces, as they arrive: a MESSAGE_PIECE
 * is the message with a part of its data. When all have been taken the message itself
 * follows, without data.
 */
#define MESSAGE_STREAM_SIZE 8192

struct message_stream {
	enum message_sender from;
	size_t start; /* buf[start..end) has arrived and is not consumed */
	size_t end;
	uint32_t skipped; /* bytes already discarded of the data at start */
	uint32_t given;   /* and those after them that are out as a piece */
	size_t taken; /* data of the last message: buf[taken..taken_end), to be wiped */
	size_t taken_end;
	uint8_t buf[MESSAGE_STREAM_SIZE];
};

void message_stream_init(struct message_stream *s, enum message_sender from);

/* Leaves nothing of what has arrived. */
void message_stream_wipe(struct message_stream *s);

/* Where the next bytes go and how many; at least 1 after MESSAGE_INCOMPLETE. */
size_t message_stream_space(struct message_stream *s, uint8_t **space);

/* `len` bytes, at most the last message_stream_space(), have been put there. */
void message_stream_filled(struct message_stream *s, size_t len);

/* Whether nothing has arrived that is not taken. */
bool message_stream_is_empty(const struct message_stream *s);

/* Whether the next message is of this type, and its header is there. */
bool message_stream_begins_with(const struct message_stream *s, enum qdb_msg type);

/* Takes the next message or piece. m points into the stream, until the next call of any
 * function.
 */
enum message_status message_stream_next(struct message_stream *s, struct message *m);

/*
 * Writes header and data to `out`, which has room for MESSAGE_HEADER_SIZE + data_len
 * bytes, and returns that number. Header bytes that say nothing are zero.
 */
size_t message_encode(uint8_t *out, enum qdb_msg type, const char *path, size_t path_len,
		      const char *data, size_t data_len);

/* The size in bytes, header and data, of a message that message_encode() wrote. */
size_t message_encoded_size(const uint8_t *message);

/* The name that PROTOCOL and the log use, such as "WRITE"; "unknown" for other numbers.
 */
const char *message_name(unsigned type);

#endif
