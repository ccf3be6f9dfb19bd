/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every allocation fails once: a run is repeated with the first, the second, ...
 * allocation of one end failing, until it makes no further one. The first run is written
 * by hand and goes through all that the core does: clients that watch, write, list and
 * stop reading, a first dump, a loss, changes at both ends meanwhile, a resumption, dom0
 * that has lost its state. The others are seeds, with losses. In the end each place in
 * the core that allocates must have failed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

#define MOST_ALLOCATIONS 20000
#define PLACES 9 /* at least: calls of malloc() and calloc() in daemon/core */

/* As in names.c. */
enum { ROOT = 0, D_DIR = 2, DA = 3, DB = 4, DSX = 6, DSY = 7, E_DIR = 10, EA = 11 };

#define DO(s, c, t, p) \
	{ \
		.act = ACT_REQUEST, .side = (s), .client = (c), .type = QDB_CMD_##t, \
		.path = (p) \
	}
#define PUT(s, c, p, v) \
	{ \
		.act = ACT_REQUEST, .side = (s), .client = (c), .type = QDB_CMD_WRITE, \
		.path = (p), .value = (v) \
	}
#define AT(a, s) \
	{ \
		.act = (a), .side = (s) \
	}
#define CLIENT(a, s, c) \
	{ \
		.act = (a), .side = (s), .client = (c) \
	}
#define MOVE \
	AT(ACT_TURN, VM), AT(ACT_DELIVER, DOM0), AT(ACT_TURN, DOM0), AT(ACT_DELIVER, VM)
#define LOSE AT(ACT_CUT, DOM0), AT(ACT_DELIVER, DOM0), AT(ACT_DELIVER, VM)
#define FILL(s, c, v) \
	PUT(s, c, DA, v), PUT(s, c, DB, v + 1), PUT(s, c, DSX, v + 2), \
		PUT(s, c, DSY, v + 3), PUT(s, c, EA, v + 4), PUT(s, c, 12, v + 5), \
		PUT(s, c, 13, v + 6), PUT(s, c, 14, v + 7), PUT(s, c, 8, v + 8), \
		PUT(s, c, 9, v + 9), PUT(s, c, 1, 0)

static const struct action everything[] = {
	/* before the link */
	DO(DOM0, 0, WATCH, D_DIR), DO(DOM0, 0, WATCH, DA), DO(DOM0, 0, WATCH, DA),
	DO(DOM0, 1, WATCH, ROOT), FILL(DOM0, 0, 1), DO(DOM0, 0, LIST, 1),
	/* the first dump; what dom0 changes during it */
	AT(ACT_CONNECT, DOM0), AT(ACT_TURN, VM), AT(ACT_DELIVER, DOM0),
	AT(ACT_TURN, DOM0), PUT(DOM0, 0, 14, 21), DO(DOM0, 0, RM, DSX), MOVE, MOVE,
	/* clients at both ends, one of which does not read */
	DO(VM, 0, WATCH, ROOT), DO(VM, 1, WATCH, E_DIR), DO(VM, 2, WATCH, D_DIR),
	CLIENT(ACT_STALL, VM, 0), FILL(VM, 1, 31), FILL(DOM0, 0, 51), MOVE,
	DO(VM, 1, MULTIREAD, 1), DO(VM, 1, READ, DA), DO(DOM0, 0, RM, D_DIR), MOVE,
	FILL(VM, 1, 71), DO(VM, 1, RM, D_DIR), DO(VM, 1, RM, DA), MOVE,
	CLIENT(ACT_READ, VM, 0), DO(VM, 2, UNWATCH, D_DIR), MOVE,
	/* a loss, with operations under way, and more while there is no link */
	FILL(VM, 1, 91), AT(ACT_TURN, VM), LOSE, DO(VM, 1, RM, E_DIR), FILL(VM, 1, 111),
	DO(DOM0, 0, RM, DB), PUT(DOM0, 0, DSY, 131), AT(ACT_CONNECT, DOM0), MOVE, MOVE,
	MOVE,
	/* another loss, in the middle of the resumption */
	FILL(VM, 1, 141), LOSE, DO(VM, 1, RM, D_DIR), AT(ACT_CONNECT, DOM0),
	AT(ACT_TURN, VM), LOSE, AT(ACT_CONNECT, DOM0), MOVE, MOVE, MOVE,
	FILL(DOM0, 0, 151), MOVE, MOVE,
	/* what the VM fails to remove while a link begins, dom0 has changed before */
	LOSE, FILL(DOM0, 0, 171), AT(ACT_RESTART, DOM0), AT(ACT_CONNECT, DOM0),
	AT(ACT_TURN, VM), AT(ACT_DELIVER, DOM0), AT(ACT_TURN, DOM0), AT(ACT_DELIVER, VM),
	DO(VM, 1, RM, D_DIR), MOVE, MOVE, MOVE,
	/* dom0 has forgotten everything */
	AT(ACT_CRASH, DOM0), AT(ACT_DELIVER, VM), AT(ACT_TURN, VM), AT(ACT_CONNECT, DOM0),
	MOVE, MOVE, MOVE, DO(VM, 1, RM, ROOT), MOVE};
