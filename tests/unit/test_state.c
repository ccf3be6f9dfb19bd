/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The end of a state: it stays for the next daemon, or goes with its VM, and then whole,
 * wherever it has got to. Nothing of another's goes with it.
 */
#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/claim.h"
#include "daemon/log.h"
#include "daemon/state.h"
#include "tests/unit/unit.h"

static char directory[64], path[80];
static struct event_base *base;
static struct domain domain;
static struct state state;

static void setup(void)
{
	snprintf(directory, sizeof(directory), "/dev/shm/qdb-unit.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%.60s/state", directory);
	base = event_base_new();
	domain_init(&domain, REPLICA_DOM0, 1);
	state_init(&state);
}

/* The names in the directory, sorted, each with a blank after it. */
static const char *names(void)
{
	static char list[1024];
	struct dirent **entries;
	int n = scandir(directory, &entries, NULL, alphasort);

	list[0] = '\0';
	for (int i = 0; i < n; i++) {
		if (entries[i]->d_name[0] != '.') {
			strcat(list, entries[i]->d_name);
			strcat(list, " ");
		}
		free(entries[i]);
	}
	free(entries);
	return list;
}

static void remove_all(void)
{
	char name[PATH_MAX], *next, *list = strdup(names());

	for (char *n = strtok_r(list, " ", &next); n; n = strtok_r(NULL, " ", &next)) {
		snprintf(name, sizeof(name), "%s/%s", directory, n);
		unlink(name);
	}
	free(list);
	ck_assert_int_eq(rmdir(directory), 0);
}

static void teardown(void)
{
	state_close(&state);
	domain_free(&domain);
	event_base_free(base);
	remove_all();
}

static void begin(void)
{
	state_open(&state, path, directory, "work", 5, STATEFILE_SYNC_PROCESS, &domain,
		   base);
	ck_assert(state.is_open);
}

static void set(const char *name)
{
	ck_assert_int_eq(domain_write(&domain, name, strlen(name), "v", 1), 0);
	state_commit(&state);
	ck_assert(!state.is_failing);
}

static void rename_in(const char *from, const char *to)
{
	char a[PATH_MAX], b[PATH_MAX];

	snprintf(a, sizeof(a), "%s/%s", directory, from);
	snprintf(b, sizeof(b), "%s/%s", directory, to);
	ck_assert_int_eq(rename(a, b), 0);
}

static void make(const char *name)
{
	char file[PATH_MAX];

	snprintf(file, sizeof(file), "%s/%s", directory, name);
	close(open(file, O_WRONLY | O_CREAT, 0600));
}

START_TEST(it_stays_for_the_next_daemon)
{
	begin();
	set("/a");
	ck_assert_str_eq(names(), "state state-tail state-wal ");
	state_close(&state);
	ck_assert_str_eq(names(), "state ");
	domain_free(&domain);
	domain_init(&domain, REPLICA_DOM0, 2);
	begin();
	ck_assert_uint_eq(domain.entries.entries.used, 1);
	ck_assert_uint_eq(domain.replica.id, 1);
}
END_TEST

START_TEST(it_goes_with_the_vm)
{
	begin();
	set("/a");
	state_remove(&state);
	ck_assert_str_eq(names(), "");
}
END_TEST

START_TEST(an_index_that_a_crash_of_others_left_goes_too)
{
	make("state-shm");
	begin();
	set("/a");
	state_remove(&state);
	ck_assert_str_eq(names(), "");
}
END_TEST

/* As when the name has passed to another VM, whose daemon runs already. */
START_TEST(it_goes_from_where_another_has_put_it)
{
	begin();
	set("/a");
	rename_in("state", "state.aside.3");
	rename_in("state-wal", "state.aside.3-wal");
	rename_in("state-tail", "state.aside.3-tail");
	make("state");
	make("state-wal");
	make("state-tail");
	state_remove(&state);
	ck_assert_str_eq(names(), "state state-tail state-wal ");
}
END_TEST

