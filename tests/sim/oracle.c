/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which final states are legal. For each entry: what it was when both ends were last
 * equal and quiet, and what either side's clients have made of it since. If nobody has
 * touched it, it must be as it was; otherwise as the last acknowledged change of one of
 * the sides has left it. That of a side is no longer legal once the other has changed the
 * entry while it knew that change, unless links were lost: then that of the judge (see
 * replica.c) may win. And that of the VM is not once a new dom0 has changed the entry
 * after it, whether it knew or not.
 *
 * A crash without state makes more states legal for the entries that the crashed end has
 * changed since: its changes may be lost, or not. So does the end of a link for those
 * that a legacy VM has changed.
 *
 * And when dom0 has at last written a base entry, to say that the list below it is
 * complete, the VM's watchers must hear of the list no later than of the base.
 */
#include <string.h>

#include "tests/sim/sim.h"

static void forget(struct history *h, int agreed)
{
	const bool vms = h->of[VM].operated && h->of[VM].last == agreed;
	const bool dom0s = h->of[DOM0].operated && h->of[DOM0].last == agreed;
	const bool kept = h->vms && h->agreed == agreed && !dom0s;

	memset(h, 0, sizeof(*h));
	h->agreed = agreed;
	h->vms = agreed != VALUE_ABSENT && (vms || kept);
}

void oracle_begin(struct world *w)
{
	for (int i = 0; i < PATHS; i++)
		forget(&w->histories[i], VALUE_ABSENT);
	memset(w->commits, 0, sizeof(w->commits));
}

/* ---- commits ---- */

static bool is_in_list(int base, int path)
{
	const size_t len = path_length(base);

	return path_length(path) > len && path_name(path)[len] == '/' &&
	       memcmp(path_name(path), path_name(base), len) == 0;
}

static void note_commit(struct world *w, enum side side, int path, int value)
{
	for (int i = 0; i < names_count(); i++) {
		struct commit *c = &w->commits[i];

		if (i != path && !is_in_list(i, path) && !path_covers(path, i))
			continue;
		c->vm_changed |= side == VM;
		if (side == DOM0)
			c->is_last = i == path && value == 0;
	}
}

static void hear_commit(struct world *w, int path)
{
	for (int i = 0; i < names_count(); i++)
		if (i == path)
			w->commits[i].unheard = false;
		else if (is_in_list(i, path) || path_covers(path, i))
			w->commits[i].unheard = true;
}

static void check_commits(struct world *w)
{
	const bool checks =
		w->ends[DOM0].kind == KIND_NEW && w->ends[VM].kind == KIND_NEW;

	for (int i = 0; checks && i < names_count(); i++) {
		const struct commit *c = &w->commits[i];

		if (c->is_last && c->unheard && !c->vm_changed)
			world_judge(w, EVENT, "the VM hears of %s before its list",
				    path_name(i));
	}
	memset(w->commits, 0, sizeof(w->commits));
}

/* ---- changes ---- */

/* Whose change is the newer one around "go" and the dump is for the ends to say. */
static bool is_in_dump(const struct end *e)
{
	enum replica_state state;

	if (e->kind != KIND_NEW)
		return false;
	state = e->new.domain.replica.state;
	return state == REPLICA_RESUMING || state == REPLICA_DUMPING;
}

static void operated(struct world *w, enum side side, int path, int result)
{
	struct history *h = &w->histories[path];
	struct side_history *ours = &h->of[side], *theirs = &h->of[!side];
	const int before = w->ends[side].values[path];

	if (theirs->operated && theirs->last > 0 && theirs->last == before)
		theirs->superseded = true;
	if (side == DOM0)
		theirs->outdated = theirs->operated && !theirs->in_dump &&
				   !is_in_dump(&w->ends[DOM0]);
	ours->operated = true;
	ours->superseded = ours->outdated = ours->maybe_gone = false;
	ours->in_dump = is_in_dump(&w->ends[side]);
	ours->last = result;
	if (ours->n_results < EXCUSES / 4)
		ours->results[ours->n_results++] = result;
	w->ends[side].values[path] = result;
}

