/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/statetail.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "daemon/aside.h"
#include "daemon/statelog.h"
#include "protocol/number.h"

#define HEADER 16
#define STEP (64 * 1024)

/* More than this is not kept when an epoch begins. */
#define KEPT (8 * STEP)

struct header {
	uint64_t sum;
	uint32_t len;
	uint32_t tag;
};

static uint64_t seed_of(const struct statetail *t, uint64_t epoch)
{
	return statelog_checksum(t->seed, &epoch, sizeof(epoch));
}

static uint32_t tag_of(uint64_t seed)
{
	return (uint32_t)seed;
}

static uint64_t sum_of(uint64_t seed, off_t at, const uint8_t *bytes, size_t len)
{
	const uint64_t place = (uint64_t)at;

	return statelog_checksum(statelog_checksum(seed, &place, sizeof(place)), bytes,
				 len);
}

static off_t end_of(off_t at, size_t len)
{
	return at + HEADER + (off_t)((len + HEADER - 1) / HEADER * HEADER);
}

/* ---- the file ---- */

static int open_file(struct statetail *t, const char *path, int flags)
{
	char name[PATH_MAX];
	struct stat there;
	int r = 0;

	snprintf(name, sizeof(name), "%s%s", path, TAIL_SUFFIX);
	t->fd = open(name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags, 0600);
	if (t->fd < 0)
		return -errno;
	if (!aside_is_ordinary(t->fd))
		r = -EPERM;
	else if (fstat(t->fd, &there) < 0)
		r = -errno;
	if (r < 0) {
		statetail_close(t);
		return r;
	}
	t->size = there.st_size;
	t->at = 0;
	return 0;
}

int statetail_open(struct statetail *t, const char *path)
{
	return open_file(t, path, 0);
}

static int resize(struct statetail *t, off_t size)
{
	if (ftruncate(t->fd, size) < 0)
		return -errno;
	t->size = size;
	return 0;
}

static int make_blank(struct statetail *t)
{
	int r = fchmod(t->fd, 0600) < 0 ? -errno : resize(t, 0);

	return r < 0 ? r : resize(t, STEP);
}

int statetail_create(struct statetail *t, const char *path)
{
	int r = open_file(t, path, O_CREAT);

	if (r < 0)
		return r;
	r = make_blank(t);
	if (r < 0)
		statetail_close(t);
	return r;
}

