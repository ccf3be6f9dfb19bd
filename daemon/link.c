/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between the replica, which knows no descriptors, and a vchan, which knows no messages.
 * A turn reads once, and writes as long as the vchan takes it, but for some bound: local
 * clients have their turn, too.
 *
 * Answers alone are held back for some milliseconds, which is long enough for the local
 * program that such a change wakes up to make one of its own. They leave together, and a
 * write to a vchan is what wakes the other domain up. Nobody waits for an answer.
 *
 * When writing fails the peer has gone, but what it had sent before may still be there to
 * read, and would be lost. The link is `broken` then: what there is to send is dropped,
 * and the end is left to reading, which tells it once there is nothing more.
 *
 * A legacy VM hangs if its link ends before it has taken the end mark, of which it says
 * nothing. So before the link is closed it must have taken whatever is in the vchan.
 *
 * After a link has ended the next one is waited for at once, or nearly so: a daemon that
 * is being replaced is back within milliseconds, and the pause only keeps a peer that
 * connects and goes from taking all of the processor. A peer at fault waits twice as long
 * each time, up to a second, which a repaired one will not notice. All that does not
 * bound the number of links, each of which has a dump; `reconnects` does. Nor what dom0
 * has shared with a VM, of which a hostile one may keep mapped, and thus in use, what
 * each link had; `vm-links` does, in the long run.
 */
#include "daemon/link.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "daemon/log.h"

_Static_assert(OUTQ_UNIT <= VCHAN_PIECE_SIZE, "else ready() might never come");

/* Writes in one turn, so that a peer that reads fast does not hold up local clients. */
#define WRITES_PER_TURN 8

/* So long an answer waits for another message to leave with, and any for memory. */
#define ANSWER_DELAY_US 5000

/* The pause after a link has ended, doubled each time that it was the peer's fault. */
#define FIRST_DELAY_MS 20
#define LAST_DELAY_MS 1000

#define MINUTE_MS 60000u

/* After this one link of a VM is forgotten. */
#define LINK_MS 30000u

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A peer that comes too often waits for the rest of the minute. */
static unsigned rest_of_minute_ms(struct link *l, uint64_t now)
{
	if (now - l->since_ms >= MINUTE_MS) {
		l->since_ms = now;
		l->begun = 0;
	}
	if (++l->begun < quota_descriptions[QUOTA_RECONNECTS].limit)
		return 0;
	return (unsigned)(l->since_ms + MINUTE_MS - now);
}

/* A VM that has come too often in all waits until one of its links is forgotten. */
static unsigned until_forgotten_ms(struct link *l, uint64_t now)
{
	const uint64_t forgotten = (now - l->forgotten_ms) / LINK_MS;

	l->forgotten_ms += forgotten * LINK_MS;
	l->remembered -= forgotten < l->remembered ? (size_t)forgotten : l->remembered;
	if (++l->remembered < quota_descriptions[QUOTA_VM_LINKS].limit)
		return 0;
	return (unsigned)(l->forgotten_ms + LINK_MS - now);
}

static unsigned pause_ms(struct link *l)
{
	const bool in_dom0 = l->replica->role == REPLICA_DOM0;
	const uint64_t now = now_ms();
	const unsigned minute = rest_of_minute_ms(l, now);
	const unsigned link = in_dom0 ? until_forgotten_ms(l, now) : 0;
	const unsigned wait = link > minute ? link : minute;

	if (wait == 0)
		return l->delay_ms;
	log_peer_warning("the peer connects too often (quota %s), and has to wait for "
			 "%u s",
			 link > minute ? "vm-links" : "reconnects", wait / 1000);
	return wait;
}

static void stop_waiting(struct link *l)
{
	if (l->is_waiting)
		event_del(&l->overdue);
	l->is_waiting = false;
}

static void wait_a_little(struct link *l)
{
	static const struct timeval delay = {.tv_usec = ANSWER_DELAY_US};

	if (!l->is_waiting)
		event_add(&l->overdue, &delay);
	l->is_waiting = true;
}

/* Whether all that there is to send may wait, and has not done so for too long. */
static bool is_in_no_hurry(struct link *l)
{
	if (!replica_may_wait(l->replica))
		return false;
	wait_a_little(l);
	return evtimer_pending(&l->overdue, NULL);
}

/* link_turn() will see that it is not pending any more. */
static void on_overdue(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what, (void)context;
}

static void end(struct link *l, const char *why, bool fault)
{
	if (fault) {
		l->last_fault = why;
		log_peer_warning("the link to the peer is given up: %s", why);
	} else {
		log_peer_info("the link to the peer has ended");
	}
	l->connected = false;
	stop_waiting(l);
	replica_disconnected(l->replica);
	vchan_restart(l->vchan, pause_ms(l));
	l->delay_ms = fault ? l->delay_ms * 2 : FIRST_DELAY_MS;
	if (l->delay_ms > LAST_DELAY_MS)
		l->delay_ms = LAST_DELAY_MS;
}

