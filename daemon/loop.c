/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A turn of the loop takes in what has arrived (clients.c, link.c) and answers who only
 * asked; when it ends, what has changed is committed to the state file, and then everyone
 * whom that concerns is told: who made the changes, who watches, and the peer.
 *
 * The end has an order, for nobody shall lose what he was told he has. First this daemon
 * is not to be found any more. Those who had found it are answered. When all clients are
 * gone, the peer gets what it lacks. Nobody can make that last: each step has its time.
 */
#include "daemon/loop.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/startup.h"

/* One to accept those who have connected, one to hear them. */
#define LAST_TURNS 2
#define LAST_TURNS_US 100000

/* So much of domain.h's work may leave memory behind that is worth giving back. */
#define TIDY_WORK 16384

/* How long the peer may take to go on with its part, and with all of it. */
#define PAUSE_US 200000
#define DRAIN_S 2

/* How often to look whether the peer has taken what there is. */
#define LOOK_US 5000

void loop_stop(struct daemon *d)
{
	d->is_ending = true;
	event_base_loopbreak(d->base);
}

void loop_forget_other(struct daemon *d)
{
	if (!d->on_other)
		return;
	close(event_get_fd(d->on_other));
	event_free(d->on_other);
	d->on_other = NULL;
}

static int appear(struct daemon *d)
{
	loop_forget_other(d);
	return runtime_appear(&d->runtime);
}

static void on_other(evutil_socket_t fd, short what, void *context)
{
	struct daemon *d = context;
	uint8_t dropped[MESSAGE_HEADER_SIZE];
	const ssize_t n = recv(fd, dropped, sizeof(dropped), MSG_DONTWAIT);

	(void)what;
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	d->failure = appear(d);
	if (d->failure < 0)
		loop_stop(d);
}

/* When it cannot be waited for, the first dump tells that it has gone. */
int loop_appear_in_time(struct daemon *d)
{
	int other;

	if (d->options->remote_name)
		return runtime_show(&d->runtime);
	other = runtime_find_other(&d->runtime);
	if (other < 0 && other != -EAGAIN)
		return appear(d);
	log_info("another daemon serves here and is left alone until it ends");
	if (other < 0)
		return 0;
	d->on_other = event_new(d->base, other, EV_READ | EV_PERSIST, on_other, d);
	if (d->on_other && event_add(d->on_other, NULL) == 0)
		return 0;
	if (!d->on_other)
		close(other);
	return appear(d);
}

static const char *status_of_link(const struct daemon *d)
{
	if (!d->has_link)
		return "serving";
	if (d->options->remote_name)
		return d->link.connected ? "serving; the VM is connected"
					 : "serving; the VM is not connected";
	return d->link.connected ? "serving; connected with dom0"
				 : "serving; dom0 is out of reach";
}

static void tell_status(struct daemon *d)
{
	d->was_connected = d->link.connected;
	d->was_failing = d->state.is_failing;
	snprintf(d->status, sizeof(d->status), "%s%s", status_of_link(d),
		 d->was_failing ? "; changes are not kept" : "");
	startup_status(d->status);
}

static void become_ready(struct daemon *d)
{
	d->failure = appear(d);
	if (d->failure < 0) {
		loop_stop(d);
		return;
	}
	d->is_ready = true;
	log_info("serving");
	clients_serve(&d->clients);
	tell_status(d);
	startup_ready();
}

static void notice_changes(struct daemon *d)
{
	if (d->is_ready && (d->link.connected != d->was_connected ||
			    d->state.is_failing != d->was_failing))
		tell_status(d);
}

static void resume(struct daemon *d)
{
	if (d->has_link)
		link_resume(&d->link);
	clients_resume(&d->clients);
}

/* The peer first: it works while the clients here are told. */
static void end_turn(struct daemon *d, bool *more)
{
	state_commit(&d->state);
	*more = d->has_link && link_turn(&d->link);
	*more |= clients_turn(&d->clients);
	notice_changes(d);
	if (!d->is_ready && d->domain.serving) {
		become_ready(d);
		*more = true;
	}
}

/* Before it sleeps: the allocator would keep what the busiest time has taken. */
static void tidy_up(struct daemon *d)
{
	if (d->domain.work - d->tidy_at < TIDY_WORK)
		return;
	d->tidy_at = d->domain.work;
	malloc_trim(0);
}

static void on_impatience(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	*(bool *)context = true;
}

/*
 * A client that has connected before it could not any more gets its first answer, so that
 * one that comes while this daemon is being replaced is served by either; but it must ask
 * soon.
 */
static void run_last_turns(struct daemon *d)
{
	static const struct timeval patience = {.tv_usec = LAST_TURNS_US};
	struct event *impatience;
	bool is_over = false, more = true;

	impatience = evtimer_new(d->base, on_impatience, &is_over);
	if (!impatience)
		return;
	evtimer_add(impatience, &patience);
	for (int turn = 0; !is_over; turn++) {
		if (turn >= LAST_TURNS && !clients_expect_requests(&d->clients))
			break;
		event_base_loop(
			d->base,
			EVLOOP_ONCE | (more || turn < LAST_TURNS ? EVLOOP_NONBLOCK : 0));
		resume(d);
		end_turn(d, &more);
	}
	event_free(impatience);
}

static void on_look(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what, (void)context;
}

/*
 * What was acknowledged here and the peer does not have leaves before the link is closed,
 * and a dump is brought to its end, as long as the peer goes on with it. No event tells
 * that it has taken the last bytes.
 */
static void drain_link(struct daemon *d)
{
	static const struct timeval pause = {.tv_usec = PAUSE_US},
				    all = {.tv_sec = DRAIN_S},
				    often = {.tv_usec = LOOK_US};
	struct event too_slow, too_long, look;
	uint64_t passed = link_passed(&d->link);
	bool is_over, more = true;

	evtimer_assign(&too_slow, d->base, on_impatience, &is_over);
	evtimer_assign(&too_long, d->base, on_impatience, &is_over);
	event_assign(&look, d->base, -1, EV_PERSIST, on_look, NULL);
	is_over = evtimer_add(&too_slow, &pause) < 0 ||
		  evtimer_add(&too_long, &all) < 0 || evtimer_add(&look, &often) < 0;
	while (!is_over && !link_is_settled(&d->link)) {
		event_base_loop(d->base, EVLOOP_ONCE | (more ? EVLOOP_NONBLOCK : 0));
		resume(d);
		end_turn(d, &more);
		if (link_passed(&d->link) != passed)
			evtimer_add(&too_slow, &pause);
		passed = link_passed(&d->link);
	}
	event_del(&look);
	event_del(&too_slow);
	event_del(&too_long);
}

int loop_run(struct daemon *d)
{
	bool more;

	end_turn(d, &more);
	while (!d->is_ending) {
		if (event_base_loop(d->base, EVLOOP_ONCE | (more ? EVLOOP_NONBLOCK : 0)) <
		    0) {
			log_error("ending, for the event loop has failed: %s; start it "
				  "again",
				  strerror(errno));
			return -EIO;
		}
		resume(d);
		end_turn(d, &more);
		if (!more)
			tidy_up(d);
	}
	if (d->is_ready) {
		runtime_withdraw(&d->runtime);
		run_last_turns(d);
		clients_close(&d->clients);
		if (d->has_link && !d->vm_is_gone)
			drain_link(d);
	}
	return d->failure;
}
