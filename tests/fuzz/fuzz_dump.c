/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Dump files, as text or JSON, into the parsers of qubesdb-restore. What is taken is a
 * list of entries that a daemon can hold, and comes back the same when it is printed, in
 * either form.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/json.h"
#include "client/source.h"
#include "client/text.h"
#include "tests/fuzz/fuzz.h"

static bool load(const uint8_t *data, size_t size, bool json, struct entries *e)
{
	const struct options o = {.quiet = true, .json = json};
	FILE *before = stdin;
	bool sound;

	stdin = fmemopen((void *)(uintptr_t)data, size, "r");
	fuzz_require(stdin);
	sound = source_load(&o, NULL, "", e);
	fclose(stdin);
	stdin = before;
	return sound;
}

static void check_entries(const struct entries *e)
{
	for (size_t i = 0; i < e->count; i++) {
		const struct entry *x = &e->list[i];

		fuzz_require(strlen(x->path) < QDB_MAX_PATH);
		fuzz_require(wire_classify(x->path, strlen(x->path)) == WIRE_ENTRY);
		fuzz_require(x->len <= QDB_MAX_DATA && strlen(x->value) == x->len);
		fuzz_require(i == 0 || strcmp(e->list[i - 1].path, x->path) < 0);
	}
}

static void check_again(const struct entries *e, bool json)
{
	struct entries again = {0};
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	(json ? json_print : text_print)(to, e);
	fuzz_require(fclose(to) == 0);
	fuzz_require(len == 0 || load((const uint8_t *)text, len, json, &again));
	fuzz_require(again.count == e->count);
	for (size_t i = 0; i < e->count; i++) {
		fuzz_require(strcmp(again.list[i].path, e->list[i].path) == 0);
		fuzz_require(entries_agree(&again.list[i], &e->list[i]));
	}
	entries_free(&again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct entries e = {0};

	if (size == 0)
		return 0;
	if (load(data, size, false, &e)) {
		check_entries(&e);
		check_again(&e, true);
		check_again(&e, false);
	}
	entries_free(&e);
	return 0;
}
