/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Why something failed, in words.
 *
 * The daemon's refusal carries no reason, and the library hands on no more. So the reason
 * is found afterwards, here: a path or value that breaks the grammar can be told by
 * looking at it, and a read-only connection the library knows. What remains is the
 * daemon's own decision.
 */
#include "client/failure.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/sockets.h"
#include "protocol/qubesdb.h"

_Static_assert(QDB_MAX_PATH == 64 && QDB_MAX_DATA == 3071, "what the texts below say");

#define PATH_CHARACTERS \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/.:@-"

static const struct {
	const char *verb;
	bool needs_entry;
	bool changes;
} attempts[] = {
	[ATTEMPT_READ] = {"read", false, false},
	[ATTEMPT_WAIT] = {"read", true, false},
	[ATTEMPT_WRITE] = {"write", true, true},
	[ATTEMPT_RM] = {"rm", false, true},
	[ATTEMPT_LIST] = {"list", false, false},
	[ATTEMPT_MULTIREAD] = {"multiread", false, false},
	[ATTEMPT_WATCH] = {"watch", false, false},
	[ATTEMPT_DUMP] = {"dump", false, false},
	[ATTEMPT_RESTORE] = {"restore", false, false},
	[ATTEMPT_EDIT] = {"edit", false, false},
	[ATTEMPT_LS] = {"ls", false, false},
	[ATTEMPT_COUNT] = {"count", false, false},
	[ATTEMPT_LOOK_FOR] = {"look for", false, false},
	[ATTEMPT_WAIT_FOR] = {"wait for", true, false},
};

const char *failure_path_fault(enum attempt attempt, const char *path)
{
	size_t len = strlen(path);

	if (path[0] != '/')
		return "the path does not begin with '/'";
	if (len >= QDB_MAX_PATH)
		return "the path is longer than 63 characters";
	if (strspn(path, PATH_CHARACTERS) < len)
		return "the path has a character other than a-z A-Z 0-9 _ / . : @ -";
	if (attempts[attempt].needs_entry && path[len - 1] == '/')
		return "the path ends in '/', so it names a directory";
	return NULL;
}

const char *failure_value_fault(const char *value, size_t len)
{
	if (memchr(value, '\0', len))
		return "the value contains a NUL byte";
	if (len > QDB_MAX_DATA)
		return "the value is longer than 3071 bytes";
	return NULL;
}

static const char *refusal(const struct options *o)
{
	static char text[128];

	snprintf(text, sizeof(text),
		 "refused by the %.64s daemon; if for a quota, its log says which",
		 failure_domain(o));
	return text;
}

static const char *find_reason(qdb_handle_t h, const struct options *o,
			       enum attempt attempt, const char *path, const char *value,
			       int error)
{
	const char *fault = failure_path_fault(attempt, path);

	if (error == EPIPE)
		return "the connection to the daemon is lost; try again when it is back";
	if (error != 0 && error != EPROTO && error != ENOENT)
		return strerror(error);
	if (fault)
		return fault;
	if (error == ENOENT)
		return path[strlen(path) - 1] == '/'
			       ? "the path ends in '/', so it names a directory, not an "
				 "entry"
			       : "there is no such entry; -w waits for one";
	if (value && failure_value_fault(value, strlen(value)))
		return failure_value_fault(value, strlen(value));
	if (attempts[attempt].changes && qdb_is_read_only(h))
		return "the connection is read-only; try as a user who may open the "
		       "read-write socket";
	return refusal(o);
}

/*
 * Where a deployed command says no more than that it failed, that is a line of its own,
 * for scripts that look for it, and the reason is the next one.
 */
#define REASON_APART "\n  "

void failure_report(qdb_handle_t h, const struct options *o, enum attempt attempt,
		    const char *path, const char *value)
{
	int error = errno;

	if (o->quiet)
		return;
	fprintf(stderr, "Failed to %s %s%s%s\n", attempts[attempt].verb, path,
		error == ENOENT ? REASON_APART : ": ",
		find_reason(h, o, attempt, path, value, error));
}

const char *failure_domain(const struct options *o)
{
	return o->domain ? o->domain : "local";
}

static const char *advise_on_connecting(const struct options *o, int error)
{
	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
		return o->domain ? "; does the VM run, and its qubesdb-daemon?"
				 : "; does qubesdb-daemon run?";
	case EACCES:
	case EPERM:
		return "; become a member of the group that may open it, or root";
	case ENAMETOOLONG:
		return "; the name or QUBESDB_RUNTIME_DIR is too long";
	default:
		return "";
	}
}

/*
 * The reason is found anew, as the library tells only that of the last socket. Returns
 * what is advised, which is said once, or NULL if this socket can be connected to.
 */
static const char *say_why_not(const struct options *o, bool read_only, const char *said)
{
	char path[PATH_MAX];
	int error = sockets_try(o->domain, read_only);
	const char *advice = advise_on_connecting(o, error);

	if (error == 0)
		return said;
	qdb_find_socket(o->domain, read_only, path, sizeof(path));
	failure_say(o, "  %s: %s%s", path,
		    error == EAGAIN ? "it takes no connections; does it hang?"
				    : strerror(error),
		    said && strcmp(advice, said) == 0 ? "" : advice);
	return advice;
}

void failure_report_connect(const struct options *o)
{
	failure_say(o, "Failed connect to %s daemon", failure_domain(o));
	if (o->domain && strchr(o->domain, '/'))
		failure_say(o, "  no VM's name has a '/' in it");
	else if (o->domain && o->domain[0] == '\0')
		failure_say(o, "  the name given is empty");
	else if (!say_why_not(o, true, say_why_not(o, false, NULL)))
		failure_say(o, "  it can be reached by now; try again");
}

void failure_say(const struct options *o, const char *format, ...)
{
	va_list list;

	if (o->quiet)
		return;
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
}
