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
}

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
	return n;
}

static size_t take_data(struct framing *f, const uint8_t *bytes, size_t len)
{
	const size_t n = f->left < len ? f->left : len;

	f->has_nul |= n > 0 && memchr(bytes, 0, n) != NULL;
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
