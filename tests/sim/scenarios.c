/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The faults of deployed daemons, as lists of actions written by hand. Two legacy models
 * must show each of them: a simulator in which they do not appear tests nothing. Two new
 * ends must go through the same list without a verdict.
 */
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

enum { BASE = 1, D_DIR, A }; /* "/d", "/d/" and "/d/a", see names.c */

#define TURN(s) \
	{ \
		.act = ACT_TURN, .side = (s) \
	}
#define TAKE(s) \
	{ \
		.act = ACT_DELIVER, .side = (s) \
	}
#define WRITE(s, v) \
	{ \
		.act = ACT_REQUEST, .side = (s), .type = QDB_CMD_WRITE, .path = A, \
		.value = (v) \
	}
#define REMOVE(s, p) \
	{ \
		.act = ACT_REQUEST, .side = (s), .type = QDB_CMD_RM, .path = (p) \
	}
#define CONNECT \
	{ \
		.act = ACT_CONNECT \
	}
#define CUT \
	{ \
		.act = ACT_CUT, .n = 0xffff, .m = 0xffff \
	}
#define BEGIN CONNECT, TURN(VM), TAKE(DOM0), TURN(DOM0), TAKE(VM)
#define REST TURN(DOM0), TAKE(VM), TURN(VM), TAKE(DOM0), TURN(DOM0), TAKE(VM)
#define NOTICE TAKE(DOM0), TAKE(VM)
/* As NOTICE, but nobody finds the link closed before having taken what is in it. */
#define SEE \
	{.act = ACT_DELIVER, .side = DOM0, .n = 4095}, \
	{ \
		.act = ACT_DELIVER, .side = VM, .n = 4095 \
	}

struct scenario {
	const char *name;
	unsigned verdicts;         /* of two legacy ends: at least these */
	const char *exits[2];      /* and these deaths */
	bool holds;                /* two new ends have no verdict */
	struct action actions[24]; /* up to one of zeros */
};

static const struct scenario scenarios[] = {
	{.name = "simultaneous writes",
	 .verdicts = 1u << DIVERGED,
	 .holds = true,
	 .actions = {BEGIN, WRITE(DOM0, 1), WRITE(VM, 2), TURN(DOM0), TURN(VM)}},
	{.name = "a write and a removal at once",
	 .verdicts = 1u << DIVERGED,
	 .holds = true,
	 .actions = {BEGIN, WRITE(DOM0, 1), REST, WRITE(DOM0, 2), REMOVE(VM, A),
		     TURN(DOM0), TURN(VM), SEE}},
	{.name = "simultaneous removals",
	 .verdicts = 1u << EXITED,
	 .exits = {"RM of something absent", "RM of something absent"},
	 .holds = true,
	 .actions = {BEGIN, WRITE(DOM0, 1), REST, REMOVE(DOM0, A), REMOVE(VM, A),
		     TURN(DOM0), TURN(VM), SEE}},
	{.name = "removals of an entry and of its directory at once",
	 .verdicts = 1u << EXITED,
	 .exits = {"RM of something absent", "RM of something absent"},
	 .holds = true,
	 .actions = {BEGIN, WRITE(DOM0, 1), REST, REMOVE(DOM0, D_DIR), REMOVE(VM, A),
		     TURN(DOM0), TURN(VM), SEE}},
	{.name = "a link that closes with a write in it",
	 .verdicts = 1u << LOST,
	 .holds = true,
	 .actions = {BEGIN, WRITE(DOM0, 1), REST, WRITE(VM, 2), TURN(VM), CUT, NOTICE,
		     CONNECT}},
	{.name = "a removal while the link is down",
	 .verdicts = 1u << DIVERGED,
	 .holds = true,
	 .actions = {BEGIN, WRITE(DOM0, 1), REST, CUT, NOTICE, REMOVE(DOM0, A),
		     TURN(DOM0), CONNECT}},
	{.name = "dom0 starts over without its state",
	 .verdicts = 1u << DIVERGED,
	 .holds = true,
	 .actions = {BEGIN,
		     WRITE(DOM0, 1),
		     REST,
		     {.act = ACT_CRASH, .side = DOM0},
		     NOTICE,
		     CONNECT}},
	{.name = "a VM that connects and closes",
	 .verdicts = 1u << EXITED,
	 .exits = {"the link ended before MULTIREAD",
		   "hangs for good: the first dump broke off"},
	 .holds = true,
	 .actions = {CONNECT, {.act = ACT_CUT}, NOTICE}},
	{.name = "a first dump that breaks off",
	 .verdicts = 1u << EXITED,
	 .exits = {NULL, "hangs for good: the first dump broke off"},
	 .holds = true,
	 .actions = {WRITE(DOM0, 1), TURN(DOM0), CONNECT, TURN(VM), TAKE(DOM0),
		     TURN(DOM0), CUT, NOTICE}},
};

/* dom0's dump is under way when its clients change what it has passed, and what not. */
static const struct action changes_in_a_dump[] = {
	WRITE(DOM0, 1),
	{.act = ACT_REQUEST, .side = DOM0, .type = QDB_CMD_WRITE, .path = BASE},
	TURN(DOM0),
	CONNECT,
	TAKE(DOM0),
	TURN(DOM0),
	WRITE(DOM0, 2),
	{.act = ACT_REQUEST, .side = DOM0, .type = QDB_CMD_RM, .path = BASE},
	TURN(DOM0),
};

static struct world world;

static unsigned length(const struct scenario *s)
{
	unsigned n = 0;

	while (n < 24 && (s->actions[n].act || s->actions[n].type))
		n++;
	return n;
}

static bool shows_the_fault(const struct scenario *s)
{
	world_run(&world, config_find("legacy:legacy"), s->actions, length(s), false);
	for (int i = 0; i < 2; i++)
		if (s->exits[i] != world.exits[i] &&
		    (!s->exits[i] || !world.exits[i] ||
		     strcmp(s->exits[i], world.exits[i]) != 0))
			return false;
	return (world.verdicts & s->verdicts) == s->verdicts;
}

static bool is_survived(const struct scenario *s)
{
	world_run(&world, config_find("new:new"), s->actions, length(s), false);
	return world.verdicts == 0;
}

/* An agent that takes nothing but dump entries in a dump, and dies of all else. */
static bool is_dump_uninterrupted(void)
{
	world_run(&world, config_find("new:strict+slow"), changes_in_a_dump,
		  sizeof(changes_in_a_dump) / sizeof(changes_in_a_dump[0]), false);
	return world.verdicts == 0;
}

unsigned scenarios_run(unsigned *passed)
{
	const bool uninterrupted = is_dump_uninterrupted();
	unsigned failed = !uninterrupted;

	printf("%-52s %s\n", "changes in the middle of a strict agent's dump",
	       uninterrupted ? "ok" : world.text);
	*passed += uninterrupted;

	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		const struct scenario *s = &scenarios[i];
		const bool faulty = shows_the_fault(s);
		const bool fine = faulty && (is_survived(s) || !s->holds);

		printf("%-52s %s\n", s->name,
		       !faulty ? "legacy model: NOT REPRODUCED"
		       : fine  ? "ok"
			       : world.text);
		*passed += fine;
		failed += !fine;
	}
	return failed;
}
