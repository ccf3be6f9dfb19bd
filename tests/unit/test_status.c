/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a daemon tells of itself: true, whole, and in bounded pieces. */
#include "daemon/core/session.h"
#include "tests/unit/ends.h"

static struct session *client(struct domain *d)
{
	struct session *s;

	ck_assert_int_eq(session_new(&s, d, SESSION_READ_WRITE, NULL), 0);
	return s;
}

static void put(struct session *s, enum qdb_msg type, const char *path, const char *data)
{
	uint8_t *space;

	ck_assert_uint_ge(session_space(s, &space), MESSAGE_MAX_SIZE);
	session_received(s, unit_encode(space, type, path, data));
	session_run(s);
}

static const char *take(struct session *s)
{
	const uint8_t *bytes;
	size_t len;

	text[0] = '\0';
	do {
		session_run(s);
		while ((bytes = session_output(s, &len))) {
			unit_append_messages(text, sizeof(text), bytes, len);
			session_sent(s, len);
		}
	} while (session_has_work(s));
	return text;
}

static const char *ask(struct session *s, enum qdb_msg type, const char *path,
		       const char *data)
{
	put(s, type, path, data);
	return take(s);
}

/* The text of one item, asked for by its name. */
static const char *item(struct session *s, const char *path)
{
	static char found[300];
	char *value;

	snprintf(found, sizeof(found), "@%s", path);
	ask(s, QDB_CMD_STATUS, found, NULL);
	ck_assert_int_eq(strncmp(text, "RESP_STATUS ", 12), 0);
	value = strchr(text, '=');
	if (!value)
		return "";
	snprintf(found, sizeof(found), "%.*s", (int)strcspn(value + 1, ";"), value + 1);
	return found;
}

START_TEST(requests_and_errors_are_counted)
{
	struct session *s = client(&dom0);

	ask(s, QDB_CMD_WRITE, "/a", "1");
	ask(s, QDB_CMD_WRITE, "/b", "1");
	ask(s, QDB_CMD_WRITE, "rel", "1");
	ask(s, QDB_CMD_READ, "/a", NULL);
	ask(s, QDB_CMD_READ, "/none", NULL);
	ask(s, QDB_CMD_RM, "/none", NULL);
	ask(s, QDB_CMD_READ, "/a", "data");
	ask(s, 40, "/a", NULL);
	dom0.entries.entries.limit = 2;
	ask(s, QDB_CMD_WRITE, "/c", "1");
	ck_assert_str_eq(item(s, "/requests/write"), "4");
	ck_assert_str_eq(item(s, "/requests/read"), "3");
	ck_assert_str_eq(item(s, "/requests/rm"), "1");
	ck_assert_str_eq(item(s, "/errors/absent"), "2");
	ck_assert_str_eq(item(s, "/errors/bad-path"), "1");
	ck_assert_str_eq(item(s, "/errors/extra-data"), "1");
	ck_assert_str_eq(item(s, "/errors/unknown-request"), "1");
	ck_assert_str_eq(item(s, "/errors/quota"), "1");
	ck_assert_str_eq(item(s, "/quota/entries/refused"), "1");
	ck_assert_str_eq(item(s, "/clients/1/requests"), "19");
	session_free(s);
}
END_TEST

START_TEST(quotas_are_those_in_force)
{
	struct session *s = client(&dom0), *w = client(&dom0);

	dom0.connections.limit = 7;
	ask(s, QDB_CMD_WRITE, "/a", "123");
	domain_apply_write(&dom0, "/vm", 3, "", 0);
	ask(w, QDB_CMD_WATCH, "/a", NULL);
	ask(w, QDB_CMD_WATCH, "/", NULL);
	put(s, QDB_CMD_WRITE, "/a", "123");
	ck_assert_str_eq(take(s), "OK /a");
	ck_assert_str_eq(item(s, "/quota/entries/used"), "2");
	ck_assert_str_eq(item(s, "/quota/bytes/used"), "8");
	ck_assert_str_eq(item(s, "/quota/vm-entries/used"), "1");
	ck_assert_str_eq(item(s, "/quota/connections/used"), "2");
	ck_assert_str_eq(item(s, "/quota/connections/limit"), "7");
	ck_assert_str_eq(item(s, "/quota/client-watches/used"), "2");
	ck_assert_str_eq(item(s, "/quota/output/used"), "144");
	ck_assert_str_eq(item(s, "/clients/2/unread"), "144");
	ck_assert_str_eq(item(s, "/clients/2/watches"), "2");
	ck_assert_str_eq(item(s, "/events/sent"), "2");
	session_free(w);
	ck_assert_str_eq(item(s, "/clients/2/"), "");
	session_free(s);
}
END_TEST

