/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VM that means ill: connects to dom0's QubesDB daemon with libxenvchan, and then does
 * what it likes with the memory and the event channel that they share.
 *
 *   vchan-hostile ATTACK [TIMES]
 *
 * Prints "unnoticed=N", how often the daemon went on with a ring whose indices of its own
 * it must have found wrong, or after bytes that the protocol does not allow, and
 * "work=N": how many messages, events and connections it gave the daemon to do, which is
 * what the daemon's use of CPU has to be in proportion to. Then it holds the last
 * connection, silently, until it is killed.
 */
#include <errno.h>
#include <libxenvchan.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xenevtchn.h>
#include <xenstore.h>

#define PORT 111
#define HEADER 72
#define VALUE 3071
#define PATIENCE_MS 3000
#define LONG_PATIENCE_MS 20000

enum { WRITE = 1, MULTIREAD = 2, RM = 4, OK = 7 };

static struct libxenvchan *ring;
static struct xs_handle *store;
static unsigned long work;
static unsigned unnoticed;
static char path[64];

/* The same scribbles in every run. */
static uint32_t any(void)
{
	static uint32_t x = 2463534242u;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}

static void leave(void)
{
	libxenvchan_close(ring);
	ring = NULL;
}

static void meet(void)
{
	char key[80];

	snprintf(key, sizeof(key), "%s/event-channel", path);
	while (!ring) {
		ring = libxenvchan_client_init(NULL, 0, path);
		if (ring && libxenvchan_is_open(ring) != 1)
			leave();
		if (!ring)
			usleep(2000);
	}
	ring->blocking = 0;
	work += 100;
}

static void tell(void)
{
	xenevtchn_notify(ring->event, ring->event_port);
	work++;
}

/* Waits for an event, or until it is clear that none will come. */
static int hear(int ms)
{
	struct pollfd event = {.fd = libxenvchan_fd_for_select(ring), .events = POLLIN};

	if (poll(&event, 1, ms) <= 0)
		return 0;
	libxenvchan_wait(ring);
	return 1;
}

static int is_cut_off(void)
{
	return ((volatile struct vchan_interface *)ring->ring)->srv_live != 1;
}

static void await_cut_off(void)
{
	while (!is_cut_off() && hear(PATIENCE_MS))
		;
}

static void expect_cut_off(void)
{
	while (!is_cut_off() && hear(LONG_PATIENCE_MS))
		;
	if (!is_cut_off())
		unnoticed++;
}

static void drain(void)
{
	char buf[4096];

	while (libxenvchan_read(ring, buf, sizeof(buf)) > 0)
		;
}

/* What the ring does not take is offered again, as long as the daemon goes on reading. */
static int put(const void *bytes, size_t len, int reads)
{
	const char *at = bytes;

	while (len > 0) {
		const int n = libxenvchan_write(ring, at, len);

		if (reads)
			drain();
		if (n < 0 || is_cut_off() || (n == 0 && !hear(PATIENCE_MS)))
			return -1;
		at += n;
		len -= (size_t)n;
	}
	work++;
	return 0;
}

static size_t message(char *to, int type, const char *name, uint32_t claimed, size_t len)
{
	memset(to, 0, HEADER);
	to[0] = (char)type;
	snprintf(to + 1, 64, "%s", name);
	memcpy(to + 68, &claimed, sizeof(claimed));
	memset(to + HEADER, 'h', len);
	return HEADER + len;
}

static int send_message(int type, const char *name, size_t len, int reads)
{
	char buf[HEADER + VALUE];

	return put(buf, message(buf, type, name, (uint32_t)len, len), reads);
}

static void hello(void)
{
	meet();
	send_message(MULTIREAD, "", 0, 1);
}

static void garbage(int times)
{
	char buf[4096];

	while (times-- > 0) {
		meet();
		for (size_t i = 0; i < sizeof(buf); i++)
			buf[i] = (char)any();
		if (times % 2)
			send_message(MULTIREAD, "", 0, 1);
		put(buf, sizeof(buf), 1);
		expect_cut_off();
		if (times)
			leave();
	}
}

static void one_byte(int times)
{
	(void)times;
	meet();
	put("\1", 1, 0);
}

static void half_message(int times)
{
	char buf[HEADER + VALUE];

	(void)times;
	hello();
	message(buf, WRITE, "/h/half", VALUE, VALUE);
	put(buf, HEADER + 100, 1);
}

