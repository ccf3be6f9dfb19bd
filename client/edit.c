/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qubesdb-edit: a dump, an editor, and the difference written back.
 *
 * The file with what the user typed, if anything, is removed only after all of it is in
 * the daemon. Who else writes meanwhile is not overwritten unseen: an entry that the user
 * has changed must still have the value it had in the dump.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/apply.h"
#include "client/commands.h"
#include "client/failure.h"
#include "client/source.h"
#include "client/text.h"

struct edit {
	qdb_handle_t h;
	const struct options *o;
	const char *prefix;
	char *file;
	struct entries before, after;
};

/* The daemon may have been restarted while the editor ran, so this tries twice. */
static bool load(const struct edit *edit, struct entries *e)
{
	bool loaded = entries_load(e, edit->h, edit->prefix);

	if (!loaded && errno == EPIPE) {
		entries_free(e);
		loaded = entries_load(e, edit->h, edit->prefix);
	}
	if (!loaded)
		failure_report(edit->h, edit->o, ATTEMPT_EDIT, edit->prefix, NULL);
	entries_sort(e);
	return loaded;
}

static void print_file(FILE *to, const struct edit *edit)
{
	fprintf(to,
		"# Entries of the %s daemon that begin with %s: PATH = VALUE\n"
		"# \\xNN is a byte, \\\\ a backslash. What you change or add is "
		"written,\n"
		"# what you take away is removed. Lines with '#' in front mean "
		"nothing.\n",
		failure_domain(edit->o), edit->prefix);
	text_print(to, &edit->before);
}

static bool make_file(struct edit *edit)
{
	const char *directory = getenv("TMPDIR");
	bool written = false;
	FILE *file;
	int fd;

	if (asprintf(&edit->file, "%s/qubesdb-edit.XXXXXX",
		     directory && directory[0] ? directory : "/tmp") < 0) {
		edit->file = NULL;
		failure_say(edit->o, "Failed to edit %s: %s", edit->prefix,
			    strerror(errno));
		return false;
	}
	fd = mkostemp(edit->file, O_CLOEXEC);
	file = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (file) {
		print_file(file, edit);
		written = !ferror(file);
		written = fclose(file) == 0 && written;
	}
	if (!written)
		failure_say(edit->o,
			    "Failed to write %s: %s; TMPDIR chooses another place",
			    edit->file, strerror(errno));
	if (fd >= 0 && !written)
		unlink(edit->file);
	return written;
}

/* The shell takes the editor's options apart, and leaves the file's name alone. */
static bool run_editor(const struct edit *edit)
{
	int status = -1;

	if (setenv("QUBESDB_EDIT_FILE", edit->file, 1) == 0)
		status = system(
			"eval \"${VISUAL:-${EDITOR:-vi}} \\\"\\$QUBESDB_EDIT_FILE\\\"\"");
	if (status == 0)
		return true;
	failure_say(edit->o,
		    "Failed to edit %s: the editor (VISUAL or EDITOR) failed, so nothing "
		    "was changed",
		    edit->prefix);
	return false;
}

static bool ask_to_edit_again(void)
{
	char *answer = NULL;
	size_t room = 0;
	ssize_t len;
	bool again;

	fputs("Edit again? [Y/n] ", stderr);
	len = getline(&answer, &room, stdin);
	if (len <= 0)
		fputc('\n', stderr);
	again = len > 0 && strchr("yY\n", answer[0]);
	free(answer);
	return again;
}

static bool get_edited(struct edit *edit)
{
	for (;;) {
		if (!run_editor(edit))
			return false;
		if (source_load(edit->o, edit->file, edit->prefix, &edit->after))
			return true;
		entries_free(&edit->after);
		if (!ask_to_edit_again())
			return false;
	}
}

static bool is_conflict(const struct edit *edit, const struct entries *now,
			const char *path)
{
	const struct entry *before = entries_find(&edit->before, path);
	const struct entry *after = entries_find(&edit->after, path);
	const struct entry *current = entries_find(now, path);

	if (entries_agree(before, after) || entries_agree(current, before) ||
	    entries_agree(current, after))
		return false;
	failure_say(
		edit->o,
		"Failed to edit %s: somebody else changed it meanwhile, so nothing was "
		"written",
		path);
	return true;
}

static bool has_no_conflicts(const struct edit *edit)
{
	struct entries now = {0};
	bool fits = load(edit, &now);

	for (size_t i = 0; fits && i < edit->before.count; i++)
		fits = !is_conflict(edit, &now, edit->before.list[i].path);
	for (size_t i = 0; fits && i < edit->after.count; i++)
		fits = !is_conflict(edit, &now, edit->after.list[i].path);
	entries_free(&now);
	return fits;
}

/* Whether the file has anything that is not in the dump. */
static bool was_edited(const struct edit *edit)
{
	FILE *file = fopen(edit->file, "re");
	char *text = NULL;
	size_t len, at = 0;
	FILE *dump = open_memstream(&text, &len);
	bool same = file && dump;
	int byte = 0;

	if (dump) {
		print_file(dump, edit);
		same = fclose(dump) == 0 && same;
	}
	while (same && (byte = getc(file)) != EOF) {
		same = at < len && (unsigned char)text[at] == byte;
		at++;
	}
	if (file)
		fclose(file);
	free(text);
	return !same || at < len;
}

static bool edit_file(struct edit *edit)
{
	bool done = get_edited(edit) && has_no_conflicts(edit) &&
		    apply_changes(edit->h, edit->o, &edit->before, &edit->after, false);

	if (done || !was_edited(edit))
		unlink(edit->file);
	else
		failure_say(edit->o, "What you edited is in %s", edit->file);
	return done;
}

int command_edit(qdb_handle_t h, const struct options *o)
{
	struct edit edit = {.h = h, .o = o, .prefix = options_prefix(o)};
	bool done;

	done = load(&edit, &edit.before) && make_file(&edit) && edit_file(&edit);
	entries_free(&edit.before);
	entries_free(&edit.after);
	free(edit.file);
	return done ? 0 : 1;
}
