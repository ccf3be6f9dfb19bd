/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/core/domain.h"
#include "daemon/core/session.h"
#include "tests/unit/unit.h"

static struct domain domain;
static char text[200000];

static struct session *client(enum session_access access)
{
	struct session *s;

	ck_assert_int_eq(session_new(&s, &domain, access, NULL), 0);
	return s;
}

static void put(struct session *s, enum qdb_msg type, const char *path, const char *data)
{
	uint8_t *space;

	if (session_has_work(s))
		session_run(s);
	ck_assert_uint_ge(session_space(s, &space), MESSAGE_MAX_SIZE);
	session_received(s, unit_encode(space, type, path, data));
}

/* What waits for the client, as text; takes it. */
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

static const char *ask(struct session *s, enum qdb_msg type, const char *path,
		       const char *data)
{
	put(s, type, path, data);
	session_run(s);
	return take(s);
}

static void setup(void)
{
	domain_init(&domain, REPLICA_ALONE, 1);
}

static void check_and_free(struct session *s)
{
	session_free(s);
	ck_assert(namespace_is_consistent(&domain.entries));
	ck_assert(pathmap_is_empty(&domain.watches.map));
	ck_assert_uint_eq(domain.watches.account.used, 0);
	ck_assert_uint_eq(domain.connections.used, 0);
	ck_assert_ptr_null(session_next_active(&domain));
	domain_free(&domain);
}

START_TEST(requests_are_answered)
{
	struct session *s = client(SESSION_READ_WRITE);

	ck_assert_str_eq(ask(s, QDB_CMD_READ, "/a", NULL), "ERROR_NOENT /a");
	ck_assert_str_eq(ask(s, QDB_CMD_WRITE, "/a", "1"), "OK /a");
	ck_assert_str_eq(ask(s, QDB_CMD_READ, "/a", NULL), "RESP_READ /a=1");
	ck_assert_str_eq(ask(s, QDB_CMD_WRITE, "/a/b", NULL), "OK /a/b");
	ck_assert_str_eq(ask(s, QDB_CMD_LIST, "/a", NULL),
			 "RESP_LIST /a; RESP_LIST /a/b; RESP_LIST ");
	ck_assert_str_eq(ask(s, QDB_CMD_MULTIREAD, "/a", NULL),
			 "RESP_MULTIREAD /a=1; RESP_MULTIREAD /a/b; RESP_MULTIREAD ");
	ck_assert_str_eq(ask(s, QDB_CMD_MULTIREAD, "", NULL),
			 "RESP_MULTIREAD /a/b; RESP_MULTIREAD /a=1; RESP_MULTIREAD ");
	ck_assert_str_eq(ask(s, QDB_CMD_RM, "/a/", NULL), "OK /a/");
	ck_assert_str_eq(ask(s, QDB_CMD_RM, "/a/", NULL), "ERROR_NOENT /a/");
	ck_assert_str_eq(ask(s, QDB_CMD_RM, "/", NULL), "OK /");
	ck_assert_str_eq(ask(s, QDB_CMD_LIST, "", NULL), "RESP_LIST ");
	check_and_free(s);
}
END_TEST

struct refusal {
	enum qdb_msg type;
	const char *path, *data, *answer;
};

