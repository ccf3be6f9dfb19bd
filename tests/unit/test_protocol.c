/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/unit.h"

static enum path_kind kind(const char *path)
{
	return path_classify(path, strlen(path));
}

START_TEST(paths_are_classified)
{
	char longest[QDB_MAX_PATH + 1];

	ck_assert_int_eq(kind(""), PATH_NOTHING);
	ck_assert_int_eq(kind("rel"), PATH_NOTHING);
	ck_assert_int_eq(kind("rel/"), PATH_NOTHING);
	ck_assert_int_eq(kind("@qdb:1:"), PATH_NOTHING);
	ck_assert_int_eq(kind("/"), PATH_DIRECTORY);
	ck_assert_int_eq(kind("//"), PATH_DIRECTORY);
	ck_assert_int_eq(kind("/d/"), PATH_DIRECTORY);
	ck_assert_int_eq(kind("/a"), PATH_ENTRY);
	ck_assert_int_eq(kind("//x"), PATH_ENTRY);
	ck_assert_int_eq(kind("/-"), PATH_ENTRY);
	ck_assert_int_eq(kind("-"), PATH_ILL_FORMED);
	ck_assert_int_eq(kind("-/a"), PATH_ILL_FORMED);
	memset(longest, 'a', sizeof(longest));
	longest[0] = '/';
	ck_assert_int_eq(path_classify(longest, 63), PATH_ENTRY);
	ck_assert_int_eq(path_classify(longest, 64), PATH_ILL_FORMED);
}
END_TEST

START_TEST(exactly_the_allowed_characters_pass)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		"0123456789_/.:@-";

	for (int c = 1; c < 256; c++) {
		const char path[] = {'/', (char)c, 'x', '\0'};

		ck_assert_int_eq(kind(path),
				 strchr(allowed, c) ? PATH_ENTRY : PATH_ILL_FORMED);
	}
	ck_assert_int_eq(path_classify("/\0x", 3), PATH_ILL_FORMED);
}
END_TEST

START_TEST(values_are_bounded_and_without_nul)
{
	char value[QDB_MAX_DATA + 1];

	memset(value, 0xff, sizeof(value));
	ck_assert(value_is_valid(NULL, 0));
	ck_assert(value_is_valid(value, 3071));
	ck_assert(!value_is_valid(value, 3072));
	value[1000] = '\0';
	ck_assert(value_is_valid(value, 1000));
	ck_assert(!value_is_valid(value, 1001));
}
END_TEST

START_TEST(encoding_zeroes_what_says_nothing)
{
	uint8_t out[MESSAGE_HEADER_SIZE + 3];
	static const uint8_t expected[] = {QDB_CMD_WRITE, '/', 'a'};

	memset(out, 0xaa, sizeof(out));
	ck_assert_uint_eq(message_encode(out, QDB_CMD_WRITE, "/a", 2, "xyz", 3), 75);
	ck_assert_mem_eq(out, expected, 3);
	for (size_t i = 3; i < 68; i++)
		ck_assert_uint_eq(out[i], 0);
	ck_assert_mem_eq(out + 68, "\3\0\0\0xyz", 7);
	ck_assert_uint_eq(message_encoded_size(out), 75);
}
END_TEST

/* ---- the table ---- */

struct expectation {
	enum qdb_msg type;
	const char *path;
	size_t data_len;
	enum message_fault as_client; /* what a daemon finds in it */
	const char *on_vchan; /* per sender, VM then dom0: f(ine), F(ault), v(iolation) */
};

