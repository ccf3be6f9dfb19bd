/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * State files that were cut, or of which a byte was changed. Reading one gives all rows,
 * or says that it cannot be used, and leaves it as it was. Only where a byte at the end
 * of the write-ahead log was changed one of the last commits may be missing: that is what
 * a crash in the middle of one looks like.
 */
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/statefile.h"
#include "tests/unit/unit.h"

#define ROWS 6
#define BIG_ROW 4 /* on pages of its own */
#define MOST_LOST 2
#define LAST_PAGES 8400
#define GENERATION 0x1122334455667788u

/* Of a log there is more, all zeros. */
struct image {
	uint8_t bytes[256 * 1024];
	size_t used;
	size_t len;
};

static char path[2][80]; /* of the file and its log */
static struct image whole[2], changed[2];
static unsigned rows_read;
static struct statefile_owner owner;

/* ---- rows ---- */

static size_t make_row(unsigned number, uint8_t out[16384])
{
	const size_t len = number == BIG_ROW ? 13000 : 40 + number * 100;

	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(number * 31 + i * 7 + i / 256);
	return len;
}

static int take_row(const uint8_t *bytes, size_t len, void *context)
{
	uint8_t expected[16384];

	(void)context;
	ck_assert_uint_eq(len, make_row(rows_read, expected));
	ck_assert_mem_eq(bytes, expected, len);
	rows_read++;
	return 0;
}

static void append(struct statefile *f, unsigned number)
{
	uint8_t row[16384];

	ck_assert(statefile_append(f, row, make_row(number, row)));
}

/* ---- images ---- */

static void load(struct image *to, const char *name)
{
	const int fd = open(name, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, to->bytes, sizeof(to->bytes));
	struct stat st = {.st_size = 0};

	ck_assert_int_ge(n, 0);
	if (fd >= 0) {
		ck_assert_int_eq(fstat(fd, &st), 0);
		close(fd);
	}
	to->len = (size_t)st.st_size;
	while (n > 0 && to->bytes[n - 1] == 0)
		n--;
	ck_assert_uint_lt((size_t)n, sizeof(to->bytes));
	to->used = (size_t)n;
}

static void store(const struct image *from, const char *name)
{
	int fd;

	unlink(name);
	if (from->len == 0 && name == path[1])
		return;
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_eq(write(fd, from->bytes, from->used), (ssize_t)from->used);
	ck_assert_int_eq(ftruncate(fd, (off_t)from->len), 0);
	close(fd);
}

static void setup(void)
{
	static const char *const names[] = {"", "-wal"};

	for (int i = 0; i < 2; i++)
		snprintf(path[i], sizeof(path[i]), "/dev/shm/qdb-state-%d%s",
			 (int)getpid(), names[i]);
}

static void teardown(void)
{
	unlink(path[0]);
	unlink(path[1]);
}

static enum statefile_result open_it(struct statefile *f, bool create)
{
	owner = (struct statefile_owner){"work", 5, create ? GENERATION : 0, "boot"};
	return statefile_open(f, path[0], &owner, STATEFILE_SYNC_PROCESS, create);
}

/* As a daemon leaves it: one that was killed, or one that has ended. */
static void make(bool killed)
{
	struct statefile f;

	close(open(path[0], O_RDWR | O_CREAT | O_TRUNC, 0600));
	ck_assert_int_eq(open_it(&f, true), STATEFILE_FINE);
	for (unsigned i = 0; i < ROWS; i++)
		append(&f, i);
	if (!killed)
		ck_assert(statefile_end_wal(&f));
	for (int i = 0; i < 2; i++)
		load(&whole[i], path[i]);
	statefile_close(&f);
}

/* ---- judging ---- */

static void assert_unchanged(size_t at)
{
	static struct image now;

	for (int i = 0; i < 2; i++) {
		load(&now, path[i]);
		ck_assert_msg(now.len == changed[i].len &&
				      memcmp(now.bytes, changed[i].bytes, now.used) == 0,
			      "file %d was changed at %zu", i, at);
	}
}

/* Opens what `changed` holds; returns how many rows there are, -1: not usable. */
static int open_changed(size_t at)
{
	enum statefile_result result;
	struct statefile f;

	for (int i = 0; i < 2; i++)
		store(&changed[i], path[i]);
	rows_read = 0;
	result = open_it(&f, false);
	if (result == STATEFILE_FINE)
		result = statefile_read(&f, take_row, NULL);
	statefile_close(&f);
	ck_assert_int_ne(result, STATEFILE_FAILED);
	if (result != STATEFILE_FINE) {
		assert_unchanged(at);
		return -1;
	}
	ck_assert_msg(owner.generation == GENERATION, "generation, at %zu", at);
	return (int)rows_read;
}

static void restore(void)
{
	for (int i = 0; i < 2; i++) {
		changed[i] = whole[i];
	}
}

struct outcomes {
	unsigned whole, refused, earlier;
};

static void count(struct outcomes *o, int rows)
{
	if (rows < 0)
		o->refused++;
	else if (rows == ROWS)
		o->whole++;
	else
		o->earlier++;
}

