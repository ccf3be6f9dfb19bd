/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The paths of the items become objects within each other. In a sorted list all that
 * belongs to one object stands together.
 */
#include <stdio.h>
#include <string.h>

#include "client/json.h"
#include "client/report.h"

/* What a VM is called may look like a number, too. */
static bool is_number(const struct entry *item)
{
	return item->len > 0 && item->len < 16 &&
	       strspn(item->value, "0123456789") == item->len &&
	       (item->value[0] != '0' || item->len == 1) &&
	       strcmp(item->path, "/daemon/name") != 0;
}

static void print_value(const struct entry *item)
{
	if (strcmp(item->value, "yes") == 0)
		fputs("true", stdout);
	else if (strcmp(item->value, "no") == 0)
		fputs("false", stdout);
	else if (is_number(item))
		fputs(item->value, stdout);
	else
		json_print_value(stdout, item->value, item->len);
}

/* How long the directories are that both paths have, with the '/' at their end. */
static size_t common(const char *a, const char *b)
{
	size_t len = 0;

	for (size_t i = 0; a[i] && a[i] == b[i]; i++)
		if (a[i] == '/')
			len = i + 1;
	return len;
}

static int depth_of(const char *path, size_t len)
{
	int depth = 0;

	for (size_t i = 0; i < len; i++)
		depth += path[i] == '/';
	return depth;
}

static void indent(int depth)
{
	printf("\n%*s", depth * 2, "");
}

void report_print_json(const struct report *r, int depth)
{
	const char *last = "/", *name;
	size_t shared, len;
	int open = 1;

	putchar('{');
	for (size_t i = 0; i < r->items.count; i++) {
		const struct entry *item = &r->items.list[i];

		shared = common(last, item->path);
		for (; open > depth_of(item->path, shared); open--) {
			indent(depth + open - 1);
			putchar('}');
		}
		if (i > 0)
			putchar(',');
		for (name = item->path + shared;; name += len + 1) {
			len = strcspn(name, "/");
			indent(depth + open);
			printf("\"%.*s\": ", (int)len, name);
			if (name[len] == '\0')
				break;
			putchar('{');
			open++;
		}
		print_value(item);
		last = item->path;
	}
	for (; open > 0; open--) {
		indent(depth + open - 1);
		putchar('}');
	}
}
