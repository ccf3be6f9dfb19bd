/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * State files that were cut, or of which a byte was changed. Reading one gives all rows,
 * or says that it cannot be used, and leaves it as it was. Only where a byte of the last
 * piece in the tail was changed that may be missing: it is what a crash in the middle of
 * a commit looks like.
 */
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/statefile.h"
#include "tests/unit/unit.h"

#define ROWS 6
#define BIG_ROW 4 /* on pages of its own */
#define FIRST_IN_TAIL 3
#define MOST_LOST 1
#define LAST_PAGES 8400
#define GENERATION 0x1122334455667788u

enum { DATABASE, WAL, TAIL, FILES };

/* How the daemon has ended: killed, killed before a snapshot was moved into the database,
 * or by itself. */
enum ended { KILLED, UNDER_WAY, BY_ITSELF };

/* Of a tail there is more, all zeros. */
struct image {
	uint8_t bytes[256 * 1024];
	size_t used;
	size_t len;
	bool is_empty; /* there is one all the same */
};

static char path[FILES][80];
static struct image whole[FILES], changed[FILES];
static struct image left; /* a tail that is not needed any more */
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

static int count_piece(const uint8_t *bytes, size_t len, void *context)
{
	unsigned *n = context;

	(void)bytes, (void)len;
	++*n;
	return 0;
}

static void append(struct statefile *f, unsigned number)
{
	uint8_t row[16384];

	ck_assert(statefile_append(f, row, make_row(number, row)));
}

static void begin_snapshot(struct statefile *f, unsigned rows)
{
	uint8_t row[16384];

	ck_assert(statefile_begin(f));
	statefile_begin_snapshot(f);
	for (unsigned i = 0; i < rows; i++)
		ck_assert(statefile_add(f, row, make_row(i, row)));
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
	if (from->len == 0 && name != path[DATABASE] && !from->is_empty)
		return;
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_eq(write(fd, from->bytes, from->used), (ssize_t)from->used);
	ck_assert_int_eq(ftruncate(fd, (off_t)from->len), 0);
	close(fd);
}

static void setup(void)
{
	static const char *const names[] = {"", "-wal", "-tail"};

	for (int i = 0; i < FILES; i++)
		snprintf(path[i], sizeof(path[i]), "/dev/shm/qdb-state-%d%s",
			 (int)getpid(), names[i]);
}

static void teardown(void)
{
	for (int i = 0; i < FILES; i++)
		unlink(path[i]);
}

static enum statefile_result open_it(struct statefile *f, bool create)
{
	owner = (struct statefile_owner){"work", 5, create ? GENERATION : 0, "boot"};
	return statefile_open(f, path[0], &owner, STATEFILE_SYNC_PROCESS, create);
}

static void load_all(void)
{
	for (int i = 0; i < FILES; i++)
		load(&whole[i], path[i]);
}

static void end(struct statefile *f)
{
	begin_snapshot(f, ROWS);
	ck_assert(statefile_end(f));
	load(&left, path[TAIL]);
	unlink(path[WAL]);
	unlink(path[TAIL]);
	load_all();
}

/* Half of the rows come with a snapshot, half after it. */
static void make(enum ended how)
{
	static struct image before;
	struct statefile f;

	close(open(path[DATABASE], O_RDWR | O_CREAT | O_TRUNC, 0600));
	ck_assert_int_eq(open_it(&f, true), STATEFILE_FINE);
	load(&before, path[DATABASE]);
	begin_snapshot(&f, FIRST_IN_TAIL);
	ck_assert(statefile_use(&f));
	for (unsigned i = FIRST_IN_TAIL; i < ROWS; i++)
		append(&f, i);
	load_all();
	if (how == UNDER_WAY)
		whole[DATABASE] = before;
	if (how == BY_ITSELF)
		end(&f);
	statefile_close(&f);
}

/* ---- judging ---- */

