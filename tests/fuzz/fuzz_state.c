/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A state file that is damaged, foreign or made up. Records as such go straight into a
 * domain: what is taken must be a valid state, and come back the same when it is written.
 * Rows go through a real file, of which bytes are then changed: reading it ends with one
 * of the results that there are, and gives nothing that was not a row.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/statefile.h"
#include "tests/fuzz/core.h"

#define RECORDS_SIZE 65536
#define ROWS 16

static uint8_t records[RECORDS_SIZE];

/* ---- records ---- */

/* Mostly well-formed, as far as it goes; lengths may lie. */
static size_t choose_record(struct script *s, uint8_t out[REQUEST_SIZE])
{
	uint8_t message[REQUEST_SIZE];
	const size_t len = script_message(s, message) - HEADER_SIZE;
	const size_t path_len = strnlen((char *)message + 1, QDB_MAX_PATH);
	const unsigned lie = script_byte(s);

	out[0] = message[0] % 10;
	out[1] = (uint8_t)path_len;
	out[2] = (uint8_t)len;
	out[3] = (uint8_t)(len >> 8);
	if (lie >= 0xf0)
		out[lie % 4] ^= (uint8_t)script_byte(s);
	memcpy(out + 4, message + 1, path_len);
	memcpy(out + 4 + path_len, message + HEADER_SIZE, len);
	return 4 + path_len + len;
}

static size_t choose_peer(struct script *s, uint8_t out[REQUEST_SIZE])
{
	static const uint8_t header[] = {4, 0, 17, 0};

	memset(out, 0, 21);
	memcpy(out, header, sizeof(header));
	script_bytes(s, out + 4, 17);
	return 21;
}

/* Small numbers, so that they mean something. */
static size_t choose_sent(struct script *s, uint8_t out[REQUEST_SIZE])
{
	static const uint8_t sizes[] = {2, 8, 12};
	const size_t end = choose_record(s, out);
	const unsigned which = script_byte(s) % 3;
	const size_t path_len = which < 2 ? MIN(out[1] % QDB_MAX_PATH, end - 4) : 0;

	out[0] = (uint8_t)(6 + which);
	out[1] = (uint8_t)path_len;
	out[2] = sizes[which];
	out[3] = 0;
	memset(out + 4 + path_len, 0, sizes[which]);
	out[4 + path_len] = script_byte(s) % 16;
	if (which == 2)
		out[4 + 8] = script_byte(s) % 16;
	return 4 + path_len + sizes[which];
}

static size_t choose_records(struct script *s, uint8_t *out, size_t size)
{
	uint8_t record[REQUEST_SIZE];
	size_t used = 0, len;
	unsigned how;

	while (!script_is_over(s) && size - used >= sizeof(record)) {
		how = script_byte(s) % 8;
		if (how == 0)
			len = choose_peer(s, record);
		else if (how == 2)
			len = choose_sent(s, record);
		else if (how == 1)
			len = script_bytes(s, record, script_byte(s));
		else
			len = choose_record(s, record);
		memcpy(out + used, record, len);
		used += len;
		if (how == 7)
			break;
	}
	return used;
}

/* The operations by their place in the order that they were sent in. */
static void check_changes(struct changes *a, struct changes *b)
{
	const struct changed_path *x = changes_after(a, "", 0),
				  *y = changes_after(b, "", 0);

	for (; x && y; x = changes_after(a, x->path, x->node.path_len),
		       y = changes_after(b, y->path, y->node.path_len)) {
		fuzz_require(strcmp(x->path, y->path) == 0);
		fuzz_require(x->owed == y->owed && x->in_flight == y->in_flight);
		fuzz_require(!x->in_flight ||
			     x->operation - a->answered == y->operation - b->answered);
	}
	fuzz_require(!x && !y);
}

static void check_again(struct domain *d)
{
	static uint8_t piece[2 * RECORD_MAX_SIZE];
	struct journal_cursor cursor = {.has_begun = false};
	struct domain copy;
	size_t len;

	domain_init(&copy, REPLICA_DOM0, 2);
	do {
		len = journal_snapshot(d, &cursor, piece, sizeof(piece));
		fuzz_require(len <= sizeof(piece));
		fuzz_require(journal_replay(&copy, piece, len) == 0);
	} while (!cursor.is_done);
	check_equal(d, &copy);
	fuzz_require(d->replica.peer_id == copy.replica.peer_id);
	fuzz_require(d->replica.processed == copy.replica.processed);
	fuzz_require(d->replica.served_legacy == copy.replica.served_legacy);
	fuzz_require(d->replica.peer_is_known == copy.replica.peer_is_known);
	check_changes(&d->replica.changes, &copy.replica.changes);
	domain_free(&copy);
}

static int replay(const uint8_t *bytes, size_t len, void *context)
{
	/* In memory of its own size, so that reading beyond is noticed. */
	uint8_t *copy = malloc(len);
	int r;

	memcpy(copy, bytes, len);
	r = journal_replay(context, copy, len);
	free(copy);
	return r;
}

