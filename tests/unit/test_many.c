/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A request that writes many entries: its bytes, and that it is all or none. */
#include <errno.h>

#include "daemon/core/session.h"
#include "protocol/many.h"
#include "tests/unit/ends.h"

static uint8_t request[MESSAGE_HEADER_SIZE + QDB_MAX_MANY + 1];
static char data[QDB_MAX_MANY + 1];
static size_t data_len;

/* ---- the data ---- */

static void add(const char *path, const char *value, size_t len)
{
	memcpy(data + data_len, path, strlen(path) + 1);
	data_len += strlen(path) + 1;
	memset(data + data_len, 0, len + 1);
	memcpy(data + data_len, value, len);
	data_len += len + 1;
}

static void begin_data(const char *pairs)
{
	char copy[256], *save, *pair;

	data_len = 0;
	strcpy(copy, pairs);
	for (pair = strtok_r(copy, " ", &save); pair; pair = strtok_r(NULL, " ", &save)) {
		char *value = strchr(pair, '=');

		*value++ = '\0';
		add(pair, value, strlen(value));
	}
}

static const struct {
	const char *bytes;
	size_t len;
	const char *entries;
} parses[] = {
	{"/a\0001\0/b\0\0", 9, "/a=1 /b= end"},
	{"/a\0001", 4, "malformed"},
	{"/a\0", 3, "malformed"},
	{"/a", 2, "malformed"},
	{"\0", 1, "malformed"},
	{"\0v\0", 3, "malformed"},
	{"/a\0001\0\0\0", 7, "/a=1 malformed"},
	{"/a\0001\0rel\0x\0", 11, "/a=1 rel bad"},
	{"/d/\0x\0", 6, "/d/ bad"},
	{"/a b\0x\0", 7, "/a b bad"},
	{"-\0x\0", 4, "- bad"},
	{"", 0, "end"},
};

START_TEST(data_is_taken_apart)
{
	static const char *const ends[] = {[MANY_END] = "end",
					   [MANY_BAD_ENTRY] = "bad",
					   [MANY_MALFORMED] = "malformed"};
	char found[128] = "", *copy = malloc(parses[_i].len + 1);
	enum many_result result;
	struct many_entry e;
	struct many m;
	size_t n = 0;

	/* Of exactly that size, so that a sanitizer sees a step too far. */
	copy = realloc(copy, parses[_i].len ? parses[_i].len : 1);
	memcpy(copy, parses[_i].bytes, parses[_i].len);
	many_begin(&m, copy, parses[_i].len);
	while ((result = many_next(&m, &e)) == MANY_ENTRY)
		n += (size_t)sprintf(found + n, "%s=%.*s ", e.path, (int)e.value_len,
				     e.value);
	if (result == MANY_BAD_ENTRY)
		n += (size_t)sprintf(found + n, "%s ", e.path);
	sprintf(found + n, "%s", ends[result]);
	ck_assert_str_eq(found, parses[_i].entries);
	free(copy);
}
END_TEST

START_TEST(longest_paths_and_values_are_known)
{
	static char longest[QDB_MAX_DATA + 1];
	char path[QDB_MAX_PATH + 1] = "/";
	struct many_entry e;
	struct many m;

	memset(path + 1, 'a', QDB_MAX_PATH - 2);
	memset(longest, 'v', sizeof(longest));
	data_len = 0;
	add(path, longest, QDB_MAX_DATA);
	add(path, longest, QDB_MAX_DATA + 1);
	many_begin(&m, data, data_len);
	ck_assert_int_eq(many_next(&m, &e), MANY_ENTRY);
	ck_assert_uint_eq(e.path_len, 63);
	ck_assert_uint_eq(e.value_len, QDB_MAX_DATA);
	ck_assert_int_eq(many_next(&m, &e), MANY_BAD_ENTRY);
	ck_assert_str_eq(e.path, path);
	path[QDB_MAX_PATH - 1] = 'a';
	data_len = 0;
	add(path, "", 0);
	many_begin(&m, data, data_len);
	ck_assert_int_eq(many_next(&m, &e), MANY_MALFORMED);
}
END_TEST

/* ---- in the stream ---- */

static struct message_stream stream;
static char taken[QDB_MAX_MANY];
static size_t n_taken;

