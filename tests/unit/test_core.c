/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts under the sessions: path map, namespace, watches, queue, changes, quotas. */
#include <errno.h>

#include "daemon/core/changes.h"
#include "daemon/core/namespace.h"
#include "daemon/core/outq.h"
#include "daemon/core/pathhash.h"
#include "daemon/core/watch.h"
#include "tests/unit/unit.h"

static bool find_all(struct pathmap *map, struct path_node *nodes, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (pathmap_find(map, nodes[i].path, nodes[i].path_len) != &nodes[i])
			return false;
	return true;
}

START_TEST(a_path_map_gives_back_what_it_does_not_need)
{
	enum { MANY = 4096, FEW = 100 };
	static struct path_node nodes[MANY];
	static char paths[MANY][8];
	struct pathmap map;

	pathmap_init(&map);
	for (size_t i = 0; i < MANY; i++) {
		nodes[i].path_len =
			(size_t)snprintf(paths[i], sizeof(paths[i]), "/%zu", i);
		nodes[i].path = paths[i];
		pathmap_insert(&map, &nodes[i]);
	}
	ck_assert(find_all(&map, nodes, 0, MANY));
	for (size_t i = FEW; i < MANY; i++)
		pathmap_remove(&map, &nodes[i]);
	ck_assert_uint_le(map.n_buckets, 16 * FEW);
	ck_assert(find_all(&map, nodes, 0, FEW));
	ck_assert(!find_all(&map, nodes, FEW, FEW + 1));
	for (size_t i = 0; i < FEW; i++)
		pathmap_remove(&map, &nodes[i]);
	ck_assert(pathmap_is_empty(&map) && map.buckets == map.few);
}
END_TEST

static int put(struct namespace *ns, const char *path, const char *value)
{
	return namespace_write(ns, path, strlen(path), value, strlen(value), false);
}

static void walk(struct namespace *ns, const char *prefix, char *text)
{
	size_t len = strlen(prefix);
	struct entry *e = namespace_first(ns, prefix, len);

	*text = '\0';
	for (; e && path_begins_with(&e->node, prefix, len); e = namespace_next(e)) {
		strcat(text, e->path);
		strcat(text, " ");
	}
}

/* In memory of just that length, for what looks at bytes beyond it. */
static uint64_t hash_with(size_t len, size_t at, char c)
{
	char *path = malloc(len);
	uint64_t hash;

	memset(path, 'a', len);
	path[at] = c;
	hash = path_hash(path, len);
	free(path);
	return hash;
}

START_TEST(each_character_of_a_path_counts_in_its_hash)
{
	for (size_t len = 1; len < QDB_MAX_PATH; len++)
		for (size_t at = 0; at < len; at++)
			ck_assert_uint_ne(hash_with(len, at, 'a'),
					  hash_with(len, at, 'b'));
}
END_TEST

START_TEST(the_namespace_is_ordered_by_byte)
{
	struct namespace ns;
	char text[200];

	namespace_init(&ns, true);
	ck_assert_int_eq(put(&ns, "/ab", "1"), 0);
	ck_assert_int_eq(put(&ns, "/a/c", "1"), 0);
	ck_assert_int_eq(put(&ns, "/A", "1"), 0);
	ck_assert_int_eq(put(&ns, "/a", "1"), 0);
	ck_assert_int_eq(put(&ns, "/a-x", "1"), 0);
	ck_assert_int_eq(put(&ns, "/a/b", "1"), 0);
	walk(&ns, "", text);
	ck_assert_str_eq(text, "/A /a /a-x /a/b /a/c /ab ");
	walk(&ns, "/a/", text);
	ck_assert_str_eq(text, "/a/b /a/c ");
	walk(&ns, "/zz", text);
	ck_assert_str_eq(text, "");
	ck_assert_str_eq(namespace_after(&ns, "/a/b", 4)->path, "/a/c");
	ck_assert_str_eq(namespace_after(&ns, "/a/bb", 5)->path, "/a/c");
	ck_assert_ptr_null(namespace_after(&ns, "/ab", 3));
	ck_assert_str_eq(namespace_before(&ns, "", 0)->path, "/ab");
	ck_assert_str_eq(namespace_before(&ns, "/a-", 3)->path, "/a");
	ck_assert_ptr_null(namespace_before(&ns, "/A", 2));
	ck_assert(namespace_is_consistent(&ns));
	namespace_clear(&ns);
	ck_assert_uint_eq(ns.bytes.used + ns.entries.used, 0);
}
END_TEST