#define EVERYTHING (sizeof(everything) / sizeof(everything[0]))

static struct world world;
static struct action actions[ACTIONS + 1];

/* Returns whether an allocation failed. */
static bool run_starving(const struct config *c, unsigned n, enum side side, unsigned nth)
{
	const unsigned before = alloc_failures;

	actions[0] = (struct action){
		.act = ACT_STARVE, .side = (uint8_t)side, .n = (uint16_t)nth};
	world_run(&world, c, actions, n + 1, false);
	return alloc_failures > before;
}

/* actions[1..n]; returns how many allocations were made to fail, or 0 after a verdict. */
static unsigned fail_each(const char *name, unsigned n, enum side side)
{
	const struct config *c = config_find("new:new+all");
	unsigned nth = 1;

	while (nth < MOST_ALLOCATIONS && run_starving(c, n, side, nth)) {
		if (world.verdicts & ~c->tolerated) {
			printf("%s, allocation %u of %s: %s\n", name, nth,
			       side == DOM0 ? "dom0" : "the VM", world.text);
			return 0;
		}
		nth++;
	}
	return nth - 1;
}

static bool fail_seed(unsigned seed, unsigned *failures)
{
	const unsigned n = plan(config_find("new:new+loss"), seed, actions + 1);
	char name[32];
	bool fine = true;

	snprintf(name, sizeof(name), "seed %u", seed);
	for (int side = DOM0; fine && side <= VM; side++) {
		const unsigned failed = fail_each(name, n, (enum side)side);

		fine = !world.verdicts || failed > 0;
		*failures += failed;
	}
	return fine;
}

static bool a_client_is_turned_away(void)
{
	struct session *s = NULL;
	struct domain d;
	unsigned first = 1;
	int r;

	domain_init(&d, REPLICA_ALONE, 1);
	alloc_starve = &first;
	r = session_new(&s, &d, SESSION_READ_WRITE, NULL);
	alloc_starve = NULL;
	alloc_has_starved = false;
	if (r != -ENOMEM || d.connections.used != 0)
		printf("a client for whom there is no memory: %d\n", r);
	domain_free(&d);
	return r == -ENOMEM;
}

unsigned memory_run(unsigned *passed, unsigned seeds)
{
	unsigned failures[2], of_seeds = 0, sites, failed_sites, bad = 0;
	bool fine = a_client_is_turned_away();

	memcpy(actions + 1, everything, sizeof(everything));
	for (int side = DOM0; side <= VM; side++) {
		failures[side] = fail_each("everything", EVERYTHING, (enum side)side);
		fine &= failures[side] > 50;
	}
	for (unsigned seed = 1; seed <= seeds; seed++)
		bad += !fail_seed(seed, &of_seeds);
	sites = alloc_sites(&failed_sites);
	fine &= bad == 0 && sites >= PLACES && failed_sites == sites;
	printf("each allocation fails once: %u + %u + %u (%u seeds), %u of %u places: "
	       "%s\n",
	       failures[DOM0], failures[VM], of_seeds, seeds, failed_sites, sites,
	       fine ? "ok" : "FAILED");
	*passed += fine;
	return !fine;
}