static void make_request(void)
{
	message_encode(request, QDB_CMD_WRITE_MANY, "", 0, data, data_len);
}

/* What the stream has now; returns the last status. */
static enum message_status drain(struct message *m)
{
	enum message_status status;

	while ((status = message_stream_next(&stream, m)) == MESSAGE_PIECE) {
		ck_assert_int_eq(m->type, QDB_CMD_WRITE_MANY);
		ck_assert_uint_gt(m->data_len, 0);
		ck_assert_uint_le(n_taken + m->data_len, sizeof(taken));
		memcpy(taken + n_taken, m->data, m->data_len);
		n_taken += m->data_len;
	}
	return status;
}

static void feed(const uint8_t *bytes, size_t len)
{
	uint8_t *space;

	ck_assert_uint_ge(message_stream_space(&stream, &space), len);
	memcpy(space, bytes, len);
	message_stream_filled(&stream, len);
}

START_TEST(data_comes_in_pieces_however_it_was_split)
{
	const size_t step = (size_t)_i * _i + 1;
	uint8_t next[MESSAGE_HEADER_SIZE];
	struct message m;
	size_t len, at, n;

	data_len = 20000;
	for (size_t i = 0; i < data_len; i++)
		data[i] = (char)(i * 7);
	make_request();
	len = MESSAGE_HEADER_SIZE + data_len;
	n_taken = 0;
	message_stream_init(&stream, MESSAGE_FROM_CLIENT);
	for (at = 0; at < len; at += n) {
		n = step < len - at ? step : len - at;
		feed(request + at, n);
		if (at + n < len)
			ck_assert_int_eq(drain(&m), MESSAGE_INCOMPLETE);
	}
	ck_assert_int_eq(drain(&m), MESSAGE_READY);
	ck_assert_int_eq(m.type, QDB_CMD_WRITE_MANY);
	ck_assert_uint_eq(m.data_len, data_len);
	ck_assert_ptr_null(m.data);
	ck_assert_uint_eq(n_taken, data_len);
	ck_assert_mem_eq(taken, data, data_len);
	unit_encode(next, QDB_CMD_READ, "/next", NULL);
	feed(next, sizeof(next));
	ck_assert_int_eq(drain(&m), MESSAGE_READY);
	ck_assert_str_eq(m.path, "/next");
}
END_TEST

static const struct {
	enum message_sender from;
	const char *path;
	size_t len;
	int fault; /* or -1: a violation */
} headers[] = {
	{MESSAGE_FROM_CLIENT, "", 1, MESSAGE_FINE},
	{MESSAGE_FROM_CLIENT, "", QDB_MAX_MANY, MESSAGE_FINE},
	{MESSAGE_FROM_CLIENT, "", QDB_MAX_MANY + 1, MESSAGE_BAD_VALUE},
	{MESSAGE_FROM_CLIENT, "", 0, MESSAGE_BAD_VALUE},
	{MESSAGE_FROM_CLIENT, "/a", 8, MESSAGE_BAD_PATH},
	{MESSAGE_FROM_VM, "", 8, -1},
	{MESSAGE_FROM_DOM0, "", 8, -1},
	{MESSAGE_FROM_DAEMON, "", 8, -1},
};

START_TEST(only_clients_may_and_only_so_much)
{
	const uint32_t len = (uint32_t)headers[_i].len;
	struct message m;
	enum message_status status;

	message_encode(request, QDB_CMD_WRITE_MANY, headers[_i].path,
		       strlen(headers[_i].path), NULL, 0);
	memcpy(request + MESSAGE_HEADER_SIZE - 4, &len, 4);
	status = message_parse_header(&m, headers[_i].from, request);
	if (headers[_i].fault < 0)
		ck_assert_int_eq(status, MESSAGE_VIOLATION);
	else
		ck_assert_int_eq(m.fault, headers[_i].fault);
}
END_TEST

/* ---- in a session ---- */

static struct session *client(struct domain *d, enum session_access access)
{
	struct session *s;

	ck_assert_int_eq(session_new(&s, d, access, NULL), 0);
	return s;
}