static void on_connected(void *context)
{
	struct link *l = context;

	log_peer_info("the peer has connected");
	l->connected = true;
	l->broken = false;
	memcpy(l->refused_before, l->replica->refused, sizeof(l->refused_before));
	memset(l->told, 0, sizeof(l->told));
	l->is_live = false;
	l->connected_since = time(NULL);
	l->links++;
	replica_connected(l->replica);
}

static void read_once(struct link *l)
{
	uint8_t *space;
	size_t room = replica_space(l->replica, &space);
	ssize_t n;

	if (room == 0)
		return;
	n = vchan_read(l->vchan, space, room);
	if (n > 0) {
		l->moved += (size_t)n;
		replica_received(l->replica, (size_t)n);
	} else if (n != -EAGAIN) {
		end(l, "", false);
	}
}

/* One read a turn: what remains is ready again in the next, after the local clients. */
static void on_ready(void *context)
{
	read_once(context);
}

static void on_gone(void *context)
{
	struct link *l = context;

	l->gone(l->context);
}

static const struct vchan_handlers handlers = {
	.connected = on_connected,
	.ready = on_ready,
	.gone = on_gone,
};

int link_open(struct link *l, struct replica *replica,
	      const struct vchan_transport *transport, struct event_base *base,
	      const struct vchan_address *address, void (*gone)(void *), void *context)
{
	*l = (struct link){
		.replica = replica,
		.delay_ms = FIRST_DELAY_MS,
		.gone = gone,
		.context = context,
	};
	evtimer_assign(&l->overdue, base, on_overdue, l);
	return vchan_open(&l->vchan, transport, base, address, &handlers, l);
}

/* Returns whether the vchan may take more. */
static bool write_once(struct link *l)
{
	const uint8_t *bytes;
	ssize_t n = -EPIPE;
	size_t len;

	bytes = replica_output(l->replica, l->broken ? SIZE_MAX : vchan_room(l->vchan),
			       &len);
	if (len == 0)
		return false;
	if (!l->broken)
		n = vchan_write(l->vchan, bytes, len);
	if (n == -EAGAIN)
		return false;
	l->broken = n < 0;
	l->moved += n < 0 ? 0 : (size_t)n;
	replica_sent(l->replica, n < 0 ? len : (size_t)n);
	replica_run(l->replica);
	return true;
}

static void report_refusals(struct link *l)
{
	const bool in_dom0 = l->replica->role == REPLICA_DOM0;
	const char *const said[] = {
		[REFUSED_BY_PEER] = "the peer has refused a change that was made here, "
				    "and may tell what stands instead",
		[REFUSED_FOR_QUOTA] =
			in_dom0 ? "a change of the VM is refused, for a quota, and is "
				  "undone there"
				: "a change is over a quota, so that dom0 has something "
				  "else than this side",
		[REFUSED_AS_BAD] = "the peer has sent a change that is no entry, and it "
				   "is refused",
	};

	for (int i = 0; i < REPLICA_REFUSALS; i++) {
		if (l->told[i] || l->replica->refused[i] == l->refused_before[i])
			continue;
		log_peer_warning("%s; more such will not be logged of this link",
				 said[i]);
		l->told[i] = true;
	}
}

static void note_resync(struct link *l)
{
	if (l->is_live || l->replica->state != REPLICA_LIVE)
		return;
	l->is_live = true;
	l->last_resync = time(NULL);
}

bool link_turn(struct link *l)
{
	uint8_t *space;
	int writes = 0;

	if (!l->connected)
		return false;
	replica_run(l->replica);
	if (!is_in_no_hurry(l)) {
		stop_waiting(l);
		while (writes < WRITES_PER_TURN && write_once(l))
			writes++;
	}
	if (replica_lacks_memory(l->replica))
		wait_a_little(l);
	report_refusals(l);
	note_resync(l);
	if (l->replica->failure) {
		end(l, l->replica->failure, true);
		return false;
	}
	vchan_listen_to(l->vchan, replica_space(l->replica, &space) > 0);
	return writes == WRITES_PER_TURN || replica_has_work(l->replica);
}

void link_resume(struct link *l)
{
	if (replica_has_work(l->replica))
		replica_resume(l->replica);
	else if (l->connected && replica_drains_first(l->replica))
		read_once(l);
}

bool link_is_settled(const struct link *l)
{
	if (!l->connected)
		return true;
	return replica_is_settled(l->replica) &&
	       (!l->replica->peer_is_legacy || vchan_untaken(l->vchan) == 0);
}

uint64_t link_passed(const struct link *l)
{
	return l->moved - vchan_untaken(l->vchan);
}

void link_close(struct link *l)
{
	stop_waiting(l);
	if (l->connected)
		write_once(l);
	vchan_close(l->vchan);
}
