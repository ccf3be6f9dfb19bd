/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tests/crash/crash.h"

/* splitmix64 */
uint64_t chance_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

unsigned chance(uint64_t *state, unsigned n)
{
	return (unsigned)(chance_next(state) >> 32) % n;
}

/* ---- paths and values ---- */

size_t path_of_slot(const char *directory, unsigned slot, char *path)
{
	return (size_t)snprintf(path, QDB_MAX_PATH, "%s%sp%u", directory,
				slot < SLOTS_BELOW ? "s/" : "", slot);
}

int slot_of_path(const char *directory, const char *path, size_t len)
{
	char expected[QDB_MAX_PATH];

	for (unsigned slot = 0; slot < SLOTS; slot++)
		if (path_of_slot(directory, slot, expected) == len &&
		    memcmp(expected, path, len) == 0)
			return (int)slot;
	return -1;
}

/* Most values are short, a few as long as can be. */
static size_t filler_length(unsigned writer, uint64_t number)
{
	uint64_t random = (uint64_t)writer << 48 ^ number;
	const unsigned kind = chance(&random, 100);

	if (kind < 80)
		return 0;
	return kind < 95 ? chance(&random, 200) : chance(&random, QDB_MAX_DATA - 32);
}

static size_t make_value(unsigned writer, uint64_t number, char *value)
{
	const size_t filler = filler_length(writer, number);
	const int n = snprintf(value, QDB_MAX_DATA, "%u.%" PRIu64 ".", writer, number);

	memset(value + n, 'x', filler);
	return (size_t)n + filler;
}

uint64_t parse_value(const char *value, size_t len, unsigned *writer)
{
	char text[QDB_MAX_DATA + 1], expected[QDB_MAX_DATA];
	uint64_t number;

	memcpy(text, value, len);
	text[len] = '\0';
	if (sscanf(text, "%u.%" SCNu64 ".", writer, &number) != 2 ||
	    make_value(*writer, number, expected) != len ||
	    memcmp(expected, value, len) != 0)
		fail("a value that nobody has written: %.60s", text);
	return number;
}

/* ---- operations ---- */

void writer_init(struct writer *w, enum side side, unsigned id, uint64_t seed,
		 struct shared *shared)
{
	*w = (struct writer){
		.id = id, .side = side, .random = seed + id, .shared = shared};
	if (shared)
		snprintf(w->directory, sizeof(w->directory), "/shared/");
	else
		snprintf(w->directory, sizeof(w->directory), "/c%u/", id);
}

static struct operation choose(struct writer *w)
{
	const unsigned kind = chance(&w->random, 100), slot = chance(&w->random, SLOTS);
	struct operation o = {.number = ++w->number, .slots = 1u << slot};

	o.removes = kind >= 70;
	if (kind >= 98)
		o.slots = ALL_SLOTS;
	else if (kind >= 92)
		o.slots = (1u << SLOTS_BELOW) - 1;
	return o;
}

static size_t encode(const struct writer *w, const struct operation *o, uint8_t *out)
{
	char path[QDB_MAX_PATH], value[QDB_MAX_DATA];
	size_t len, value_len = 0;

	if (o->slots == ALL_SLOTS)
		len = (size_t)snprintf(path, sizeof(path), "%s", w->directory);
	else if (o->slots & (o->slots - 1))
		len = (size_t)snprintf(path, sizeof(path), "%ss/", w->directory);
	else
		len = path_of_slot(w->directory, (unsigned)__builtin_ctz(o->slots), path);
	if (!o->removes)
		value_len = make_value(w->id, o->number, value);
	return message_encode(out, o->removes ? QDB_CMD_RM : QDB_CMD_WRITE, path, len,
			      value, value_len);
}

static void add_candidates(struct writer *w, const struct operation *o)
{
	struct shared *s = w->shared;

	for (unsigned slot = 0; slot < SLOTS; slot++) {
		if (!(o->slots & 1u << slot))
			continue;
		if (s->n[w->side][slot] == MAX_CANDIDATES)
			fail("too many candidates");
		s->candidates[w->side][slot][s->n[w->side][slot]++] =
			(struct candidate){.number = o->number, .removes = o->removes};
	}
}

size_t writer_next(struct writer *w, uint8_t *out)
{
	const struct operation o = choose(w);

	w->pending[w->n_pending++] = o;
	for (unsigned slot = 0; slot < SLOTS; slot++)
		if (o.removes && o.slots & 1u << slot)
			w->history[slot].removed = o.number;
	if (w->shared)
		add_candidates(w, &o);
	return encode(w, &o, out);
}

/* ---- answers ---- */

static bool apply(uint64_t *state, const struct operation *o)
{
	bool hit = false;

	for (unsigned slot = 0; slot < SLOTS; slot++) {
		if (!(o->slots & 1u << slot))
			continue;
		hit |= state[slot] != 0;
		state[slot] = o->removes ? 0 : o->number;
	}
	return hit;
}

/* What came before it is superseded, unless there was nothing to remove. */
static void settle_candidates(struct writer *w, const struct operation *o, bool noent)
{
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		struct candidate *c = w->shared->candidates[w->side][slot];
		unsigned *n = &w->shared->n[w->side][slot], kept = 0;

		for (unsigned i = 0; o->slots & 1u << slot && i < *n; i++) {
			if (noent ? c[i].number == o->number : c[i].number < o->number)
				continue;
			c[kept] = c[i];
			c[kept].acknowledged |= c[i].number == o->number;
			kept++;
		}
		if (o->slots & 1u << slot)
			*n = kept;
	}
}

