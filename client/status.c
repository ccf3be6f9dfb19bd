/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qubesdb-status: what daemons tell of themselves. One that does not answer, or does not
 * even accept the connection, must not keep those after it from being asked, nor a
 * collector of metrics waiting, so there is a limit to each wait.
 */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/commands.h"
#include "client/failure.h"
#include "client/output.h"
#include "client/report.h"
#include "client/sockets.h"

#define PATIENCE_MS 5000

struct reports {
	struct report *list;
	size_t count;
	bool failed; /* no memory for another one */
};

static void free_reports(struct reports *reports)
{
	for (size_t i = 0; i < reports->count; i++) {
		free((char *)reports->list[i].domain);
		entries_free(&reports->list[i].items);
	}
	free(reports->list);
}

static void add_domain(const char *domain, void *context)
{
	struct reports *reports = context;
	struct report *list =
		reallocarray(reports->list, reports->count + 1, sizeof(*list));
	char *copy = strdup(domain);

	if (list)
		reports->list = list;
	if (!list || !copy) {
		reports->failed = true;
		free(copy);
		return;
	}
	list[reports->count++] = (struct report){.domain = copy};
}

static int compare(const void *a, const void *b)
{
	return strverscmp(((const struct entry *)a)->path,
			  ((const struct entry *)b)->path);
}

/* Beside the number of a client's user its name, where it has one here. */
static bool name_user(struct report *r, const char *path, const char *uid)
{
	const char *client;
	struct passwd *user;
	char name[96];
	size_t len;

	if (!report_match(path, "/clients", "uid", &client, &len))
		return true;
	user = getpwuid((uid_t)strtoul(uid, NULL, 10));
	if (!user)
		return true;
	snprintf(name, sizeof(name), "/clients/%.*s/user", (int)len, client);
	return entries_add(&r->items, name, user->pw_name, strlen(user->pw_name), 0);
}

static bool take(struct report *r, char **items, unsigned int count)
{
	bool taken = true;

	for (unsigned int i = 0; i < 2 * count; i += 2) {
		taken = taken &&
			entries_add(&r->items, items[i], items[i + 1],
				    strlen(items[i + 1]), 0) &&
			name_user(r, items[i], items[i + 1]);
		free(items[i]);
		free(items[i + 1]);
	}
	free(items);
	if (r->items.count > 0)
		qsort(r->items.list, r->items.count, sizeof(*r->items.list), compare);
	return taken;
}

static const char *reason(int error)
{
	switch (error) {
	case ENOTSUP:
		return "not supported by this daemon";
	case EPIPE:
		return "the connection to the daemon is lost";
	case ETIMEDOUT:
		return "it does not answer; does it hang?";
	default:
		return strerror(error);
	}
}

/* Returns whether the daemon has answered. */
static bool ask(struct report *r, const struct options *o)
{
	struct options one = *o;
	unsigned int count;
	char **items;
	qdb_handle_t h;

	if (o->all)
		one.domain = (char *)r->domain;
	h = qdb_open_timeout(one.domain, PATIENCE_MS);
	if (!h) {
		failure_report_connect(&one);
		return false;
	}
	items = qdb_status(h, "", &count);
	r->is_known = items && take(r, items, count);
	if (!r->is_known)
		failure_say(o, "Failed to get the status of the %s daemon: %s", r->domain,
			    reason(errno));
	qdb_close(h);
	return r->is_known;
}

static void print_json(const struct options *o, const struct reports *reports)
{
	bool is_first = true;

	if (!o->all) {
		report_print_json(reports->list, 0);
		putchar('\n');
		return;
	}
	putchar('{');
	for (size_t i = 0; i < reports->count; i++) {
		if (!reports->list[i].is_known)
			continue;
		printf("%s\n  \"%s\": ", is_first ? "" : ",", reports->list[i].domain);
		report_print_json(&reports->list[i], 1);
		is_first = false;
	}
	puts("\n}");
}

static void print(const struct options *o, struct reports *reports)
{
	const char *separator = "";

	if (o->json) {
		print_json(o, reports);
		return;
	}
	for (size_t i = 0; i < reports->count; i++)
		report_clean(&reports->list[i]);
	if (o->openmetrics) {
		report_print_metrics(reports->list, reports->count);
		return;
	}
	for (size_t i = 0; i < reports->count; i++) {
		if (!reports->list[i].is_known)
			continue;
		fputs(separator, stdout);
		report_print_text(&reports->list[i]);
		separator = "\n";
	}
}

static bool gather(struct reports *reports, const struct options *o)
{
	bool answered = true;

	if (o->all)
		sockets_each_domain(add_domain, reports);
	else
		add_domain(failure_domain(o), reports);
	if (reports->failed) {
		failure_say(o, "Failed to get the status: %s", strerror(ENOMEM));
		return false;
	}
	if (reports->count == 0)
		failure_say(o,
			    "There is no daemon in %s that serves a VM; "
			    "QUBESDB_RUNTIME_DIR chooses another directory",
			    sockets_directory());
	for (size_t i = 0; i < reports->count; i++)
		answered = ask(&reports->list[i], o) && answered;
	return answered && reports->count > 0;
}

int command_status(qdb_handle_t h, const struct options *o)
{
	struct reports reports = {0};
	bool done;

	(void)h;
	if (o->all && o->domain) {
		failure_say(o, "qubesdb-status: -d and --all exclude each other");
		return 1;
	}
	done = gather(&reports, o);
	if ((done || o->all) && !reports.failed) {
		print(o, &reports);
		done = output_finish(o) && done;
	}
	free_reports(&reports);
	return done ? 0 : 1;
}