START_TEST(values_grow_and_shrink_under_account)
{
	struct namespace ns;
	char big[3071];

	memset(big, 'v', sizeof(big));
	namespace_init(&ns, true);
	ck_assert_int_eq(put(&ns, "/k", "abc"), 0);
	ck_assert_int_eq(namespace_write(&ns, "/k", 2, big, sizeof(big), false), 0);
	ck_assert_uint_eq(ns.bytes.used, 2 + 3071);
	ck_assert_int_eq(put(&ns, "/k", ""), 0);
	ck_assert_uint_eq(namespace_find(&ns, "/k", 2)->value_len, 0);
	ck_assert_int_eq(put(&ns, "/k", "x"), 0);
	ck_assert_mem_eq(namespace_find(&ns, "/k", 2)->value, "x", 1);
	ck_assert(namespace_is_consistent(&ns));
	namespace_clear(&ns);
}
END_TEST

START_TEST(a_full_namespace_refuses_and_changes_nothing)
{
	struct namespace ns;

	namespace_init(&ns, true);
	ns.entries.limit = 2;
	ns.bytes.limit = 10;
	ck_assert_int_eq(put(&ns, "/a", "12"), 0);
	ck_assert_int_eq(put(&ns, "/b", "12"), 0);
	ck_assert_int_eq(put(&ns, "/c", ""), -EDQUOT);
	ck_assert_int_eq(put(&ns, "/b", "12345"), -EDQUOT);
	ck_assert_uint_eq(namespace_find(&ns, "/b", 2)->value_len, 2);
	ck_assert_int_eq(put(&ns, "/b", "1234"), 0);
	namespace_remove(&ns, namespace_find(&ns, "/a", 2));
	ck_assert_int_eq(put(&ns, "/c", "123"), -EDQUOT);
	ck_assert_ptr_null(namespace_find(&ns, "/c", 2));
	ck_assert_int_eq(put(&ns, "/c", "12"), 0);
	ck_assert(namespace_is_consistent(&ns));
	namespace_clear(&ns);
}
END_TEST

/* ---- watches ---- */

static char fired[1000];

static void note(struct watcher *watcher, const struct watch *watch, const char *path,
		 size_t len)
{
	(void)watcher;
	snprintf(fired + strlen(fired), sizeof(fired) - strlen(fired), "%s<%.*s> ",
		 watch->at->path, (int)len, path);
	if (watch->count > 1)
		snprintf(fired + strlen(fired), sizeof(fired) - strlen(fired), "x%zu ",
			 watch->count);
}

static int watch(struct watch_index *index, struct watcher *w, const char *path)
{
	return watch_add(index, w, path, strlen(path));
}

START_TEST(a_change_fires_the_exact_watch_and_those_above)
{
	struct watch_index index;
	struct watcher w;

	watch_index_init(&index);
	watcher_init(&w, &index.account, note);
	watch(&index, &w, "/w/x");
	watch(&index, &w, "/w/x");
	watch(&index, &w, "/w/");
	watch(&index, &w, "/");
	watch(&index, &w, "/w");
	watch(&index, &w, "/w/x/");
	watch(&index, &w, "w/");
	watch(&index, &w, "");
	fired[0] = '\0';
	watch_fire_entry(&index, "/w/x", 4);
	ck_assert_str_eq(fired, "/w/x</w/x> x2 /</w/x> /w/</w/x> ");
	ck_assert_int_eq(watch_remove(&index, &w, "/w/x", 4), 0);
	ck_assert_int_eq(watch_remove(&index, &w, "/none", 5), -ENOENT);
	fired[0] = '\0';
	watch_fire_entry(&index, "/w/x", 4);
	ck_assert_str_eq(fired, "/w/x</w/x> /</w/x> /w/</w/x> ");
	ck_assert_uint_eq(w.account.used, 7);
	ck_assert_uint_eq(index.account.used, 7);
	watch_remove_all(&index, &w);
	ck_assert_uint_eq(w.account.used + index.account.used, 0);
	ck_assert(pathmap_is_empty(&index.map) && pathmap_is_empty(&w.watches));
}
END_TEST

