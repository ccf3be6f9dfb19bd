/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two daemons, two entries /d/a and /d/b, and the rules that keep both ends equal.
 *
 * Side 0 is dom0, side 1 the VM.  q[s] holds what side s sent and the other has not read.  A link
 * is lost one direction at a time: once cut[s] is set, whatever side s sends is lost, what was sent
 * before is still delivered.  As the two directions are cut at independent moments, that covers
 * every number of lost messages in each direction, the peer noticing late included.
 *
 * An entry is a nibble: 8 if present, plus the number of the operation that made it so (1..3 by
 * dom0, 4..6 by the VM, 7 from before).  With GHOST the number survives removal, which is how the
 * model knows who had seen what; no rule looks at it.
 *
 * Configuration (cpp): OPS per side, CUTS, CRASH (bits: 1 VM restarts, 2 dom0 restarts and keeps its
 * state, 4 dom0 restarts without), STALL (each side may once be unable to send,
 * because the other does not read), LEGACY_VM (2: one that serves its clients during a dump, which
 * ends badly), LEGACY_DOM0, GHOST.  The ablations are named NO_*.
 * The rules in words, and why, are in README beside this file.
 */

#ifndef OPS
#define OPS 2
#endif
#ifndef CUTS
#define CUTS 0
#endif
#ifndef CRASH
#define CRASH 0
#endif
#ifndef STALL
#define STALL 0
#endif
#ifndef QLEN
#define QLEN 10
#endif

#if defined(LEGACY_VM) || defined(LEGACY_DOM0)
#define LEGACY 1
#else
#define LEGACY 0
#endif

/* Messages.  Those with a key are two in a row: /d/a, /d/b. */
#define WR	0	/* WRITE */
#define RM	2	/* RM of an entry */
#define PRM	4	/* WRITE old value and RM, in one vchan write; one answer stands for both */
#define ENT	6	/* dump entry */
#define RMD	8	/* RM of the directory */
#define PRMD	9	/* WRITE of an entry in it and RM of the directory, in one vchan write */
#define OK	10
#define END	11	/* end mark of the dump */
#define FRESH	12	/* MULTIREAD of a VM without memory (legacy: any MULTIREAD) */
#define HELLO	13	/* VM: announcement with its count, and MULTIREAD.  dom0: announcement */
#define GO	14	/* VM: all I had to send again is sent, dump now */
#define EMPTY	15	/* WRITE /x and RM /, in one vchan write */

/* The number of the failed assertion is in the checker's message. */
#define ASSERT(what, x)	assert((what) == 1 || (x))
#define DEAD		101
#define DIVERGED	102
#define LOST		103
#define UNFINISHED	104

/* States of dom0's end of the link; those of the VM's are DOWN, SYNC, LIVE. */
#define DOWN	0
#define ASKED	1	/* waits for GO */
#define DUMP	2	/* next entry is /d/b; 3: /d/a; 4: end mark */
#define LIVE	5
#define SYNC	1	/* waits for the end mark */

#define PRESENT(x)	((x) & 8)
#define NR(x)		((x) & 7)
#define I(s, k)		(2 * (s) + (k))
#define OPNR(s)		(3 * (s) + cnt[s])
#ifdef GHOST
#define GONE(x)		NR(x)
#else
#define GONE(x)		0
#endif

chan q[2] = [QLEN] of { byte, byte };
bit cut[2];
byte cuts;
byte crashes;

byte E[4];		/* the namespace of each side */
byte cnt[2];		/* operations its clients made */

/* The unanswered operations of a side, seen from the entries: n were sent; the last one that
 * covers entry k is number pos[k] of them (0: none).  owe[k] says that
 * the state of k is still to be sent. */
byte n[2];
byte pos[4];
bit owe[4];
byte taken[2];		/* operations of side s that the other processed and s does not know of */
bit stalled[2];
byte stalls;

byte dst, vst;		/* link states */
bit ready;		/* the VM's sockets answer */
bit conf[2];		/* VM: confirmed by the dump */
bit oldgen;		/* dom0's generation is not the one the VM remembers */

