/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The log's measure against floods, with clocks that the tests turn. */
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "tests/unit/unit.h"

static time_t uptime = 1000, date = 1000000;

int clock_gettime(clockid_t id, struct timespec *now)
{
	now->tv_sec = id == CLOCK_REALTIME ? date : uptime;
	now->tv_nsec = 0;
	return 0;
}

time_t time(time_t *now)
{
	if (now)
		*now = date;
	return date;
}

static FILE *standard_error;

static void set_up(void)
{
	standard_error = tmpfile();
	ck_assert(freopen("/dev/null", "w", stderr) == stderr);
	ck_assert(dup2(fileno(standard_error), STDERR_FILENO) == STDERR_FILENO);
}

static int lines(const char *with)
{
	char line[2000];
	int n = 0;

	rewind(standard_error);
	while (fgets(line, sizeof(line), standard_error))
		n += strstr(line, with) != NULL;
	return n;
}

START_TEST(flood)
{
	for (int i = 0; i < 1000; i++)
		log_warning("flood");
	ck_assert_int_eq(lines("flood"), 50);
	ck_assert_int_eq(lines("more lines are left out for 60 s"), 1);
}
END_TEST

START_TEST(goes_on_and_counts)
{
	for (int i = 0; i < 1000; i++)
		log_warning("flood");
	uptime += 59;
	log_warning("more");
	ck_assert_int_eq(lines("more"), 1);
	uptime += 1;
	for (int i = 0; i < 100; i++)
		log_warning("later");
	ck_assert_int_eq(lines("951 lines left out"), 1);
	ck_assert_int_eq(lines("later"), 50);
}
END_TEST

/* Half an hour of it: connected, ended, and so on. */
START_TEST(flood_of_the_peer)
{
	for (int i = 0; i < 1800; i++) {
		uptime++;
		log_peer_info("it has connected");
		log_peer_warning("it has ended");
	}
	log_info("own");
	ck_assert_int_eq(lines("own"), 1);
	ck_assert_int_ge(lines("it has ended"), 1);
	ck_assert_int_ge(lines("about the other side left out"), 2);
	ck_assert_int_le(lines(""), 4 * 22 + 1);
}
END_TEST

static void offend(unsigned long user, const char *what)
{
	log_offence(user, what, "user %lu: %s", user, what);
}

START_TEST(offenders_are_named_once)
{
	for (int i = 0; i < 100; i++)
		offend(1, "watches");
	ck_assert_int_eq(lines(""), 1);
	offend(2, "watches");
	offend(1, "output");
	ck_assert_int_eq(lines(""), 3);
	uptime += 600;
	offend(1, "watches");
	ck_assert_int_eq(lines("user 1: watches; 99 times since it was last told"), 1);
	offend(2, "watches");
	ck_assert_int_eq(lines("user 2: watches"), 2);
	ck_assert_int_eq(lines("since"), 1);
}
END_TEST

START_TEST(any_number_of_offenders)
{
	for (unsigned long i = 0; i < 3000; i++)
		offend(i / 3, i % 2 ? "watches" : "output");
	ck_assert_int_eq(lines("user"), 50);
	ck_assert_int_eq(lines("more lines about clients are left out"), 1);
	log_info("own");
	ck_assert_int_eq(lines("own"), 1);
}
END_TEST

START_TEST(clock_is_set)
{
	log_warning("before");
	date = 10;
	for (int i = 0; i < 100; i++)
		log_warning("flood");
	uptime += 60;
	log_warning("after");
	ck_assert_int_eq(lines("after"), 1);
	for (int i = 0; i < 100; i++)
		log_warning("flood");
	date = 2000000000;
	for (int i = 0; i < 100; i++)
		log_warning("future");
	ck_assert_int_eq(lines("future"), 0);
}
END_TEST

static void fill(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, set_up, NULL);
	tcase_add_test(tcase, flood);
	tcase_add_test(tcase, goes_on_and_counts);
	tcase_add_test(tcase, flood_of_the_peer);
	tcase_add_test(tcase, offenders_are_named_once);
	tcase_add_test(tcase, any_number_of_offenders);
	tcase_add_test(tcase, clock_is_set);
}

UNIT_MAIN("log", fill)