static void lengths(int times)
{
	static const uint32_t claims[] = {0xffffffff, 0x80000000, 0x7fffffff, 0xffffffb8,
					  VALUE + 1,  4096,       65536,      0x10000048};
	char buf[HEADER + 1000];

	while (times-- > 0) {
		const uint32_t claim = claims[times % 8];

		hello();
		message(buf, times % 3 ? WRITE : OK, "/h/long", claim, 1000);
		put(buf, sizeof(buf), 1);
		expect_cut_off();
		if (times)
			leave();
	}
}

/* What an index may become: rewound, jumped, far away, or anything. */
static uint32_t moved(uint32_t index)
{
	switch (any() % 5) {
	case 0:
		return index - 1 - any() % 4096;
	case 1:
		return index + 1 + any() % 4096;
	case 2:
		return index + 4097;
	case 3:
		return index ^ 0x80000000;
	default:
		return any();
	}
}

/* Indices out of place in the middle of honest traffic: two are the daemon's own. */
static void indices(int times)
{
	while (times-- > 0) {
		volatile uint32_t *index[4];

		hello();
		index[0] = &ring->write.shr->prod;
		index[1] = &ring->write.shr->cons;
		index[2] = &ring->read.shr->prod;
		index[3] = &ring->read.shr->cons;
		for (int i = 0; i < 20; i++)
			send_message(WRITE, "/h/index", 100, 1);
		*index[times % 4] = moved(*index[times % 4]);
		tell();
		if (times % 4 == 1 || times % 4 == 2)
			expect_cut_off();
		else
			await_cut_off();
		if (times)
			leave();
	}
}

static void scribble_once(void)
{
	volatile uint8_t *shared = (volatile uint8_t *)ring->ring;
	volatile uint32_t *word = (volatile uint32_t *)ring->ring;

	if (any() % 4)
		word[any() % 4] = any() % 2 ? any() : moved(word[any() % 4]);
	else
		shared[any() % 4096] = (uint8_t)any();
}

/* All of the shared page, headers, rings and the bytes that tell who is there. */
static void scribble(int times)
{
	while (times > 0) {
		hello();
		for (int i = 0; i < 10; i++)
			send_message(WRITE, "/h/scribble", 100, 1);
		for (int i = 0; times > 0 && i < 2000; i++, times--) {
			scribble_once();
			if (any() % 8 == 0)
				tell();
		}
		tell();
		await_cut_off();
		if (times > 0)
			leave();
	}
}

static void storm(int times)
{
	hello();
	while (hear(200))
		drain();
	while (times-- > 0)
		tell();
}

/* As fast as the daemon takes it, to ever new entries. */
static void flood(int times)
{
	hello();
	for (int i = 0; i < times; i++) {
		char name[64];

		snprintf(name, sizeof(name), "/h/flood/%d", i);
		if (send_message(WRITE, name, VALUE, 1) < 0)
			break;
	}
}

/* The same, and never reads an answer. */
static void flood_unread(int times)
{
	hello();
	while (times-- > 0 && send_message(WRITE, "/h/unread", 10, 0) == 0)
		;
}

static void churn(int times)
{
	while (times-- > 0) {
		meet();
		leave();
	}
	meet();
}

static const struct {
	const char *name;
	void (*run)(int times);
	int times;
} attacks[] = {
	{"garbage", garbage, 10},
	{"one_byte", one_byte, 1},
	{"half_message", half_message, 1},
	{"lengths", lengths, 8},
	{"indices", indices, 16},
	{"scribble", scribble, 20000},
	{"storm", storm, 50000},
	{"flood", flood, 15000},
	{"flood_unread", flood_unread, 20000},
	{"churn", churn, 1000},
};

static int attack(const char *name, const char *times)
{
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		if (strcmp(attacks[i].name, name) != 0)
			continue;
		attacks[i].run(times ? atoi(times) : attacks[i].times);
		printf("unnoticed=%u work=%lu\n", unnoticed, work);
		fflush(stdout);
		for (;;)
			pause();
	}
	return 1;
}

int main(int argc, char **argv)
{
	char *own;

	store = xs_open(0);
	own = store ? xs_read(store, XBT_NULL, "domid", NULL) : NULL;
	if (argc < 2 || !own) {
		fprintf(stderr, "usage, in a guest: vchan-hostile ATTACK [TIMES]\n");
		return 1;
	}
	snprintf(path, sizeof(path), "/local/domain/0/data/vchan/%s/%d", own, PORT);
	free(own);
	return attack(argv[1], argv[2]);
}
