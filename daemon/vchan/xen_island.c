/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Save and restore takes a guest's mappings of dom0's memory away: the grants are void
 * afterwards. A page of the page table that holds such a mapping cannot be saved, so
 * everything in the same 2 MiB of the address space is lost with it; were that the heap
 * or a library, the process would die of it. So a ring is mapped in 2 MiB of its own.
 *
 * Where the library maps a ring cannot be told to it. But Linux takes the highest gap
 * that is large enough, so all higher ones are filled before, and the 2 MiB afterwards.
 *
 * In a PV guest the first touch of a lost ring raises SIGBUS. Its handler has to tell the
 * kernel not to clear a byte of the ring when it is unmapped, for the kernel would fault
 * itself; then it puts empty pages in place of the ring, which read as one that is
 * closed. In a PVH guest the caller has to find out, and xen_island_sink() does the same.
 */
#include "daemon/vchan/xen_island.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <xen/sys/gntdev.h>

#define ISLAND_SIZE ((size_t)2 << 20)
#define PAGE_SIZE ((size_t)4096)

/* Gaps this large and half as large are filled first, then ever smaller ones. */
#define LARGEST_GAP ((size_t)4 << 20)

/* Those that hold a ring. */
static struct xen_island *inhabited;

static void *map(void *where, size_t len, int protection, int flags)
{
	return mmap(where, len, protection,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
}

static bool holds(const struct xen_island *i, const void *p)
{
	const uintptr_t base = (uintptr_t)i->base;

	return (uintptr_t)p >= base && (uintptr_t)p < base + ISLAND_SIZE;
}

static bool sink(struct xen_island *i)
{
	struct ioctl_gntdev_unmap_notify silent = {.index = i->ring_index};

	i->sunk = true;
	return ioctl(i->gntdev, IOCTL_GNTDEV_SET_UNMAP_NOTIFY, &silent) == 0 &&
	       map(i->base, ISLAND_SIZE, PROT_READ | PROT_WRITE, MAP_FIXED) != MAP_FAILED;
}

void xen_island_sink(struct xen_island *i)
{
	const struct xen_island *one = inhabited;

	while (one && one != i)
		one = one->next;
	if (one && !i->sunk)
		sink(i);
}

/* What cannot be mended happens again at once, and then is fatal. */
static void on_fault(int signal, siginfo_t *info, void *context)
{
	const struct sigaction fatal = {.sa_handler = SIG_DFL};
	struct xen_island *i = inhabited;
	const int saved = errno;

	(void)context;
	while (i && !holds(i, info->si_addr))
		i = i->next;
	if (!i || i->sunk || !sink(i))
		sigaction(signal, &fatal, NULL);
	errno = saved;
}

/* 2 MiB, aligned, out of three times as much. */
static int reserve(struct xen_island *i)
{
	char *sea = map(NULL, 3 * ISLAND_SIZE, PROT_NONE, 0);
	size_t before;

	if (sea == MAP_FAILED)
		return -errno;
	before = -(uintptr_t)sea % ISLAND_SIZE;
	if (before > 0)
		munmap(sea, before);
	i->base = sea + before;
	munmap(i->base + ISLAND_SIZE, 2 * ISLAND_SIZE - before);
	return 0;
}

static void fill_gaps_above(const struct xen_island *i)
{
	for (size_t len = LARGEST_GAP; len >= PAGE_SIZE; len /= 2) {
		char *filling = map(NULL, len, PROT_NONE, 0);

		while (filling != MAP_FAILED && filling > i->base)
			filling = map(NULL, len, PROT_NONE, 0);
		if (filling != MAP_FAILED)
			munmap(filling, len);
	}
}

int xen_island_open(struct xen_island *i)
{
	int r = i->base ? 0 : reserve(i);

	if (r < 0)
		return r;
	fill_gaps_above(i);
	return munmap(i->base, ISLAND_SIZE) < 0 ? -errno : 0;
}

static bool is_page_of(const struct libxenvchan *ring, const char *page)
{
	return (const char *)ring->ring == page || ring->read.buffer == page ||
	       ring->write.buffer == page;
}

static void close_hole(struct xen_island *i, const struct libxenvchan *ring)
{
	char *start = i->base, *end = i->base + ISLAND_SIZE;

	for (char *page = start; page < end; page += PAGE_SIZE) {
		if (!is_page_of(ring, page))
			continue;
		if (page > start)
			map(start, (size_t)(page - start), PROT_NONE, MAP_FIXED);
		start = page + PAGE_SIZE;
	}
	if (start < end)
		map(start, (size_t)(end - start), PROT_NONE, MAP_FIXED);
}

static int watch_for_faults(struct xen_island *i, const struct libxenvchan *ring)
{
	struct ioctl_gntdev_get_offset_for_vaddr where = {.vaddr = (uintptr_t)ring->ring};
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

	i->gntdev = xengnttab_fd(ring->gnttab);
	if (ioctl(i->gntdev, IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR, &where) < 0)
		return -errno;
	i->ring_index = where.offset;
	i->next = inhabited;
	inhabited = i;
	return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

int xen_island_settle(struct xen_island *i, const struct libxenvchan *ring)
{
	i->sunk = false;
	close_hole(i, ring);
	if (!holds(i, ring->ring) || !holds(i, ring->read.buffer) ||
	    !holds(i, ring->write.buffer))
		return -ENOSPC;
	return watch_for_faults(i, ring);
}

void xen_island_clear(struct xen_island *i)
{
	struct xen_island **link = &inhabited;

	if (!i->base)
		return;
	while (*link && *link != i)
		link = &(*link)->next;
	if (*link)
		*link = i->next;
	map(i->base, ISLAND_SIZE, PROT_NONE, MAP_FIXED);
}