START_TEST(the_peer_is_told_from_both_ends)
{
	struct session *d = client(&dom0), *v;
	char instance[32];

	ck_assert_str_eq(item(d, "/peer/state"), "down");
	begin();
	v = client(&vm);
	ck_assert_str_eq(item(d, "/peer/state"), "live");
	ck_assert_str_eq(item(v, "/peer/state"), "live");
	ck_assert_str_eq(item(d, "/peer/kind"), "new");
	ck_assert_str_eq(item(d, "/peer/generation"), "00000000000000d0");
	ck_assert_str_eq(item(v, "/peer/generation"), "00000000000000d0");
	snprintf(instance, sizeof(instance), "%s", item(d, "/peer/instance"));
	ck_assert_str_eq(item(v, "/peer/instance"), instance);
	set(&vm, "/a", "1");
	set(&vm, "/b", "1");
	ck_assert_str_eq(item(v, "/backlog/unanswered"), "2");
	disconnect_ends();
	set(&vm, "/c", "1");
	ck_assert_str_eq(item(v, "/backlog/owed"), "1");
	begin();
	ck_assert_str_eq(item(v, "/backlog/owed"), "0");
	ck_assert_str_eq(item(d, "/peer/processed"), "3");
	session_free(v);
	session_free(d);
}
END_TEST

START_TEST(a_legacy_peer_is_called_so)
{
	struct session *s = client(&dom0);

	begin_as_legacy_vm();
	ck_assert_str_eq(item(s, "/peer/state"), "live");
	ck_assert_str_eq(item(s, "/peer/kind"), "legacy");
	session_free(s);
}
END_TEST

START_TEST(it_is_told_before_the_domain_serves)
{
	struct session *s = client(&vm);

	ck_assert(!vm.serving);
	ck_assert_str_eq(item(s, "/daemon/serving"), "no");
	put(s, QDB_CMD_READ, "/a", NULL);
	put(s, QDB_CMD_STATUS, "@/daemon/serving", NULL);
	ck_assert_str_eq(take(s), "");
	ck_assert(!session_has_work(s));
	begin();
	ck_assert(session_has_work(s));
	session_run(s);
	ck_assert_str_eq(take(s), "ERROR_NOENT /a; RESP_STATUS /daemon/serving=yes; "
				  "RESP_STATUS ");
	session_free(s);
}
END_TEST

START_TEST(what_is_wrong_is_refused)
{
	static const char *const paths[] = {"", "/", "/daemon", "a", "@a", "@@", "@/a b"};
	struct session *s = client(&dom0);
	char expected[32];

	ck_assert_str_eq(ask(s, QDB_CMD_STATUS, "@/none/", NULL), "RESP_STATUS ");
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		snprintf(expected, sizeof(expected), "ERROR %s", paths[i]);
		ck_assert_str_eq(ask(s, QDB_CMD_STATUS, paths[i], NULL), expected);
	}
	ck_assert_str_eq(ask(s, QDB_CMD_STATUS, "@", "data"), "ERROR @");
	ck_assert_str_eq(ask(s, QDB_RESP_STATUS, "@", NULL), "ERROR @");
	ask(s, QDB_CMD_WRITE, "/secret", "value");
	ck_assert_ptr_null(strstr(ask(s, QDB_CMD_STATUS, "@", NULL), "secret"));
	session_free(s);
}
END_TEST

/* Of many clients, one that goes meanwhile: each of the others once, in pieces. */
START_TEST(many_clients_are_told_in_bounded_pieces)
{
	static struct session *crowd[1000];
	struct session *s = client(&dom0);
	const uint8_t *bytes;
	size_t len, told = 0;
	uint8_t *space;

	for (int i = 0; i < 1000; i++)
		crowd[i] = client(&dom0);
	put(s, QDB_CMD_STATUS, "@/clients/", NULL);
	ck_assert_uint_eq(session_space(s, &space), 0);
	session_free(crowd[0]);
	session_free(crowd[999]);
	while (session_run(s), (bytes = session_output(s, &len))) {
		ck_assert_uint_le(len, 32768);
		text[0] = '\0';
		unit_append_messages(text, sizeof(text), bytes, len);
		for (char *at = text; (at = strstr(at, "/access=")); at++)
			told++;
		session_sent(s, len);
	}
	ck_assert_uint_eq(told, 1000);
	ck_assert_ptr_nonnull(strstr(text, "RESP_STATUS /clients/1000/unread=0; "
					   "RESP_STATUS "));
	for (int i = 1; i < 999; i++)
		session_free(crowd[i]);
	session_free(s);
}
END_TEST

static size_t ends_in(struct session *s)
{
	const uint8_t *bytes;
	size_t len, n = 0;

	text[0] = '\0';
	while ((bytes = session_output(s, &len))) {
		unit_append_messages(text, sizeof(text), bytes, len);
		session_sent(s, len);
	}
	for (char *at = text; (at = strstr(at, "RESP_STATUS ")); at++)
		n += at[12] == '\0' || at[12] == ';';
	return n;
}

