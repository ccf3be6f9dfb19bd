/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The vchan of Xen: libxenvchan's rings in shared memory, and an event channel. How the
 * ends find each other is in xen_server.c and xen_client.c; here is what they do with a
 * ring, which is the same for both.
 *
 * An event says that something has changed, once. What remains to be read after that is
 * not told of again, so `unread` keeps it in mind until the library, having found less
 * than it was asked for, has asked the peer for the next event.
 *
 * The peer can write to all of the shared memory at any time. The library never leaves
 * the rings' bounds, but takes an impossible index for an empty ring, for ever. So our
 * own indices are kept here too, and a ring that disagrees is as good as closed.
 */
#include "daemon/vchan/xen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/vchan/transports.h"
#include "protocol/message.h"

#define EVENT_DEVICE "/dev/xen/evtchn"

#define FIRST_RETRY_MS 20
#define LAST_RETRY_MS 10000

static struct xen_vchan *of(struct vchan *v)
{
	return (struct xen_vchan *)(void *)v;
}

static const char *missing(void)
{
	return access(EVENT_DEVICE, F_OK) == 0 ? NULL
					       : "there is no " EVENT_DEVICE
						 ", so no Xen";
}

static void ready(struct xen_vchan *v)
{
	v->common.handlers->ready(v->common.context);
}

static void schedule(struct event *timer, unsigned ms)
{
	const struct timeval delay = {.tv_sec = ms / 1000,
				      .tv_usec = (suseconds_t)(ms % 1000) * 1000};

	event_add(timer, &delay);
}

/* ---- the ring ---- */

static uint32_t look_at(const uint32_t *shared)
{
	return *(const volatile uint32_t *)shared;
}

static uint32_t size_of(const struct libxenvchan_ring *r)
{
	return (uint32_t)1 << r->order;
}

static bool is_sound(const struct xen_vchan *v)
{
	const struct libxenvchan_ring *in = &v->ring->read, *out = &v->ring->write;

	return look_at(&in->shr->cons) == v->consumed &&
	       look_at(&out->shr->prod) == v->produced &&
	       look_at(&in->shr->prod) - v->consumed <= size_of(in) &&
	       v->produced - look_at(&out->shr->cons) <= size_of(out);
}

static bool peer_is_there(const struct xen_vchan *v)
{
	return libxenvchan_is_open(v->ring) == 1;
}

void xen_ring_offer(struct xen_vchan *v)
{
	v->unread = true;
	if (v->connected && v->listening)
		schedule(&v->offer, 0);
}

static void on_offer(evutil_socket_t fd, short what, void *context)
{
	struct xen_vchan *v = context;

	(void)fd, (void)what;
	if (v->unread && v->listening)
		ready(v);
}

void xen_ring_look(struct xen_vchan *v)
{
	if (libxenvchan_is_open(v->ring) == 2)
		return;
	v->connected = v->listening = true;
	v->retry_ms = FIRST_RETRY_MS;
	v->end->connected(v);
	xen_ring_offer(v);
	v->common.handlers->connected(v->common.context);
}

static void on_ring_event(evutil_socket_t fd, short what, void *context)
{
	struct xen_vchan *v = context;

	(void)fd, (void)what;
	if (libxenvchan_wait(v->ring) < 0)
		return;
	if (!v->connected) {
		xen_ring_look(v);
		return;
	}
	v->unread = true;
	ready(v);
}

int xen_ring_begin(struct xen_vchan *v, struct libxenvchan *ring)
{
	const int fd = libxenvchan_fd_for_select(ring);
	const int flags = fcntl(fd, F_GETFL);

	v->ring = ring;
	event_assign(&v->ring_event, v->common.base, fd, EV_READ | EV_PERSIST,
		     on_ring_event, v);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    event_add(&v->ring_event, NULL) < 0) {
		const int r = -errno;

		v->end->close_ring(v);
		v->ring = NULL;
		return r;
	}
	ring->blocking = 0;
	v->connected = false;
	v->consumed = look_at(&ring->read.shr->cons);
	v->produced = look_at(&ring->write.shr->prod);
	return 0;
}

static void end_ring(struct xen_vchan *v)
{
	event_del(&v->offer);
	if (!v->ring)
		return;
	event_del(&v->ring_event);
	v->end->close_ring(v);
	v->ring = NULL;
	v->connected = v->unread = false;
}

static ssize_t read_ring(struct vchan *common, void *buf, size_t len)
{
	struct xen_vchan *v = of(common);
	int n;

	if (!v->connected)
		return -EAGAIN;
	if (!is_sound(v))
		return -EPIPE;
	n = libxenvchan_read(v->ring, buf, len);
	if (n < 0 || (n == 0 && !peer_is_there(v)))
		return -EPIPE;
	v->consumed += (uint32_t)n;
	if ((size_t)n == len || !peer_is_there(v))
		xen_ring_offer(v);
	else
		v->unread = false;
	return n > 0 ? n : -EAGAIN;
}

static void listen_to_ring(struct vchan *common, bool wanted)
{
	struct xen_vchan *v = of(common);

	v->listening = wanted;
	if (wanted && v->unread)
		xen_ring_offer(v);
}