bit again;		/* legacy VM: it has been connected before */

#ifdef GHOST
byte L[4];		/* what the last operation of side s made of entry k */
byte skipped[2];	/* what removed an entry that the dump lacks */
byte rel[2];		/* 1 + s: the last operation of side s knew the last of the other; 0: neither */
#endif

byte t, v, k;		/* scratch, zeroed after use */

/* Who ignores what collides with its own unanswered operations. */
#ifdef LEGACY_DOM0
#define JUDGE	1
#else
#define JUDGE	0
#endif
#ifdef LEGACY_VM
#define ISNEW(s)	((s) == 0)
#elif defined(LEGACY_DOM0)
#define ISNEW(s)	((s) == 1)
#else
#define ISNEW(s)	1
#endif

/* Whether a client's operation goes out at once.  During a dump none does, in either direction. */
#ifdef NO_HOLD
#define SENDS1	(vst != DOWN)
#else
#define SENDS1	(vst == LIVE)
#endif
#define SENDS(s)	(!stalled[s] && (((s) == 0 && dst == LIVE) || ((s) == 1 && SENDS1)))
#define OURS(s, k)	(owe[I(s, k)] || pos[I(s, k)])
#define TALKS(s)	((s) == 1 || dst == LIVE)
#define LINKDOWN	(cut[0] && cut[1] && empty(q[0]) && empty(q[1]))
#define QUIET		(empty(q[0]) && empty(q[1]) && !cut[0] && !cut[1] && dst == LIVE && \
			 vst == LIVE && !stalled[0] && !stalled[1])

/* An answer in front of a queue commutes with everything else, so it is taken first. */
#define EAGER0	(q[1]?[OK, 0])
#define EAGER1	(q[0]?[OK, 0])
#define FREE	(!EAGER0 && !EAGER1)

/* What `run --replay` makes readable; nothing during a check. */
#define OP	0
#define SEND	1
#define TAKE	2
#define STALL_	3
#define RESUME	4
#define CUT	5
#define CONNECT	6
#define RESTART	7
#define QUIESCENT	8
#define SAY(what, x, y, z) printf("@ %d %d %d %d %d %d %d %d\n", what, x, y, z, E[0], E[1], E[2], E[3])

inline put(s, m, x)
{
	SAY(SEND, s, m, x);
	if
	:: cut[s]
	:: else -> q[s]!m, x
	fi
}

/* The state of entry key, to the other side. */
inline put_rm(s, key, x)
{
	if
#if LEGACY && !defined(NO_REWRITE) && !defined(NO_PAIR)
	:: ISNEW(s) -> put(s, PRM + key, x)
#endif
#if LEGACY && defined(NO_PAIR)
	:: ISNEW(s) -> put(s, WR + key, 8 + 7); n[s]++; put(s, RM + key, x)
#endif
	:: else -> put(s, RM + key, x)
	fi
}

inline put_state(s, key)
{
	n[s]++;
	if
	:: PRESENT(E[I(s, key)]) -> put(s, WR + key, E[I(s, key)])
	:: else -> put_rm(s, key, E[I(s, key)])
	fi;
	pos[I(s, key)] = n[s]
}

inline put_owed(s)
{
	if
	:: owe[I(s, 0)] -> put_state(s, 0)
	:: else
	fi;
	if
	:: owe[I(s, 1)] -> put_state(s, 1)
	:: else
	fi;
	owe[I(s, 0)] = 0; owe[I(s, 1)] = 0
}

inline forget(s)
{
	n[s] = 0; taken[s] = 0;
	pos[I(s, 0)] = 0; pos[I(s, 1)] = 0;
	owe[I(s, 0)] = 0; owe[I(s, 1)] = 0
}

inline answered(s, m)
{
	n[s] = n[s] - (m);
	pos[I(s, 0)] = (pos[I(s, 0)] > (m) -> pos[I(s, 0)] - (m) : 0);
	pos[I(s, 1)] = (pos[I(s, 1)] > (m) -> pos[I(s, 1)] - (m) : 0)
}

