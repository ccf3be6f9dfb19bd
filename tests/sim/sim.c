/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many seeds or one; README beside this tells how. Without arguments it is the test that
 * `make check` runs: the scenarios, the runs in which each allocation fails once, and
 * then as many seeds of each configuration as the table below says.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/sim.h"

#ifdef __SANITIZE_ADDRESS__
#define SEEDS_DIVISOR 20
#else
#define SEEDS_DIVISOR 1
#endif
#define MEMORY_SEEDS 40

#define NOT (1u << DIVERGED | 1u << LOST | 1u << STALE | 1u << EXITED | 1u << STUCK)
/*
 * Quotas are apart: dom0 that forgets its changes for their number, and then has to do
 * with a VM that outlived dom0's last crash, cannot tell whose is newer.
 */
#define ALL_FAULTS (FAULT_LOSS | FAULT_CRASH | FAULT_MEMORY | FAULT_RESTART)

/*
 * Rows with a number of seeds are part of `make check`; a row without them says what
 * still has to hold. The verdicts of the last column are counted and do not fail.
 */
static const struct config configs[] = {
	/* clang-format off */
	{"new:new",              {KIND_NEW, KIND_NEW}, 0, 20000, 0},
	{"new:new+loss",         {KIND_NEW, KIND_NEW}, FAULT_LOSS, 10000, 0},
	{"new:new+crash",        {KIND_NEW, KIND_NEW}, FAULT_CRASH, 10000, 0},
	{"new:new+restart",      {KIND_NEW, KIND_NEW}, FAULT_RESTART | FAULT_LOSS, 10000, 0},
	{"new:new+memory",       {KIND_NEW, KIND_NEW}, FAULT_MEMORY, 10000, 0},
	{"new:new+quota",        {KIND_NEW, KIND_NEW}, FAULT_QUOTA, 10000, 0},
	{"new:new+all",          {KIND_NEW, KIND_NEW}, ALL_FAULTS, 20000, 0},
	{"new:new+slow",         {KIND_NEW, KIND_NEW}, FAULT_SLOW, 10000, 0},
	{"new:new+slow+all",     {KIND_NEW, KIND_NEW}, FAULT_SLOW | ALL_FAULTS, 10000, 0},
	{"new:new+slow+quota",   {KIND_NEW, KIND_NEW}, FAULT_SLOW | FAULT_QUOTA, 5000, 0},
	{"new:new+share",        {KIND_NEW, KIND_NEW}, FAULT_SHARE | FAULT_LOSS | FAULT_RESTART, 10000, 1u << LOST},
	{"new:legacy+share",     {KIND_NEW, KIND_LEGACY}, FAULT_SHARE, 10000, 1u << LOST},
	{"new:legacy",           {KIND_NEW, KIND_LEGACY}, 0, 20000, 0},
	{"new:legacy+restart",   {KIND_NEW, KIND_LEGACY}, FAULT_LOSS | FAULT_RESTART, 10000, 0},
	{"new:legacy+loss",      {KIND_NEW, KIND_LEGACY}, FAULT_LOSS, 10000, 0},
	{"new:legacy+memory",    {KIND_NEW, KIND_LEGACY}, FAULT_MEMORY, 5000, 0},
	{"new:legacy+slow",      {KIND_NEW, KIND_LEGACY}, FAULT_SLOW, 10000, 0},
	{"new:legacy+quota",     {KIND_NEW, KIND_LEGACY}, FAULT_QUOTA, 5000, 0},
	{"new:legacy+slow+quota", {KIND_NEW, KIND_LEGACY}, FAULT_SLOW | FAULT_QUOTA, 10000, 0},
	{"legacy:new",           {KIND_LEGACY, KIND_NEW}, 0, 20000, 0},
	{"legacy:new+loss",      {KIND_LEGACY, KIND_NEW}, FAULT_LOSS, 10000, 0},
	{"legacy:new+memory",    {KIND_LEGACY, KIND_NEW}, FAULT_MEMORY, 5000, 0},
	{"legacy:new+quota",     {KIND_LEGACY, KIND_NEW}, FAULT_QUOTA, 5000, 0},
	{"legacy:new+crash",     {KIND_LEGACY, KIND_NEW}, FAULT_CRASH, 10000, 1u << LOST},
	{"new:strict",           {KIND_NEW, KIND_STRICT}, 0, 10000, 0},
	{"new:strict+slow",      {KIND_NEW, KIND_STRICT}, FAULT_SLOW, 5000, 0},
	{"legacy:legacy",        {KIND_LEGACY, KIND_LEGACY}, 0, 5000, NOT},
	{"legacy:legacy+loss",   {KIND_LEGACY, KIND_LEGACY}, FAULT_LOSS, 5000, NOT},
	/* clang-format on */
};
#define CONFIGS (sizeof(configs) / sizeof(configs[0]))

