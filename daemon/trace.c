/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/trace.h"

#include <stdio.h>

#include "daemon/log.h"

#define ESCAPED_SIZE (4 * QDB_MAX_PATH)

/* Paths that are refused may have anything in them, also what a terminal obeys. */
static void escape(char *out, const char *path, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const unsigned char c = (unsigned char)path[i];

		if (c > 0x20 && c < 0x7f && c != '\\')
			*out++ = (char)c;
		else
			out += snprintf(out, 5, "\\x%02x", c);
	}
	*out = '\0';
}

static const char *describe_size(char *text, size_t size, size_t len)
{
	text[0] = '\0';
	if (len > 0)
		snprintf(text, size, ", %zu bytes", len);
	return text;
}

static void log_exchange(const char *who, const struct message *m, enum qdb_msg answer,
			 size_t answer_len)
{
	char path[ESCAPED_SIZE + 1], asked[32], given[32];

	escape(path, m->path, m->path_len);
	log_line(LOG_OWN, LOG_LEVEL_TRACE, "%s: %s%s%s%s: %s%s", who,
		 message_name(m->type), *path ? " " : "", path,
		 describe_size(asked, sizeof(asked), m->data_len), message_name(answer),
		 describe_size(given, sizeof(given), answer_len));
}

void trace_request(const struct ucred *peer, const struct message *m, enum qdb_msg answer,
		   size_t answer_len)
{
	char who[64];

	snprintf(who, sizeof(who), "process %ld of user %lu", (long)peer->pid,
		 (unsigned long)peer->uid);
	log_exchange(who, m, answer, answer_len);
}

void trace_peer(const struct message *m, enum qdb_msg answer)
{
	log_exchange("peer", m, answer, 0);
}