static void put(struct session *s, const uint8_t *bytes, size_t len)
{
	uint8_t *space;

	while (len > 0) {
		size_t n;

		if (session_has_work(s))
			session_run(s);
		n = session_space(s, &space);
		ck_assert_uint_gt(n, 0);
		n = n < len ? n : len;
		memcpy(space, bytes, n);
		session_received(s, n);
		session_run(s);
		bytes += n;
		len -= n;
	}
}

static const char *take(struct session *s)
{
	const uint8_t *bytes;
	size_t len;

	text[0] = '\0';
	while ((bytes = session_output(s, &len))) {
		unit_append_messages(text, sizeof(text), bytes, len);
		session_sent(s, len);
	}
	return text;
}

static const char *ask(struct session *s, enum qdb_msg type, const char *path)
{
	uint8_t message[MESSAGE_HEADER_SIZE];

	put(s, message, unit_encode(message, type, path, NULL));
	return take(s);
}

static const char *write_data(struct session *s)
{
	make_request();
	put(s, request, MESSAGE_HEADER_SIZE + data_len);
	return take(s);
}

static const char *write_pairs(struct session *s, const char *pairs)
{
	begin_data(pairs);
	return write_data(s);
}

START_TEST(all_are_written_and_the_answer_comes_first)
{
	struct session *s = client(&dom0, SESSION_READ_WRITE);
	struct session *w = client(&dom0, SESSION_READ_WRITE);

	ask(s, QDB_CMD_WATCH, "/");
	ask(w, QDB_CMD_WATCH, "/b");
	ck_assert_str_eq(write_pairs(s, "/b=1 /a= /b=2"),
			 "OK ; RESP_WATCH /b; RESP_WATCH /a; RESP_WATCH /b");
	ck_assert_str_eq(take(w), "RESP_WATCH /b; RESP_WATCH /b");
	ck_assert_str_eq(get(&dom0, "/b"), "2");
	ck_assert_str_eq(get(&dom0, "/a"), "");
	ck_assert_uint_eq(dom0.gatherings.bytes.used, 0);
	session_free(w);
	session_free(s);
}
END_TEST

static const char *const refusals[][2] = {
	{"/a=1 rel=2 /c=3", "ERROR rel"},
	{"/a=1 /c/=3", "ERROR /c/"},
	{"/a=1 /c?=3", "ERROR /c?"},
	{"/a=1 =3", "ERROR "},
};

START_TEST(none_is_written_if_one_is_refused)
{
	struct session *s = client(&dom0, SESSION_READ_WRITE);

	set(&dom0, "/a", "before");
	ask(s, QDB_CMD_WATCH, "/");
	ck_assert_str_eq(write_pairs(s, refusals[_i][0]), refusals[_i][1]);
	ck_assert_str_eq(get(&dom0, "/a"), "before");
	ck_assert_str_eq(get(&dom0, "/c"), "(absent)");
	data_len = 3;
	ck_assert_str_eq(write_data(s), "ERROR ");
	ck_assert_str_eq(write_pairs(s, "/a=after"), "OK ; RESP_WATCH /a");
	session_free(s);
}
END_TEST

START_TEST(who_may_not_write_is_told_so)
{
	struct session *s = client(&dom0, SESSION_READ_ONLY);

	ck_assert_str_eq(write_pairs(s, "/a=1"), "ERROR ");
	ck_assert_str_eq(get(&dom0, "/a"), "(absent)");
	data_len = QDB_MAX_MANY;
	make_request();
	put(s, request, MESSAGE_HEADER_SIZE + QDB_MAX_MANY - 1);
	ck_assert_uint_eq(dom0.gatherings.bytes.used, 0);
	session_free(s);
}
END_TEST

START_TEST(quotas_hold_for_all_of_them)
{
	struct session *s = client(&dom0, SESSION_READ_WRITE);
	enum quota quota;

	set(&dom0, "/a", "12345");
	set(&dom0, "/b", "12345");
	dom0.entries.entries.limit = 3;
	ck_assert_str_eq(write_pairs(s, "/c=1 /d=1"), "ERROR /");
	ck_assert(session_was_refused(s, &quota));
	ck_assert_int_eq(quota, QUOTA_ENTRIES);
	ck_assert_str_eq(get(&dom0, "/c"), "(absent)");
	dom0.entries.bytes.limit = 17;
	ck_assert_str_eq(write_pairs(s, "/a=123456 /c=1"), "ERROR /");
	ck_assert_int_eq(quota_refused_last(), QUOTA_BYTES);
	ck_assert_str_eq(get(&dom0, "/a"), "12345");
	ck_assert_str_eq(write_pairs(s, "/c=123 /a=123 /c=12345 /a=1234 /b=1"), "OK ");
	ck_assert_uint_eq(dom0.entries.bytes.used, 16);
	session_free(s);
}
END_TEST