static const struct expectation expectations[] = {
	{QDB_CMD_READ, "/a", 0, MESSAGE_FINE, "vv"},
	{QDB_CMD_READ, "/a", 1, MESSAGE_UNEXPECTED_DATA, "vv"},
	{QDB_CMD_READ, "/a b", 0, MESSAGE_BAD_PATH, "vv"},
	{QDB_CMD_WRITE, "/a", 0, MESSAGE_FINE, "ff"},
	{QDB_CMD_WRITE, "/a", 3071, MESSAGE_FINE, "ff"},
	{QDB_CMD_WRITE, "/a", 3072, MESSAGE_BAD_VALUE, "vv"},
	{QDB_CMD_WRITE, "/a/", 0, MESSAGE_BAD_PATH, "vv"},
	{QDB_CMD_WRITE, "", 0, MESSAGE_BAD_PATH, "vv"},
	{QDB_CMD_MULTIREAD, "", 0, MESSAGE_FINE, "fv"},
	{QDB_CMD_MULTIREAD, "", 1, MESSAGE_UNEXPECTED_DATA, "vv"},
	{QDB_CMD_LIST, "/a", 0, MESSAGE_FINE, "vv"},
	{QDB_CMD_RM, "/a/", 0, MESSAGE_FINE, "ff"},
	{QDB_CMD_RM, "/a", 4, MESSAGE_UNEXPECTED_DATA, "FF"},
	{QDB_CMD_RM, "/a", 5000, MESSAGE_UNEXPECTED_DATA, "vv"},
	{QDB_CMD_RM, "/?", 0, MESSAGE_BAD_PATH, "vv"},
	{QDB_CMD_WATCH, "rel", 0, MESSAGE_FINE, "vv"},
	{QDB_CMD_UNWATCH, "/a", 0, MESSAGE_FINE, "vv"},
	{QDB_RESP_OK, "/a", 0, MESSAGE_UNKNOWN_TYPE, "ff"},
	{QDB_RESP_OK, "/a", 1, MESSAGE_UNKNOWN_TYPE, "vv"},
	{QDB_RESP_ERROR, "/a b", 0, MESSAGE_UNKNOWN_TYPE, "ff"},
	{QDB_RESP_ERROR_NOENT, "/a", 0, MESSAGE_UNKNOWN_TYPE, "ff"},
	{QDB_RESP_READ, "/a", 0, MESSAGE_UNKNOWN_TYPE, "vv"},
	{QDB_RESP_MULTIREAD, "/a", 7, MESSAGE_UNKNOWN_TYPE, "vf"},
	{QDB_RESP_MULTIREAD, "", 0, MESSAGE_UNKNOWN_TYPE, "vf"},
	{QDB_RESP_MULTIREAD, "rel", 0, MESSAGE_UNKNOWN_TYPE, "vv"},
	{QDB_RESP_MULTIREAD, "/a", 3072, MESSAGE_UNKNOWN_TYPE, "vv"},
	{QDB_RESP_LIST, "/a", 0, MESSAGE_UNKNOWN_TYPE, "vv"},
	{QDB_RESP_WATCH, "/a", 0, MESSAGE_UNKNOWN_TYPE, "vv"},
	{14, "/a", 0, MESSAGE_UNKNOWN_TYPE, "vv"},
	{255, "", 0, MESSAGE_UNKNOWN_TYPE, "vv"},
};

static void make_header(uint8_t *header, const struct expectation *e)
{
	const uint32_t len = (uint32_t)e->data_len;

	message_encode(header, e->type, e->path, strlen(e->path), NULL, 0);
	memcpy(header + 68, &len, sizeof(len));
}

START_TEST(the_table_holds)
{
	const struct expectation *e = &expectations[_i];
	uint8_t header[MESSAGE_HEADER_SIZE];
	struct message m;

	make_header(header, e);
	ck_assert_int_eq(message_parse_header(&m, MESSAGE_FROM_CLIENT, header),
			 MESSAGE_READY);
	ck_assert_int_eq(m.fault, e->as_client);
	ck_assert_uint_eq(m.data_len, e->data_len);
	ck_assert_str_eq(m.path, e->path);
	for (int i = 0; i < 2; i++) {
		enum message_status status = message_parse_header(
			&m, i ? MESSAGE_FROM_DOM0 : MESSAGE_FROM_VM, header);

		ck_assert_int_eq(status, e->on_vchan[i] == 'v' ? MESSAGE_VIOLATION
							       : MESSAGE_READY);
		if (status == MESSAGE_READY)
			ck_assert_int_eq(m.fault == MESSAGE_FINE, e->on_vchan[i] == 'f');
	}
}
END_TEST

START_TEST(a_path_without_nul_is_cut)
{
	uint8_t header[MESSAGE_HEADER_SIZE] = {QDB_CMD_READ};
	struct message m;

	memset(header + 1, 'a', 64);
	header[1] = '/';
	ck_assert_int_eq(message_parse_header(&m, MESSAGE_FROM_CLIENT, header),
			 MESSAGE_READY);
	ck_assert_int_eq(m.fault, MESSAGE_FINE);
	ck_assert_uint_eq(m.path_len, 63);
	ck_assert_int_eq(m.kind, PATH_ENTRY);
}
END_TEST

/* ---- the stream ---- */

/* Feeds `bytes` in pieces of `piece` and collects what comes out, as text. */
static void run_stream(char *text, size_t size, enum message_sender from,
		       const uint8_t *bytes, size_t len, size_t piece)
{
	static struct message_stream s;
	struct message m;
	uint8_t *space;

	*text = '\0';
	message_stream_init(&s, from);
	while (len > 0) {
		size_t n = message_stream_space(&s, &space);

		ck_assert_uint_gt(n, 0);
		n = n < piece ? n : piece;
		n = n < len ? n : len;
		memcpy(space, bytes, n);
		message_stream_filled(&s, n);
		bytes += n;
		len -= n;
		while (message_stream_next(&s, &m) == MESSAGE_READY) {
			char one[128];

			snprintf(one, sizeof(one), "%s %s %d %zu%s; ",
				 message_name(m.type), m.path, (int)m.fault, m.data_len,
				 m.data_len > 0 && !m.data ? " skipped" : "");
			strncat(text, one, size - strlen(text) - 1);
			if (m.data && m.data_len > 0)
				ck_assert_int_eq(m.data[m.data_len - 1], 'z');
		}
	}
}

static size_t add(uint8_t *out, enum qdb_msg type, const char *path, size_t data_len)
{
	const uint32_t len = (uint32_t)data_len;

	message_encode(out, type, path, strlen(path), NULL, 0);
	memcpy(out + 68, &len, sizeof(len));
	memset(out + 72, 'z', data_len);
	return 72 + data_len;
}

