/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/walcheck.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEADER_SIZE 32
#define FRAME_HEADER_SIZE 24
#define MAX_PAGE_SIZE 65536u
#define MIN_PAGE_SIZE 512u

/* The lowest bit tells in which order of bytes the checksums read words. */
#define MAGIC 0x377f0682u

/* Commits that end behind the first invalid frame, in a log that is not damaged. */
#define COMMITS_UNDER_WAY 1

struct wal {
	int fd;
	off_t at;
	bool low_byte_first;
	size_t page_size;
	uint8_t salts[8];
	uint32_t sums[2];
	uint8_t frame[FRAME_HEADER_SIZE + MAX_PAGE_SIZE];
};

static uint32_t number(const uint8_t *in)
{
	return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 |
	       in[3];
}

static uint32_t word(const struct wal *l, const uint8_t *in)
{
	const uint8_t turned[] = {in[3], in[2], in[1], in[0]};

	return number(l->low_byte_first ? turned : in);
}

static void add(struct wal *l, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i += 8) {
		l->sums[0] += word(l, bytes + i) + l->sums[1];
		l->sums[1] += word(l, bytes + i + 4) + l->sums[0];
	}
}

static bool is_sum(const struct wal *l, const uint8_t *stored)
{
	return number(stored) == l->sums[0] && number(stored + 4) == l->sums[1];
}

/* As much of these bytes as there is, or -1. */
static ssize_t take(struct wal *l, size_t size)
{
	size_t taken = 0;
	ssize_t n;

	while (taken < size) {
		n = pread(l->fd, l->frame + taken, size - taken, l->at + (off_t)taken);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		taken += (size_t)n;
	}
	l->at += (off_t)taken;
	return (ssize_t)taken;
}

static bool is_header(struct wal *l)
{
	const uint8_t *h = l->frame;

	l->low_byte_first = (number(h) & 1) == 0;
	l->page_size = number(h + 8);
	memcpy(l->salts, h + 16, sizeof(l->salts));
	add(l, h, FRAME_HEADER_SIZE);
	return (number(h) & ~1u) == MAGIC && is_sum(l, h + 24) &&
	       l->page_size >= MIN_PAGE_SIZE && l->page_size <= MAX_PAGE_SIZE &&
	       (l->page_size & (l->page_size - 1)) == 0;
}

/* Of this log, and not of the one before, whose space it uses again. */
static bool is_current(const struct wal *l)
{
	return memcmp(l->frame + 8, l->salts, sizeof(l->salts)) == 0;
}

static bool is_commit(const struct wal *l)
{
	return number(l->frame + 4) != 0;
}

static bool is_valid(struct wal *l)
{
	add(l, l->frame, 8);
	add(l, l->frame + FRAME_HEADER_SIZE, l->page_size);
	return is_current(l) && is_sum(l, l->frame + 16);
}

/* It got its size before anything was written to it. */
static bool is_blank(const struct wal *l)
{
	static const uint8_t zeros[HEADER_SIZE];

	return memcmp(l->frame, zeros, sizeof(zeros)) == 0;
}

static enum statefile_result check(struct wal *l, bool *is_there)
{
	unsigned commits = 0;
	bool is_behind = false;
	ssize_t n = take(l, HEADER_SIZE);

	if (n > 0 && n < HEADER_SIZE)
		return STATEFILE_DAMAGED;
	if (n <= 0 || is_blank(l))
		return n < 0 ? STATEFILE_FAILED : STATEFILE_FINE;
	if (!is_header(l))
		return STATEFILE_DAMAGED;
	while ((n = take(l, FRAME_HEADER_SIZE + l->page_size)) >= FRAME_HEADER_SIZE) {
		is_behind = is_behind ||
			    n < (ssize_t)(FRAME_HEADER_SIZE + l->page_size) ||
			    !is_valid(l);
		if (is_behind && is_current(l) && is_commit(l))
			commits++;
	}
	if (n < 0)
		return STATEFILE_FAILED;
	*is_there = true;
	return l->at < WAL_SIZE || commits > COMMITS_UNDER_WAY ? STATEFILE_DAMAGED
							       : STATEFILE_FINE;
}

enum statefile_result walcheck(const char *path, bool *is_there)
{
	enum statefile_result result;
	struct wal *l;
	char name[PATH_MAX];
	int error;

	*is_there = false;
	snprintf(name, sizeof(name), "%s-wal", path);
	l = calloc(1, sizeof(*l));
	if (!l)
		return STATEFILE_FAILED;
	l->fd = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (l->fd < 0) {
		result = errno == ENOENT ? STATEFILE_FINE : STATEFILE_FAILED;
		free(l);
		return result;
	}
	result = check(l, is_there);
	error = errno;
	close(l->fd);
	free(l);
	errno = error;
	return result;
}