/* Whoever asks again and again does not keep others waiting, nor does a long answer. */
START_TEST(a_turn_has_one_step_of_it)
{
	struct session *crowd[100], *s = client(&dom0);
	uint8_t *space;
	size_t len;

	for (int i = 0; i < 100; i++)
		crowd[i] = client(&dom0);
	for (size_t i = 0; i < 3; i++) {
		session_space(s, &space);
		len = unit_encode(space, QDB_CMD_STATUS, i == 2 ? "@/clients/" : "@/none",
				  NULL);
		session_received(s, len);
	}
	for (int turn = 0; turn < 2; turn++) {
		session_run(s);
		ck_assert_uint_eq(ends_in(s), 1);
		ck_assert(session_has_work(s));
	}
	for (int turn = 0; turn < 6; turn++) {
		session_run(s);
		ck_assert_uint_eq(ends_in(s), 0);
		ck_assert_ptr_nonnull(strstr(text, "/access="));
	}
	session_run(s);
	ck_assert_uint_eq(ends_in(s), 1);
	for (int i = 0; i < 100; i++)
		session_free(crowd[i]);
	session_free(s);
}
END_TEST

/* ---- the trace ---- */

static char traced[1000];

static void trace(const void *owner, const struct message *m, enum qdb_msg answer,
		  size_t answer_len)
{
	const size_t n = strlen(traced);

	ck_assert_ptr_null(owner);
	snprintf(traced + n, sizeof(traced) - n, "%s %s %zu ", message_name(m->type),
		 m->path, m->data_len);
	snprintf(traced + strlen(traced), sizeof(traced) - strlen(traced), "%s %zu; ",
		 message_name(answer), answer_len);
}

START_TEST(requests_are_traced_once_it_is_on)
{
	struct session *s = client(&dom0), *other = client(&dom0);

	dom0.host.trace = trace;
	traced[0] = '\0';
	ck_assert_str_eq(ask(s, QDB_CMD_TRACE, "on", NULL), "ERROR on");
	ck_assert_str_eq(item(s, "/errors/not-allowed"), "1");
	session_trust(s);
	ck_assert_str_eq(ask(s, QDB_CMD_TRACE, "maybe", NULL), "ERROR maybe");
	ask(other, QDB_CMD_READ, "/a", NULL);
	ck_assert_str_eq(traced, "");
	ck_assert_str_eq(ask(s, QDB_CMD_TRACE, "on", NULL), "OK on");
	ask(other, QDB_CMD_WRITE, "/a", "12345");
	ask(other, QDB_CMD_READ, "/a", NULL);
	ask(other, QDB_CMD_WRITE, "rel", "1");
	ck_assert_str_eq(ask(s, QDB_CMD_TRACE, "off", NULL), "OK off");
	ask(other, QDB_CMD_READ, "/a", NULL);
	ck_assert_str_eq(traced, "TRACE on 0 OK 0; WRITE /a 5 OK 0; "
				 "READ /a 0 RESP_READ 5; WRITE rel 1 ERROR 0; "
				 "TRACE off 0 OK 0; ");
	session_free(other);
	session_free(s);
}
END_TEST

START_TEST(each_of_many_entries_is_traced)
{
	static const char entries[] = "/a\0one\0/b\0";
	struct session *s = client(&dom0);
	uint8_t *space;

	dom0.host.trace = trace;
	dom0.is_tracing = true;
	traced[0] = '\0';
	session_space(s, &space);
	session_received(s, message_encode(space, QDB_CMD_WRITE_MANY, "", 0, entries,
					   sizeof(entries)));
	session_run(s);
	ck_assert_str_eq(take(s), "OK ");
	ck_assert_str_eq(traced, "WRITE_MANY /a 3 OK 0; WRITE_MANY /b 0 OK 0; "
				 "WRITE_MANY  11 OK 0; ");
	session_free(s);
}
END_TEST

START_TEST(a_read_only_client_does_not_switch_it)
{
	struct session *s;

	ck_assert_int_eq(session_new(&s, &dom0, SESSION_READ_ONLY, NULL), 0);
	session_trust(s);
	ck_assert_str_eq(ask(s, QDB_CMD_TRACE, "on", NULL), "ERROR on");
	ck_assert(!dom0.is_tracing);
	session_free(s);
}
END_TEST

static void fill(TCase *t)
{
	tcase_add_checked_fixture(t, ends_setup, ends_teardown);
	tcase_add_test(t, requests_and_errors_are_counted);
	tcase_add_test(t, quotas_are_those_in_force);
	tcase_add_test(t, the_peer_is_told_from_both_ends);
	tcase_add_test(t, a_legacy_peer_is_called_so);
	tcase_add_test(t, it_is_told_before_the_domain_serves);
	tcase_add_test(t, what_is_wrong_is_refused);
	tcase_add_test(t, many_clients_are_told_in_bounded_pieces);
	tcase_add_test(t, a_turn_has_one_step_of_it);
	tcase_add_test(t, requests_are_traced_once_it_is_on);
	tcase_add_test(t, each_of_many_entries_is_traced);
	tcase_add_test(t, a_read_only_client_does_not_switch_it);
}

UNIT_MAIN("status", fill)
