/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The crash loop: dom0's daemon is killed again and again while programs on both sides
 * write, remove and read, and each time the next one must have all that was acknowledged,
 * or shown to anybody, and nothing that was removed. Most ends are SIGKILL, at the moment
 * of an answer or a little later; some are SIGTERM, some the start of the next daemon,
 * and some next daemons are killed while they start. The VM's daemon lives through all of
 * that, and every few cycles both ends must have become equal.
 *
 * The seed gives the load and the plan. When a kill hits is up to the machine, too, so
 * that a seed replays a run closely, but not to the instruction.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/crash/crash.h"

/* Even numbers are dom0's, odd ones the VM's. */
enum {
	VM_SHARED_WRITER = 5,
	DOM0_SHARED_WRITER = 6,
	WRITERS,
	DOM0_READER = WRITERS,
	VM_READER,
	LOADERS,
	DOM0_CONTROL = LOADERS,
	VM_CONTROL,
	CLIENTS
};

static const unsigned depths[LOADERS] = {1, 1, 8, 16, 32, 4, 4, 2, 2};

enum end { KILL, TERM, HAND_OVER, KILL_STARTING, ENDS };
static const unsigned shares[ENDS] = {75, 8, 12, 5}; /* per cent */
static const char *const end_names[ENDS] = {"killed", "told to end", "replaced",
					    "killed while starting"};

#define MOST_UNSYNCED 4

static struct loop {
	struct home home;
	uint64_t seed;
	uint64_t random; /* of the plan */
	unsigned cycle;
	unsigned ends[ENDS];
	unsigned syncs;
	unsigned unsynced;
	unsigned marks;
	struct writer writers[WRITERS];
	struct client clients[CLIENTS];
	struct writer *of_dom0[3];
	struct writer *of_vm[2];
	struct shared shared;
} loop;

void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\nseed %" PRIu64 ", cycle %u; see %s\n0 passed, 1 failed\n", loop.seed,
	       loop.cycle, loop.home.path);
	fflush(stdout);
	for (int side = DOM0; side <= VM; side++)
		if (loop.home.daemons[side] > 0)
			kill(loop.home.daemons[side], SIGKILL);
	exit(EXIT_FAILURE);
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- load ---- */

static void attend(struct client *c, bool dom0_may_end)
{
	if (client_receive(c))
		return;
	if (c->side == VM || !dom0_may_end)
		fail("the daemon of %s has closed a connection",
		     c->side == VM ? "the VM" : "dom0");
	client_drain_and_close(c);
}

/* One look at everyone: sends, waits for anything, and takes it. */
static void pump(bool load, bool dom0_may_end)
{
	struct pollfd fds[LOADERS + 1];

	for (unsigned i = 0; i < LOADERS; i++) {
		struct client *c = &loop.clients[i];

		if (load && c->fd >= 0)
			client_load(c);
		fds[i] = (struct pollfd){.fd = c->fd,
					 .events = POLLIN | (c->out_len ? POLLOUT : 0)};
	}
	fds[LOADERS] = (struct pollfd){.fd = loop.home.notify, .events = POLLIN};
	if (poll(fds, LOADERS + 1, TIMEOUT_MS) <= 0)
		fail("nothing happens any more");
	for (unsigned i = 0; i < LOADERS; i++)
		if (fds[i].revents & ~POLLOUT)
			attend(&loop.clients[i], dom0_may_end);
}

static uint64_t answers(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < LOADERS; i++)
		n += loop.clients[i].answers;
	return n;
}

static void become_idle(unsigned first, unsigned last)
{
	for (unsigned i = first; i <= last; i++)
		while (!client_is_idle(&loop.clients[i])) {
			struct client *c = &loop.clients[i];
			struct pollfd p = {.fd = c->fd, .events = POLLIN};

			if (c->out_len > 0)
				pump(false, false);
			else if (poll(&p, 1, TIMEOUT_MS) != 1)
				fail("no answer to client %u", i);
			else
				attend(c, false);
		}
}

