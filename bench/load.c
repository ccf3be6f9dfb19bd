/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A load generator for any socket that speaks the protocol.
 *
 * Each client is a process of its own with one connection: it sends a batch of requests,
 * waits for as many answers, and sends the next batch. A batch of one is a round trip.
 * The keys are computed, not stored, and of an answer nothing but its header is looked
 * at, so that the generator costs the same whatever it is pointed at and however many
 * keys there are. An answer that refuses a request ends the run: a fast refusal is not a
 * fast daemon.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "protocol/message.h"

#define MAX_BATCH 64
#define MAX_CLIENTS 1024
#define VALUE_LEN 7 /* the median in a deployed namespace */
#define BUFFER_SIZE 32768
#define MAX_TRIPS (1u << 20) /* of later ones the time is not kept */
#define KEY_LEN (sizeof("/bench/01234567") - 1)

enum mode { MODE_READ, MODE_WRITE, MODE_FILL, MODE_WATCH, MODES };

static const struct {
	const char *name;
	const char *prefix; /* one length, and "/watch/" never matches what is written */
	enum qdb_msg type;
	size_t data_len;
	bool every_key_once;
} modes[MODES] = {
	[MODE_READ] = {"read", "/bench/", QDB_CMD_READ, 0, false},
	[MODE_WRITE] = {"write", "/bench/", QDB_CMD_WRITE, VALUE_LEN, false},
	[MODE_FILL] = {"fill", "/bench/", QDB_CMD_WRITE, VALUE_LEN, true},
	[MODE_WATCH] = {"watch", "/watch/", QDB_CMD_WATCH, 0, true},
};

static const char usage[] =
	"usage: load [-l] [-c CLIENTS] [-b BATCH] [-k KEYS] [-n COUNT | -t SECONDS] "
	"SOCKET MODE\n"
	"  read   READ random keys out of KEYS\n"
	"  write  WRITE random keys out of KEYS\n"
	"  fill   WRITE each of the KEYS once\n"
	"  watch  WATCH KEYS paths that nothing writes to, until standard input ends\n"
	"Prints operations per second, all clients together, or with -l what 99% of the "
	"round\n"
	"trips of one client stayed below, in microseconds.\n";

struct options {
	const char *socket;
	enum mode mode;
	unsigned clients;
	unsigned batch;
	uint32_t keys;
	uint64_t count; /* of each client; 0: until `seconds` are over */
	double seconds;
	bool latency;
};

struct result {
	uint64_t done;
	double seconds;
	double latency; /* seconds; of 99% of the round trips */
};