static void fuzz_records(struct script *s)
{
	const size_t len = choose_records(s, records, sizeof(records));
	struct domain d;

	domain_init(&d, REPLICA_DOM0, 1);
	if (len > 0 && replay(records, len, &d) == 0)
		check_again(&d);
	check_domain(&d, 0, true);
	client_must_be_served(&d);
	domain_free(&d);
}

/* ---- files ---- */

struct rows {
	size_t n;
	size_t len[ROWS];
	uint8_t *bytes[ROWS];
	size_t read;
	struct domain *domain;
};

static char path[64], wal[80], tail[80];

/* With the first rows in a snapshot, if there are any, and the others after it. */
static void write_rows(struct script *s, struct rows *rows)
{
	struct statefile_owner owner = {
		.name = "vm", .domid = 5, .generation = 7, .boot = ""};
	struct statefile file;
	const size_t n = script_byte(s) % ROWS, first = script_byte(s) % ROWS;

	close(open(path, O_RDWR | O_CREAT | O_TRUNC, 0600));
	fuzz_require(statefile_open(&file, path, &owner, STATEFILE_SYNC_PROCESS, true) ==
		     STATEFILE_FINE);
	fuzz_require(statefile_begin(&file));
	statefile_begin_snapshot(&file);
	for (rows->n = 0; rows->n < n; rows->n++) {
		size_t len = choose_records(s, records, 8192);

		if (len == 0)
			records[len++] = 0;
		rows->len[rows->n] = len;
		rows->bytes[rows->n] = malloc(len);
		memcpy(rows->bytes[rows->n], records, len);
		if (rows->n == first)
			fuzz_require(statefile_use(&file));
		fuzz_require(rows->n < first ? statefile_add(&file, records, len)
					     : statefile_append(&file, records, len));
	}
	fuzz_require(n > first || statefile_end(&file));
	statefile_close(&file);
}

/* Of the database or the tail. Returns whether anything was changed. */
static bool damage(struct script *s)
{
	const unsigned times = script_byte(s) % 8;
	const int fd = open(script_byte(s) % 2 ? path : tail, O_RDWR);
	struct stat st;
	uint8_t byte;

	fuzz_require(fd >= 0 && fstat(fd, &st) == 0);
	for (unsigned i = 0; i < times; i++) {
		const off_t most =
			script_byte(s) % 2 ? MIN(st.st_size, 4096) : st.st_size;
		const unsigned at = script_word(s) % (unsigned)most;

		byte = (uint8_t)script_byte(s);
		fuzz_require(pwrite(fd, &byte, 1, at) == 1);
	}
	if (times == 7)
		fuzz_require(ftruncate(fd, script_word(s) % st.st_size) == 0);
	close(fd);
	return times > 0;
}

/* Rows that are read are those that were written: there are checksums. */
static int take_row(const uint8_t *bytes, size_t len, void *context)
{
	struct rows *rows = context;
	const size_t i = rows->read++;

	fuzz_require(i < rows->n && len == rows->len[i]);
	fuzz_require(len == 0 || memcmp(bytes, rows->bytes[i], len) == 0);
	return len > 0 ? replay(bytes, len, rows->domain) : 0;
}

static enum statefile_result read_rows(struct rows *rows)
{
	struct statefile_owner owner = {.name = "vm", .domid = 5, .boot = ""};
	struct statefile file;
	enum statefile_result result;

	result = statefile_open(&file, path, &owner, STATEFILE_SYNC_PROCESS, false);
	if (result == STATEFILE_FINE)
		result = statefile_read(&file, take_row, rows);
	statefile_close(&file);
	return result;
}

static void fuzz_file(struct script *s)
{
	struct rows rows = {.n = 0};
	enum statefile_result result;
	struct domain d;
	bool damaged;

	snprintf(path, sizeof(path), "/dev/shm/qdb-fuzz-%d", (int)getpid());
	snprintf(wal, sizeof(wal), "%s-wal", path);
	snprintf(tail, sizeof(tail), "%s-tail", path);
	domain_init(&d, REPLICA_DOM0, 1);
	rows.domain = &d;
	write_rows(s, &rows);
	damaged = damage(s);
	result = read_rows(&rows);
	fuzz_require(result <= STATEFILE_FOREIGN);
	if (!damaged)
		fuzz_require(result == STATEFILE_FINE || result == STATEFILE_DAMAGED);
	if (!damaged && result == STATEFILE_FINE)
		fuzz_require(rows.read == rows.n);
	check_domain(&d, 0, true);
	domain_free(&d);
	for (size_t i = 0; i < rows.n; i++)
		free(rows.bytes[i]);
	unlink(path);
	unlink(wal);
	unlink(tail);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = {data, data + size};

	if (script_byte(&s) % 8 == 0)
		fuzz_file(&s);
	else
		fuzz_records(&s);
	return 0;
}
