/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a seed to a list of actions. Each seed first chooses its own character: how many
 * paths there are to collide on, who is busy, how often the link moves. Then it is a
 * lottery. The numbers that an action carries mean something in any context, so that the
 * list stays a list when some of it is taken away.
 */
#include <string.h>

#include "tests/sim/sim.h"

struct plan {
	const struct config *config;
	uint64_t state;
	struct action *actions;
	unsigned n;
	unsigned wanted;
	unsigned entries;     /* how many of the known ones are used */
	unsigned directories; /* the same */
	unsigned busy;        /* share of requests in percent */
	unsigned eager;       /* in percent: how often a turn follows a request */
	unsigned dom0;        /* in percent: requests that are dom0's */
	unsigned removals;    /* in percent, of changes */
	unsigned faults;      /* per thousand actions */
	bool is_down;         /* the link, or it may be */
	int value;
};

static uint64_t draw(struct plan *p)
{
	uint64_t z = (p->state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static unsigned below(struct plan *p, unsigned n)
{
	return (unsigned)(draw(p) % n);
}

static bool chance(struct plan *p, unsigned percent)
{
	return below(p, 100) < percent;
}

static struct action *add(struct plan *p, enum act act, unsigned side)
{
	struct action *a = &p->actions[p->n];

	if (p->n < ACTIONS)
		p->n++;
	else
		a--;
	memset(a, 0, sizeof(*a));
	a->act = (uint8_t)act;
	a->side = (uint8_t)side;
	return a;
}

static int some_entry(struct plan *p)
{
	return known_entries[below(p, p->entries)];
}

static int some_directory(struct plan *p)
{
	return known_directories[below(p, p->directories)];
}

static void request(struct plan *p, unsigned side, unsigned client, enum qdb_msg type,
		    int path, int value)
{
	struct action *a = add(p, ACT_REQUEST, side);

	a->client = (uint8_t)client;
	a->type = (uint8_t)type;
	a->path = path;
	a->value = value;
	if (chance(p, 15))
		a->n = (uint16_t)(1 + below(p, 80));
	if (chance(p, p->eager))
		add(p, ACT_TURN, side);
}

static void delivery(struct plan *p, unsigned side)
{
	struct action *a = add(p, ACT_DELIVER, side);
	const unsigned how = below(p, 10);

	if (how < 2)
		a->n = 1;
	else if (how < 5)
		a->n = (uint16_t)(1 + below(p, 300));
	if (chance(p, 50))
		add(p, ACT_TURN, a->side);
}

/* Everybody takes and gives everything; 4095 as end_legacy.c has it. */
static void round_trip(struct plan *p)
{
	add(p, ACT_TURN, VM);
	add(p, ACT_DELIVER, DOM0)->n = 4095;
	add(p, ACT_TURN, DOM0);
	add(p, ACT_DELIVER, VM)->n = 4095;
}

static void movement(struct plan *p)
{
	const unsigned what = below(p, 100);

	if (what < 5)
		round_trip(p);
	else if (what < 40)
		add(p, ACT_TURN, below(p, 2));
	else
		delivery(p, below(p, 2));
}

/* What programs do with a list: empty it, fill it, touch the base. */
static void commit(struct plan *p, unsigned side, unsigned client)
{
	static const int members[2][4] = {{3, 4, 6, 1}, {11, 12, 11, 9}};
	const unsigned which = below(p, 2), n = 1 + below(p, 3);

	request(p, side, client, QDB_CMD_RM, known_directories[which], 0);
	for (unsigned i = 0; i < n; i++) {
		if (chance(p, 30))
			movement(p);
		request(p, side, client, QDB_CMD_WRITE, members[which][i], p->value++);
	}
	request(p, side, client, QDB_CMD_WRITE, members[which][3], 0);
}

static void change(struct plan *p, unsigned side, unsigned client)
{
	if (chance(p, p->removals)) {
		request(p, side, client, QDB_CMD_RM,
			chance(p, 35) ? some_directory(p) : some_entry(p), 0);
		return;
	}
	request(p, side, client, QDB_CMD_WRITE, some_entry(p),
		chance(p, 7) ? 0 : p->value++);
}

static void look(struct plan *p, unsigned side, unsigned client)
{
	static const enum qdb_msg types[] = {
		QDB_CMD_WATCH,   QDB_CMD_WATCH, QDB_CMD_WATCH, QDB_CMD_WATCH,
		QDB_CMD_UNWATCH, QDB_CMD_READ,  QDB_CMD_LIST,  QDB_CMD_MULTIREAD};
	const enum qdb_msg type = types[below(p, 8)];
	const bool watch = type == QDB_CMD_WATCH || type == QDB_CMD_UNWATCH;

	request(p, side, client, type,
		watch && chance(p, 40) ? some_directory(p) : some_entry(p), 0);
}

static void client_action(struct plan *p)
{
	const unsigned side = chance(p, p->dom0) ? DOM0 : VM;
	const unsigned client = below(p, CLIENTS), what = below(p, 100);

	if (p->config->kinds[side] == KIND_STRICT) {
		if (what < 15)
			request(p, side, client, QDB_CMD_WRITE, some_entry(p),
				p->value++);
		return;
	}
	if (what < 62)
		change(p, side, client);
	else if (what < 68)
		commit(p, side, client);
	else if (what < 95)
		look(p, side, client);
	else
		add(p, chance(p, 35) ? ACT_STALL : ACT_READ, side)->client =
			(uint8_t)client;
}

static void set_survivors(struct plan *p, struct action *a)
{
	a->n = chance(p, 50) ? 0xffff : (uint16_t)below(p, 400);
	a->m = chance(p, 50) ? 0xffff : (uint16_t)below(p, 400);
}

/*
 * Mostly up to the end of the dump, at least of a small one: a lottery hardly ever gets
 * that far before the next fault, and one during the dump kills a legacy peer.
 */
static void connect_link(struct plan *p)
{
	const bool legacy = p->config->kinds[DOM0] == KIND_LEGACY ||
			    p->config->kinds[VM] == KIND_LEGACY;

	if (p->faults) {
		delivery(p, DOM0);
		delivery(p, VM);
	}
	p->is_down = chance(p, 10);
	add(p, ACT_CONNECT, 0);
	if (!chance(p, p->faults && legacy ? 90 : 60))
		return;
	round_trip(p);
	if (chance(p, 80))
		round_trip(p);
}

static void fault(struct plan *p)
{
	struct action *a;
	unsigned which;

	p->is_down = true;
	do
		which = 1u << below(p, 5);
	while (!(p->config->faults & which));
	switch (which) {
	case FAULT_LOSS:
		set_survivors(p, add(p, ACT_CUT, 0));
		break;
	case FAULT_CRASH:
		set_survivors(p, add(p, ACT_CRASH, below(p, 2)));
		break;
	case FAULT_RESTART:
		set_survivors(p, add(p, ACT_RESTART, DOM0));
		break;
	case FAULT_MEMORY:
		a = add(p, ACT_STARVE, below(p, 2));
		a->n = (uint16_t)(1 + below(p, 6));
		break;
	case FAULT_QUOTA:
		add(p, ACT_SQUEEZE, below(p, 2));
		break;
	}
}

static void choose_character(struct plan *p)
{
	p->wanted = 8 + below(p, chance(p, 80) ? 100 : 300);
	p->entries = chance(p, 50) ? 1 + below(p, 4) : KNOWN_ENTRIES;
	p->directories = 1 + below(p, KNOWN_PATHS - KNOWN_ENTRIES);
	p->busy = 20 + below(p, 60);
	p->eager = below(p, 101);
	p->dom0 = chance(p, 70) ? 50 : below(p, 101);
	p->removals = 10 + below(p, 50);
	p->faults =
		p->config->faults & ~(FAULT_SHARE | FAULT_SLOW) ? 10 + below(p, 50) : 0;
	p->value = 1;
}

unsigned plan(const struct config *c, uint64_t seed, struct action *actions)
{
	struct plan p = {
		.config = c, .state = seed * 0x2545f4914f6cdd1du, .actions = actions};
	unsigned start;

	choose_character(&p);
	start = chance(&p, 60) ? 0 : below(&p, p.wanted);
	for (unsigned i = 0; i < p.wanted && p.n < ACTIONS - 20; i++) {
		if (i == start)
			connect_link(&p);
		if (below(&p, 1000) < p.faults)
			fault(&p);
		else if (p.is_down && chance(&p, 8))
			connect_link(&p);
		else if (chance(&p, p.busy))
			client_action(&p);
		else
			movement(&p);
	}
	return p.n;
}