/*
 * Each acknowledged write of dom0 reaches the VM's watchers, even one that changes
 * nothing: programs take it for a signal. What has been removed since need not, nor what
 * the VM's own change has replaced.
 */
static void must_be_heard(struct world *w, enum side side, int path, bool wrote)
{
	const unsigned forgets = FAULT_MEMORY | FAULT_QUOTA;
	struct end *vm = &w->ends[VM];

	if (side == VM)
		w->histories[path].unheard = false;
	else
		w->histories[path].unheard =
			wrote && vm->kind == KIND_NEW && w->ends[DOM0].kind == KIND_NEW &&
			vm->new.domain.serving && !(w->config->faults & forgets);
}

void oracle_wrote(struct world *w, enum side side, int path, int value)
{
	operated(w, side, path, value);
	note_commit(w, side, path, value);
	must_be_heard(w, side, path, true);
}

void oracle_removed(struct world *w, enum side side, int path)
{
	note_commit(w, side, path, VALUE_ABSENT);
	for (int i = 0; i < names_count(); i++)
		if (i == path || path_covers(path, i))
			must_be_heard(w, side, i, false);
	if (!path_is_directory(path)) {
		operated(w, side, path, VALUE_ABSENT);
		return;
	}
	for (int i = 0; i < names_count(); i++) {
		if (path_is_directory(i) || !path_covers(path, i))
			continue;
		if (w->ends[side].values[i] != VALUE_ABSENT)
			operated(w, side, i, VALUE_ABSENT);
		else
			w->histories[i].of[side].maybe_gone = true;
	}
}

static void excuse(struct history *h, int value)
{
	for (int i = 0; i < h->n_excuses; i++)
		if (h->excuses[i] == value)
			return;
	if (h->n_excuses < EXCUSES)
		h->excuses[h->n_excuses++] = value;
}

/*
 * Whether the other end has what must not be lost. dom0 has everything that was agreed;
 * the VM has it too, but need not keep what came from a dom0 that has forgotten it.
 */
static bool is_held(const struct history *h, enum side holder, int value)
{
	const struct side_history *theirs = &h->of[holder];

	if (h->of[!holder].operated)
		return false;
	if (theirs->operated)
		return theirs->last == value;
	return h->agreed == value && (holder == DOM0 || h->vms);
}

/* Not so a VM's daemon that was started again and has not had the end of a dump. */
static bool has_whole(const struct world *w, enum side side)
{
	const struct end *e = &w->ends[side];

	return e->kind != KIND_NEW || e->new.domain.serving;
}

void oracle_crashed(struct world *w, enum side side)
{
	for (int i = 0; i < names_count(); i++) {
		const int held = w->ends[!side].values[i];
		struct history *h = &w->histories[i];
		struct side_history *lost = &h->of[side];

		w->commits[i].vm_changed = true;
		h->unheard = false;
		if (path_is_directory(i) ||
		    (has_whole(w, !side) && is_held(h, !side, held)))
			continue;
		excuse(h, held);
		excuse(h, h->agreed);
		if (side == DOM0)
			excuse(h, VALUE_ABSENT);
		for (int n = 0; n < lost->n_results; n++)
			excuse(h, lost->results[n]);
		memset(lost, 0, sizeof(*lost));
	}
}

/* Nothing is lost but what dom0 still had to tell of writes that changed nothing. */
void oracle_restarted(struct world *w)
{
	for (int i = 0; i < names_count(); i++) {
		w->histories[i].unheard &= w->ends[DOM0].values[i] == 0;
		w->histories[i].of[VM].outdated &= !w->ends[DOM0].new.faulted;
	}
}

/*
 * A legacy end never says again what it said to a link that is gone, and nobody else
 * knows. That of dom0 does not say either what it removes before the dump.
 */
void oracle_cut_off(struct world *w, enum side side)
{
	for (int i = 0; i < names_count(); i++) {
		struct history *h = &w->histories[i];
		const struct side_history *ours = &h->of[side], *theirs = &h->of[!side];

		if (!ours->operated)
			continue;
		excuse(h, w->ends[!side].values[i]);
		excuse(h, theirs->operated ? theirs->last : h->agreed);
		for (int n = 0; n < ours->n_results; n++)
			excuse(h, ours->results[n]);
	}
}