START_TEST(entries_of_the_peer_become_ours)
{
	struct session *s = client(&dom0, SESSION_READ_WRITE);

	domain_apply_write(&dom0, "/a", 2, "old", 3);
	domain_apply_write(&dom0, "/b", 2, "old", 3);
	ck_assert_str_eq(write_pairs(s, "/a=newer /c="), "OK ");
	ck_assert_uint_eq(dom0.entries.peer_entries.used, 1);
	ck_assert_uint_eq(dom0.entries.peer_bytes.used, 5);
	session_free(s);
}
END_TEST

START_TEST(one_request_has_so_many_entries)
{
	struct session *s = client(&dom0, SESSION_READ_WRITE);
	const size_t most = quota_descriptions[QUOTA_MANY].limit;
	char path[QDB_MAX_PATH];

	data_len = 0;
	for (size_t i = 0; i < most; i++) {
		snprintf(path, sizeof(path), "/n/%zu", i);
		add(path, "", 0);
	}
	ck_assert_str_eq(write_data(s), "OK ");
	ck_assert_uint_eq(dom0.entries.entries.used, most);
	add("/n/more", "", 0);
	ck_assert_str_eq(write_data(s), "ERROR /");
	ck_assert_int_eq(quota_refused_last(), QUOTA_MANY);
	session_free(s);
}
END_TEST

START_TEST(the_longest_request_is_taken)
{
	static char value[QDB_MAX_DATA];
	struct session *s = client(&dom0, SESSION_READ_WRITE);
	char path[QDB_MAX_PATH];

	memset(value, 'v', sizeof(value));
	data_len = 0;
	while (data_len + 3079 <= QDB_MAX_MANY) {
		snprintf(path, sizeof(path), "/%05zu", data_len / 3079);
		add(path, value, sizeof(value));
	}
	add("/z", value, QDB_MAX_MANY - data_len - 4);
	ck_assert_uint_eq(data_len, QDB_MAX_MANY);
	ck_assert_str_eq(write_data(s), "OK ");
	ck_assert_uint_eq(dom0.entries.entries.used, QDB_MAX_MANY / 3079 + 1);
	data_len++;
	ck_assert_str_eq(write_data(s), "ERROR ");
	ck_assert_str_eq(ask(s, QDB_CMD_READ, "/no"), "ERROR_NOENT /no");
	session_free(s);
}
END_TEST

/* Half of the longest request, which takes a quarter of the room below. */
static void make_long_request(void)
{
	static char value[QDB_MAX_DATA];

	memset(value, 'v', sizeof(value));
	for (data_len = 0; data_len < QDB_MAX_MANY / 2;)
		add("/long", value, sizeof(value));
	make_request();
}

START_TEST(who_stops_in_the_middle_gives_way)
{
	const size_t half = QDB_MAX_MANY / 2, room = 4 * QDB_MAX_MANY;
	struct session *stopped[8], *s = client(&dom0, SESSION_READ_WRITE);
	enum quota quota;

	dom0.gatherings.bytes.limit = room;
	make_long_request();
	for (int i = 0; i < 8; i++) {
		stopped[i] = client(&dom0, SESSION_READ_WRITE);
		put(stopped[i], request, half);
		ck_assert_uint_le(dom0.gatherings.bytes.used, room);
	}
	ck_assert_str_eq(write_pairs(s, "/a=1 /b=2"), "OK ");
	make_long_request();
	for (int i = 0; i < 8; i++) {
		put(stopped[i], request + half, MESSAGE_HEADER_SIZE + data_len - half);
		ck_assert_str_eq(take(stopped[i]), i == 0 ? "ERROR /" : "OK ");
		ck_assert_int_eq(session_was_refused(stopped[i], &quota), i == 0);
		ck_assert(i != 0 || quota == QUOTA_GATHERED);
		ck_assert_str_eq(ask(stopped[i], QDB_CMD_READ, "/a"), "RESP_READ /a=1");
		session_free(stopped[i]);
	}
	ck_assert_uint_eq(dom0.gatherings.bytes.used, 0);
	session_free(s);
}
END_TEST

