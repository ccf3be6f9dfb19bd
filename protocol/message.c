/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table below is the protocol: a row for each type says who may send it, what its
 * path has to be and whether it carries data. Everything else in this file applies the
 * table.
 *
 * There are two ways to be wrong. A *fault* is a message whose extent is known and that
 * can be refused by an answer; local clients only ever commit faults, because a program
 * that asks for something impossible must keep its connection. On the vchan the other end
 * is a daemon: apart from a value that it should not have passed on, anything wrong there
 * means that it is broken or hostile, which is a *violation* and ends the link.
 */
#include "protocol/message.h"

#include <string.h>

#define BY(sender) (1u << (sender))
#define BY_CLIENT BY(MESSAGE_FROM_CLIENT)
#define BY_DAEMON BY(MESSAGE_FROM_DAEMON)
#define BY_VM BY(MESSAGE_FROM_VM)
#define BY_DOM0 BY(MESSAGE_FROM_DOM0)

enum path_rule {
	ECHO, /* the path of a request, whatever that was */
	WELL_FORMED,
	ENTRY,
	ENTRY_OR_EMPTY,
	EMPTY,
	AT_SECTION, /* '@', which begins no entry's path, and a prefix or nothing */
};
enum data_rule { NO_DATA, VALUE, MANY };

struct message_rule {
	const char *name;
	unsigned senders;
	enum path_rule path;
	enum data_rule data;
};

static const struct message_rule rules[] = {
	/* clang-format off */
	[QDB_CMD_READ]         = {"READ",           BY_CLIENT, WELL_FORMED, NO_DATA},
	[QDB_CMD_WRITE]        = {"WRITE",          BY_CLIENT | BY_VM | BY_DOM0, ENTRY, VALUE},
	[QDB_CMD_MULTIREAD]    = {"MULTIREAD",      BY_CLIENT | BY_VM, WELL_FORMED, NO_DATA},
	[QDB_CMD_LIST]         = {"LIST",           BY_CLIENT, WELL_FORMED, NO_DATA},
	[QDB_CMD_RM]           = {"RM",             BY_CLIENT | BY_VM | BY_DOM0, WELL_FORMED, NO_DATA},
	[QDB_CMD_WATCH]        = {"WATCH",          BY_CLIENT, WELL_FORMED, NO_DATA},
	[QDB_CMD_UNWATCH]      = {"UNWATCH",        BY_CLIENT, WELL_FORMED, NO_DATA},
	[QDB_RESP_OK]          = {"OK",             BY_DAEMON | BY_VM | BY_DOM0, ECHO, NO_DATA},
	[QDB_RESP_ERROR_NOENT] = {"ERROR_NOENT",    BY_DAEMON | BY_VM | BY_DOM0, ECHO, NO_DATA},
	[QDB_RESP_ERROR]       = {"ERROR",          BY_DAEMON | BY_VM | BY_DOM0, ECHO, NO_DATA},
	[QDB_RESP_READ]        = {"RESP_READ",      BY_DAEMON, ECHO, VALUE},
	[QDB_RESP_MULTIREAD]   = {"RESP_MULTIREAD", BY_DAEMON | BY_DOM0, ENTRY_OR_EMPTY, VALUE},
	[QDB_RESP_LIST]        = {"RESP_LIST",      BY_DAEMON, ENTRY_OR_EMPTY, NO_DATA},
	[QDB_RESP_WATCH]       = {"RESP_WATCH",     BY_DAEMON, WELL_FORMED, NO_DATA},
	[QDB_CMD_WRITE_MANY]   = {"WRITE_MANY",     BY_CLIENT, EMPTY, MANY},
	[QDB_CMD_STATUS]       = {"STATUS",         BY_CLIENT, AT_SECTION, NO_DATA},
	[QDB_RESP_STATUS]      = {"RESP_STATUS",    BY_DAEMON, ENTRY_OR_EMPTY, VALUE},
	[QDB_CMD_TRACE]        = {"TRACE",          BY_CLIENT, WELL_FORMED, NO_DATA},
	/* clang-format on */
};

#define RULES (sizeof(rules) / sizeof(rules[0]))

_Static_assert(sizeof(struct qdb_hdr) == 72, "the header has 72 bytes on the wire");
_Static_assert(offsetof(struct qdb_hdr, path) == 1, "the path follows the type");
_Static_assert(offsetof(struct qdb_hdr, data_len) == 68, "data_len ends the header");
_Static_assert(
	MESSAGE_STREAM_SIZE >= 2 * MESSAGE_MAX_SIZE,
	"a message that begins anywhere in the first half is taken without moving it");