void oracle_heard(struct world *w, int path)
{
	hear_commit(w, path);
	for (int i = 0; i < names_count(); i++)
		if (i == path || path_covers(path, i))
			w->histories[i].unheard = false;
}

static bool equal(const struct world *w, int *where)
{
	for (int i = 0; i < names_count(); i++) {
		*where = i;
		if (w->ends[0].values[i] != w->ends[1].values[i])
			return false;
	}
	return true;
}

static void check_entry(struct world *w, int path, int value)
{
	const struct end *dom0 = &w->ends[DOM0], *vm = &w->ends[VM];
	struct history *h = &w->histories[path];
	const bool reorders = w->config->faults & ~FAULT_SLOW;
	const enum side judge = dom0->kind == KIND_NEW ? DOM0 : VM;
	const bool judged =
		dom0->kind == KIND_NEW && vm->kind == KIND_NEW && !dom0->new.faulted;
	bool stale = false, any = false;

	for (int s = 0; s < 2; s++) {
		struct side_history *side = &h->of[s];

		any |= side->operated;
		if (side->maybe_gone && value == VALUE_ABSENT)
			return;
		if (!side->operated || side->last != value)
			continue;
		if ((!side->superseded || (reorders && s == (int)judge)) &&
		    !(side->outdated && judged))
			return;
		stale = true;
	}
	if (!any && value == h->agreed)
		return;
	for (int i = 0; i < h->n_excuses; i++)
		if (h->excuses[i] == value)
			return;
	world_judge(w, stale ? STALE : LOST,
		    "%s is %s; dom0 left %s, the VM %s, before %s", path_name(path),
		    value_name(value),
		    h->of[DOM0].operated ? value_name(h->of[DOM0].last) : "it alone",
		    h->of[VM].operated ? value_name(h->of[VM].last) : "it alone",
		    value_name(h->agreed));
}

/* Whenever both are at rest and equal, and not only at the end. */
void oracle_after_step(struct world *w)
{
	int where;

	if (w->broken)
		return;
	for (int i = 0; i < 2; i++)
		if (w->pipes[i].len > 0 || w->pipes[i].torn > 0 || !w->ends[i].attached ||
		    !w->ends[i].class->is_quiet(&w->ends[i]))
			return;
	if (!equal(w, &where))
		return;
	check_commits(w);
	for (int i = 0; i < names_count(); i++) {
		if (!path_is_directory(i))
			check_entry(w, i, w->ends[0].values[i]);
		if (w->histories[i].unheard)
			world_judge(w, EVENT, "the VM has not heard that dom0 wrote %s",
				    path_name(i));
		forget(&w->histories[i], w->ends[0].values[i]);
	}
}

/* Both must serve, whatever has become of the other one. */
static bool check_service(struct world *w)
{
	bool fine = true;

	for (int i = 0; i < 2; i++) {
		const struct end *e = &w->ends[i];

		if (w->ends[0].dead || w->ends[1].dead)
			fine = false;
		else if (!e->class->is_quiet(&w->ends[i]))
			world_judge(w, STUCK, "%s does not come to rest",
				    i ? "the VM" : "dom0");
		if (e->kind != KIND_NEW || (!e->new.domain.serving && !fine))
			continue;
		for (int c = 0; c < CLIENTS; c++)
			if (e->new.clients[c].n_pending > 0)
				world_judge(w, STUCK, "client %d of %s gets no answer", c,
					    i ? "the VM" : "dom0");
	}
	return fine;
}

void oracle_at_end(struct world *w)
{
	int where;

	if (!check_service(w))
		return;
	if (!equal(w, &where))
		world_judge(w, DIVERGED, "%s is %s in dom0 and %s in the VM",
			    path_name(where), value_name(w->ends[DOM0].values[where]),
			    value_name(w->ends[VM].values[where]));
}