START_TEST(a_client_that_leaves_leaves_nothing)
{
	struct session *s = client(&dom0, SESSION_READ_WRITE);

	begin_data("/a=1 /b=2");
	make_request();
	put(s, request, MESSAGE_HEADER_SIZE + 5);
	ck_assert_uint_gt(dom0.gatherings.bytes.used, 0);
	ck_assert(session_is_idle(s));
	session_free(s);
	ck_assert_uint_eq(dom0.gatherings.bytes.used, 0);
	ck_assert_str_eq(get(&dom0, "/a"), "(absent)");
}
END_TEST

/* ---- and the other end ---- */

START_TEST(the_peer_gets_them_in_order)
{
	struct session *s = client(&dom0, SESSION_READ_WRITE);

	begin_as_legacy_vm();
	write_pairs(s, "/b=1 /a=2 /c= /a=3");
	ck_assert_str_eq(hear(&dom0), "WRITE /b=1; WRITE /a=2; WRITE /c; WRITE /a=3");
	ck_assert_uint_le(dom0.replica.changes.n_spare, 1);
	for (int i = 0; i < 4; i++)
		say(&dom0, QDB_RESP_OK, "/x", NULL);
	session_free(s);
}
END_TEST

START_TEST(both_ends_become_equal)
{
	struct session *s = client(&vm, SESSION_READ_WRITE);

	begin();
	set(&dom0, "/a", "dom0");
	write_pairs(s, "/a=vm /b=vm");
	exchange();
	assert_equal_ends();
	disconnect_ends();
	write_pairs(s, "/c=1 /d=2 /a=3");
	begin();
	assert_equal_ends();
	ck_assert_str_eq(get(&dom0, "/d"), "2");
	session_free(s);
}
END_TEST

START_TEST(a_vm_that_owes_too_much_takes_none)
{
	struct session *s = client(&vm, SESSION_READ_WRITE);

	begin();
	disconnect_ends();
	vm.replica.changes.paths.limit = 32 + 2;
	ck_assert_str_eq(write_pairs(s, "/a=1 /b=2 /c=3"), "ERROR /");
	ck_assert_int_eq(quota_refused_last(), QUOTA_CHANGES);
	ck_assert_str_eq(get(&vm, "/a"), "(absent)");
	ck_assert_str_eq(write_pairs(s, "/a=1 /b=2 /a=3"), "OK ");
	begin();
	assert_equal_ends();
	session_free(s);
}
END_TEST

static void fill(TCase *t)
{
	tcase_add_checked_fixture(t, ends_setup, ends_teardown);
	tcase_add_loop_test(t, data_is_taken_apart, 0,
			    sizeof(parses) / sizeof(parses[0]));
	tcase_add_test(t, longest_paths_and_values_are_known);
	tcase_add_loop_test(t, data_comes_in_pieces_however_it_was_split, 0, 60);
	tcase_add_loop_test(t, only_clients_may_and_only_so_much, 0,
			    sizeof(headers) / sizeof(headers[0]));
	tcase_add_test(t, all_are_written_and_the_answer_comes_first);
	tcase_add_loop_test(t, none_is_written_if_one_is_refused, 0,
			    sizeof(refusals) / sizeof(refusals[0]));
	tcase_add_test(t, who_may_not_write_is_told_so);
	tcase_add_test(t, quotas_hold_for_all_of_them);
	tcase_add_test(t, entries_of_the_peer_become_ours);
	tcase_add_test(t, one_request_has_so_many_entries);
	tcase_add_test(t, the_longest_request_is_taken);
	tcase_add_test(t, who_stops_in_the_middle_gives_way);
	tcase_add_test(t, a_client_that_leaves_leaves_nothing);
	tcase_add_test(t, the_peer_gets_them_in_order);
	tcase_add_test(t, both_ends_become_equal);
	tcase_add_test(t, a_vm_that_owes_too_much_takes_none);
}

UNIT_MAIN("many", fill)