/* A client of side s makes x of entry key. */
inline ghost(s, key, x)
{
#ifdef GHOST
	if
	:: NR(L[I(1 - s, key)]) && NR(E[I(s, key)]) == NR(L[I(1 - s, key)]) -> rel[key] = 1 + s
	:: else ->
		if
		:: rel[key] == 1 + s
		:: else -> rel[key] = 0
		fi
	fi;
	L[I(s, key)] = x;
#endif
	skip
}

/* What the dump has yet to pass needs no update after it. */
#ifdef NO_AHEAD
#define AHEAD(s, key)	false
#else
#define AHEAD(s, key)	((s) == 0 && dst >= DUMP && dst <= 3 - (key))
#endif

inline mark(s, key)
{
	if
	:: SENDS(s) -> pos[I(s, key)] = n[s]
	:: AHEAD(s, key)
	:: else -> owe[I(s, key)] = 1
	fi
}

inline op_write(s, key)
{
	cnt[s]++;
	SAY(OP, s, WR + key, OPNR(s));
	ghost(s, key, 8 + OPNR(s));
	E[I(s, key)] = 8 + OPNR(s);
	if
	:: ISNEW(s) ->
		if
		:: SENDS(s) -> n[s]++; put(s, WR + key, E[I(s, key)])
		:: else
		fi;
		mark(s, key)
	:: !ISNEW(s) && TALKS(s) -> put(s, WR + key, E[I(s, key)])
	:: else
	fi
}

inline op_rm(s, key)
{
	cnt[s]++;
	SAY(OP, s, RM + key, OPNR(s));
	ghost(s, key, GONE(OPNR(s)));
	E[I(s, key)] = GONE(OPNR(s));
	if
	:: ISNEW(s) ->
		if
		:: SENDS(s) -> n[s]++; put_rm(s, key, E[I(s, key)])
		:: else
		fi;
		mark(s, key)
	:: !ISNEW(s) && TALKS(s) -> put(s, RM + key, E[I(s, key)])
	:: else
	fi
}

/* The directory: the side that judges covers every path in it, also those it does not have;
 * the other only has to send again what it removed. */
inline rmdir_entry(s, key)
{
	ghost(s, key, GONE(OPNR(s)));
	if
	:: ISNEW(s) ->
		if
		:: PRESENT(E[I(s, key)]) -> mark(s, key)
		:: else ->
			if
			:: SENDS(s) && s == JUDGE -> pos[I(s, key)] = n[s]
			:: else
			fi
		fi
	:: else
	fi;
	E[I(s, key)] = GONE(OPNR(s))
}

inline op_rmdir(s)
{
	cnt[s]++;
	SAY(OP, s, RMD, OPNR(s));
	if
	:: ISNEW(s) && SENDS(s) ->
		n[s]++;
#if LEGACY && defined(NO_PAIR)
		put(s, WR + (PRESENT(E[I(s, 0)]) -> 0 : 1), 8 + 7); n[s]++;
		put(s, RMD, GONE(OPNR(s)))
#elif LEGACY && !defined(NO_REWRITE)
		put(s, PRMD, GONE(OPNR(s)))
#else
		put(s, RMD, GONE(OPNR(s)))
#endif
	:: !ISNEW(s) && TALKS(s) -> put(s, RMD, GONE(OPNR(s)))
	:: else
	fi;
	rmdir_entry(s, 0);
	rmdir_entry(s, 1)
}

/* The other side's operation makes x of our entry key. */
inline receive_entry(s, key, x)
{
	if
	:: !ISNEW(s) -> E[I(s, key)] = x
#ifndef NO_IGNORE
	:: ISNEW(s) && s == JUDGE && OURS(s, key)
#endif
	:: else ->
		E[I(s, key)] = x;
#ifndef NO_VOID
		if
		:: s != JUDGE -> pos[I(s, key)] = 0; owe[I(s, key)] = 0
		:: else
		fi;
#endif
		skip
	fi
}

