/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qubesdb-ls: entries as a tree, in the way of xenstore-ls. There are no directories,
 * only paths, so a node without a value is one that others pass through.
 *
 * The entries are put into an order in which each node is followed by all that is below
 * it. Then the nodes to print for one of them are those that the one before did not pass
 * through.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/commands.h"
#include "client/entries.h"
#include "client/failure.h"
#include "client/json.h"
#include "client/output.h"

/* '/' comes before all other characters, since it ends the name of a node. */
static int rank(char c)
{
	return c == '/' ? 1 : (unsigned char)c;
}

static int compare_nodes(const void *a, const void *b)
{
	const char *one = ((const struct entry *)a)->path;
	const char *other = ((const struct entry *)b)->path;

	for (; *one && *one == *other; one++)
		other++;
	return rank(*one) - rank(*other);
}

/* Whether the first `len` characters of `path` are all of it, or a node above it. */
static bool passes_through(const char *path, const char *node, size_t len)
{
	return strncmp(path, node, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static void print_value(const struct options *o, const struct entry *entry)
{
	fputs(" = ", stdout);
	output_ink(o, INK_VALUE);
	putchar('"');
	output_escaped(stdout, entry->value, entry->len, "\"\\");
	putchar('"');
	output_ink(o, INK_NONE);
}

/* `entry` is NULL for a node without a value. */
static void print_node(const struct options *o, int depth, const char *name, size_t len,
		       const struct entry *entry)
{
	printf("%*s", depth, "");
	output_ink(o, INK_NAME);
	printf("%.*s", len ? (int)len : 1, len ? name : "/");
	output_ink(o, INK_NONE);
	if (entry)
		print_value(o, entry);
	putchar('\n');
}

/* Prints the nodes from the path's character `at` on that `last` did not pass through. */
static void print_branch(const struct options *o, const struct entry *entry, size_t at,
			 int depth, const char *last)
{
	const char *path = entry->path;
	bool ended;

	do {
		size_t end = at + strcspn(path + at, "/");
		ended = path[end] == '\0';
		if (!passes_through(last, path, end))
			print_node(o, depth, path + at, end - at, ended ? entry : NULL);
		depth++;
		at = end + 1;
	} while (!ended);
}

/* `top` is the length of the path that was asked for, without a '/' at its end. */
static void print_tree(const struct options *o, const struct entries *e, size_t top)
{
	const char *last = "";
	int depth = 0;

	for (size_t i = 0; i < e->count; i++) {
		const struct entry *entry = &e->list[i];
		if (o->full) {
			print_node(o, 0, entry->path, strlen(entry->path), entry);
		} else if (strlen(entry->path) == top) {
			print_node(o, 0, entry->path, top, entry);
			depth = 1;
		} else {
			print_branch(o, entry, top + 1, depth, last);
		}
		last = entry->path;
	}
}

/* Drops what only begins with the same characters, as /ab does for /a. */
static void keep_below(struct entries *e, const char *path, size_t top)
{
	bool itself = path[top] == '\0';
	struct entries kept = {e->list, 0, e->room};

	for (size_t i = 0; i < e->count; i++) {
		struct entry entry = e->list[i];
		if (entry.path[top] == '/' || (itself && entry.path[top] == '\0')) {
			kept.list[kept.count++] = entry;
			continue;
		}
		free(entry.path);
		free(entry.value);
	}
	*e = kept;
}

static int show(const struct options *o, struct entries *e, const char *path)
{
	size_t len = strlen(path);
	size_t top = len > 0 && path[len - 1] == '/' ? len - 1 : len;

	keep_below(e, path, top);
	if (e->count == 0 && top > 0) {
		failure_say(o, "Failed to ls %s: there is nothing at or below it", path);
		return 2;
	}
	if (o->json) {
		json_print(stdout, e);
	} else if (e->count > 0) {
		qsort(e->list, e->count, sizeof(*e->list), compare_nodes);
		print_tree(o, e, top);
	}
	return output_finish(o) ? 0 : 1;
}

int command_ls(qdb_handle_t h, const struct options *o)
{
	const char *path = options_prefix(o);
	struct entries e = {0};
	int status = 1;

	if (entries_load(&e, h, path))
		status = show(o, &e, path);
	else
		failure_report(h, o, ATTEMPT_LS, path, NULL);
	entries_free(&e);
	return status;
}
