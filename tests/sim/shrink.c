/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes a failing list of actions short: leaves out runs of actions, long ones first, as
 * long as one of the same verdicts remains, and for the same reason if somebody has died;
 * then makes what is left plain.
 */
#include <string.h>

#include "tests/sim/sim.h"

static struct world scratch;
static const char *exits[2];

static bool still_fails(const struct config *c, const struct action *actions, unsigned n,
			unsigned verdicts)
{
	world_run(&scratch, c, actions, n, false);
	if (verdicts == 1u << EXITED &&
	    (scratch.exits[0] != exits[0] || scratch.exits[1] != exits[1]))
		return false;
	return scratch.verdicts & verdicts;
}

static unsigned leave_out(const struct config *c, struct action *actions, unsigned n,
			  unsigned length, unsigned verdicts)
{
	struct action fewer[ACTIONS];
	unsigned at = 0;

	while (at + length <= n) {
		memcpy(fewer, actions, at * sizeof(*actions));
		memcpy(fewer + at, actions + at + length,
		       (n - at - length) * sizeof(*actions));
		if (still_fails(c, fewer, n - length, verdicts)) {
			n -= length;
			memcpy(actions, fewer, n * sizeof(*actions));
		} else {
			at += length;
		}
	}
	return n;
}

static void simplify(const struct config *c, struct action *actions, unsigned n,
		     unsigned verdicts)
{
	for (unsigned i = 0; i < n; i++) {
		struct action *a = &actions[i], before = *a;

		if (a->act == ACT_CUT || a->act == ACT_CRASH)
			a->n = a->m = 0xffff;
		else if (a->act != ACT_STARVE)
			a->n = 0;
		if (a->act == ACT_REQUEST && a->value > 0)
			a->value = (int)i + 1;
		if (memcmp(a, &before, sizeof(*a)) != 0 &&
		    !still_fails(c, actions, n, verdicts))
			*a = before;
	}
}

unsigned shrink(const struct config *c, struct action *actions, unsigned n,
		const struct world *failed, unsigned verdicts)
{
	unsigned before;

	exits[0] = failed->exits[0];
	exits[1] = failed->exits[1];
	do {
		before = n;
		for (unsigned length = n / 2; length > 0; length /= 2)
			n = leave_out(c, actions, n, length, verdicts);
		simplify(c, actions, n, verdicts);
	} while (n < before);
	return n;
}