START_TEST(a_watch_of_another_is_not_removed)
{
	struct watch_index index;
	struct watcher a, b;

	watch_index_init(&index);
	watcher_init(&a, &index.account, note);
	watcher_init(&b, &index.account, note);
	a.account.limit = 1;
	ck_assert_int_eq(watch(&index, &a, "/x"), 0);
	ck_assert_int_eq(watch(&index, &a, "/y"), -EDQUOT);
	ck_assert_int_eq(watch_remove(&index, &b, "/x", 2), -ENOENT);
	ck_assert_int_eq(watch_remove(&index, &a, "/x", 2), 0);
	ck_assert(pathmap_is_empty(&index.map));
}
END_TEST

START_TEST(the_watches_of_all_are_bounded)
{
	struct watch_index index;
	struct watcher a, b;

	watch_index_init(&index);
	watcher_init(&a, &index.account, note);
	watcher_init(&b, &index.account, note);
	index.account.limit = 2;
	ck_assert_int_eq(watch(&index, &a, "/x"), 0);
	ck_assert_int_eq(watch(&index, &a, "/x"), 0);
	ck_assert_int_eq(watch(&index, &b, "/x"), -EDQUOT);
	ck_assert_int_eq(watch(&index, &a, "/x"), -EDQUOT);
	ck_assert_uint_eq(a.account.used + b.account.used, 2);
	ck_assert_int_eq(watch_remove(&index, &a, "/x", 2), 0);
	ck_assert_int_eq(watch(&index, &b, "/x"), 0);
	watch_remove_all(&index, &a);
	watch_remove_all(&index, &b);
	ck_assert_uint_eq(a.account.used + b.account.used + index.account.used, 0);
}
END_TEST

static bool is_spared(const struct entry *e, void *path)
{
	return strcmp(e->path, path) == 0;
}

START_TEST(a_directory_tells_those_above_and_what_really_goes)
{
	static const char *const watched[] = {"/",       "/a/",   "/a",     "/a/x",
					      "/a/gone", "/a/b/", "/a/b/y", "/a/none/",
					      "/ab",     "/a/b",  "/a/b/c/"};
	struct watch_index index;
	struct namespace ns;
	struct watcher w;

	namespace_init(&ns, true);
	watch_index_init(&index);
	watcher_init(&w, &index.account, note);
	for (size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++)
		watch(&index, &w, watched[i]);
	put(&ns, "/a/x", "1");
	put(&ns, "/a/b/y", "1");
	put(&ns, "/ab", "1");
	put(&ns, "/a", "1");
	fired[0] = '\0';
	watch_fire_directory(&index, &ns, "/a/", 3, NULL, NULL);
	ck_assert_str_eq(fired,
			 "/a/</a/> /</a/> /a/b/</a/b/> /a/b/y</a/b/y> /a/x</a/x> ");
	fired[0] = '\0';
	watch_fire_directory(&index, &ns, "/a/", 3, is_spared, (void *)"/a/b/y");
	ck_assert_str_eq(fired, "/a/</a/> /</a/> /a/x</a/x> ");
	watch_remove_all(&index, &w);
	namespace_clear(&ns);
}
END_TEST

/* ---- the output queue ---- */

static int add(struct outq *q, const char *path, size_t data_len)
{
	static const char data[QDB_MAX_DATA];

	return outq_add(q, QDB_RESP_READ, path, strlen(path), data, data_len);
}