static const struct refusal refusals[] = {
	{QDB_CMD_READ, "rel", NULL, "ERROR_NOENT rel"},
	{QDB_CMD_READ, "/d/", NULL, "ERROR_NOENT /d/"},
	{QDB_CMD_READ, "", NULL, "ERROR_NOENT "},
	{QDB_CMD_READ, "/a b", NULL, "ERROR /a b"},
	{QDB_CMD_READ, "/a", "data", "ERROR /a"},
	{QDB_CMD_WRITE, "rel", "x", "ERROR rel"},
	{QDB_CMD_WRITE, "/d/", "x", "ERROR /d/"},
	{QDB_CMD_WRITE, "", "x", "ERROR "},
	{QDB_CMD_WRITE, "-d", "x", "ERROR -d"},
	{QDB_CMD_RM, "", NULL, "ERROR_NOENT "},
	{QDB_CMD_RM, "rel", NULL, "ERROR_NOENT rel"},
	{QDB_CMD_RM, "rel/", NULL, "ERROR_NOENT rel/"},
	{QDB_CMD_RM, "/a", "data", "ERROR /a"},
	{QDB_CMD_RM, "/a%", NULL, "ERROR /a%"},
	{QDB_CMD_LIST, "/a b", NULL, "ERROR /a b"},
	{QDB_CMD_LIST, "/a", "data", "ERROR /a"},
	{QDB_CMD_LIST, "rel", NULL, "RESP_LIST "},
	{QDB_CMD_LIST, "/d/", NULL, "RESP_LIST "},
	{QDB_CMD_MULTIREAD, "/a b", NULL, "RESP_MULTIREAD "},
	{QDB_CMD_MULTIREAD, "/a", "data", "RESP_MULTIREAD "},
	{QDB_CMD_MULTIREAD, "rel", NULL, "RESP_MULTIREAD "},
	{QDB_CMD_WATCH, "/a b", NULL, "ERROR /a b"},
	{QDB_CMD_WATCH, "/a", "data", "ERROR /a"},
	{QDB_CMD_WATCH, "rel", NULL, "OK rel"},
	{QDB_CMD_WATCH, "", NULL, "OK "},
	{QDB_CMD_UNWATCH, "/none", NULL, "ERROR_NOENT /none"},
	{QDB_CMD_UNWATCH, "/a?", NULL, "ERROR /a?"},
	{QDB_CMD_UNWATCH, "/a", "data", "ERROR /a"},
	{QDB_RESP_OK, "/q", NULL, "ERROR /q"},
	{QDB_RESP_WATCH, "/q", NULL, "ERROR /q"},
	{40, "/q", "12345", "ERROR /q"},
	{255, "", NULL, "ERROR "},
};

START_TEST(what_is_wrong_is_refused_and_the_connection_lives)
{
	const struct refusal *r = &refusals[_i];
	struct session *s = client(SESSION_READ_WRITE);

	ask(s, QDB_CMD_WRITE, "/a", "1");
	ck_assert_str_eq(ask(s, r->type, r->path, r->data), r->answer);
	ck_assert_str_eq(ask(s, QDB_CMD_READ, "/a", NULL), "RESP_READ /a=1");
	ck_assert_ptr_null(session_failure(s));
	check_and_free(s);
}
END_TEST

START_TEST(a_read_only_client_changes_nothing)
{
	struct session *s = client(SESSION_READ_ONLY), *w = client(SESSION_READ_WRITE);

	ask(w, QDB_CMD_WRITE, "/a", "1");
	ck_assert_str_eq(ask(s, QDB_CMD_WRITE, "/a", "2"), "ERROR /a");
	ck_assert_str_eq(ask(s, QDB_CMD_RM, "/a", NULL), "ERROR /a");
	ck_assert_str_eq(ask(s, QDB_CMD_RM, "/", NULL), "ERROR /");
	ck_assert_str_eq(ask(s, QDB_CMD_RM, "rel", NULL), "ERROR rel");
	ck_assert_str_eq(ask(s, QDB_CMD_WATCH, "/a", NULL), "OK /a");
	ck_assert_str_eq(ask(s, QDB_CMD_READ, "/a", NULL), "RESP_READ /a=1");
	session_free(w);
	check_and_free(s);
}
END_TEST

START_TEST(the_response_comes_before_the_own_event)
{
	struct session *s = client(SESSION_READ_WRITE);

	ask(s, QDB_CMD_WATCH, "/w/", NULL);
	put(s, QDB_CMD_WRITE, "/w/a", "1");
	put(s, QDB_CMD_WRITE, "/w/a", "1");
	put(s, QDB_CMD_RM, "/w/", NULL);
	put(s, QDB_CMD_RM, "/w/a", NULL);
	session_run(s);
	ck_assert_str_eq(take(s), "OK /w/a; RESP_WATCH /w/a; OK /w/a; RESP_WATCH /w/a; "
				  "OK /w/; RESP_WATCH /w/; ERROR_NOENT /w/a");
	check_and_free(s);
}
END_TEST

START_TEST(a_refused_change_tells_nobody)
{
	struct session *s = client(SESSION_READ_WRITE);

	domain.entries.entries.limit = 1;
	ask(s, QDB_CMD_WATCH, "/", NULL);
	ck_assert_str_eq(ask(s, QDB_CMD_WRITE, "/a", "1"), "OK /a; RESP_WATCH /a");
	ck_assert_str_eq(ask(s, QDB_CMD_WRITE, "/b", "1"), "ERROR /b");
	check_and_free(s);
}
END_TEST

