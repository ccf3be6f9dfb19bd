/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Both ends change the same few entries and directories at the same time.
 *
 *   qdb-conflict dom0 NAME ROUNDS   in dom0
 *   qdb-conflict vm ROUNDS          in the VM; before the other
 *
 * A round has entries of its own, so that nothing hides how it ended, and begins at both
 * ends with a write of dom0's; then each sends OPERATIONS at once. Prints "operations=N".
 */
#include <qubesdb-client.h>
#include <qubesdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define OPERATIONS 20
#define SLACK 16 /* so many reads at most, before: no round begins as the last one did \
		  */
#define GO "/conflict/go"
#define DONE "/conflict/done"

static uint32_t x;

static uint32_t any(void)
{
	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}

static size_t message(char *to, int type, const char *path, const char *value)
{
	struct qdb_hdr header = {.type = (uint8_t)type,
				 .data_len = (uint32_t)strlen(value)};

	snprintf(header.path, sizeof(header.path), "%s", path);
	memcpy(to, &header, sizeof(header));
	memcpy(to + sizeof(header), value, strlen(value));
	return sizeof(header) + strlen(value);
}

static size_t operation(char *to, const char *end, int round)
{
	char directory[32], entry[40], value[32];

	snprintf(directory, sizeof(directory), "/conflict/%d/%c/", round,
		 "ab"[any() % 2]);
	snprintf(entry, sizeof(entry), "%s%c", directory, "xyz"[any() % 3]);
	snprintf(value, sizeof(value), "%s %u", end, any() % 100000);
	switch (any() % 4) {
	case 0:
		return message(to, QDB_CMD_RM, directory, "");
	case 1:
		return message(to, QDB_CMD_RM, entry, "");
	default:
		return message(to, QDB_CMD_WRITE, entry, value);
	}
}

/* All are sent before the first answer is read. */
static bool send_all(int fd, const char *end, int round)
{
	static char out[OPERATIONS * (sizeof(struct qdb_hdr) + 32)];
	struct qdb_hdr answer;
	size_t len = 0;

	for (int i = 0; i < OPERATIONS; i++)
		len += operation(out + len, end, round);
	if (send(fd, out, len, MSG_NOSIGNAL) != (ssize_t)len)
		return false;
	for (int i = 0; i < OPERATIONS; i++)
		if (recv(fd, &answer, sizeof(answer), MSG_WAITALL) != sizeof(answer) ||
		    (answer.type != QDB_RESP_OK && answer.type != QDB_RESP_ERROR_NOENT))
			return false;
	return true;
}

static bool burst(qdb_handle_t h, const char *end, int round)
{
	for (uint32_t n = any() % SLACK; n > 0; n--)
		free(qdb_read(h, GO, NULL));
	return send_all(qdb_watch_fd(h), end, round);
}

static bool put_number(qdb_handle_t h, char *path, int number)
{
	char value[16];

	return qdb_write(h, path, value,
			 (unsigned)snprintf(value, sizeof(value), "%d", number));
}

static bool await_number(qdb_handle_t watching, char *path, int number)
{
	for (;;) {
		char *value = qdb_read(watching, path, NULL), *event;
		const bool is_there = value && atoi(value) == number;

		free(value);
		if (is_there)
			return true;
		event = qdb_read_watch(watching);
		if (!event)
			return false;
		free(event);
	}
}

static bool play(const char *end, char *name, int rounds)
{
	const bool in_dom0 = name != NULL;
	qdb_handle_t watching = qdb_open(name), h = qdb_open(name);
	bool ok = h && watching && qdb_watch(watching, in_dom0 ? DONE : GO);

	x = in_dom0 ? 2463534242u : 88172645u;
	for (int round = 1; ok && round <= rounds; round++) {
		if (in_dom0)
			ok = put_number(h, GO, round) && burst(h, end, round) &&
			     await_number(watching, DONE, round);
		else
			ok = await_number(watching, GO, round) && burst(h, end, round) &&
			     put_number(h, DONE, round);
	}
	qdb_close(h);
	qdb_close(watching);
	return ok;
}

int main(int argc, char **argv)
{
	const bool in_dom0 = argc == 4 && strcmp(argv[1], "dom0") == 0;
	const bool in_vm = argc == 3 && strcmp(argv[1], "vm") == 0;
	const int rounds = in_dom0 || in_vm ? atoi(argv[argc - 1]) : 0;

	if (rounds <= 0) {
		fprintf(stderr, "usage: qdb-conflict dom0 NAME ROUNDS | qdb-conflict vm "
				"ROUNDS\n");
		return 1;
	}
	if (!play(argv[1], in_dom0 ? argv[2] : NULL, rounds)) {
		perror("qdb-conflict");
		return 1;
	}
	printf("operations=%d\n", rounds * OPERATIONS);
	return 0;
}