START_TEST(output_leaves_in_runs_of_whole_messages)
{
	struct outq q;
	size_t len;

	outq_init(&q, QUOTA_OUTPUT);
	ck_assert_ptr_null(outq_peek(&q, 100, &len));
	ck_assert_uint_eq(len, 0);
	add(&q, "/a", 28);
	add(&q, "/b", 128);
	add(&q, "/c", 0);
	ck_assert_ptr_nonnull(outq_peek(&q, 1000, &len));
	ck_assert_uint_eq(len, 100 + 200 + 72);
	outq_peek(&q, 371, &len);
	ck_assert_uint_eq(len, 300);
	outq_peek(&q, 99, &len);
	ck_assert_uint_eq(len, 0);
	outq_consume(&q, 100);
	outq_peek(&q, 210, &len);
	ck_assert_uint_eq(len, 200);
	outq_consume(&q, 272);
	ck_assert_uint_eq(outq_used(&q), 0);
	ck_assert_uint_eq(outq_position(&q), 372);
	outq_free(&q);
}
END_TEST

START_TEST(a_torn_message_leaves_alone)
{
	struct outq q;
	size_t len;

	outq_init(&q, QUOTA_OUTPUT);
	add(&q, "/a", 28);
	add(&q, "/b", 128);
	add(&q, "/c", 0);
	outq_consume(&q, 150);
	outq_peek(&q, 1000, &len);
	ck_assert_uint_eq(len, 150);
	outq_consume(&q, 50);
	outq_peek(&q, 30, &len);
	ck_assert_uint_eq(len, 30);
	outq_consume(&q, 100);
	outq_peek(&q, 1000, &len);
	ck_assert_uint_eq(len, 72);
	outq_free(&q);
}
END_TEST

START_TEST(output_is_bounded_and_can_be_taken_back)
{
	struct outq q;
	uint64_t position;
	size_t n = 0;

	outq_init(&q, QUOTA_BACKLOG);
	while (add(&q, "/x", 3071) == 0)
		n++;
	ck_assert_uint_eq(n, q.limit / 3143);
	ck_assert_int_eq(add(&q, "/x", 3071), -EDQUOT);
	for (; n > 2; n--)
		outq_consume(&q, 3143);
	ck_assert_int_eq(add(&q, "/y", 10), 0);
	position = outq_position(&q);
	add(&q, "/z", 10);
	outq_rewind(&q, position);
	ck_assert_uint_eq(outq_used(&q), 2 * 3143 + 82);
	outq_clear(&q);
	ck_assert_uint_eq(outq_used(&q), 0);
	outq_free(&q);
}
END_TEST

/* ---- unconfirmed changes ---- */

static void queued(struct changes *c, char *text)
{
	*text = '\0';
	while (changes_next(c)) {
		const struct changed_path *p = changes_next(c);

		strcat(text, p->path);
		strcat(text, " ");
		ck_assert_int_eq(changes_send(c, p->path, p->node.path_len), 0);
	}
}

static int change(struct changes *c, const char *path)
{
	return changes_owe(c, path, strlen(path));
}

static bool covered(struct changes *c, const char *path)
{
	return changes_cover(c, path, strlen(path));
}

START_TEST(changes_are_sent_in_the_order_of_the_last_one)
{
	struct changes c;
	char text[100];

	changes_init(&c);
	change(&c, "/d/a");
	change(&c, "/b");
	change(&c, "/d/a");
	change(&c, "/c");
	ck_assert_uint_eq(c.n_owed, 3);
	queued(&c, text);
	ck_assert_str_eq(text, "/b /d/a /c ");
	ck_assert(changes_is_consistent(&c));
	changes_clear(&c);
	ck_assert_uint_eq(c.paths.used + c.unanswered.used, 0);
}
END_TEST

START_TEST(changes_cover_until_the_last_answer)
{
	struct changes c;

	changes_init(&c);
	ck_assert_int_eq(changes_send(&c, "/d/", 3), 0);
	ck_assert_int_eq(changes_send(&c, "/k", 2), 0);
	ck_assert(covered(&c, "/d/a") && covered(&c, "/d/e/f") && covered(&c, "/k"));
	ck_assert(!covered(&c, "/d") && !covered(&c, "/k/a") && !covered(&c, "/da"));
	ck_assert_int_eq(changes_send(&c, "/k", 2), 0);
	ck_assert_uint_eq(changes_confirm(&c, 1), 1);
	ck_assert(!covered(&c, "/d/a"));
	ck_assert_uint_eq(changes_confirm(&c, 1), 1);
	ck_assert(covered(&c, "/k"));
	ck_assert(changes_is_consistent(&c));
	ck_assert_uint_eq(changes_confirm(&c, 1), 1);
	ck_assert(!covered(&c, "/k"));
	ck_assert_uint_eq(changes_confirm(&c, 1), 0);
	ck_assert(changes_is_consistent(&c));
	changes_clear(&c);
}
END_TEST

