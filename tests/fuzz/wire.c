/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "tests/fuzz/fuzz.h"

static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			      "0123456789_/.:@-";

enum wire_path wire_classify(const char *path, size_t len)
{
	if (path[0] == '-' || strspn(path, allowed) != len)
		return WIRE_ILL_FORMED;
	if (path[0] != '/')
		return WIRE_NOTHING;
	return path[len - 1] == '/' ? WIRE_DIRECTORY : WIRE_ENTRY;
}

static void look_at_header(const struct framing *f, struct wire_message *m)
{
	const char *path = (const char *)f->header + 1;

	m->type = f->header[0];
	m->path_len = strnlen(path, QDB_MAX_PATH - 1);
	memset(m->path, 0, sizeof(m->path));
	memcpy(m->path, path, m->path_len);
	m->kind = wire_classify(m->path, m->path_len);
	memcpy(&m->data_len, f->header + 68, sizeof(m->data_len));
	m->dirty = false;
	for (size_t i = 1 + m->path_len; i < 68; i++)
		m->dirty |= f->header[i] != 0;
	m->has_nul = f->has_nul;
	m->many = f->many;
	if (!m->many.blamed)
		m->many.malformed |= f->many.path_len > 0;
}

/* ---- many entries ---- */

static void end_of_path(struct wire_many *m)
{
	m->in_value = true;
	m->value_len = 0;
	m->malformed = m->path_len == 0 || m->path_len >= QDB_MAX_PATH;
	if (!m->malformed)
		m->path[m->path_len] = '\0';
}

static void end_of_value(struct wire_many *m)
{
	m->in_value = false;
	m->blamed = wire_classify(m->path, m->path_len) != WIRE_ENTRY ||
		    m->value_len > QDB_MAX_DATA;
	if (m->blamed)
		return;
	m->path_len = 0;
	m->entries++;
}

static void take_many(struct wire_many *m, uint8_t byte)
{
	if (m->blamed || m->malformed)
		return;
	if (m->in_value && byte != 0) {
		m->value_len++;
	} else if (m->in_value) {
		end_of_value(m);
	} else if (byte == 0) {
		end_of_path(m);
	} else {
		if (m->path_len < QDB_MAX_PATH - 1)
			m->path[m->path_len] = (char)byte;
		m->path_len++;
	}
}

/* ---- the stream ---- */

static size_t take_header(struct framing *f, const uint8_t *bytes, size_t len)
{
	size_t n = HEADER_SIZE - f->have;

	if (n > len)
		n = len;
	memcpy(f->header + f->have, bytes, n);
	f->have += n;
	if (f->have == HEADER_SIZE)
		memcpy(&f->left, f->header + 68, sizeof(f->left));
	f->has_nul = false;
	memset(&f->many, 0, sizeof(f->many));
	return n;
}

static size_t take_data(struct framing *f, const uint8_t *bytes, size_t len)
{
	const size_t n = f->left < len ? f->left : len;

	f->has_nul |= n > 0 && memchr(bytes, 0, n) != NULL;
	for (size_t i = 0; i < n; i++)
		if (f->header[0] == QDB_CMD_WRITE_MANY)
			take_many(&f->many, bytes[i]);
	f->left -= (uint32_t)n;
	return n;
}

void framing_feed(struct framing *f, const uint8_t *bytes, size_t len,
		  void (*take)(void *context, const struct wire_message *m),
		  void *context)
{
	struct wire_message m;
	size_t n;

	while (len > 0) {
		n = f->have < HEADER_SIZE ? take_header(f, bytes, len)
					  : take_data(f, bytes, len);
		bytes += n;
		len -= n;
		if (f->have < HEADER_SIZE || f->left > 0)
			continue;
		look_at_header(f, &m);
		f->have = 0;
		take(context, &m);
	}
}

bool framing_header(const struct framing *f, struct wire_message *m)
{
	if (f->have < HEADER_SIZE)
		return false;
	look_at_header(f, m);
	return true;
}

bool framing_is_between(const struct framing *f)
{
	return f->have == 0;
}
