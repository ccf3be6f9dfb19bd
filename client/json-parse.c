/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The JSON that json_print() writes, and what a person or another program makes of it:
 * one object whose members are strings or {"hex": "..."}. Nothing in it nests any deeper,
 * so neither does the parser. Strings are decoded in place, where they never become
 * longer.
 */
#include <string.h>

#include "client/json.h"

struct reader {
	struct source *s;
	char *at, *end;
};

static char peek(struct reader *r)
{
	for (; r->at < r->end && strchr(" \t\r\n", *r->at) && *r->at; r->at++)
		if (*r->at == '\n')
			r->s->line++;
	return r->at < r->end ? *r->at : '\0';
}

static bool skip(struct reader *r, char wanted)
{
	if (peek(r) != wanted)
		return false;
	r->at++;
	return true;
}

/* The four digits after "\u". */
static bool take_unit(struct reader *r, unsigned int *unit)
{
	char high, low;

	if (r->end - r->at < 6 || r->at[0] != '\\' || r->at[1] != 'u' ||
	    !source_hex(r->at + 2, &high) || !source_hex(r->at + 4, &low))
		return false;
	*unit = (unsigned int)(unsigned char)high << 8 | (unsigned char)low;
	r->at += 6;
	return true;
}

static char *put_utf8(char *out, unsigned int code)
{
	if (code < 0x80) {
		*out++ = (char)code;
		return out;
	}
	if (code < 0x800) {
		*out++ = (char)(0xc0 | code >> 6);
	} else if (code < 0x10000) {
		*out++ = (char)(0xe0 | code >> 12);
		*out++ = (char)(0x80 | (code >> 6 & 0x3f));
	} else {
		*out++ = (char)(0xf0 | code >> 18);
		*out++ = (char)(0x80 | (code >> 12 & 0x3f));
		*out++ = (char)(0x80 | (code >> 6 & 0x3f));
	}
	*out++ = (char)(0x80 | (code & 0x3f));
	return out;
}

static bool take_code(struct reader *r, char **out)
{
	unsigned int code, low;

	if (!take_unit(r, &code))
		return source_fault(r->s, "\\u without four hexadecimal digits");
	if (code >= 0xd800 && code < 0xe000) {
		if (code >= 0xdc00 || !take_unit(r, &low) || low < 0xdc00 ||
		    low >= 0xe000)
			return source_fault(r->s, "half of a surrogate pair");
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	*out = put_utf8(*out, code);
	return true;
}

static bool take_escape(struct reader *r, char **out)
{
	static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	const char *found;

	if (r->end - r->at < 2 || r->at[1] == 'u')
		return take_code(r, out);
	found = r->at[1] ? strchr(letters, r->at[1]) : NULL;
	if (!found)
		return source_fault(r->s, "an escape that JSON does not have");
	*(*out)++ = meanings[found - letters];
	r->at += 2;
	return true;
}

static bool take_character(struct reader *r, char **out)
{
	size_t len = json_utf8(r->at, (size_t)(r->end - r->at));

	if (*r->at == '\\')
		return take_escape(r, out);
	if (len == 0)
		return source_fault(r->s, "a byte that is not UTF-8: use {\"hex\": ...}");
	if ((unsigned char)*r->at < 0x20)
		return source_fault(r->s, "a control character, or a missing '\"'");
	memmove(*out, r->at, len);
	*out += len;
	r->at += len;
	return true;
}

static bool take_string(struct reader *r, struct span *string, const char *expected)
{
	char *out;

	if (!skip(r, '"'))
		return source_fault(r->s, expected);
	string->at = out = r->at;
	while (r->at < r->end && *r->at != '"')
		if (!take_character(r, &out))
			return false;
	string->len = (size_t)(out - string->at);
	return skip(r, '"') || source_fault(r->s, "the text ends inside a string");
}

static bool decode_hex(struct reader *r, struct span *value)
{
	char *out = value->at;

	if (value->len % 2 != 0)
		return source_fault(r->s, "an odd number of hexadecimal digits");
	for (size_t i = 0; i < value->len; i += 2)
		if (!source_hex(value->at + i, out++))
			return source_fault(r->s, "not a hexadecimal digit");
	value->len /= 2;
	return true;
}

static bool take_value(struct reader *r, struct span *value)
{
	static const char expected[] = "expected a string or {\"hex\": \"...\"}";
	struct span key;

	if (!skip(r, '{'))
		return take_string(r, value, expected);
	if (!take_string(r, &key, expected))
		return false;
	if (key.len != 3 || memcmp(key.at, "hex", 3) != 0 || !skip(r, ':'))
		return source_fault(r->s, expected);
	if (!take_string(r, value, expected) || !decode_hex(r, value))
		return false;
	return skip(r, '}') || source_fault(r->s, expected);
}

static bool take_member(struct reader *r, struct entries *e)
{
	struct span path, value;

	if (!take_string(r, &path, "expected a path in '\"'"))
		return false;
	if (!skip(r, ':'))
		return source_fault(r->s, "expected ':' after the path");
	return take_value(r, &value) && source_add(r->s, e, path, value);
}

static bool take_object(struct reader *r, struct entries *e)
{
	if (!skip(r, '{'))
		return source_fault(r->s, "expected '{'");
	if (skip(r, '}'))
		return true;
	do {
		if (!take_member(r, e))
			return false;
	} while (skip(r, ','));
	return skip(r, '}') || source_fault(r->s, "expected ',' or '}'");
}

bool json_parse(struct source *s, struct entries *e)
{
	struct reader r = {s, s->text, s->text + s->len};

	if (!take_object(&r, e))
		return false;
	peek(&r);
	return r.at == r.end || source_fault(s, "something follows the last '}'");
}
