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
}
END_TEST

START_TEST(goes_on_and_counts)
{
	for (int i = 0; i < 1000; i++)
		log_warning("flood");
	uptime += 2;
	for (int i = 0; i < 10; i++)
		log_warning("more");
	ck_assert_int_eq(lines("more"), 2);
	ck_assert_int_eq(lines("950 lines left out"), 1);
	uptime += 100000;
	for (int i = 0; i < 100; i++)
		log_warning("later");
	ck_assert_int_eq(lines("later"), 50);
}
END_TEST

START_TEST(clock_is_set)
{
	log_warning("before");
	date = 10;
	for (int i = 0; i < 100; i++)
		log_warning("flood");
	uptime++;
	log_warning("after");
	ck_assert_int_eq(lines("after"), 1);
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
	tcase_add_test(tcase, clock_is_set);
}

UNIT_MAIN("log", fill)