struct client {
	const struct options *opt;
	int fd;
	uint64_t random;
	uint32_t next_key;
	uint64_t count; /* requests to make; 0: until the time is up */
	size_t len;     /* bytes in buf that are not consumed */
	uint8_t buf[BUFFER_SIZE];
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint32_t pick_key(struct client *c)
{
	if (modes[c->opt->mode].every_key_once)
		return c->next_key++;
	c->random ^= c->random << 13;
	c->random ^= c->random >> 7;
	c->random ^= c->random << 17;
	return (uint32_t)(c->random >> 32) % c->opt->keys;
}

/* Key number i. The multiplication scatters neighbours over the whole order of paths. */
static void write_key(char *out, const char *prefix, uint32_t i)
{
	uint32_t scattered = i * 2654435761u;
	int digit;

	memcpy(out, prefix, KEY_LEN - 8);
	for (digit = 0; digit < 8; digit++)
		out[KEY_LEN - 8 + digit] =
			"0123456789abcdef"[scattered >> (4 * digit) & 15];
}

static int send_batch(struct client *c, unsigned batch)
{
	enum mode mode = c->opt->mode;
	uint8_t out[MAX_BATCH * (MESSAGE_HEADER_SIZE + VALUE_LEN)];
	char key[KEY_LEN];
	size_t len = 0, sent = 0;
	ssize_t n;

	while (batch-- > 0) {
		write_key(key, modes[mode].prefix, pick_key(c));
		len += message_encode(out + len, modes[mode].type, key, KEY_LEN,
				      "a value", modes[mode].data_len);
	}
	while (sent < len) {
		n = send(c->fd, out + sent, len - sent, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return -errno;
		sent += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* Takes whole answers off the buffer; returns their number or a negative errno. */
static int count_answers(struct client *c)
{
	struct qdb_hdr header;
	size_t at = 0;
	int answers = 0;

	while (c->len - at >= sizeof(header)) {
		memcpy(&header, c->buf + at, sizeof(header));
		if (header.type == QDB_RESP_ERROR || header.type == QDB_RESP_ERROR_NOENT)
			return -EPROTO;
		if (header.data_len > c->len - at - sizeof(header))
			break;
		at += sizeof(header) + header.data_len;
		answers += header.type != QDB_RESP_WATCH;
	}
	c->len -= at;
	memmove(c->buf, c->buf + at, c->len);
	return answers;
}

static int receive_batch(struct client *c, unsigned batch)
{
	while (batch > 0) {
		ssize_t n = recv(c->fd, c->buf + c->len, sizeof(c->buf) - c->len, 0);
		int answers;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		c->len += (size_t)n;
		answers = count_answers(c);
		if (answers < 0)
			return answers;
		batch -= (unsigned)answers < batch ? (unsigned)answers : batch;
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	const float *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* What 99 of 100 trips stayed below. */
static double percentile(float *trips, size_t n)
{
	qsort(trips, n, sizeof(*trips), compare);
	return n > 0 ? (double)trips[n * 99 / 100] : 0;
}

static int run(struct client *c, struct result *result)
{
	static float trips[MAX_TRIPS];
	const uint64_t count = c->count;
	double start = now(), before = 0;
	size_t n = 0;
	int r;

	*result = (struct result){0};
	while (count ? result->done < count : result->seconds < c->opt->seconds) {
		unsigned batch = c->opt->batch;

		if (count && batch > count - result->done)
			batch = (unsigned)(count - result->done);
		r = send_batch(c, batch);
		if (r == 0)
			r = receive_batch(c, batch);
		if (r < 0)
			return r;
		result->done += batch;
		result->seconds = now() - start;
		if (c->opt->latency && n < MAX_TRIPS)
			trips[n++] = (float)(result->seconds - before);
		before = result->seconds;
	}
	result->latency = percentile(trips, n);
	return 0;
}

static int connect_to(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd, r;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

static int set_up(struct client *c, const struct options *opt, unsigned i)
{
	c->opt = opt;
	c->random = UINT64_C(88172645463325252) + i * UINT64_C(0x9e3779b97f4a7c15);
	c->count = opt->count;
	if (modes[opt->mode].every_key_once) {
		c->next_key = (uint32_t)((uint64_t)opt->keys * i / opt->clients);
		c->count = (uint64_t)opt->keys * (i + 1) / opt->clients - c->next_key;
	}
	c->fd = connect_to(opt->socket);
	return c->fd < 0 ? c->fd : 0;
}

static bool report(int reports, const struct result *result)
{
	return write(reports, result, sizeof(*result)) == sizeof(*result);
}

/*
 * The life of client number i: connect, say so, wait for a byte from `go`, work, report.
 * Watching clients then stay until standard input ends.
 */
static int client_main(const struct options *opt, unsigned i, int reports, int go)
{
	static struct client c;
	struct result result = {0};
	char byte;
	int r = set_up(&c, opt, i);

	if (r == 0 && report(reports, &result) && read(go, &byte, 1) == 1)
		r = run(&c, &result);
	if (r < 0) {
		fprintf(stderr, "load: %s: %s\n", opt->socket,
			r == -EPROTO ? "a request was refused" : strerror(-r));
		result.seconds = -1;
	}
	if (!report(reports, &result) || r < 0)
		return 1;
	while (opt->mode == MODE_WATCH && read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}

/* Adds up one report of each client; returns whether all are well. */
static bool collect(int reports, unsigned clients, double *rate, double *latency)
{
	struct result result;

	*rate = *latency = 0;
	while (clients-- > 0) {
		if (read(reports, &result, sizeof(result)) != sizeof(result) ||
		    result.seconds < 0)
			return false;
		*rate += result.seconds > 0 ? (double)result.done / result.seconds : 0;
		*latency += result.latency;
	}
	return true;
}

static bool start_all(int go, unsigned clients)
{
	static const char bytes[MAX_CLIENTS];

	return write(go, bytes, clients) == (ssize_t)clients;
}

static bool run_clients(const struct options *opt)
{
	int reports[2], go[2];
	double rate, latency;
	bool fine;
	unsigned i;

	if (pipe(reports) < 0 || pipe(go) < 0)
		return false;
	for (i = 0; i < opt->clients; i++) {
		if (fork() == 0) {
			close(reports[0]);
			close(go[1]);
			_exit(client_main(opt, i, reports[1], go[0]));
		}
	}
	close(reports[1]);
	fine = collect(reports[0], opt->clients, &rate, &latency) &&
	       start_all(go[1], opt->clients) &&
	       collect(reports[0], opt->clients, &rate, &latency);
	close(go[1]);
	if (fine) {
		printf("%.1f\n", opt->latency ? latency * 1e6 : rate);
		fflush(stdout);
	}
	while (wait(NULL) > 0)
		;
	return fine;
}

static bool parse_options(struct options *opt, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "lc:b:k:n:t:")) != -1) {
		if (c == 'l')
			opt->latency = true;
		else if (c == 'c')
			opt->clients = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'b')
			opt->batch = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'k')
			opt->keys = (uint32_t)strtoul(optarg, NULL, 10);
		else if (c == 'n')
			opt->count = strtoull(optarg, NULL, 10);
		else if (c == 't')
			opt->seconds = strtod(optarg, NULL);
		else
			return false;
	}
	if (argc - optind != 2)
		return false;
	opt->socket = argv[optind];
	while (opt->mode < MODES && strcmp(modes[opt->mode].name, argv[optind + 1]) != 0)
		opt->mode++;
	return opt->mode < MODES && opt->clients >= 1 && opt->clients <= MAX_CLIENTS &&
	       (opt->clients == 1 || !opt->latency) && opt->batch >= 1 &&
	       opt->batch <= MAX_BATCH && opt->keys >= opt->clients &&
	       (opt->count > 0 || opt->seconds > 0);
}

int main(int argc, char **argv)
{
	struct options opt = {.clients = 1, .batch = 1, .keys = 100, .seconds = 1};

	if (!parse_options(&opt, argc, argv)) {
		fputs(usage, stderr);
		return 1;
	}
	return !run_clients(&opt);
}