inline receive_op(s)
{
	if
	:: t < RM -> receive_entry(s, t - WR, v)
	:: t >= RM && t < PRM ->
		ASSERT(DEAD, ISNEW(s) || PRESENT(E[I(s, t - RM)]));	/* legacy: NOENT, and both exit */
		receive_entry(s, t - RM, v)
	:: t >= PRM && t < ENT -> receive_entry(s, t - PRM, v)
	:: t == RMD || t == PRMD ->
		ASSERT(DEAD, ISNEW(s) || t == PRMD || PRESENT(E[I(s, 0)]) || PRESENT(E[I(s, 1)]));
		receive_entry(s, 0, v);
		receive_entry(s, 1, v)
	:: t == EMPTY -> E[I(s, 0)] = 0; E[I(s, 1)] = 0
	fi;
#if CUTS
	if
	:: ISNEW(1 - s) -> taken[1 - s]++
	:: else
	fi;
#endif
	put(s, OK, 0)
}

inline get(s)
{
	q[1 - s]?t, v;
	SAY(TAKE, s, t, v)
}

inline receive_ok(s)
{
	if
	:: ISNEW(s) ->
		answered(s, 1);
#if CUTS
		taken[s]--;
#endif
		skip
	:: else
	fi
}

inline receive0()
{
	get(0);
	if
	:: t == OK -> receive_ok(0)
#ifdef LEGACY_DOM0
	:: t == FRESH ->
		if
		:: PRESENT(E[1]) -> put(0, ENT + 1, E[1])
		:: else
		fi;
		if
		:: PRESENT(E[0]) -> put(0, ENT, E[0])
		:: else
		fi;
		put(0, END, 0);
		dst = LIVE
#else
	:: t == FRESH ->
		forget(0);
		dst = DUMP;
#ifdef LEGACY_VM
#ifndef NO_PURGE
		if
		:: again -> n[0] = 1; pos[0] = 1; pos[1] = 1; put(0, EMPTY, 0)
		:: else
		fi;
#endif
		again = 1;
#endif
		skip
#endif
#if CUTS && !LEGACY
	:: t == HELLO ->
#ifndef NO_RESUME
		answered(0, taken[0]);
#endif
		taken[0] = 0;
		put(0, HELLO, 0);
#ifdef NO_GO
		forget(0);
		dst = DUMP
#else
		dst = ASKED
#endif
	:: t == GO ->
#ifdef NO_GO
		skip
#else
#ifdef NO_CLEAR
		n[0] = 0;
		owe[0] = owe[0] || pos[0]; owe[1] = owe[1] || pos[1];
		pos[0] = 0; pos[1] = 0;
#else
		forget(0);
#endif
		dst = DUMP
#endif
#endif
	:: else -> receive_op(0)
	fi;
	t = 0; v = 0
}

inline dump_step()
{
	if
	:: dst < 4 ->
		if
		:: PRESENT(E[3 - dst]) -> put(0, ENT + (3 - dst), E[3 - dst])
		:: else ->
#ifdef GHOST
			skipped[3 - dst] = E[3 - dst];
#endif
			skip
		fi;
		dst++
	:: else ->
		put(0, END, 0);
		dst = LIVE;
		if
		:: !stalled[0] -> put_owed(0)
		:: else
		fi
	fi
}

inline end_entry(key)
{
#ifdef LEGACY_DOM0
#ifndef NO_KEEP
	if
	:: PRESENT(E[I(1, key)]) && !conf[key] -> owe[I(1, key)] = 1
	:: else
	fi;
#endif
#elif !defined(NO_PRUNE)
	if
	:: ISNEW(1) && PRESENT(E[I(1, key)]) && !conf[key] && !OURS(1, key) ->
#ifdef GHOST
		E[I(1, key)] = skipped[key]
#else
		E[I(1, key)] = 0
#endif
	:: else
	fi;
#endif
#ifdef GHOST
	skipped[key] = 0;
#endif
	conf[key] = 0
}

