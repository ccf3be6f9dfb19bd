/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The data of a request for many entries. Most of it is as it should be, since the first
 * fault ends the look at it; what then is wrong with it, a script says: an entry that no
 * one may write, a NUL too many or too few, an end that is missing.
 */
#include <string.h>

#include "tests/fuzz/fuzz.h"

struct data {
	uint8_t *bytes;
	size_t len;
	size_t max;
};

static void add(struct data *d, const void *bytes, size_t len)
{
	if (len > d->max - d->len)
		len = d->max - d->len;
	memcpy(d->bytes + d->len, bytes, len);
	d->len += len;
}

static void add_path(struct data *d, struct script *s)
{
	static const char good[] = "/m/abcdefgh";
	const unsigned b = script_byte(s);
	char path[QDB_MAX_PATH];

	if (b < 0x80)
		add(d, good, 4 + b % 8);
	else
		add(d, path, script_path(s, path));
}

static void add_value(struct data *d, struct script *s)
{
	static const uint16_t lengths[] = {255, 1000, QDB_MAX_DATA, QDB_MAX_DATA + 1};
	const unsigned b = script_byte(s);
	uint8_t value[QDB_MAX_DATA + 1];

	memset(value, 'v', sizeof(value));
	if (b < 0xc0)
		add(d, value, b & 0xf);
	else if (b < 0xf0)
		add(d, value, script_bytes(s, value, b & 0xf));
	else
		add(d, value, lengths[b % 4]);
}

static void damage(struct data *d, struct script *s)
{
	const unsigned how = script_byte(s);

	if (how >= 0xf0)
		d->len -= how % 8 < d->len ? how % 8 : d->len;
	else if (how >= 0xe0)
		add(d, "", 1);
	else if (how >= 0xd0)
		add(d, "/end", 4 + (how & 1));
	else if (how >= 0xc0 && d->len > 0)
		d->bytes[script_word(s) % d->len] = (uint8_t)script_byte(s);
}

size_t script_entries(struct script *s, uint8_t *out, size_t max)
{
	struct data d = {out, 0, max};

	for (unsigned n = script_byte(s) % 8; n > 0; n--) {
		add_path(&d, s);
		add(&d, "", 1);
		add_value(&d, s);
		add(&d, "", 1);
	}
	damage(&d, s);
	return d.len;
}