/* ---- dom0's daemon ends, and the next one starts ---- */

static void wait_until_ready(bool dom0_may_end)
{
	const uint64_t deadline = now_us() + TIMEOUT_MS * 1000;

	while (!home_is_ready(&loop.home)) {
		pump(true, dom0_may_end);
		if (now_us() > deadline)
			fail("the next daemon does not become ready");
	}
}

static void lose_dom0_clients(void)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		if (loop.clients[i].side == DOM0)
			client_drain_and_close(&loop.clients[i]);
}

static void hand_over(void)
{
	const pid_t old = loop.home.daemons[DOM0];

	home_start(&loop.home, DOM0);
	wait_until_ready(true);
	home_wait(old, 0);
	lose_dom0_clients();
}

static void start_next(void)
{
	home_start(&loop.home, DOM0);
	wait_until_ready(true);
}

static void end_dom0(enum end how)
{
	const unsigned later = chance(&loop.random, 2) * chance(&loop.random, 1500);

	if (how == HAND_OVER) {
		hand_over();
		return;
	}
	if (later > 0)
		usleep(later);
	home_kill(&loop.home, DOM0, how == TERM ? SIGTERM : SIGKILL);
	lose_dom0_clients();
	if (how == KILL_STARTING) {
		home_start(&loop.home, DOM0);
		usleep(chance(&loop.random, 8000));
		home_kill(&loop.home, DOM0, SIGKILL);
	}
	start_next();
}

static void check_dom0(void)
{
	struct client *control = &loop.clients[DOM0_CONTROL];
	struct snapshot s;

	for (unsigned i = 0; i < 3; i++) {
		client_snapshot(control, loop.of_dom0[i]->directory, &s);
		writer_check_prefix(loop.of_dom0[i], &s);
	}
	for (unsigned i = 0; i < 2; i++) {
		client_snapshot(control, loop.of_vm[i]->directory, &s);
		writer_check_shown(loop.of_vm[i], &s);
	}
	loop.writers[DOM0_SHARED_WRITER].n_pending = 0;
}

static void connect_dom0(void)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		if (loop.clients[i].side == DOM0)
			client_connect(&loop.clients[i], &loop.home);
	client_ask(&loop.clients[DOM0_CONTROL], QDB_CMD_WATCH, "/mark/", NULL, NULL,
		   NULL);
}

/* ---- both ends ---- */

static void wait_for_mark(struct client *c, const char *path, const char *value)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	char found[QDB_MAX_DATA];
	size_t len;

	for (;;) {
		c->has_event = false;
		if (client_ask(c, QDB_CMD_READ, path, NULL, found, &len) ==
			    QDB_RESP_READ &&
		    len == strlen(value) && memcmp(found, value, len) == 0)
			return;
		while (client_receive(c) && !c->has_event)
			if (poll(&p, 1, TIMEOUT_MS) != 1)
				fail("%s does not arrive", path);
	}
}

static void mark(unsigned from, unsigned to, const char *path)
{
	char value[16];

	snprintf(value, sizeof(value), "%u", ++loop.marks);
	if (client_ask(&loop.clients[from], QDB_CMD_WRITE, path, value, NULL, NULL) !=
	    QDB_RESP_OK)
		fail("cannot write %s", path);
	wait_for_mark(&loop.clients[to], path, value);
}

static void snapshot_both(const char *directory, struct snapshot *s)
{
	struct snapshot other;

	client_snapshot(&loop.clients[DOM0_CONTROL], directory, s);
	client_snapshot(&loop.clients[VM_CONTROL], directory, &other);
	if (memcmp(s, &other, sizeof(other)) == 0)
		return;
	for (unsigned slot = 0; slot < SLOTS; slot++)
		printf("%2u  dom0: %" PRIu64 " of %u  VM: %" PRIu64 " of %u\n", slot,
		       s->numbers[slot], s->writers[slot], other.numbers[slot],
		       other.writers[slot]);
	fail("both ends differ in %s", directory);
}