START_TEST(each_registration_fires_for_every_change)
{
	struct session *s = client(SESSION_READ_WRITE), *w = client(SESSION_READ_WRITE);

	ask(w, QDB_CMD_WATCH, "/x", NULL);
	ask(w, QDB_CMD_WATCH, "/x", NULL);
	ask(s, QDB_CMD_WRITE, "/x", "1");
	ask(s, QDB_CMD_WRITE, "/x", "1");
	ck_assert_str_eq(take(w),
			 "RESP_WATCH /x; RESP_WATCH /x; RESP_WATCH /x; RESP_WATCH /x");
	ck_assert_str_eq(ask(w, QDB_CMD_UNWATCH, "/x", NULL), "OK /x");
	ask(s, QDB_CMD_RM, "/x", NULL);
	ck_assert_str_eq(take(w), "RESP_WATCH /x");
	session_free(w);
	check_and_free(s);
}
END_TEST

START_TEST(a_stalled_watcher_has_equal_events_merged)
{
	struct session *s = client(SESSION_READ_WRITE), *w = client(SESSION_READ_WRITE);

	ask(w, QDB_CMD_WATCH, "/d/", NULL);
	ask(w, QDB_CMD_WATCH, "/d/x", NULL);
	session_stalled(w);
	for (int i = 0; i < 40000; i++)
		ask(s, QDB_CMD_WRITE, "/d/x", "1");
	ask(s, QDB_CMD_WRITE, "/d/y", "1");
	ask(s, QDB_CMD_WRITE, "/d/x", "1");
	ck_assert_ptr_null(session_failure(w));
	ck_assert_str_eq(take(w), "RESP_WATCH /d/x; RESP_WATCH /d/x; RESP_WATCH /d/y");
	ask(s, QDB_CMD_WRITE, "/d/x", "1");
	ask(s, QDB_CMD_WRITE, "/d/x", "1");
	ck_assert_str_eq(take(w), "RESP_WATCH /d/x; RESP_WATCH /d/x; RESP_WATCH /d/x; "
				  "RESP_WATCH /d/x");
	session_free(w);
	check_and_free(s);
}
END_TEST

START_TEST(merging_is_by_path_in_the_order_of_the_first)
{
	static const char *const paths[] = {"/d/b", "/d/a", "/d/"};
	struct session *s = client(SESSION_READ_WRITE), *w = client(SESSION_READ_WRITE);

	ask(w, QDB_CMD_WATCH, "/d/", NULL);
	ask(w, QDB_CMD_WATCH, "/d/b", NULL);
	session_stalled(w);
	for (int i = 0; i < 30000; i++)
		ask(s, i % 3 == 2 ? QDB_CMD_RM : QDB_CMD_WRITE, paths[i % 3], NULL);
	ck_assert_ptr_null(session_failure(w));
	ck_assert_str_eq(take(w), "RESP_WATCH /d/b; RESP_WATCH /d/b; RESP_WATCH /d/a; "
				  "RESP_WATCH /d/");
	session_free(w);
	check_and_free(s);
}
END_TEST

START_TEST(merging_keeps_an_event_for_each_registration)
{
	struct session *s = client(SESSION_READ_WRITE), *w = client(SESSION_READ_WRITE);

	ask(w, QDB_CMD_WATCH, "/x", NULL);
	ask(w, QDB_CMD_WATCH, "/x", NULL);
	session_stalled(w);
	for (int i = 0; i < 1000; i++)
		ask(s, QDB_CMD_WRITE, "/x", "1");
	ck_assert_str_eq(take(w), "RESP_WATCH /x; RESP_WATCH /x");
	session_free(w);
	check_and_free(s);
}
END_TEST

/* Takes one message; the session goes on being stalled. */
static const char *take_one(struct session *s)
{
	const uint8_t *bytes;
	size_t len;

	bytes = session_output(s, &len);
	ck_assert_uint_ge(len, MESSAGE_HEADER_SIZE);
	text[0] = '\0';
	unit_append_messages(text, sizeof(text), bytes, MESSAGE_HEADER_SIZE);
	session_sent(s, MESSAGE_HEADER_SIZE);
	return text;
}

