/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the fuzz targets share. An input is a script: its bytes choose operations, paths,
 * values, where messages are split and who stops reading, so that every input means
 * something and raw bytes are only one of the operations. What comes back is judged by
 * code that shares nothing with protocol/, for a fault there must not hide itself.
 */
#ifndef QDB_FUZZ_H
#define QDB_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/domain.h"
#include "daemon/core/session.h"
#include "protocol/qubesdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process, as a crash that the fuzzer reports. */
#define fuzz_require(condition) \
	((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))
_Noreturn void fuzz_fail(const char *file, int line, const char *condition);

/* ---- script.c: the input ---- */

struct script {
	const uint8_t *at;
	const uint8_t *end;
};

/* At the end of the script they give 0. */
unsigned script_byte(struct script *s);
uint32_t script_word(struct script *s);
size_t script_bytes(struct script *s, uint8_t *out, size_t max);
bool script_is_over(const struct script *s);

#define HEADER_SIZE 72
#define REQUEST_SIZE (HEADER_SIZE + 4096)

/* A message as somebody without manners may send it: any type, path, padding, length. */
size_t script_message(struct script *s, uint8_t out[REQUEST_SIZE]);

/* A path as a script chooses it, NUL-terminated; returns its length. */
size_t script_path(struct script *s, char path[QDB_MAX_PATH]);

/* ---- wire.c: messages, read independently of protocol/ ---- */

enum wire_path { WIRE_ILL_FORMED, WIRE_NOTHING, WIRE_ENTRY, WIRE_DIRECTORY };

struct wire_message {
	unsigned type;
	char path[QDB_MAX_PATH];
	size_t path_len;
	enum wire_path kind;
	uint32_t data_len;
	bool has_nul; /* in the data */
	bool dirty;   /* a byte that says nothing is not zero */
};

/* One direction of a connection. */
struct framing {
	uint8_t header[HEADER_SIZE];
	size_t have;
	uint32_t left; /* of the data, once the header is there */
	bool has_nul;
};

enum wire_path wire_classify(const char *path, size_t len);

void framing_feed(struct framing *f, const uint8_t *bytes, size_t len,
		  void (*take)(void *context, const struct wire_message *m),
		  void *context);

/* The message of which the header is there and the data is not; or false. */
bool framing_header(const struct framing *f, struct wire_message *m);
bool framing_is_between(const struct framing *f);

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
};

struct fuzz_client {
	struct domain *domain;
	struct session *session; /* NULL: not connected */
	bool read_only;
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
	size_t listed; /* entries of the list that is under way */
	char last[QDB_MAX_PATH];
};

/* Whether there was room for it. */
bool client_open(struct fuzz_client *c, struct domain *d, bool read_only);
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