/*
 * Deaths of a legacy peer that its other end cannot prevent. They are counted, and end
 * the run without a verdict.
 */
static const struct residual {
	const char *config; /* with and without link loss, if it does not say */
	const char *why;
} residuals[] = {
	/* It has filled its ring with its own writes after the other end had emptied it. */
	{"new:legacy", "no room for the answer to RM"},
	{"legacy:new", "no room for the answer to RM"},
	/* It is the cut itself that kills. */
	{"new:legacy+loss", "hangs for good: the first dump broke off"},
	{"new:legacy+restart", "hangs for good: the first dump broke off"},
	{"legacy:new+loss", "the link ended before MULTIREAD"},
	{"legacy:new+crash", "the link ended before MULTIREAD"},
	/* There was no memory to ask for the dump. */
	{"legacy:new+memory", "the link ended before MULTIREAD"},
};

/* Why legacy ends died, and how often. */
#define REASONS 24

struct tally {
	unsigned seeds;
	unsigned bad;
	unsigned verdicts[VERDICTS];
	struct {
		const char *why;
		enum side side;
		unsigned times;
	} reasons[REASONS];
	double seconds;
};

static struct world world;
static struct action actions[ACTIONS];

const struct config *config_find(const char *name)
{
	for (size_t i = 0; i < CONFIGS; i++)
		if (strcmp(configs[i].name, name) == 0)
			return &configs[i];
	return NULL;
}