static void synchronize(void)
{
	struct snapshot s;

	become_idle(0, LOADERS - 1);
	mark(VM_CONTROL, DOM0_CONTROL, "/mark/vm");
	mark(DOM0_CONTROL, VM_CONTROL, "/mark/dom0");
	for (unsigned i = 0; i < 3; i++) {
		snapshot_both(loop.of_dom0[i]->directory, &s);
		writer_check_exactly(loop.of_dom0[i], &s);
	}
	for (unsigned i = 0; i < 2; i++) {
		snapshot_both(loop.of_vm[i]->directory, &s);
		writer_check_exactly(loop.of_vm[i], &s);
	}
	snapshot_both("/shared/", &s);
	shared_check(&loop.shared, &s);
	loop.unsynced = 0;
	loop.syncs++;
}

/* ---- cycles ---- */

static enum end choose_end(void)
{
	unsigned n = chance(&loop.random, 100);
	int how = 0;

	while (n >= shares[how])
		n -= shares[how++];
	return how;
}

static void run_cycle(void)
{
	const uint64_t target = answers() + 1 + chance(&loop.random, 200);
	const enum end how = choose_end();

	while (answers() < target)
		pump(true, false);
	end_dom0(how);
	loop.ends[how]++;
	become_idle(VM_READER, VM_READER);
	connect_dom0();
	check_dom0();
	if (chance(&loop.random, 3) == 0 || ++loop.unsynced == MOST_UNSYNCED)
		synchronize();
}

static void set_up(void)
{
	for (unsigned i = 0; i < WRITERS; i++) {
		const bool is_shared = i == DOM0_SHARED_WRITER || i == VM_SHARED_WRITER;

		writer_init(&loop.writers[i], i % 2 ? VM : DOM0, i, loop.seed,
			    is_shared ? &loop.shared : NULL);
		loop.clients[i].side = i % 2 ? VM : DOM0;
		loop.clients[i].writer = &loop.writers[i];
	}
	for (unsigned i = 0; i < 3; i++)
		loop.of_dom0[i] = &loop.writers[2 * i];
	for (unsigned i = 0; i < 2; i++)
		loop.of_vm[i] = &loop.writers[2 * i + 1];
	loop.clients[DOM0_READER].read = loop.of_vm;
	loop.clients[DOM0_READER].n_read = 2;
	loop.clients[VM_READER].read = loop.of_dom0;
	loop.clients[VM_READER].n_read = 3;
	loop.clients[VM_READER].side = loop.clients[VM_CONTROL].side = VM;
	for (unsigned i = 0; i < CLIENTS; i++) {
		loop.clients[i].depth = i < LOADERS ? depths[i] : 0;
		loop.clients[i].random = loop.seed + 1000 + i;
		loop.clients[i].fd = -1;
	}
}

static void run_cycles(const char *program, unsigned cycles)
{
	const uint64_t begin = now_us();

	home_create(&loop.home, program);
	set_up();
	home_start_and_wait(&loop.home, DOM0);
	home_start_and_wait(&loop.home, VM);
	for (unsigned i = 0; i < CLIENTS; i++)
		if (loop.clients[i].side == VM)
			client_connect(&loop.clients[i], &loop.home);
	client_ask(&loop.clients[VM_CONTROL], QDB_CMD_WATCH, "/mark/", NULL, NULL, NULL);
	connect_dom0();
	for (loop.cycle = 1; loop.cycle <= cycles; loop.cycle++)
		run_cycle();
	synchronize();
	home_kill(&loop.home, VM, SIGTERM);
	home_kill(&loop.home, DOM0, SIGTERM);
	home_remove(&loop.home);
	for (int how = 0; how < ENDS; how++)
		printf("%u %s, ", loop.ends[how], end_names[how]);
	printf("%u times both ends compared, %" PRIu64 " answers\n"
	       "%u cycles, 0 lost acknowledgements, 0 resurrected removals (%.1f s)\n",
	       loop.syncs, answers(), cycles, (double)(now_us() - begin) / 1e6);
}