START_TEST(it_leaves_what_is_anothers)
{
	begin();
	set("/a");
	rename_in("state", "elsewhere");
	rename_in("state-wal", "elsewhere-wal");
	rename_in("state-tail", "elsewhere-tail");
	make("state");
	make("state-wal");
	make("state-tail");
	state_remove(&state);
	ck_assert_str_eq(names(),
			 "elsewhere elsewhere-tail elsewhere-wal state state-tail "
			 "state-wal ");
}
END_TEST

START_TEST(an_end_leaves_what_is_anothers)
{
	begin();
	set("/a");
	rename_in("state", "elsewhere");
	rename_in("state-wal", "elsewhere-wal");
	rename_in("state-tail", "elsewhere-tail");
	make("state");
	make("state-wal");
	make("state-tail");
	state_close(&state);
	ck_assert_str_eq(names(),
			 "elsewhere elsewhere-tail elsewhere-wal state state-tail "
			 "state-wal ");
}
END_TEST

START_TEST(one_that_was_set_aside_goes_too)
{
	make("state");
	make("state.aside.2");
	make("state.aside.2-wal");
	make("state.aside.2-tail");
	make("state.aside.4-wal");
	begin();
	set("/a");
	ck_assert_str_eq(names(), "state state-tail state-wal state.aside "
				  "state.aside.2 state.aside.2-tail state.aside.2-wal "
				  "state.aside.4-wal ");
	state_remove(&state);
	ck_assert_str_eq(names(), "");
}
END_TEST

START_TEST(one_that_is_no_ordinary_file_stays)
{
	char name[PATH_MAX];

	snprintf(name, sizeof(name), "%s/state.aside", directory);
	ck_assert_int_eq(symlink("/dev/null", name), 0);
	begin();
	state_remove(&state);
	ck_assert_str_eq(names(), "state.aside ");
}
END_TEST

/* Another process holds the claim in it, as long as the pipe is open. */
static int hold(const char *name, pid_t *child)
{
	int ready[2], end[2], fd;
	char file[PATH_MAX], byte;

	snprintf(file, sizeof(file), "%s/%s", directory, name);
	ck_assert_int_eq(pipe(ready) + pipe(end), 0);
	*child = fork();
	if (*child == 0) {
		close(end[1]);
		fd = open(file, O_RDWR);
		if (claim_take(fd, "work", 4) == 0 && write(ready[1], "", 1) == 1 &&
		    read(end[0], &byte, 1) == 0)
			_exit(0);
		_exit(1);
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	close(end[0]);
	return end[1];
}

START_TEST(one_that_another_daemon_has_stays)
{
	int end, status;
	pid_t child;

	make("state.aside");
	make("state.aside-wal");
	end = hold("state.aside", &child);
	begin();
	state_remove(&state);
	ck_assert_str_eq(names(), "state.aside state.aside-wal ");
	close(end);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}
END_TEST

static void remove_and_end(int number)
{
	(void)number;
	unlink(path);
	_exit(0);
}

/* What was claimed is not at the path any more, and another one is begun. */
START_TEST(one_that_goes_with_its_daemon_is_not_used)
{
	struct sigaction removing = {.sa_handler = remove_and_end};
	int ready[2], status, fd;
	pid_t child;
	char byte;

	make("state");
	ck_assert_int_eq(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		sigaction(SIGTERM, &removing, NULL);
		fd = open(path, O_RDWR);
		if (claim_take(fd, "work", 5) == 0 && write(ready[1], "", 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	begin();
	set("/a");
	ck_assert_str_eq(names(), "state state-tail state-wal ");
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}
END_TEST

static void fill(TCase *t)
{
	log_set_name("test");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, it_stays_for_the_next_daemon);
	tcase_add_test(t, it_goes_with_the_vm);
	tcase_add_test(t, an_index_that_a_crash_of_others_left_goes_too);
	tcase_add_test(t, it_goes_from_where_another_has_put_it);
	tcase_add_test(t, it_leaves_what_is_anothers);
	tcase_add_test(t, an_end_leaves_what_is_anothers);
	tcase_add_test(t, one_that_was_set_aside_goes_too);
	tcase_add_test(t, one_that_is_no_ordinary_file_stays);
	tcase_add_test(t, one_that_another_daemon_has_stays);
	tcase_add_test(t, one_that_goes_with_its_daemon_is_not_used);
}

UNIT_MAIN("state", fill)