START_TEST(a_lost_link_makes_owed_what_was_in_flight)
{
	struct changes c;
	char text[100];

	changes_init(&c);
	changes_send(&c, "/a", 2);
	changes_send(&c, "/b", 2);
	changes_send(&c, "/a", 2);
	change(&c, "/d/x");
	changes_send(&c, "/d/", 3);
	changes_sent_too(&c, "/d/x", 4);
	ck_assert_ptr_null(changes_next(&c));
	change(&c, "/c");
	change(&c, "/b");
	ck_assert(changes_is_consistent(&c));
	changes_owe_again(&c);
	ck_assert_uint_eq(changes_in_flight(&c), 0);
	ck_assert(changes_is_consistent(&c));
	queued(&c, text);
	ck_assert_str_eq(text, "/a /d/x /c /b ");
	changes_clear(&c);
}
END_TEST

START_TEST(what_is_disowned_is_not_sent_again)
{
	struct changes c;
	char text[100];

	changes_init(&c);
	changes_send(&c, "/a", 2);
	changes_send(&c, "/d/b", 4);
	changes_send(&c, "/c", 2);
	change(&c, "/d/e");
	changes_disown(&c, "/a", 2);
	changes_disown(&c, "/d/", 3);
	ck_assert(!covered(&c, "/a") && !covered(&c, "/d/b") && !covered(&c, "/d/e"));
	ck_assert_uint_eq(changes_in_flight(&c), 3);
	changes_owe_again(&c);
	queued(&c, text);
	ck_assert_str_eq(text, "/c ");
	changes_clear(&c);
}
END_TEST

START_TEST(changes_are_bounded)
{
	struct changes c;

	changes_init(&c);
	c.paths.limit = 2 + 32;
	c.unanswered.limit = 1;
	ck_assert_int_eq(change(&c, "/a"), 0);
	ck_assert_int_eq(change(&c, "/b"), 0);
	ck_assert_int_eq(change(&c, "/c"), -EDQUOT);
	ck_assert_int_eq(change(&c, "/a"), 0);
	ck_assert_int_eq(changes_prepare(&c, 1), -EDQUOT);
	ck_assert_int_eq(changes_send(&c, "/c", 2), 0);
	ck_assert_int_eq(changes_send(&c, "/b", 2), -EDQUOT);
	ck_assert(changes_is_consistent(&c));
	changes_clear(&c);
}
END_TEST

static void fill(TCase *t)
{
	tcase_add_test(t, a_path_map_gives_back_what_it_does_not_need);
	tcase_add_test(t, each_character_of_a_path_counts_in_its_hash);
	tcase_add_test(t, the_namespace_is_ordered_by_byte);
	tcase_add_test(t, values_grow_and_shrink_under_account);
	tcase_add_test(t, a_full_namespace_refuses_and_changes_nothing);
	tcase_add_test(t, a_change_fires_the_exact_watch_and_those_above);
	tcase_add_test(t, a_watch_of_another_is_not_removed);
	tcase_add_test(t, the_watches_of_all_are_bounded);
	tcase_add_test(t, a_directory_tells_those_above_and_what_really_goes);
	tcase_add_test(t, output_leaves_in_runs_of_whole_messages);
	tcase_add_test(t, a_torn_message_leaves_alone);
	tcase_add_test(t, output_is_bounded_and_can_be_taken_back);
	tcase_add_test(t, changes_are_sent_in_the_order_of_the_last_one);
	tcase_add_test(t, changes_cover_until_the_last_answer);
	tcase_add_test(t, a_lost_link_makes_owed_what_was_in_flight);
	tcase_add_test(t, what_is_disowned_is_not_sent_again);
	tcase_add_test(t, changes_are_bounded);
}

UNIT_MAIN("core", fill)