START_TEST(what_has_been_taken_is_no_longer_pending)
{
	struct session *s = client(SESSION_READ_WRITE), *w = client(SESSION_READ_WRITE);
	char path[32], expected[64];

	ask(w, QDB_CMD_WATCH, "/", NULL);
	session_stalled(w);
	ask(s, QDB_CMD_WRITE, "/0", "1");
	for (int i = 1; i < 50000; i++) {
		snprintf(path, sizeof(path), "/%d", i % 10);
		ask(s, QDB_CMD_WRITE, path, "1");
		ask(s, QDB_CMD_WRITE, path, "1");
		snprintf(expected, sizeof(expected), "RESP_WATCH /%d", (i - 1) % 10);
		ck_assert_str_eq(take_one(w), expected);
	}
	ask(s, QDB_CMD_WRITE, "/0", "1");
	ck_assert_str_eq(take(w), "RESP_WATCH /9; RESP_WATCH /0");
	session_free(w);
	check_and_free(s);
}
END_TEST

START_TEST(what_was_watched_after_a_pending_event_has_its_own)
{
	struct session *s = client(SESSION_READ_WRITE), *w = client(SESSION_READ_WRITE);

	ask(w, QDB_CMD_WATCH, "/x", NULL);
	session_stalled(w);
	ask(s, QDB_CMD_WRITE, "/x", "1");
	put(w, QDB_CMD_UNWATCH, "/x", NULL);
	put(w, QDB_CMD_WATCH, "/x", NULL);
	session_run(w);
	ask(s, QDB_CMD_WRITE, "/x", "1");
	ask(s, QDB_CMD_WRITE, "/x", "1");
	ck_assert_str_eq(take(w), "RESP_WATCH /x; OK /x; OK /x; RESP_WATCH /x");
	session_free(w);
	check_and_free(s);
}
END_TEST

START_TEST(all_watches_of_a_client_fit_its_output_twice)
{
	struct session *s = client(SESSION_READ_WRITE), *w = client(SESSION_READ_WRITE);
	const char *answer;
	size_t n = 0;

	for (;; n++) {
		answer = ask(w, QDB_CMD_WATCH, n % 2 ? "/x/y" : "/x/", NULL);
		if (strcmp(answer, n % 2 ? "OK /x/y" : "OK /x/") != 0)
			break;
	}
	ck_assert_str_eq(answer, n % 2 ? "ERROR /x/y" : "ERROR /x/");
	ck_assert_uint_ge(n, 10000);
	ask(s, QDB_CMD_WRITE, "/x/y", NULL);
	ask(s, QDB_CMD_RM, "/x/", NULL);
	ck_assert_ptr_null(session_failure(w));
	session_free(w);
	check_and_free(s);
}
END_TEST

static int served_in_a_turn(struct session *s, int n)
{
	char path[32];
	int served = 0;

	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "/t/%d", i);
		put(s, QDB_CMD_WRITE, path, "1");
	}
	session_run(s);
	for (const char *at = take(s); (at = strstr(at, "OK ")); at++)
		served++;
	while (session_has_work(s)) {
		session_run(s);
		take(s);
	}
	return served;
}

START_TEST(what_others_hear_counts_in_a_turn)
{
	struct session *s = client(SESSION_READ_WRITE),
		       *watcher = client(SESSION_READ_ONLY);

	ck_assert_int_eq(served_in_a_turn(s, 60), 60);
	for (int i = 0; i < 160; i++)
		ask(watcher, QDB_CMD_WATCH, "/t/", NULL);
	ck_assert_int_le(served_in_a_turn(s, 60), 64 / 10);
	take(watcher);
	session_free(watcher);
	check_and_free(s);
}
END_TEST

START_TEST(a_turn_that_has_served_everything_leaves_nothing)
{
	struct session *s = client(SESSION_READ_WRITE);
	uint8_t *space;

	for (int n = 63; n <= 65; n++) {
		for (int i = 0; i < n; i++)
			put(s, QDB_CMD_WRITE, "/t", "1");
		session_run(s);
		ck_assert_int_eq(session_has_work(s), n > 64);
		ck_assert_int_eq(session_space(s, &space) > 0, n <= 64);
		while (session_has_work(s))
			session_run(s);
		take(s);
	}
	check_and_free(s);
}
END_TEST