bool is_residual(const struct config *c, const char *why)
{
	for (size_t i = 0; i < sizeof(residuals) / sizeof(residuals[0]); i++)
		if (strncmp(c->name, residuals[i].config, strlen(residuals[i].config)) ==
			    0 &&
		    strcmp(why, residuals[i].why) == 0)
			return true;
	return false;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void count_exit(struct tally *t, enum side side, const char *why)
{
	for (int i = 0; why && i < REASONS; i++) {
		if (!t->reasons[i].why) {
			t->reasons[i].why = why;
			t->reasons[i].side = side;
		}
		if (t->reasons[i].why == why && t->reasons[i].side == side) {
			t->reasons[i].times++;
			return;
		}
	}
}

static void show_shrunk(const struct config *c, unsigned n, unsigned verdicts)
{
	n = shrink(c, actions, n, &world, verdicts);
	printf("shrunk to %u actions:\n", n);
	world_run(&world, c, actions, n, true);
}

static bool run_seed(const struct config *c, uint64_t seed, struct tally *t)
{
	world_run(&world, c, actions, plan(c, seed, actions), false);
	t->seeds++;
	for (int v = 0; v < VERDICTS; v++)
		t->verdicts[v] += world.verdicts >> v & 1;
	for (int i = 0; i < 2; i++)
		count_exit(t, (enum side)i, world.exits[i]);
	if (!(world.verdicts & ~c->tolerated))
		return true;
	t->bad++;
	return false;
}

static void show_tally(const struct config *c, const struct tally *t)
{
	printf("%-20s %7u seeds, %6.0f a second, %u bad;", c->name, t->seeds,
	       t->seconds > 0 ? t->seeds / t->seconds : 0, t->bad);
	for (int v = 0; v < VERDICTS; v++)
		if (t->verdicts[v] > 0)
			printf(" %s %u", verdict_names[v], t->verdicts[v]);
	printf("\n");
	for (int i = 0; i < REASONS && t->reasons[i].why; i++)
		printf("    %6u deaths of %s: %s%s\n", t->reasons[i].times,
		       t->reasons[i].side ? "the VM" : "dom0", t->reasons[i].why,
		       is_residual(c, t->reasons[i].why) ? " (cannot be avoided)" : "");
	fflush(stdout);
}

/* Prints at most `show` failing seeds. Returns whether there was none. */
static bool run_seeds(const struct config *c, uint64_t first, uint64_t last,
		      unsigned show, unsigned only)
{
	struct tally t = {0};
	const double begin = now();

	for (uint64_t seed = first; seed <= last; seed++) {
		if (run_seed(c, seed, &t) || show == 0 || !(world.verdicts & only))
			continue;
		show--;
		printf("%s seed %llu: %s\n", c->name, (unsigned long long)seed,
		       world.text);
	}
	t.seconds = now() - begin;
	show_tally(c, &t);
	return t.bad == 0;
}

static int run_one(const struct config *c, uint64_t seed, bool trace, bool shrinks,
		   unsigned only)
{
	const unsigned n = plan(c, seed, actions);
	unsigned verdicts;

	world_run(&world, c, actions, n, trace);
	verdicts = world.verdicts & ~c->tolerated;
	printf("%s seed %llu, %u actions: %s\n", c->name, (unsigned long long)seed, n,
	       world.verdicts ? world.text : "fine");
	if (verdicts & only && shrinks)
		show_shrunk(c, n, verdicts & only);
	return verdicts ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int check(void)
{
	unsigned passed = 0, failed = scenarios_run(&passed);

	failed += memory_run(&passed, MEMORY_SEEDS / SEEDS_DIVISOR);
	for (size_t i = 0; i < CONFIGS; i++) {
		const unsigned seeds = configs[i].check_seeds / SEEDS_DIVISOR;

		if (seeds == 0)
			continue;
		if (run_seeds(&configs[i], 1, seeds, 3, ~0u))
			passed++;
		else
			failed++;
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: sim [--kinds CONFIG] [--seed N [--trace] [--shrink]]\n"
		"       sim [--kinds CONFIG] --seeds A..B [--show N] [--only VERDICT]\n"
		"configurations:");
	for (size_t i = 0; i < CONFIGS; i++)
		fprintf(stderr, " %s", configs[i].name);
	fprintf(stderr, "\n");
	return EXIT_FAILURE;
}

static unsigned verdict_find(const char *name)
{
	for (int v = 0; v < VERDICTS; v++)
		if (strcmp(verdict_names[v], name) == 0)
			return 1u << v;
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"kinds", required_argument, NULL, 'k'},
		{"seed", required_argument, NULL, 's'},
		{"seeds", required_argument, NULL, 'r'},
		{"show", required_argument, NULL, 'n'},
		{"only", required_argument, NULL, 'o'},
		{"trace", no_argument, NULL, 't'},
		{"shrink", no_argument, NULL, 'h'},
		{0},
	};
	const struct config *config = NULL;
	unsigned long long first = 0, last = 0, show = 0;
	unsigned only = ~0u;
	bool trace = false, shrinks = false, one = false, fine = true;

	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
		if (o == 'k' && !(config = config_find(optarg)))
			return usage();
		else if (o == 's')
			one = sscanf(optarg, "%llu", &first) == 1;
		else if (o == 'r' && sscanf(optarg, "%llu..%llu", &first, &last) != 2)
			return usage();
		else if (o == 'n')
			show = strtoull(optarg, NULL, 10);
		else if (o == 'o')
			only = verdict_find(optarg);
		trace |= o == 't';
		shrinks |= o == 'h';
		if (o == '?')
			return usage();
	}
	if (one)
		return run_one(config ? config : &configs[0], first, trace, shrinks,
			       only);
	if (last == 0)
		return optind == argc && !config ? check() : usage();
	for (size_t i = 0; i < CONFIGS; i++)
		if (!config || config == &configs[i])
			fine &= run_seeds(&configs[i], first, last, (unsigned)show, only);
	return fine ? EXIT_SUCCESS : EXIT_FAILURE;
}