inline resend_entry(key)
{
#ifndef NO_REPLAY
	if
	:: pos[I(1, key)] -> owe[I(1, key)] = 1
	:: else
	fi;
#else
	owe[I(1, key)] = 0;
#endif
#ifndef NO_GENERATION
	if
	:: oldgen && PRESENT(E[I(1, key)]) -> owe[I(1, key)] = 1
#ifndef NO_FORGET
	:: oldgen && !PRESENT(E[I(1, key)]) -> owe[I(1, key)] = 0
#endif
	:: else
	fi;
#endif
	pos[I(1, key)] = 0
}

inline receive1()
{
	get(1);
	if
	:: t == OK -> receive_ok(1)
	:: t >= ENT && t < RMD ->
		k = t - ENT;
		if
#ifndef NO_TOUCH
		:: ISNEW(1) && OURS(1, k)
#endif
		:: else -> E[I(1, k)] = v
		fi;
		conf[k] = (ISNEW(1) -> 1 : 0);
		k = 0
	:: t == END ->
		end_entry(0);
		end_entry(1);
		vst = LIVE;
		ready = 1;
		if
		:: !stalled[1] -> put_owed(1)
		:: else
		fi
#if CUTS && !LEGACY
	:: t == HELLO ->
#ifndef NO_RESUME
		answered(1, taken[1]);
#endif
		taken[1] = 0;
		resend_entry(0);
		resend_entry(1);
		n[1] = 0;
		oldgen = 0;
		vst = SYNC;
		put_owed(1);
		put(1, GO, 0)
#endif
	:: else ->
		ASSERT(DEAD, ready || !LEGACY || t == EMPTY);	/* strict agents: no update in a first dump */
		receive_op(1)
	fi;
	t = 0; v = 0
}

#define SAME(x, y)	((PRESENT(x) == PRESENT(y)) && (!PRESENT(x) || (x) == (y)))

/* The last operation of one side that knew the last of the other is what remains; of two that
 * did not know each other, one of them; and never anything else. */
#ifdef GHOST
#define FAIR(key) \
	ASSERT(LOST, !L[key] || !L[2 + key] || rel[key] || SAME(E[key], L[key]) || \
	       SAME(E[key], L[2 + key])); \
	ASSERT(LOST, !(rel[key] == 1 || (L[key] && !L[2 + key])) || SAME(E[key], L[key])); \
	ASSERT(LOST, !(rel[key] == 2 || (!L[key] && L[2 + key])) || SAME(E[key], L[2 + key]))
#else
#define FAIR(key) skip
#endif