/* Whoever lets events pile up is given up for that, not others of the same user. */
START_TEST(the_clients_of_a_user_have_a_quota_together)
{
	struct session *s = client(SESSION_READ_WRITE),
		       *reader = client(SESSION_READ_ONLY);
	struct session *slow[3];
	struct account user = {.limit = 500000, .quota = QUOTA_USER_OUTPUT};
	char path[32];
	enum quota quota;
	int failed = 0;

	session_share(reader, &domain.watches.account, &user);
	for (int i = 0; i < 3; i++) {
		slow[i] = client(SESSION_READ_WRITE);
		session_share(slow[i], &domain.watches.account, &user);
		ask(slow[i], QDB_CMD_WATCH, "/", NULL);
		session_stalled(slow[i]);
	}
	for (int n = 0; !failed; n++) {
		snprintf(path, sizeof(path), "/%d", n);
		ask(s, QDB_CMD_WRITE, path, "1");
		for (int i = 0; i < 3; i++)
			failed += session_failure(slow[i]) != NULL;
	}
	ck_assert_int_lt(failed, 3);
	for (int i = 0; i < 3; i++)
		if (session_exceeded(slow[i], &quota))
			ck_assert_int_eq(quota, QUOTA_USER_OUTPUT);
	ask(reader, QDB_CMD_WATCH, "/0", NULL);
	ask(s, QDB_CMD_WRITE, "/0", "1");
	put(reader, QDB_CMD_MULTIREAD, "/", NULL);
	session_run(reader);
	ck_assert_ptr_null(session_failure(reader));
	ck_assert_uint_gt(user.used, 500000 - 3 * MESSAGE_HEADER_SIZE);
	session_free(reader);
	for (int i = 0; i < 3; i++)
		session_free(slow[i]);
	ck_assert_uint_eq(user.used, 0);
	check_and_free(s);
}
END_TEST

START_TEST(merging_never_puts_an_event_before_its_response)
{
	struct session *s = client(SESSION_READ_WRITE);

	ask(s, QDB_CMD_WATCH, "/x", NULL);
	put(s, QDB_CMD_WRITE, "/x", "1");
	session_run(s);
	session_stalled(s);
	put(s, QDB_CMD_WRITE, "/x", "2");
	session_run(s);
	ck_assert_str_eq(take(s), "OK /x; RESP_WATCH /x; OK /x; RESP_WATCH /x");
	check_and_free(s);
}
END_TEST

START_TEST(a_watcher_that_never_reads_is_given_up)
{
	struct session *s = client(SESSION_READ_WRITE), *w = client(SESSION_READ_WRITE);
	char path[32];
	int i;

	ask(w, QDB_CMD_WATCH, "/", NULL);
	for (i = 0; i < 100000 && !session_failure(w); i++) {
		snprintf(path, sizeof(path), "/k%d", i % 10);
		ask(s, QDB_CMD_WRITE, path, "1");
	}
	ck_assert_int_lt(i, 100000);
	ck_assert_str_eq(session_failure(w), "too many events that were not read");
	ck_assert_ptr_null(session_failure(s));
	session_free(w);
	check_and_free(s);
}
END_TEST

static void load(struct session *s, int entries)
{
	char path[32];

	for (int i = 0; i < entries; i++) {
		snprintf(path, sizeof(path), "/n/%06d", i);
		ask(s, QDB_CMD_WRITE, path, "v");
	}
}

START_TEST(a_long_answer_costs_a_bounded_amount)
{
	struct session *s = client(SESSION_READ_WRITE), *r = client(SESSION_READ_WRITE);
	const uint8_t *bytes;
	size_t len, total = 0;
	uint8_t *space;

	load(s, 20000);
	put(r, QDB_CMD_LIST, "/n/", NULL);
	put(r, QDB_CMD_MULTIREAD, "", NULL);
	put(r, QDB_CMD_READ, "/n/000000", NULL);
	session_run(r);
	session_run(r);
	ck_assert(session_has_work(r));
	ck_assert_uint_eq(session_space(r, &space), 0);
	while ((bytes = session_output(r, &len))) {
		ck_assert_uint_le(len, 32768);
		text[0] = '\0';
		unit_append_messages(text, sizeof(text), bytes, len);
		total += len;
		session_sent(r, len);
		session_run(r);
	}
	ck_assert_uint_eq(total, 20001 * 72 + 20000 * 73 + 72 + 73);
	ck_assert_ptr_nonnull(strstr(text, "RESP_MULTIREAD /n/000000=v; RESP_MULTIREAD ; "
					   "RESP_READ /n/000000=v"));
	ck_assert(!session_has_work(r) && session_is_idle(r));
	session_free(r);
	check_and_free(s);
}
END_TEST