/* ---- how long the next daemon takes ---- */

#define BATCH 50

static void write_batch(struct client *c, unsigned first)
{
	uint8_t out[BATCH * (MESSAGE_HEADER_SIZE + 7)], in[BATCH * MESSAGE_HEADER_SIZE];
	char path[QDB_MAX_PATH];
	size_t len = 0;

	for (unsigned i = first; i < first + BATCH; i++) {
		const int n = snprintf(path, sizeof(path), "/entries/number/%u", i);

		len += message_encode(out + len, QDB_CMD_WRITE, path, (size_t)n,
				      "a value", 7);
	}
	if (send(c->fd, out, len, MSG_NOSIGNAL) != (ssize_t)len ||
	    recv(c->fd, in, sizeof(in), MSG_WAITALL) != sizeof(in))
		fail("cannot write %u entries", first + BATCH);
}

static void check_count(struct client *c, unsigned entries)
{
	char path[QDB_MAX_PATH];

	client_connect(c, &loop.home);
	for (unsigned i = 0; i <= entries; i++) {
		snprintf(path, sizeof(path), "/entries/number/%u", i);
		if (client_ask(c, QDB_CMD_READ, path, NULL, NULL, NULL) !=
		    (i < entries ? QDB_RESP_READ : QDB_RESP_ERROR_NOENT))
			fail("LOST: %s of %u entries", path, entries);
	}
	client_close(c);
}

static void print_recovery(const char *program, unsigned entries)
{
	struct client *c = &loop.clients[DOM0_CONTROL];
	uint64_t begin;

	home_create(&loop.home, program);
	home_start_and_wait(&loop.home, DOM0);
	client_connect(c, &loop.home);
	for (unsigned i = 0; i < entries; i += BATCH)
		write_batch(c, i);
	client_close(c);
	home_kill(&loop.home, DOM0, SIGKILL);
	begin = now_us();
	home_start_and_wait(&loop.home, DOM0);
	printf("recovery with %u entries: %.1f ms\n", entries,
	       (double)(now_us() - begin) / 1000);
	check_count(c, entries);
	home_kill(&loop.home, DOM0, SIGTERM);
	home_remove(&loop.home);
}

/* ---- main ---- */

static const char usage[] = "usage: loop [--cycles=N] [--seed=N]\n"
			    "Kills the daemon QUBESDB_DAEMON N times (default: 150).\n";

static const struct option options[] = {
	{"cycles", required_argument, NULL, 'c'},
	{"seed", required_argument, NULL, 's'},
	{NULL, 0, NULL, 0},
};

int main(int argc, char **argv)
{
	const char *program = getenv("QUBESDB_DAEMON");
	unsigned cycles = 150;
	int option;

	loop.seed = (uint64_t)time(NULL) << 16 ^ (uint64_t)getpid();
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'c')
			cycles = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 's')
			loop.seed = strtoull(optarg, NULL, 10);
		else
			return fputs(usage, stderr), EXIT_FAILURE;
	}
	if (!program)
		program = "daemon/qubesdb-daemon";
	if (access(program, X_OK) < 0) {
		fprintf(stderr, "crash loop: cannot run %s: %s; set QUBESDB_DAEMON\n",
			program, strerror(errno));
		return EXIT_FAILURE;
	}
	loop.random = loop.seed;
	printf("seed %" PRIu64 "\n", loop.seed);
	run_cycles(program, cycles);
	print_recovery(program, 150);
	print_recovery(program, 50000);
	puts("1 passed, 0 failed");
	return EXIT_SUCCESS;
}