active proctype daemons()
{
	/* dom0 has none, one or both of the entries when the VM connects for the first time. */
	if
	:: skip
	:: E[0] = 8 + 7
	:: E[1] = 8 + 7
	:: E[0] = 8 + 7; E[1] = 8 + 7
	fi;
	d_step {
#ifdef GHOST
		L[0] = E[0]; L[1] = E[1];
#endif
		q[1]!FRESH, 0;
		vst = SYNC
	}

	do
	/* local clients */
	:: d_step { FREE && cnt[0] < OPS -> op_write(0, 0) }
	:: d_step { FREE && cnt[0] < OPS -> op_write(0, 1) }
	:: d_step { FREE && cnt[0] < OPS && PRESENT(E[0]) -> op_rm(0, 0) }
	:: d_step { FREE && cnt[0] < OPS && PRESENT(E[1]) -> op_rm(0, 1) }
	:: d_step { FREE && cnt[0] < OPS && (PRESENT(E[0]) || PRESENT(E[1])) -> op_rmdir(0) }
	:: d_step { FREE && ready && cnt[1] < OPS -> op_write(1, 0) }
	:: d_step { FREE && ready && cnt[1] < OPS -> op_write(1, 1) }
	:: d_step { FREE && ready && cnt[1] < OPS && PRESENT(E[2]) -> op_rm(1, 0) }
	:: d_step { FREE && ready && cnt[1] < OPS && PRESENT(E[3]) -> op_rm(1, 1) }
	:: d_step { FREE && ready && cnt[1] < OPS && (PRESENT(E[2]) || PRESENT(E[3])) -> op_rmdir(1) }

	/* the link */
	:: d_step { EAGER0 || (FREE && nempty(q[1])) -> receive0() }
	:: d_step { !EAGER0 && (EAGER1 || nempty(q[0])) -> receive1() }
	:: d_step { FREE && dst >= DUMP && dst < LIVE -> dump_step() }

#if STALL
	:: d_step { FREE && !(stalls & 1) && dst == LIVE -> SAY(STALL_, 0, 0, 0); stalls = stalls | 1; stalled[0] = 1 }
	:: d_step { FREE && stalled[0] -> SAY(RESUME, 0, 0, 0); stalled[0] = 0;
		if
		:: SENDS(0) -> put_owed(0)
		:: else
		fi }
	:: d_step { FREE && !(stalls & 2) && vst == LIVE -> SAY(STALL_, 1, 0, 0); stalls = stalls | 2; stalled[1] = 1 }
	:: d_step { FREE && stalled[1] -> SAY(RESUME, 1, 0, 0); stalled[1] = 0;
		if
		:: SENDS(1) -> put_owed(1)
		:: else
		fi }
#endif

#if CUTS
	:: d_step { FREE && !cut[0] && (cut[1] || cuts < CUTS) && (ready || !LEGACY) ->
		SAY(CUT, 0, 0, 0); cuts = (cut[1] -> cuts : cuts + 1); cut[0] = 1 }
	:: d_step { FREE && !cut[1] && (cut[0] || cuts < CUTS) && (ready || !LEGACY) ->
		SAY(CUT, 1, 0, 0); cuts = (cut[0] -> cuts : cuts + 1); cut[1] = 1 }
	:: d_step { FREE && LINKDOWN ->
		SAY(CONNECT, 1, 0, 0); cut[0] = 0; cut[1] = 0; dst = DOWN;
#ifdef GHOST
		skipped[0] = 0; skipped[1] = 0;
#endif
		conf[0] = 0; conf[1] = 0;
		if
#if defined(LEGACY_VM)
		:: true -> vst = SYNC; ready = (LEGACY_VM == 2 -> 1 : 0); q[1]!FRESH, 0
#elif defined(LEGACY_DOM0)
		:: true -> vst = SYNC; resend_entry(0); resend_entry(1); n[1] = 0; q[1]!FRESH, 0
#else
		:: ready -> vst = DOWN; q[1]!HELLO, 0
		:: else -> vst = SYNC; oldgen = 0; q[1]!FRESH, 0
#endif
		fi }
#endif
#if CRASH & 1
	:: d_step { FREE && LINKDOWN && !(crashes & 1) ->
		SAY(RESTART, 1, 1, 0); crashes = crashes | 1;
		forget(1); E[2] = 0; E[3] = 0; ready = 0;
#ifdef GHOST
		L[0] = E[0]; L[1] = E[1]; L[2] = 0; L[3] = 0; rel[0] = 0; rel[1] = 0
#endif
		}
#endif
#if CRASH & 2
	:: d_step { FREE && LINKDOWN && !(crashes & 2) ->
		SAY(RESTART, 0, 2, 0); crashes = crashes | 2;
#ifdef NO_PERSIST
		taken[1] = 0;
#endif
		forget(0) }
#endif
#if CRASH & 4
	:: d_step { FREE && LINKDOWN && !(crashes & 4) ->
		SAY(RESTART, 0, 4, 0); crashes = crashes | 4; forget(0); taken[1] = 0; E[0] = 0; E[1] = 0; oldgen = !LEGACY;
#ifdef GHOST
		L[0] = 0; L[1] = 0; rel[0] = 0; rel[1] = 0;
		L[2] = (ready && PRESENT(E[2]) -> E[2] : 0); L[3] = (ready && PRESENT(E[3]) -> E[3] : 0)
#endif
		}
#endif

	/* the property */
	:: FREE && QUIET -> break
	od;
	skip;
	d_step {
		SAY(QUIESCENT, 0, 0, 0);
		ASSERT(DIVERGED, SAME(E[0], E[2]) && SAME(E[1], E[3]));
		ASSERT(UNFINISHED, n[0] == 0 && n[1] == 0 && !owe[0] && !owe[1] && !owe[2] && !owe[3]);
		FAIR(0);
		FAIR(1)
	}
}