void writer_answered(struct writer *w, enum qdb_msg answer)
{
	const struct operation o = w->pending[0];
	const bool noent = o.removes && answer == QDB_RESP_ERROR_NOENT;
	bool hit;

	if (w->n_pending == 0 || (answer != QDB_RESP_OK && !noent))
		fail("writer %u: unexpected answer %s", w->id, message_name(answer));
	memmove(w->pending, w->pending + 1, --w->n_pending * sizeof(w->pending[0]));
	if (w->shared) {
		settle_candidates(w, &o, noent);
		return;
	}
	hit = apply(w->state, &o);
	if (o.removes && hit == noent)
		fail("writer %u: removal %" PRIu64 " should%s have found something",
		     w->id, o.number, hit ? "" : " not");
}

/* ---- judging ---- */

void writer_was_seen(struct writer *w, unsigned slot, uint64_t number)
{
	if (w->side == DOM0 && number > w->shown_through)
		w->shown_through = number;
	if (w->side == VM && number > w->history[slot].shown)
		w->history[slot].shown = number;
}

static bool is_equal(const uint64_t *state, const struct snapshot *s)
{
	return memcmp(state, s->numbers, sizeof(s->numbers)) == 0;
}

static void print_slots(const char *what, const uint64_t *numbers)
{
	printf("%-13s", what);
	for (unsigned slot = 0; slot < SLOTS; slot++)
		printf(" %6" PRIu64, numbers[slot]);
	putchar('\n');
}

static void explain(const struct writer *w, const struct snapshot *s)
{
	printf("writer %u, entries by the number of their write:\n", w->id);
	print_slots("acknowledged", w->state);
	print_slots("found", s->numbers);
	printf("seen by others up to: %" PRIu64 "\n", w->shown_through);
	for (unsigned i = 0; i < w->n_pending; i++)
		printf("pending: %s %" PRIu64 " of entries %03x\n",
		       w->pending[i].removes ? "removal" : "write", w->pending[i].number,
		       w->pending[i].slots);
	for (unsigned slot = 0; slot < SLOTS; slot++)
		if (s->numbers[slot] < w->state[slot])
			fail("LOST: what was acknowledged is not there");
		else if (w->state[slot] == 0 && s->numbers[slot] != 0)
			fail("RESURRECTED: what was removed is there again");
	fail("PART: what is there was never so");
}

void writer_check_prefix(struct writer *w, const struct snapshot *s)
{
	uint64_t state[SLOTS];
	unsigned i = 0;

	memcpy(state, w->state, sizeof(state));
	while (i < w->n_pending && w->pending[i].number <= w->shown_through)
		apply(state, &w->pending[i++]);
	while (!is_equal(state, s) && i < w->n_pending)
		apply(state, &w->pending[i++]);
	if (!is_equal(state, s))
		explain(w, s);
	memcpy(w->state, state, sizeof(state));
	w->n_pending = 0;
}

void writer_check_shown(struct writer *w, const struct snapshot *s)
{
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		const struct slot_history *h = &w->history[slot];
		const uint64_t found = s->numbers[slot] ? s->numbers[slot] : h->removed;

		if (found < h->shown)
			fail("LOST: the VM's write %" PRIu64
			     ", which dom0 has shown, of writer %u to entry %u; found "
			     "%" PRIu64,
			     h->shown, w->id, slot, s->numbers[slot]);
	}
}

void writer_check_exactly(const struct writer *w, const struct snapshot *s)
{
	if (w->n_pending > 0)
		fail("writer %u is not idle", w->id);
	if (!is_equal(w->state, s))
		explain(w, s);
}

static bool is_candidate(const struct shared *shared, enum side side, unsigned slot,
			 const struct snapshot *s, bool *touched)
{
	const struct candidate *c = shared->candidates[side][slot];
	bool found = false;

	for (unsigned i = 0; i < shared->n[side][slot]; i++) {
		*touched |= c[i].acknowledged;
		if (c[i].removes)
			found |= s->numbers[slot] == 0;
		else
			found |= s->numbers[slot] == c[i].number &&
				 s->writers[slot] % 2 == side;
	}
	return found;
}

void shared_check(struct shared *shared, const struct snapshot *s)
{
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		bool touched = false;
		bool legal = is_candidate(shared, DOM0, slot, s, &touched);

		legal |= is_candidate(shared, VM, slot, s, &touched);
		if (!touched)
			legal |= s->numbers[slot] == shared->base[slot] &&
				 (s->numbers[slot] == 0 ||
				  s->writers[slot] == shared->base_writer[slot]);
		if (!legal)
			fail("LOST: shared entry %u is %" PRIu64 " of writer %u, which "
			     "neither side has left there",
			     slot, s->numbers[slot], s->writers[slot]);
		shared->base[slot] = s->numbers[slot];
		shared->base_writer[slot] = s->writers[slot];
		shared->n[DOM0][slot] = shared->n[VM][slot] = 0;
	}
}
