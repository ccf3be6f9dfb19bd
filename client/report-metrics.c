/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The status for a collector, such as the text files of Prometheus' node exporter. A
 * metric stands once, with the samples of all VMs below it.
 */
#include <stdio.h>
#include <string.h>

#include "client/report.h"

struct metric {
	const char *name;
	const char *type;
	const char *help;
	const char *path;   /* of the item, or what is above those that have a name */
	const char *label;  /* for the name, or NULL */
	const char *key;    /* what follows the name, or NULL */
	const char *equals; /* the sample is whether the known text is this, or NULL */
};

#define PLAIN NULL, NULL, NULL
#define EQUALS(text) NULL, NULL, text
#define NAMED(label, key) label, key, NULL
#define TEXT(label) label, NULL, NULL /* of an info: the label has the text */

static const struct metric metrics[] = {
	/* clang-format off */
	{"start_time_seconds", "gauge", "When the daemon was started", "/daemon/started", PLAIN},
	{"serving", "gauge", "Whether requests are answered", "/daemon/serving", PLAIN},
	{"tracing", "gauge", "Whether requests are logged", "/daemon/tracing", PLAIN},
	{"peer_live", "gauge", "Whether changes go to the other end", "/peer/state", EQUALS("live")},
	{"peer_legacy", "gauge", "Whether the other end is a deployed daemon", "/peer/kind", EQUALS("legacy")},
	{"peer", "info", "The state of dom0 that both ends know, by a number", "/peer/generation", TEXT("generation")},
	{"peer_connected_timestamp_seconds", "gauge", "When the link came", "/peer/connected-since", PLAIN},
	{"peer_resync_timestamp_seconds", "gauge", "When the last dump was over", "/peer/last-resync", PLAIN},
	{"peer_links", "counter", "Links so far", "/peer/links", PLAIN},
	{"peer_refused", "counter", "Changes that one end has refused", "/peer/refused", PLAIN},
	{"backlog_owed", "gauge", "Changed paths to be sent", "/backlog/owed", PLAIN},
	{"backlog_unanswered", "gauge", "Operations sent and not answered", "/backlog/unanswered", PLAIN},
	{"backlog_bytes", "gauge", "Messages that the other end has not taken", "/backlog/bytes", PLAIN},
	{"state_kept", "gauge", "Whether the state file has everything", "/state/kept", PLAIN},
	{"clients", "gauge", "Connections of local clients", "/quota/connections/used", PLAIN},
	{"quota_used", "gauge", "What is charged to a quota", "/quota", NAMED("quota", "used")},
	{"quota_limit", "gauge", "What may be", "/quota", NAMED("quota", "limit")},
	{"quota_refused", "counter", "Refusals for a quota", "/quota", NAMED("quota", "refused")},
	{"requests", "counter", "Requests of local clients", "/requests", NAMED("request", NULL)},
	{"errors", "counter", "Requests that were refused, or found nothing", "/errors", NAMED("error", NULL)},
	{"events_sent", "counter", "Events for watches", "/events/sent", PLAIN},
	/* clang-format on */
};

static void print_label(const char *text, size_t len)
{
	putchar('"');
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '"' || text[i] == '\\')
			putchar('\\');
		if (text[i] == '\n')
			fputs("\\n", stdout);
		else
			putchar(text[i]);
	}
	putchar('"');
}

static bool is_info(const struct metric *m)
{
	return strcmp(m->type, "info") == 0;
}

static const char *suffix(const struct metric *m)
{
	return is_info(m) ? "_info" : strcmp(m->type, "counter") == 0 ? "_total" : "";
}

static void print_head(const char *name, const char *type, const char *help)
{
	printf("# TYPE qubesdb_%s %s\n# HELP qubesdb_%s %s.\n", name, type, name, help);
}

/* The sample's value, or NULL if the text cannot be one. */
static const char *value_of(const struct metric *m, const char *text)
{
	const size_t len = strspn(text, "0123456789");
	const bool is_flag = strcmp(text, "yes") == 0 || strcmp(text, "no") == 0;

	if (is_info(m))
		return "1";
	if (m->equals && strcmp(text, "unknown") == 0)
		return NULL;
	if (m->equals)
		return strcmp(text, m->equals) == 0 ? "1" : "0";
	if (is_flag)
		return text[0] == 'y' ? "1" : "0";
	if (len == 0 || len > 20 || text[len] != '\0')
		return NULL;
	return text;
}

static void print_sample(const struct metric *m, const struct report *r,
			 const struct entry *item)
{
	const char *name = "", *value;
	size_t len = 0;

	if (m->label && !is_info(m)
		    ? !report_match(item->path, m->path, m->key, &name, &len)
		    : strcmp(item->path, m->path) != 0)
		return;
	if (is_info(m)) {
		name = item->value;
		len = item->len;
	}
	value = value_of(m, item->value);
	if (!value)
		return;
	printf("qubesdb_%s%s{vm=", m->name, suffix(m));
	print_label(r->domain, strlen(r->domain));
	if (m->label) {
		printf(",%s=", m->label);
		print_label(name, len);
	}
	printf("} %s\n", value);
}

static void print_up(const struct report *reports, size_t count)
{
	print_head("up", "gauge", "Whether the daemon tells its status");
	for (size_t i = 0; i < count; i++) {
		fputs("qubesdb_up{vm=", stdout);
		print_label(reports[i].domain, strlen(reports[i].domain));
		printf("} %d\n", reports[i].is_known);
	}
}

void report_print_metrics(const struct report *reports, size_t count)
{
	print_up(reports, count);
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
		const struct metric *m = &metrics[i];

		print_head(m->name, m->type, m->help);
		for (size_t j = 0; j < count; j++)
			for (size_t k = 0; k < reports[j].items.count; k++)
				print_sample(m, &reports[j], &reports[j].items.list[k]);
	}
	puts("# EOF");
}