/* Of a broken ring there is room, for vchan_write() to tell. */
static size_t room_in_ring(struct vchan *common)
{
	struct xen_vchan *v = of(common);
	uint32_t size, room;

	if (!v->connected)
		return 0;
	size = size_of(&v->ring->write);
	if (!is_sound(v) || !peer_is_there(v))
		return size;
	room = size - (v->produced - look_at(&v->ring->write.shr->cons));
	if (room < VCHAN_PIECE_SIZE)
		room = (uint32_t)libxenvchan_buffer_space(v->ring);
	return room < size ? room : size;
}

static ssize_t write_ring(struct vchan *common, const void *buf, size_t len)
{
	struct xen_vchan *v = of(common);
	int n = -1;

	if (len == 0)
		return 0;
	if (v->connected && is_sound(v))
		n = libxenvchan_send(v->ring, buf, len);
	if (n == 0)
		return -EAGAIN;
	if (n < 0) {
		xen_ring_offer(v);
		return -EPIPE;
	}
	v->produced += (uint32_t)n;
	return n;
}

static size_t untaken_in_ring(struct vchan *common)
{
	struct xen_vchan *v = of(common);

	if (!v->connected || !is_sound(v))
		return 0;
	return v->produced - look_at(&v->ring->write.shr->cons);
}

/* ---- attempts and xenstore, which runs as long as the machine does ---- */

static void retry_later(struct xen_vchan *v)
{
	schedule(&v->retry, v->retry_ms);
	v->retry_ms *= 2;
	if (v->retry_ms > LAST_RETRY_MS)
		v->retry_ms = LAST_RETRY_MS;
}

static void close_store(struct xen_vchan *v)
{
	if (!v->store)
		return;
	event_del(&v->store_event);
	xs_close(v->store);
	v->store = NULL;
}

static void on_store_event(evutil_socket_t fd, short what, void *context)
{
	struct xen_vchan *v = context;
	char **change;
	bool any = false;

	(void)fd, (void)what;
	while ((change = xs_check_watch(v->store))) {
		v->may_be_another |= !strcmp(change[XS_WATCH_TOKEN], XEN_IDENTITY);
		free(change);
		any = true;
	}
	if (any)
		v->end->store_changed(v);
}

static int open_store(struct xen_vchan *v)
{
	int r;

	v->store = xs_open(0);
	if (!v->store) {
		r = -errno;
		log_error("cannot talk to xenstore: %s; may this user open it "
			  "(/dev/xen/xenbus)?",
			  strerror(-r));
		return r;
	}
	event_assign(&v->store_event, v->common.base, xs_fileno(v->store),
		     EV_READ | EV_PERSIST, on_store_event, v);
	if (event_add(&v->store_event, NULL) < 0) {
		r = -errno;
		log_error("cannot listen to xenstore: %s", strerror(-r));
	} else {
		r = v->end->begin(v);
	}
	if (r < 0)
		close_store(v);
	return r;
}

void xen_attempt(struct xen_vchan *v)
{
	event_del(&v->retry);
	if (!v->ring && v->end->attempt(v) < 0)
		retry_later(v);
}

static void on_retry(evutil_socket_t fd, short what, void *context)
{
	struct xen_vchan *v = context;

	(void)fd, (void)what;
	v->is_pausing = false;
	xen_attempt(v);
}

/* ---- the transport ---- */

static void close_xen(struct vchan *common)
{
	struct xen_vchan *v = of(common);

	end_ring(v);
	event_del(&v->retry);
	v->end->end(v);
	close_store(v);
	free(v);
}

static int open_xen(struct vchan **ret, const struct vchan *common)
{
	struct xen_vchan *v = calloc(1, sizeof(*v));
	int r;

	if (!v) {
		log_error("no memory for a vchan");
		return -ENOMEM;
	}
	v->common = *common;
	v->end = common->address.end == VCHAN_SERVER ? &xen_server : &xen_client;
	v->retry_ms = FIRST_RETRY_MS;
	evtimer_assign(&v->offer, v->common.base, on_offer, v);
	evtimer_assign(&v->retry, v->common.base, on_retry, v);
	r = open_store(v);
	if (r == 0 && common->address.end == VCHAN_SERVER)
		r = v->end->attempt(v);
	else if (r == 0)
		schedule(&v->retry, 0);
	if (r < 0) {
		close_xen(&v->common);
		return r;
	}
	*ret = &v->common;
	return 0;
}

static void restart_xen(struct vchan *common, unsigned delay_ms)
{
	struct xen_vchan *v = of(common);

	end_ring(v);
	v->is_pausing = true;
	schedule(&v->retry, delay_ms);
}

const struct vchan_transport vchan_xen_transport = {
	.name = "xen",
	.missing = missing,
	.confine = xen_confine,
	.open = open_xen,
	.read = read_ring,
	.listen_to = listen_to_ring,
	.room = room_in_ring,
	.write = write_ring,
	.untaken = untaken_in_ring,
	.restart = restart_xen,
	.close = close_xen,
};