START_TEST(any_split_gives_the_same_messages)
{
	static const size_t pieces[] = {1,  2,   3,    7,    71,   72,
					73, 144, 3143, 3144, 8191, 100000};
	static uint8_t bytes[60000];
	static char whole[2000], split[2000];
	size_t n = 0;

	n += add(bytes + n, QDB_CMD_WRITE, "/first", 3071);
	n += add(bytes + n, QDB_CMD_READ, "/a", 0);
	n += add(bytes + n, QDB_CMD_WRITE, "/toolong", 3072);
	n += add(bytes + n, QDB_CMD_READ, "/after", 0);
	n += add(bytes + n, 77, "/unknown", 30000);
	n += add(bytes + n, QDB_CMD_WATCH, "/data", 72);
	for (int i = 0; i < 40; i++)
		n += add(bytes + n, QDB_CMD_LIST, "/", 0);
	n += add(bytes + n, QDB_CMD_WRITE, "/last", 3071);
	run_stream(whole, sizeof(whole), MESSAGE_FROM_CLIENT, bytes, n, sizeof(bytes));
	ck_assert_ptr_nonnull(strstr(whole, "WRITE /first 0 3071; READ /a 0 0; "));
	ck_assert_ptr_nonnull(strstr(whole,
				     "WRITE /toolong 3 3072 skipped; READ /after 0 0; "
				     "unknown /unknown 1 30000 skipped; "
				     "WATCH /data 4 72; LIST / 0 0; "));
	ck_assert_ptr_nonnull(strstr(whole, "LIST / 0 0; WRITE /last 0 3071; "));
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		run_stream(split, sizeof(split), MESSAGE_FROM_CLIENT, bytes, n,
			   pieces[i]);
		ck_assert_str_eq(split, whole);
	}
}
END_TEST

START_TEST(an_absurd_length_costs_only_the_stream)
{
	static struct message_stream s;
	uint64_t left = 0xffffffffu;
	uint8_t *space;
	struct message m;

	message_stream_init(&s, MESSAGE_FROM_CLIENT);
	message_stream_space(&s, &space);
	add(space, QDB_CMD_WRITE, "/big", 0);
	memset(space + 68, 0xff, 4);
	message_stream_filled(&s, 72);
	while (left > 0) {
		size_t n;

		ck_assert_int_eq(message_stream_next(&s, &m), MESSAGE_INCOMPLETE);
		n = message_stream_space(&s, &space);
		ck_assert_uint_ge(n, MESSAGE_MAX_SIZE);
		n = n < left ? n : (size_t)left;
		message_stream_filled(&s, n);
		left -= n;
	}
	ck_assert_int_eq(message_stream_next(&s, &m), MESSAGE_READY);
	ck_assert_int_eq(m.fault, MESSAGE_BAD_VALUE);
	ck_assert_str_eq(m.path, "/big");
	ck_assert_int_eq(message_stream_next(&s, &m), MESSAGE_INCOMPLETE);
	ck_assert_uint_eq(s.end, 0);
}
END_TEST

START_TEST(a_violation_is_final)
{
	static struct message_stream s;
	struct message m;
	uint8_t *space;

	message_stream_init(&s, MESSAGE_FROM_VM);
	message_stream_space(&s, &space);
	add(space, QDB_CMD_READ, "/a", 0);
	message_stream_filled(&s, 72);
	ck_assert_int_eq(message_stream_next(&s, &m), MESSAGE_VIOLATION);
	ck_assert_int_eq(message_stream_next(&s, &m), MESSAGE_VIOLATION);
}
END_TEST

START_TEST(a_nul_in_a_value_is_found)
{
	static struct message_stream s;
	struct message m;
	uint8_t *space;

	message_stream_init(&s, MESSAGE_FROM_VM);
	message_stream_space(&s, &space);
	message_stream_filled(&s,
			      message_encode(space, QDB_CMD_WRITE, "/a", 2, "x\0y", 3));
	ck_assert_int_eq(message_stream_next(&s, &m), MESSAGE_READY);
	ck_assert_int_eq(m.fault, MESSAGE_BAD_VALUE);
}
END_TEST

static void fill(TCase *t)
{
	tcase_add_test(t, paths_are_classified);
	tcase_add_test(t, exactly_the_allowed_characters_pass);
	tcase_add_test(t, values_are_bounded_and_without_nul);
	tcase_add_test(t, encoding_zeroes_what_says_nothing);
	tcase_add_loop_test(t, the_table_holds, 0,
			    sizeof(expectations) / sizeof(expectations[0]));
	tcase_add_test(t, a_path_without_nul_is_cut);
	tcase_add_test(t, any_split_gives_the_same_messages);
	tcase_add_test(t, an_absurd_length_costs_only_the_stream);
	tcase_add_test(t, a_violation_is_final);
	tcase_add_test(t, a_nul_in_a_value_is_found);
}

UNIT_MAIN("protocol", fill)
