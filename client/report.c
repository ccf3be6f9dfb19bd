/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/report.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void report_clean(struct report *r)
{
	for (size_t i = 0; i < r->items.count; i++)
		for (char *c = r->items.list[i].value; *c; c++)
			if (*c < ' ' || *c > '~')
				*c = '?';
}

const char *report_get(const struct report *r, const char *path)
{
	for (size_t i = 0; i < r->items.count; i++)
		if (strcmp(r->items.list[i].path, path) == 0)
			return r->items.list[i].value;
	return NULL;
}

bool report_match(const char *path, const char *prefix, const char *key,
		  const char **name, size_t *len)
{
	const size_t prefix_len = strlen(prefix);
	const char *rest;

	if (strncmp(path, prefix, prefix_len) != 0 || path[prefix_len] != '/')
		return false;
	*name = path + prefix_len + 1;
	*len = strcspn(*name, "/");
	rest = *name + *len;
	return key ? *rest == '/' && strcmp(rest + 1, key) == 0 : *rest == '\0';
}

static const char *get(const struct report *r, const char *path)
{
	const char *text = report_get(r, path);

	return text ? text : "-";
}

static bool says(const struct report *r, const char *path, const char *text)
{
	return strcmp(get(r, path), text) == 0;
}

/* None so large that sums of them would not fit. */
static long long number(const char *text)
{
	const long long most = 1ll << 60;
	const long long n = text ? strtoll(text, NULL, 10) : 0;

	return n > most ? most : n < -most ? -most : n;
}

/* ---- pieces of lines ---- */

static const char *moment(const char *seconds)
{
	static char text[32];
	const time_t t = (time_t)number(seconds);
	struct tm tm;

	if (!seconds || *seconds == '-' || !localtime_r(&t, &tm) ||
	    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm) == 0)
		return "-";
	return text;
}

static void print_duration(long long seconds)
{
	if (seconds >= 86400)
		printf("%lld days ", seconds / 86400);
	printf("%02lld:%02lld:%02lld", seconds / 3600 % 24, seconds / 60 % 60,
	       seconds % 60);
}

static const char *user(const char *uid)
{
	static char text[32];
	const struct passwd *entry = *uid != '-' ? getpwuid((uid_t)number(uid)) : NULL;

	snprintf(text, sizeof(text), "%s", entry ? entry->pw_name : uid);
	return text;
}

/* Those that are not zero: "3 read, 1 write". */
static void print_counts(const struct report *r, const char *label, const char *prefix)
{
	const char *separator = "", *name;
	size_t len;

	printf("  %-10s", label);
	for (size_t i = 0; i < r->items.count; i++) {
		const struct entry *item = &r->items.list[i];

		if (!report_match(item->path, prefix, NULL, &name, &len) ||
		    strcmp(item->value, "0") == 0)
			continue;
		printf("%s%s %.*s", separator, item->value, (int)len, name);
		separator = ", ";
	}
	puts(*separator ? "" : "none");
}

/* ---- lines ---- */

static void print_heading(const struct report *r)
{
	printf("%s: ", r->domain);
	if (says(r, "/daemon/role", "dom0"))
		printf("domain %s, ", get(r, "/daemon/domid"));
	printf("process %s, version %s, up ", get(r, "/daemon/pid"),
	       get(r, "/daemon/version"));
	print_duration(number(report_get(r, "/daemon/now")) -
		       number(report_get(r, "/daemon/started")));
	puts(says(r, "/daemon/serving", "no") ? ", waiting for the first dump" : "");
}

static void print_peer(const struct report *r)
{
	if (!report_get(r, "/peer/state"))
		return;
	printf("  %-10s%s, %s", "peer", get(r, "/peer/state"), get(r, "/peer/kind"));
	if (report_get(r, "/peer/connected-since"))
		printf(", connected since %s",
		       moment(report_get(r, "/peer/connected-since")));
	printf("; links: %s\n", get(r, "/peer/links"));
	printf("  %-10sgeneration %s, last resync %s\n", "", get(r, "/peer/generation"),
	       moment(report_get(r, "/peer/last-resync")));
	if (report_get(r, "/peer/last-fault"))
		printf("  %-10slast given up for: %s\n", "", get(r, "/peer/last-fault"));
	printf("  %-10s%s owed, %s unanswered, %s bytes; changes refused: %s\n",
	       "backlog", get(r, "/backlog/owed"), get(r, "/backlog/unanswered"),
	       get(r, "/backlog/bytes"), get(r, "/peer/refused"));
}

static void print_state(const struct report *r)
{
	const char *file = report_get(r, "/state/file");

	if (!file)
		printf("  %-10snot kept\n", "state");
	else
		printf("  %-10s%s in %s\n", "state",
		       says(r, "/state/kept", "yes") ? "kept" : "CANNOT BE KEPT", file);
}

static const char *of(const struct report *r, const char *prefix, const char *name,
		      size_t len, const char *key)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%.*s/%s", prefix, (int)len, name, key);
	return get(r, path);
}

static void print_quotas(const struct report *r)
{
	const char *name, *used, *limit;
	char full[32];
	size_t len;

	printf("\n  %-17s %10s %10s %5s %8s\n", "quota", "used", "limit", "full",
	       "refused");
	for (size_t i = 0; i < r->items.count; i++) {
		if (!report_match(r->items.list[i].path, "/quota", "limit", &name, &len))
			continue;
		used = of(r, "/quota", name, len, "used");
		limit = r->items.list[i].value;
		snprintf(full, sizeof(full), "%.0f%%",
			 number(limit)
				 ? 100.0 * (double)number(used) / (double)number(limit)
				 : 100.0);
		printf("  %-17.*s %10s %10s %5s %8s\n", (int)len, name, used, limit,
		       *used == '-' ? "-" : full, of(r, "/quota", name, len, "refused"));
	}
}

static void print_clients(const struct report *r)
{
	const char *name;
	size_t len;

	printf("\n  %7s %8s %-10s %-10s %7s %8s %7s  %s\n", "client", "process", "user",
	       "access", "watches", "requests", "unread", "since");
	for (size_t i = 0; i < r->items.count; i++) {
		if (!report_match(r->items.list[i].path, "/clients", "access", &name,
				  &len))
			continue;
		printf("  %7.*s %8s %-10s", (int)len, name,
		       of(r, "/clients", name, len, "pid"),
		       user(of(r, "/clients", name, len, "uid")));
		printf(" %-10s %7s", r->items.list[i].value,
		       of(r, "/clients", name, len, "watches"));
		printf(" %8s %7s  %s\n", of(r, "/clients", name, len, "requests"),
		       of(r, "/clients", name, len, "unread"),
		       moment(of(r, "/clients", name, len, "since")));
	}
}

void report_print_text(const struct report *r)
{
	print_heading(r);
	print_peer(r);
	print_state(r);
	printf("  %-10s%s\n", "trace", says(r, "/daemon/tracing", "yes") ? "on" : "off");
	print_counts(r, "requests", "/requests");
	print_counts(r, "errors", "/errors");
	print_counts(r, "events", "/events");
	print_quotas(r);
	print_clients(r);
}
