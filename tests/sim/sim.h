/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A deterministic world of two ends and the link between them; tests/sim/README tells
 * what it does and how to use it.
 *
 * A run is a list of actions that plan.c makes from a seed. Nothing after that is random:
 * the same list always gives the same run, and a list with actions left out is a list
 * too. Paths and values are small numbers everywhere but on the wire.
 */
#ifndef QDB_SIM_H
#define QDB_SIM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/domain.h"
#include "daemon/core/session.h"
#include "protocol/message.h"

#define CLIENTS 3
#define PATHS 40
#define RING_SIZE 4096
#define ACTIONS 600

enum side { DOM0, VM };
enum kind { KIND_NEW, KIND_LEGACY, KIND_STRICT };

/* ---- names.c: paths and values as numbers ---- */

/* A number that no other write of the run has, 0 for the empty value, or one of these. */
#define VALUE_ABSENT (-1)
#define VALUE_FOREIGN (-2) /* "-": what a client never writes */

#define KNOWN_PATHS 15
#define KNOWN_ENTRIES 11

extern const int known_entries[KNOWN_ENTRIES];
extern const int known_directories[KNOWN_PATHS - KNOWN_ENTRIES];

void names_reset(void);
int names_count(void);
int path_number(const char *path, size_t len);
const char *path_name(int path);
size_t path_length(int path);
bool path_is_directory(int path);
bool path_covers(int directory, int path);
const char *value_name(int value);
size_t value_encode(int value, char *out);
int value_decode(const char *data, size_t len);

/* ---- plan.c: what happens in a run ---- */

enum act {
	ACT_REQUEST, /* a client sends `type` for `path`, split after n bytes */
	ACT_TURN,    /* a daemon ends a turn of its loop */
	ACT_DELIVER, /* a daemon takes at most n bytes from the link, all if n is 0 */
	ACT_STALL,   /* a client stops reading */
	ACT_READ,    /* a client reads again */
	ACT_CONNECT, /* the link comes up, if both ends are ready for it */
	ACT_CUT,   /* it breaks; n and m bytes on their way to dom0 and the VM survive */
	ACT_CRASH, /* one end starts over without its state; n and m as above */
	ACT_RESTART, /* dom0 starts over with its state; n and m as above */
	ACT_STARVE,  /* the n-th allocation of this end from now on fails */
	ACT_SQUEEZE, /* this end's quotas towards the peer become small */
};

struct action {
	uint8_t act;
	uint8_t side;
	uint8_t client;
	uint8_t type;
	int path;
	int value;
	uint16_t n;
	uint16_t m;
};

enum fault {
	FAULT_LOSS = 1,
	FAULT_CRASH = 2,
	FAULT_MEMORY = 4,
	FAULT_QUOTA = 8,
	FAULT_RESTART = 16,
	FAULT_SHARE = 32, /* dom0 takes only few entries from the VM */
	FAULT_SLOW = 64,  /* the core prepares and writes one message at a time */
};

enum verdict {
	DIVERGED, /* the ends are not equal at the end */
	LOST,     /* an entry is not as either side's last change left it */
	STALE,    /* an entry is as a change left it that the later one had seen */
	EVENT,    /* a watcher missed an event or got one too many */
	SILENT,   /* the namespace changed without any event */
	COUNTER,  /* an account differs from a recount, or a quota is exceeded */
	FAILURE,  /* the core gave the link up without a fault */
	EXITED,   /* a legacy or strict peer is dead */
	STUCK,    /* no quiescence, or a request without an answer */
	ANSWER,   /* a client got a wrong answer */
	WIRE,     /* a malformed message on the link */
	VERDICTS,
};

extern const char *const verdict_names[VERDICTS];

struct config {
	const char *name;
	enum kind kinds[2];
	unsigned faults;
	unsigned check_seeds; /* how many `make check` runs; 0: it does not hold yet */
	unsigned tolerated;   /* verdicts that this configuration cannot avoid */
};

unsigned plan(const struct config *c, uint64_t seed, struct action *actions);

/* ---- oracle.c: what must be true at the end ---- */

#define EXCUSES 512

struct side_history {
	bool operated;   /* has changed it since the ends were last equal */
	bool superseded; /* the other side changed it later, knowing this change */
	bool outdated;   /* the VM's: dom0 changed it later, knowing this change or not */
	bool in_dump;    /* was made during a dump */
	bool maybe_gone; /* has then removed a directory above, without having it */
	int last;
	int results[EXCUSES / 4]; /* of all its changes, in case of a crash */
	int n_results;
};

struct history {
	int agreed;   /* when the ends were last equal */
	bool vms;     /* and a client of the VM had written it */
	bool unheard; /* dom0 has written it, and the VM's watchers do not know */
	struct side_history of[2];
	int excuses[EXCUSES]; /* states that a crash has made legal */
	int n_excuses;
};

/* Of a base entry, which is written empty to say that the list below it is complete. */
struct commit {
	bool is_last;    /* dom0 has done nothing to it or the list since */
	bool vm_changed; /* nor must the VM have */
	bool unheard;    /* but its watchers heard of the list last */
};

struct world;
struct end;