void statetail_close(struct statetail *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

/* ---- reading ---- */

/* All of `len` bytes. -EBADMSG: there are not so many. */
static int read_at(const struct statetail *t, off_t at, uint8_t *out, size_t len)
{
	ssize_t n;

	for (; len > 0; out += n, at += n, len -= (size_t)n) {
		n = pread(t->fd, out, len, at);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EBADMSG;
		n = MAX(n, 0);
	}
	return 0;
}

static struct header decode(const uint8_t *bytes)
{
	return (struct header){
		.sum = number_get(bytes, 8),
		.len = (uint32_t)number_get(bytes + 8, 4),
		.tag = (uint32_t)number_get(bytes + 12, 4),
	};
}

/* What is there has gone on behind the end of the file, or was never a piece. */
static bool is_cut(const struct statetail *t, off_t at, const struct header *h)
{
	return h->len > STATELOG_MAX_PIECE || end_of(at, h->len) + HEADER > t->size;
}

static void free_piece(uint8_t *bytes, size_t len)
{
	if (bytes)
		explicit_bzero(bytes, len);
	free(bytes);
}

/*
 * The bytes of a piece of this epoch, to be freed by free_piece(), or NULL in *bytes if
 * they are not those that were written. 0 or a negative errno.
 */
static int read_piece(const struct statetail *t, off_t at, const struct header *h,
		      uint64_t seed, uint8_t **bytes)
{
	int r;

	*bytes = malloc(h->len + 1);
	if (!*bytes)
		return -ENOMEM;
	r = read_at(t, at + HEADER, *bytes, h->len);
	if (r == 0 && h->sum == sum_of(seed, at, *bytes, h->len))
		return 0;
	free_piece(*bytes, h->len);
	*bytes = NULL;
	return r;
}

/* Whether there is a valid piece: 1, 0, or a negative errno. */
static int is_piece(const struct statetail *t, off_t at, const struct header *h,
		    uint64_t seed)
{
	uint8_t *bytes;
	int r;

	if (h->tag != tag_of(seed) || is_cut(t, at, h))
		return 0;
	r = read_piece(t, at, h, seed, &bytes);
	free_piece(bytes, h->len);
	return r < 0 ? r : bytes != NULL;
}

static int find_piece_after(const struct statetail *t, off_t at)
{
	uint8_t bytes[4096];
	struct header h;
	int r = 0;

	for (at += HEADER; at < t->size && r == 0; at += (off_t)sizeof(bytes)) {
		const size_t len = (size_t)MIN((off_t)sizeof(bytes), t->size - at);

		r = read_at(t, at, bytes, len);
		for (size_t i = 0; i + HEADER <= len && r == 0; i += HEADER) {
			h = decode(bytes + i);
			r = is_piece(t, at + (off_t)i, &h, t->epoch);
		}
	}
	return r;
}

/* 1: there was a piece, and `at` is behind it; 0: there is none; or a negative errno. */
static int take_piece(struct statetail *t, int (*take)(const uint8_t *, size_t, void *),
		      void *context)
{
	uint8_t header[HEADER], *bytes;
	struct header h;
	int r = read_at(t, t->at, header, sizeof(header));

	if (r < 0)
		return r;
	h = decode(header);
	if (h.tag != tag_of(t->epoch))
		return 0;
	if (is_cut(t, t->at, &h))
		return -EBADMSG;
	r = read_piece(t, t->at, &h, t->epoch, &bytes);
	if (r < 0 || !bytes)
		return r;
	if (h.len > 0)
		r = take(bytes, h.len, context);
	free_piece(bytes, h.len);
	t->at = end_of(t->at, h.len);
	return r == 0 ? 1 : r == -ENOMEM ? r : -EBADMSG;
}

static bool is_blank(const uint8_t *header)
{
	static const uint8_t zeros[HEADER];

	return memcmp(header, zeros, HEADER) == 0;
}

/*
 * Of this epoch, whose first piece is empty: 1. Of the one before: 0, the daemon was
 * killed between the snapshot and the beginning of the epoch; or as it made the file.
 */
static int has_begun(const struct statetail *t, uint64_t epoch, bool blank)
{
	uint8_t header[HEADER];
	struct header h;
	int r = read_at(t, 0, header, sizeof(header));

	if (blank && (t->size == 0 || (r == 0 && is_blank(header))))
		return 0;
	if (r < 0 || t->size % STEP != 0)
		return r < 0 ? r : -EBADMSG;
	h = decode(header);
	if (h.len != 0)
		return -EBADMSG;
	r = is_piece(t, 0, &h, t->epoch);
	if (r != 0)
		return r;
	r = is_piece(t, 0, &h, seed_of(t, epoch - 1));
	return r == 0 ? -EBADMSG : MIN(r, 0);
}

int statetail_read(struct statetail *t, uint64_t epoch, bool blank,
		   int (*take)(const uint8_t *, size_t, void *), void *context)
{
	int r;

	t->at = 0;
	t->epoch = seed_of(t, epoch);
	r = has_begun(t, epoch, blank);
	if (r <= 0)
		return r;
	do
		r = take_piece(t, take, context);
	while (r > 0);
	if (r == 0)
		r = find_piece_after(t, t->at);
	return r > 0 ? -EBADMSG : r;
}

/* ---- writing ---- */

static int write_at(const struct statetail *t, off_t at, struct iovec part[2])
{
	ssize_t n;

	while (part[0].iov_len + part[1].iov_len > 0) {
		n = pwritev(t->fd, part, 2, at);
		if (n == 0 || (n < 0 && errno != EINTR))
			return n < 0 ? -errno : -EIO;
		at += MAX(n, 0);
		for (int i = 0; i < 2 && n > 0; i++) {
			const size_t done = MIN((size_t)n, part[i].iov_len);

			part[i].iov_base = (uint8_t *)part[i].iov_base + done;
			part[i].iov_len -= done;
			n -= (ssize_t)done;
		}
	}
	return 0;
}

static int make_room(struct statetail *t, off_t end)
{
	if (end + HEADER <= t->size)
		return 0;
	return resize(t, (end + HEADER + STEP - 1) / STEP * STEP);
}

static int put(struct statetail *t, const uint8_t *bytes, size_t len)
{
	const off_t end = end_of(t->at, len);
	uint8_t header[HEADER];
	struct iovec part[2] = {{header, HEADER}, {(void *)bytes, len}};
	int r = make_room(t, end);

	number_put(header, sum_of(t->epoch, t->at, bytes, len), 8);
	number_put(header + 8, len, 4);
	number_put(header + 12, tag_of(t->epoch), 4);
	if (r == 0)
		r = write_at(t, t->at, part);
	if (r == 0 && t->sync && fdatasync(t->fd) < 0)
		r = -errno;
	if (r == 0)
		t->at = end;
	return r;
}

int statetail_begin(struct statetail *t, uint64_t epoch)
{
	int r = t->size > KEPT ? resize(t, KEPT) : 0;

	t->at = 0;
	t->epoch = seed_of(t, epoch);
	return r < 0 ? r : put(t, NULL, 0);
}

int statetail_append(struct statetail *t, const uint8_t *bytes, size_t len)
{
	return put(t, bytes, len);
}