START_TEST(a_long_answer_goes_on_although_its_place_is_removed)
{
	struct session *s = client(SESSION_READ_WRITE), *r = client(SESSION_READ_WRITE);
	const uint8_t *bytes;
	size_t len, n = 0;

	load(s, 5000);
	put(r, QDB_CMD_LIST, "/n/", NULL);
	session_run(r);
	ask(s, QDB_CMD_RM, "/n/", NULL);
	ask(s, QDB_CMD_WRITE, "/n/zz", "v");
	ask(s, QDB_CMD_WRITE, "/n/", "v");
	while ((bytes = session_output(r, &len))) {
		n += len / 72;
		text[0] = '\0';
		unit_append_messages(text, sizeof(text), bytes, len);
		session_sent(r, len);
		session_run(r);
	}
	ck_assert_uint_lt(n, 5000);
	ck_assert_ptr_nonnull(strstr(text, "RESP_LIST /n/zz; RESP_LIST "));
	session_free(r);
	check_and_free(s);
}
END_TEST

START_TEST(requests_wait_until_the_domain_serves)
{
	struct session *s = client(SESSION_READ_WRITE);

	domain.serving = false;
	ck_assert_str_eq(ask(s, QDB_CMD_READ, "/a", NULL), "");
	ck_assert(!session_has_work(s) && !session_is_idle(s));
	domain.serving = true;
	ck_assert(session_has_work(s));
	session_run(s);
	ck_assert_str_eq(take(s), "ERROR_NOENT /a");
	check_and_free(s);
}
END_TEST

START_TEST(clients_are_counted)
{
	struct session *a, *b;

	domain.connections.limit = 1;
	a = client(SESSION_READ_WRITE);
	ck_assert_int_lt(session_new(&b, &domain, SESSION_READ_WRITE, NULL), 0);
	session_free(a);
	check_and_free(client(SESSION_READ_WRITE));
}
END_TEST

static void fill(TCase *t)
{
	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, requests_are_answered);
	tcase_add_loop_test(t, what_is_wrong_is_refused_and_the_connection_lives, 0,
			    sizeof(refusals) / sizeof(refusals[0]));
	tcase_add_test(t, a_read_only_client_changes_nothing);
	tcase_add_test(t, the_response_comes_before_the_own_event);
	tcase_add_test(t, a_refused_change_tells_nobody);
	tcase_add_test(t, each_registration_fires_for_every_change);
	tcase_add_test(t, a_stalled_watcher_has_equal_events_merged);
	tcase_add_test(t, merging_is_by_path_in_the_order_of_the_first);
	tcase_add_test(t, merging_keeps_an_event_for_each_registration);
	tcase_add_test(t, what_has_been_taken_is_no_longer_pending);
	tcase_add_test(t, what_was_watched_after_a_pending_event_has_its_own);
	tcase_add_test(t, all_watches_of_a_client_fit_its_output_twice);
	tcase_add_test(t, what_others_hear_counts_in_a_turn);
	tcase_add_test(t, a_turn_that_has_served_everything_leaves_nothing);
	tcase_add_test(t, the_clients_of_a_user_have_a_quota_together);
	tcase_add_test(t, merging_never_puts_an_event_before_its_response);
	tcase_add_test(t, a_watcher_that_never_reads_is_given_up);
	tcase_add_test(t, a_long_answer_costs_a_bounded_amount);
	tcase_add_test(t, a_long_answer_goes_on_although_its_place_is_removed);
	tcase_add_test(t, requests_wait_until_the_domain_serves);
	tcase_add_test(t, clients_are_counted);
}

UNIT_MAIN("session", fill)