void oracle_begin(struct world *w);
void oracle_wrote(struct world *w, enum side side, int path, int value);
void oracle_removed(struct world *w, enum side side, int path);
void oracle_crashed(struct world *w, enum side side);
void oracle_restarted(struct world *w);
void oracle_heard(struct world *w, int path);
void oracle_cut_off(struct world *w, enum side side);
void oracle_after_step(struct world *w);
void oracle_at_end(struct world *w);

/* ---- the ends ---- */

struct request {
	uint8_t type;
	int path;
	int value;
};

#define PENDING 8
#define EVENTS 1024

struct client {
	struct end *end;
	struct session *session;
	struct request pending[PENDING];
	unsigned n_pending;
	bool stalled;
	bool was_stalled; /* since events were last compared */
	size_t seen;      /* bytes of waiting output that the simulator has looked at */
	uint8_t watches[PATHS];
	int expected[EVENTS];
	int actual[EVENTS];
	unsigned n_expected;
	unsigned n_actual;
};

struct end_class {
	void (*start)(struct end *e);
	void (*stop)(struct end *e);
	void (*request)(struct end *e, const struct action *a);
	void (*deliver)(struct end *e, size_t max);
	void (*turn)(struct end *e);
	void (*connected)(struct end *e);
	bool (*is_quiet)(struct end *e);
};

extern const struct end_class end_new, end_legacy;

/* What the state file of a daemon would hold, and the snapshot that it is writing. */
#define STORE_SIZE (1u << 20)

struct store {
	uint64_t generation;
	size_t len;
	uint8_t bytes[STORE_SIZE];
	bool in_snapshot;
	struct journal_cursor cursor;
	size_t next_len;
	uint8_t next[STORE_SIZE];
};

struct new_end {
	struct domain domain;
	struct client clients[CLIENTS];
	struct watcher observer;
	bool changed[PATHS]; /* according to the events of the observer */
	int directory;       /* being removed, or -1 */
	bool present[PATHS]; /* when that began */
	bool was_serving;
	struct client *running; /* whose requests are being served */
	bool faulted; /* something was injected that excuses the end of the link */
	unsigned starve;
};

#define LEGACY_OUT 65536
#define LEGACY_REQUESTS 64

struct legacy_end {
	bool strict;
	bool asked;    /* dom0: MULTIREAD came on this connection */
	bool dumping;  /* VM: the end mark has not come */
	bool had_dump; /* VM: ever */
	size_t known;  /* bytes that were in the ring when the last turn ended */
	uint8_t out[LEGACY_OUT];
	size_t out_len;
	struct request requests[LEGACY_REQUESTS];
	unsigned n_requests;
};

struct end {
	const struct end_class *class;
	struct world *world;
	enum kind kind;
	enum side side;
	bool attached;
	const char *dead; /* why, or NULL */
	struct store store;
	int values[PATHS];
	union {
		struct new_end new;
		struct legacy_end legacy;
	};
};

/* client.c: the local clients of a new end */
void client_open(struct client *c, struct end *e);
void client_close(struct client *c);
void client_request(struct client *c, const struct action *a);
void client_run(struct client *c);
void client_observe(struct client *c);
void client_settle(struct client *c);
void client_expect(struct client *c, int path);
void client_expect_removal(struct client *c, int directory, const bool *gone);

/* ---- world.c: the link, and time ---- */

struct pipe {
	uint8_t buf[RING_SIZE];
	size_t len;
	size_t torn; /* rest of a message of which the front is taken */
};

struct world {
	const struct config *config;
	struct end ends[2];
	struct pipe pipes[2]; /* towards dom0, towards the VM */
	bool broken;
	bool trace;
	unsigned moved; /* counts whatever happens, to notice when nothing does */
	struct history histories[PATHS];
	struct commit commits[PATHS]; /* of entries */
	unsigned verdicts;
	char text[400]; /* of the first verdict */
	const char *exits[2];
};

/* Runs a list of actions from the beginning to quiescence. */
void world_run(struct world *w, const struct config *c, const struct action *actions,
	       unsigned n, bool trace);
void world_judge(struct world *w, enum verdict v, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void world_trace(struct world *w, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
struct end *world_peer(struct end *e);
size_t link_room(struct end *e);
void link_put(struct end *e, const uint8_t *bytes, size_t len);
size_t link_waiting(struct end *e);
/* Bytes up to the end of the message at the front, or of what there is. */
size_t link_message(struct end *e);
void link_take(struct end *e, uint8_t *out, size_t len);
void link_close(struct end *e);
void end_die(struct end *e, const char *why);

/* ---- alloc.c: the allocator ---- */

/* While this points to a number, it is counted down, and at 0 an allocation fails. */
extern unsigned *alloc_starve;
extern bool alloc_has_starved;
extern unsigned alloc_failures; /* ever */

/* How many places the core has allocated at, and at how many of them that has failed. */
#define ALLOC_SITES 64
unsigned alloc_sites(unsigned *failed);

/* ---- shrink.c, scenarios.c and memory.c ---- */

unsigned shrink(const struct config *c, struct action *actions, unsigned n,
		const struct world *failed, unsigned verdicts);
unsigned scenarios_run(unsigned *passed);
unsigned memory_run(unsigned *passed, unsigned seeds);
const struct config *config_find(const char *name);

/* Whether a legacy peer's death for this reason cannot be avoided; a table in sim.c. */
bool is_residual(const struct config *c, const char *why);

#endif
