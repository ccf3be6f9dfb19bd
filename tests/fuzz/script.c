/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

_Noreturn void fuzz_fail(const char *file, int line, const char *condition)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
	abort();
}

unsigned script_byte(struct script *s)
{
	return s->at < s->end ? *s->at++ : 0;
}

uint32_t script_word(struct script *s)
{
	uint32_t word = 0;

	for (int i = 0; i < 4; i++)
		word |= (uint32_t)script_byte(s) << 8 * i;
	return word;
}

size_t script_bytes(struct script *s, uint8_t *out, size_t max)
{
	size_t n = (size_t)(s->end - s->at);

	if (n > max)
		n = max;
	memcpy(out, s->at, n);
	s->at += n;
	return n;
}

bool script_is_over(const struct script *s)
{
	return s->at == s->end;
}

static const char *const paths[] = {
	"",
	"/",
	"/a",
	"/b",
	"/a/",
	"/a/b",
	"/a/c",
	"/a/b/",
	"/a/b/c",
	"/d/e/f",
	"/d/",
	"/d/e/",
	"//x",
	"/qubes-service/cups",
	"/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
	"@qdb:1:go",
	"@qdb:1:00000000000000d0:fresh",
	"@qdb:1:00000000000000d0:0",
	"@qdb:1:00000000000000d0:1",
	"@qdb:1:00000000000000d1:2",
	"@qdb:1:ffffffffffffffff:ffffffffffffffff",
	"@qdb:2:x",
	"-x",
	"rel",
	"@qdb:1:got",
	"@qdb:1:news",
};
#define PATHS (sizeof(paths) / sizeof(paths[0]))

/* Where what is allowed in a path begins and ends. */
static const char edges[] = ",-./:;?@AZ[^_`az{ 09";

/* Up to 64 bytes, which then have no NUL behind them. */
static size_t choose_path(struct script *s, uint8_t field[QDB_MAX_PATH])
{
	const unsigned b = script_byte(s);
	size_t len;

	memset(field, 0, QDB_MAX_PATH);
	if (b >= 0xbf)
		return script_bytes(s, field, b - 0xbf);
	len = strlen(paths[b % PATHS]);
	memcpy(field, paths[b % PATHS], len);
	if (b >= 0x90 && len < QDB_MAX_PATH - 1)
		field[len++] = (uint8_t)edges[script_byte(s) % (sizeof(edges) - 1)];
	return len;
}

/* More often than the paths of entries, which mean nothing to these requests. */
static void choose_word(struct script *s, uint8_t type, uint8_t field[QDB_MAX_PATH])
{
	static const char *const sections[] = {"@", "@/clients/", "@/clients/1/",
					       "@/quota/"};
	static const char *const switches[] = {"on", "off", "on", "o"};
	const unsigned b = script_byte(s);

	memset(field, 0, QDB_MAX_PATH);
	if (b < 0xc0)
		strcpy((char *)field,
		       (type == QDB_CMD_STATUS ? sections : switches)[b % 4]);
	else
		choose_path(s, field);
}

size_t script_path(struct script *s, char path[QDB_MAX_PATH])
{
	choose_path(s, (uint8_t *)path);
	path[QDB_MAX_PATH - 1] = '\0';
	return strlen(path);
}

/* Returns how much of the data follows, and in *claimed how much the header tells of. */
static size_t choose_data(struct script *s, uint8_t *data, uint32_t *claimed)
{
	static const uint16_t lengths[] = {0, 0, 0, 1, 255, 3070, 3071, 3072, 4000};
	const unsigned b = script_byte(s);
	size_t len;

	if (b < 0x40)
		len = script_bytes(s, data, b & 0xf);
	else
		len = lengths[b % (sizeof(lengths) / sizeof(lengths[0]))];
	if (b >= 0x40)
		memset(data, 'v', len);
	*claimed = b < 0xf0 ? (uint32_t)len : script_word(s);
	return len;
}

/* Those of deployed peers, those that are ours alone, and unknown ones. */
static uint8_t choose_type(unsigned byte)
{
	static const uint8_t ours[] = {QDB_CMD_STATUS,
				       QDB_CMD_TRACE,
				       QDB_CMD_STATUS,
				       QDB_RESP_STATUS,
				       14,
				       15,
				       63};

	if (byte >= 0xe0)
		return (uint8_t)byte;
	if ((byte & 0xf) == 0xf)
		return ours[(byte >> 4) % sizeof(ours)];
	return (byte & 0xf) == 0xe ? QDB_CMD_WRITE_MANY : (uint8_t)(byte & 0xf);
}

static size_t choose_entries(struct script *s, uint8_t out[REQUEST_SIZE],
			     uint32_t *claimed)
{
	const unsigned how = script_byte(s);
	size_t len;

	memset(out + 1, 0, QDB_MAX_PATH);
	if (how >= 0xf8)
		choose_path(s, out + 1);
	len = script_entries(s, out + HEADER_SIZE, REQUEST_SIZE - HEADER_SIZE);
	*claimed = how < 0xf0 ? (uint32_t)len : script_word(s);
	return len;
}

size_t script_message(struct script *s, uint8_t out[REQUEST_SIZE])
{
	const unsigned type = script_byte(s);
	uint32_t claimed;
	size_t len;

	out[0] = choose_type(type);
	memset(out + 65, type < 0x80 ? 0 : 0xa5, 3);
	if (out[0] == QDB_CMD_WRITE_MANY) {
		len = choose_entries(s, out, &claimed);
	} else {
		if (out[0] == QDB_CMD_STATUS || out[0] == QDB_CMD_TRACE)
			choose_word(s, out[0], out + 1);
		else
			choose_path(s, out + 1);
		len = choose_data(s, out + HEADER_SIZE, &claimed);
	}
	memcpy(out + 68, &claimed, sizeof(claimed));
	return HEADER_SIZE + len;
}