static bool path_obeys(enum path_rule rule, const struct message *m)
{
	switch (rule) {
	case ECHO:
		return true;
	case WELL_FORMED:
		return m->kind != PATH_ILL_FORMED;
	case ENTRY:
		return m->kind == PATH_ENTRY;
	case ENTRY_OR_EMPTY:
		return m->kind == PATH_ENTRY || m->path_len == 0;
	case EMPTY:
		return m->path_len == 0;
	case AT_SECTION:
		return m->kind == PATH_NOTHING && m->path[0] == '@' &&
		       (m->path_len == 1 || m->path[1] == '/');
	}
	return false;
}

static bool length_obeys(enum data_rule rule, size_t len)
{
	return rule == MANY ? len > 0 && len <= QDB_MAX_MANY : len <= QDB_MAX_DATA;
}

static enum message_fault find_fault(const struct message *m, enum message_sender from)
{
	const struct message_rule *rule;

	if (m->type >= RULES)
		return MESSAGE_UNKNOWN_TYPE;
	rule = &rules[m->type];
	if (!(rule->senders & BY(from)))
		return MESSAGE_UNKNOWN_TYPE;
	if (!path_obeys(rule->path, m))
		return MESSAGE_BAD_PATH;
	if (rule->data == NO_DATA && m->data_len > 0)
		return MESSAGE_UNEXPECTED_DATA;
	if (!length_obeys(rule->data, m->data_len))
		return MESSAGE_BAD_VALUE;
	return MESSAGE_FINE;
}

static bool is_violation(const struct message *m, enum message_sender from)
{
	if (from == MESSAGE_FROM_CLIENT || m->fault == MESSAGE_FINE)
		return false;
	return !(m->type == QDB_CMD_RM && m->fault == MESSAGE_UNEXPECTED_DATA &&
		 m->data_len <= QDB_MAX_DATA);
}

enum message_status message_parse_header(struct message *m, enum message_sender from,
					 uint8_t *header)
{
	const size_t path = offsetof(struct qdb_hdr, path);
	uint32_t data_len;

	header[path + QDB_MAX_PATH - 1] = '\0';
	memcpy(&data_len, header + offsetof(struct qdb_hdr, data_len), sizeof(data_len));
	m->type = (enum qdb_msg)header[offsetof(struct qdb_hdr, type)];
	m->path = (const char *)header + path;
	m->path_len = strlen(m->path);
	m->kind = path_classify(m->path, m->path_len);
	m->data = NULL;
	m->data_len = data_len;
	m->fault = find_fault(m, from);
	return is_violation(m, from) ? MESSAGE_VIOLATION : MESSAGE_READY;
}

void message_parse_data(struct message *m, const char *data)
{
	m->data = data;
	if (m->fault == MESSAGE_FINE && !value_is_valid(data, m->data_len))
		m->fault = MESSAGE_BAD_VALUE;
}

void message_stream_init(struct message_stream *s, enum message_sender from)
{
	s->from = from;
	s->start = 0;
	s->end = 0;
	s->skipped = 0;
	s->given = 0;
	s->taken = s->taken_end = 0;
}

static void wipe_taken(struct message_stream *s)
{
	if (s->taken < s->taken_end)
		explicit_bzero(s->buf + s->taken, s->taken_end - s->taken);
	s->taken = s->taken_end = 0;
}

void message_stream_wipe(struct message_stream *s)
{
	wipe_taken(s);
	explicit_bzero(s->buf + s->start, s->end - s->start);
	s->start = s->end = 0;
	s->skipped = s->given = 0;
}

size_t message_stream_space(struct message_stream *s, uint8_t **space)
{
	wipe_taken(s);
	if (s->start > 0 && s->end + MESSAGE_MAX_SIZE > sizeof(s->buf)) {
		memmove(s->buf, s->buf + s->start, s->end - s->start);
		s->end -= s->start;
		explicit_bzero(s->buf + s->end, s->start);
		s->start = 0;
	}
	*space = s->buf + s->end;
	return sizeof(s->buf) - s->end;
}

void message_stream_filled(struct message_stream *s, size_t len)
{
	s->end += len;
}