static struct outcomes flip_all(int file, uint8_t bits, size_t step)
{
	struct outcomes o = {0};

	restore();
	for (size_t at = 0; at < whole[file].used; at += step) {
		int rows;

		changed[file].bytes[at] ^= bits;
		rows = open_changed(at);
		ck_assert_msg(rows < 0 || rows >= ROWS - MOST_LOST, "%d rows, at %zu",
			      rows, at);
		count(&o, rows);
		changed[file].bytes[at] ^= bits;
	}
	return o;
}

START_TEST(any_byte_of_a_closed_file)
{
	static const uint8_t bits[] = {0xff, 0x01, 0x80, 0x03};
	struct outcomes o;

	make(false);
	ck_assert_uint_eq(whole[1].len, 0);
	o = flip_all(0, bits[_i], _i == 0 ? 1 : 11);
	ck_assert_uint_eq(o.earlier, 0);
	ck_assert_uint_gt(o.refused, 0);
}
END_TEST

START_TEST(any_byte_of_a_log)
{
	struct outcomes o;

	make(true);
	ck_assert_uint_gt(whole[1].len, 0);
	o = flip_all(1, 0x10, 5);
	ck_assert_uint_gt(o.refused + o.earlier, 0);
	o = flip_all(0, 0x10, 5);
	ck_assert_uint_eq(o.earlier, 0);
}
END_TEST

static void cut(struct image *i, size_t len)
{
	i->len = len;
	i->used = len < i->used ? len : i->used;
}

/* Every byte of the last pages, and some of those before. */
static size_t next_cut(size_t len, size_t end)
{
	return len + LAST_PAGES < end ? len + 101 : len + 1;
}

START_TEST(a_file_cut_anywhere)
{
	struct outcomes o = {0};

	make(false);
	for (size_t len = 1; len < whole[0].len; len = next_cut(len, whole[0].len)) {
		restore();
		cut(&changed[0], len);
		count(&o, open_changed(len));
	}
	ck_assert_uint_eq(o.earlier, 0);
	ck_assert_uint_gt(o.refused, 0);
}
END_TEST

START_TEST(a_log_cut_anywhere)
{
	make(true);
	for (size_t len = 0; len < whole[1].used; len = next_cut(len, whole[1].used)) {
		restore();
		cut(&changed[1], len);
		ck_assert_int_eq(open_changed(len), -1);
	}
	for (size_t len = whole[1].used; len < whole[1].len; len += 4099) {
		restore();
		cut(&changed[1], len);
		ck_assert_int_eq(open_changed(len), -1);
	}
	restore();
	cut(&changed[1], whole[1].len - 1);
	ck_assert_int_eq(open_changed(changed[1].len), -1);
}
END_TEST

/* Between two steps of beginning and ending the log, as a crash leaves it. */
START_TEST(a_log_that_is_not_needed)
{
	make(false);
	restore();
	ck_assert_int_eq(open_changed(0), ROWS);
	changed[1].len = 1000000; /* of zeros */
	ck_assert_int_eq(open_changed(0), ROWS);
	make(true);
	restore();
	changed[1].used = 0;
	ck_assert_int_eq(open_changed(0), -1);
}
END_TEST

/* As any program does that is the last one to close it. */
START_TEST(a_log_that_others_have_moved_into_the_file)
{
	sqlite3 *db;

	make(true);
	ck_assert_int_eq(sqlite3_open(path[0], &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "SELECT * FROM owner", NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(db);
	load(&changed[0], path[0]);
	load(&changed[1], path[1]);
	ck_assert_uint_eq(changed[1].len, 0);
	ck_assert_int_eq(open_changed(0), ROWS);
}
END_TEST

static void run_sql(const char *sql)
{
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(path[0], &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* Each is as it was written once. The rows of the first log are 1, 3, 5 and 7. */
START_TEST(a_block_in_the_place_of_another)
{
	static const char *const changes[] = {
		"UPDATE blocks SET number = -number WHERE number IN (3, 5);"
		"UPDATE blocks SET number = 8 + number WHERE number < 0",
		"UPDATE blocks SET block = (SELECT block FROM blocks WHERE number = 1) "
		"WHERE number = 3",
		"DELETE FROM blocks WHERE number = 7",
		"DELETE FROM blocks WHERE number = 3",
	};

	make(false);
	restore();
	store(&changed[0], path[0]);
	run_sql(changes[_i]);
	load(&changed[0], path[0]);
	ck_assert_int_eq(open_changed(0), -1);
}
END_TEST

static void fill(TCase *t)
{
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, any_byte_of_a_closed_file, 0, 4);
	tcase_add_test(t, any_byte_of_a_log);
	tcase_add_loop_test(t, a_block_in_the_place_of_another, 0, 4);
	tcase_add_test(t, a_file_cut_anywhere);
	tcase_add_test(t, a_log_cut_anywhere);
	tcase_add_test(t, a_log_that_is_not_needed);
	tcase_add_test(t, a_log_that_others_have_moved_into_the_file);
}

UNIT_MAIN("statefile", fill)