static void assert_unchanged(size_t at)
{
	static struct image now;

	for (int i = 0; i < FILES; i++) {
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

	for (int i = 0; i < FILES; i++)
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
	for (int i = 0; i < FILES; i++) {
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

	make(BY_ITSELF);
	ck_assert_uint_eq(whole[WAL].len + whole[TAIL].len, 0);
	o = flip_all(DATABASE, bits[_i], _i == 0 ? 1 : 11);
	ck_assert_uint_eq(o.earlier, 0);
	ck_assert_uint_gt(o.refused, 0);
}
END_TEST

START_TEST(any_byte_of_a_tail)
{
	static const uint8_t bits[] = {0xff, 0x01, 0x80, 0x10};
	struct outcomes o;

	make(KILLED);
	o = flip_all(TAIL, bits[_i], _i == 0 ? 3 : 13);
	ck_assert_uint_gt(o.refused, 0);
	ck_assert_uint_gt(o.earlier, 0);
}
END_TEST

START_TEST(any_byte_of_a_file_with_a_tail)
{
	struct outcomes o;

	make(KILLED);
	o = flip_all(DATABASE, 0x10, 7);
	ck_assert_uint_eq(o.earlier, 0);
}
END_TEST

/* The database has all that the write-ahead log has, or the tail tells that it has not.
 */
START_TEST(any_byte_of_a_log)
{
	struct outcomes o;

	make(KILLED);
	ck_assert_uint_gt(whole[WAL].len, 0);
	o = flip_all(WAL, 0x10, 9);
	ck_assert_uint_eq(o.earlier + o.refused, 0);
	make(UNDER_WAY);
	o = flip_all(WAL, 0x10, 9);
	ck_assert_uint_eq(o.earlier, 0);
	ck_assert_uint_gt(o.refused, 0);
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

static struct outcomes cut_all(int file)
{
	struct outcomes o = {0};

	for (size_t len = file == DATABASE; len < whole[file].used;
	     len = next_cut(len, whole[file].used)) {
		restore();
		cut(&changed[file], len);
		count(&o, open_changed(len));
	}
	ck_assert_uint_eq(o.earlier, 0);
	return o;
}

START_TEST(a_file_cut_anywhere)
{
	struct outcomes o;

	make(BY_ITSELF);
	o = cut_all(DATABASE);
	ck_assert_uint_gt(o.refused, 0);
}
END_TEST

START_TEST(a_tail_cut_anywhere)
{
	struct outcomes o;

	make(KILLED);
	o = cut_all(TAIL);
	ck_assert_uint_eq(o.whole, 0);
	for (size_t len = whole[TAIL].used; len < whole[TAIL].len; len += 499) {
		restore();
		cut(&changed[TAIL], len);
		ck_assert_int_eq(open_changed(len), -1);
	}
	restore();
	changed[TAIL].used = 0;
	ck_assert_int_eq(open_changed(0), -1);
}
END_TEST

START_TEST(a_log_cut_anywhere)
{
	struct outcomes o;

	make(KILLED);
	o = cut_all(WAL);
	ck_assert_uint_eq(o.refused, 0);
	make(UNDER_WAY);
	o = cut_all(WAL);
	ck_assert_uint_gt(o.refused, 0);
}
END_TEST

/* What make() has left, so that it can be written to. */
static void go_on(struct statefile *f)
{
	for (int i = 0; i < FILES; i++)
		store(&whole[i], path[i]);
	ck_assert_int_eq(open_it(f, false), STATEFILE_FINE);
	rows_read = 0;
	ck_assert_int_eq(statefile_read(f, take_row, NULL), STATEFILE_FINE);
	ck_assert(statefile_go_on(f));
}

/* Its last piece ends where the next step in size would begin, or close to it; and then
 * it is cut there. */
START_TEST(a_tail_of_any_length)
{
	static uint8_t big[16384];
	struct statefile f;
	unsigned n;

	make(KILLED);
	for (size_t len = 65536 - 64; len <= 65536 + 64; len += 8) {
		go_on(&f);
		n = 0;
		while (statefile_appended(&f) < len) {
			const size_t room = len - statefile_appended(&f);

			ck_assert(statefile_append(
				&f, big, room > sizeof(big) + 16 ? sizeof(big) : room));
			n++;
		}
		statefile_close(&f);
		ck_assert_int_eq(open_it(&f, false), STATEFILE_FINE);
		rows_read = 0;
		ck_assert_int_eq(statefile_read(&f, count_piece, &rows_read),
				 STATEFILE_FINE);
		ck_assert_uint_eq(rows_read, ROWS + n);
		ck_assert(statefile_go_on(&f) && statefile_append(&f, big, sizeof(big)));
		statefile_close(&f);
		ck_assert_int_eq(truncate(path[TAIL], 65536), 0);
		ck_assert_int_eq(open_it(&f, false), STATEFILE_FINE);
		ck_assert_int_eq(statefile_read(&f, count_piece, &rows_read),
				 STATEFILE_DAMAGED);
		statefile_close(&f);
	}
}
END_TEST

/* Between two steps of beginning and ending, as a crash leaves it. */
START_TEST(what_is_not_needed)
{
	make(BY_ITSELF);
	restore();
	ck_assert_int_eq(open_changed(0), ROWS);
	changed[WAL].len = 1000000; /* of zeros */
	ck_assert_int_eq(open_changed(0), ROWS);
	changed[TAIL].len = 65536;
	ck_assert_int_eq(open_changed(0), ROWS);
	changed[TAIL].is_empty = true; /* as one that is being made */
	changed[TAIL].len = 0;
	ck_assert_int_eq(open_changed(0), ROWS);
	changed[TAIL] = left;
	ck_assert_int_eq(open_changed(0), ROWS);
	make(KILLED);
	restore();
	cut(&changed[WAL], 0);
	ck_assert_int_eq(open_changed(0), ROWS);
	cut(&changed[TAIL], 0);
	ck_assert_int_eq(open_changed(0), -1);
}
END_TEST

/* The tail of the epoch before is still there when a snapshot is in use already. */
START_TEST(a_snapshot_whose_epoch_has_not_begun)
{
	static struct image before;
	struct statefile f;

	make(KILLED);
	before = whole[TAIL];
	go_on(&f);
	begin_snapshot(&f, ROWS);
	ck_assert(statefile_use(&f));
	load_all();
	statefile_close(&f);
	restore();
	changed[TAIL] = before;
	ck_assert_int_eq(open_changed(0), ROWS);
	restore();
	ck_assert_int_eq(open_changed(0), ROWS);
}
END_TEST

/* Some other state's, of the same domain: an older copy of the file, say. */
START_TEST(a_tail_of_another_state)
{
	static struct image another;

	make(KILLED);
	another = whole[TAIL];
	make(KILLED);
	restore();
	changed[TAIL] = another;
	ck_assert_int_eq(open_changed(0), -1);
}
END_TEST

/* As any program does that is the last one to close it. */
START_TEST(a_log_that_others_have_moved_into_the_file)
{
	sqlite3 *db;

	make(UNDER_WAY);
	for (int i = 0; i < FILES; i++)
		store(&whole[i], path[i]);
	ck_assert_int_eq(sqlite3_open(path[0], &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "SELECT * FROM owner", NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(db);
	load(&changed[DATABASE], path[DATABASE]);
	load(&changed[WAL], path[WAL]);
	changed[TAIL] = whole[TAIL];
	ck_assert_uint_eq(changed[WAL].len, 0);
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

/* Each is as it was written once. The rows of the log are 1, 3, 5 and 7. */
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

	make(BY_ITSELF);
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
	tcase_add_loop_test(t, any_byte_of_a_tail, 0, 4);
	tcase_add_test(t, any_byte_of_a_file_with_a_tail);
	tcase_add_test(t, any_byte_of_a_log);
	tcase_add_loop_test(t, a_block_in_the_place_of_another, 0, 4);
	tcase_add_test(t, a_file_cut_anywhere);
	tcase_add_test(t, a_tail_cut_anywhere);
	tcase_add_test(t, a_log_cut_anywhere);
	tcase_add_test(t, a_tail_of_any_length);
	tcase_add_test(t, what_is_not_needed);
	tcase_add_test(t, a_snapshot_whose_epoch_has_not_begun);
	tcase_add_test(t, a_tail_of_another_state);
	tcase_add_test(t, a_log_that_others_have_moved_into_the_file);
}

UNIT_MAIN("statefile", fill)