/*
 * The header at start stays there until its data has passed by: it is moved over the
 * bytes that are discarded.
 */
static void discard(struct message_stream *s, size_t n)
{
	memmove(s->buf + s->start + n, s->buf + s->start, MESSAGE_HEADER_SIZE);
	explicit_bzero(s->buf + s->start, n);
	s->start += n;
	s->skipped += (uint32_t)n;
}

/* How much of the data at start has arrived and is not discarded. */
static size_t arrived(const struct message_stream *s, size_t data_len)
{
	const size_t n = s->end - s->start - MESSAGE_HEADER_SIZE;
	const size_t rest = data_len - s->skipped;

	return n < rest ? n : rest;
}

bool message_stream_is_empty(const struct message_stream *s)
{
	return s->start == s->end;
}

bool message_stream_begins_with(const struct message_stream *s, enum qdb_msg type)
{
	return s->end - s->start >= MESSAGE_HEADER_SIZE && s->buf[s->start] == type;
}

static void consume(struct message_stream *s, size_t len)
{
	s->taken = s->start + MESSAGE_HEADER_SIZE;
	s->start += len;
	s->taken_end = s->start;
	s->skipped = 0;
	if (s->start == s->end)
		s->start = s->end = 0;
}

/* All data has passed by. */
static enum message_status end_without_data(struct message_stream *s, struct message *m)
{
	message_parse_header(m, s->from, s->buf + s->start);
	consume(s, MESSAGE_HEADER_SIZE);
	return MESSAGE_READY;
}

static enum message_status skip_data(struct message_stream *s, struct message *m)
{
	discard(s, arrived(s, m->data_len));
	return s->skipped < m->data_len ? MESSAGE_INCOMPLETE : end_without_data(s, m);
}

static enum message_status hand_out_data(struct message_stream *s, struct message *m)
{
	size_t n;

	discard(s, s->given);
	s->given = 0;
	if (s->skipped == m->data_len)
		return end_without_data(s, m);
	n = arrived(s, m->data_len);
	if (n == 0)
		return MESSAGE_INCOMPLETE;
	message_parse_header(m, s->from, s->buf + s->start);
	m->data = (const char *)s->buf + s->start + MESSAGE_HEADER_SIZE;
	m->data_len = n;
	s->given = (uint32_t)n;
	return MESSAGE_PIECE;
}

enum message_status message_stream_next(struct message_stream *s, struct message *m)
{
	uint8_t *header = s->buf + s->start;
	enum message_status status;

	wipe_taken(s);
	if (s->end - s->start < MESSAGE_HEADER_SIZE)
		return MESSAGE_INCOMPLETE;
	status = message_parse_header(m, s->from, header);
	if (status == MESSAGE_VIOLATION)
		return status;
	if (m->type == QDB_CMD_WRITE_MANY && m->fault == MESSAGE_FINE)
		return hand_out_data(s, m);
	if (m->data_len > QDB_MAX_DATA)
		return skip_data(s, m);
	if (s->end - s->start - MESSAGE_HEADER_SIZE < m->data_len)
		return MESSAGE_INCOMPLETE;
	message_parse_data(m, (const char *)header + MESSAGE_HEADER_SIZE);
	consume(s, MESSAGE_HEADER_SIZE + m->data_len);
	return MESSAGE_READY;
}

size_t message_encode(uint8_t *out, enum qdb_msg type, const char *path, size_t path_len,
		      const char *data, size_t data_len)
{
	const uint32_t len = (uint32_t)data_len;

	memset(out, 0, MESSAGE_HEADER_SIZE);
	out[offsetof(struct qdb_hdr, type)] = (uint8_t)type;
	memcpy(out + offsetof(struct qdb_hdr, path), path, path_len);
	memcpy(out + offsetof(struct qdb_hdr, data_len), &len, sizeof(len));
	if (data_len > 0)
		memcpy(out + MESSAGE_HEADER_SIZE, data, data_len);
	return MESSAGE_HEADER_SIZE + data_len;
}

size_t message_encoded_size(const uint8_t *message)
{
	uint32_t data_len;

	memcpy(&data_len, message + offsetof(struct qdb_hdr, data_len), sizeof(data_len));
	return MESSAGE_HEADER_SIZE + data_len;
}

const char *message_name(unsigned type)
{
	return type < RULES && rules[type].name ? rules[type].name : "unknown";
}
