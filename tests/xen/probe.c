/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a vchan's ends are told, and what a guest may ask of the hypervisor. README lists
 * the answers; the scenarios keep them true.
 *
 *   vchan-probe hypercalls             "evtchn_status=RC/errno domain_info=RC/errno"
 *   vchan-probe server DOMID PATH      publishes a vchan, then prints "open=N ready=N"
 * first and after vchan-probe client DOMID PATH      each event; SIGUSR1 makes it look,
 * SIGTERM makes it leave
 */
#include <errno.h>
#include <libxenvchan.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xen/sys/gntdev.h>
#include <xenctrl.h>
#include <xenstore.h>

#define ISLAND (2 << 20)

static volatile sig_atomic_t leave;

static void on_signal(int signal)
{
	if (signal == SIGTERM)
		leave = 1;
}

/*
 * Save and restore takes a client's ring away: the grant is void afterwards, and xl save
 * drops the whole page of the page table that held the mapping, that is everything in the
 * same 2 MiB. So the client keeps its mappings 2 MiB apart from all else, and puts empty
 * pages in their place at the first fault: they read as a closed vchan. Before that the
 * kernel must be told not to clear a byte of the ring at unmapping; it would fault
 * itself.
 */
static char *island;
static int gntdev;
static volatile sig_atomic_t restored;
static uint64_t ring_index;

static void on_fault(int signal)
{
	struct ioctl_gntdev_unmap_notify silent = {.index = ring_index};

	(void)signal;
	restored = 1;
	if (ioctl(gntdev, IOCTL_GNTDEV_SET_UNMAP_NOTIFY, &silent) < 0 ||
	    mmap(island, ISLAND, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		_exit(2);
}

static struct libxenvchan *connect_to(int domid, int port)
{
	struct xs_handle *store = xs_open(0);
	char *own = store ? xs_read(store, XBT_NULL, "domid", NULL) : NULL;
	struct libxenvchan *vchan;
	char path[64];

	snprintf(path, sizeof(path), "/local/domain/%d/data/vchan/%s/%d", domid,
		 own ? own : "", port);
	vchan = libxenvchan_client_init(NULL, domid, path);
	free(own);
	xs_close(store);
	return vchan;
}

static struct libxenvchan *client(int domid, int port)
{
	char *sea = mmap(NULL, 3 * ISLAND, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct ioctl_gntdev_get_offset_for_vaddr where = {0};
	struct sigaction action = {.sa_handler = on_fault};
	struct libxenvchan *vchan = NULL;

	island = (char *)(((uintptr_t)sea + ISLAND - 1) & ~((uintptr_t)ISLAND - 1));
	munmap(island, ISLAND);
	for (int turn = 0; turn < 300 && !vchan; turn++) {
		if (turn)
			usleep(100000);
		vchan = connect_to(domid, port);
	}
	if (!vchan)
		return NULL;
	printf("island=%p ring=%p read=%p write=%p\n", (void *)island,
	       (void *)vchan->ring, vchan->read.buffer, vchan->write.buffer);
	gntdev = xengnttab_fd(vchan->gnttab);
	where.vaddr = (uintptr_t)vchan->ring;
	ioctl(gntdev, IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR, &where);
	ring_index = where.offset;
	sigaction(SIGBUS, &action, NULL);
	return vchan;
}

static void show(struct libxenvchan *vchan, int events)
{
	if (events > 0 && libxenvchan_wait(vchan) < 0)
		printf("wait failed: %s\n", strerror(errno));
	printf("%s open=%d ready=%d\n", events > 0 ? "event" : "look",
	       libxenvchan_is_open(vchan), libxenvchan_data_ready(vchan));
}

static int hypercalls(void)
{
	xc_interface *xc = xc_interface_open(NULL, NULL, 0);
	xc_evtchn_status_t status = {.dom = DOMID_SELF, .port = 1};
	xc_domaininfo_t info;
	int rc;

	if (!xc) {
		printf("open=-1/%s\n", strerror(errno));
		return 0;
	}
	rc = xc_evtchn_status(xc, &status);
	printf("evtchn_status=%d/%s ", rc, rc < 0 ? strerror(errno) : "none");
	rc = xc_domain_getinfolist(xc, 0, 1, &info);
	printf("domain_info=%d/%s\n", rc, rc < 0 ? strerror(errno) : "none");
	xc_interface_close(xc);
	return 0;
}

static int follow(struct libxenvchan *vchan)
{
	struct pollfd event = {.events = POLLIN};
	sigset_t none;

	sigemptyset(&none);
	if (!vchan) {
		printf("failed: %s\n", strerror(errno));
		return 1;
	}
	vchan->blocking = 0;
	event.fd = libxenvchan_fd_for_select(vchan);
	while (!leave && !restored) {
		show(vchan, poll(&event, 1, 0));
		fflush(stdout);
		if (!restored)
			ppoll(&event, 1, NULL, &none);
	}
	if (restored)
		vchan->event = NULL;
	libxenvchan_close(vchan);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};

	sigset_t waited_for;

	sigemptyset(&waited_for);
	sigaddset(&waited_for, SIGUSR1);
	sigaddset(&waited_for, SIGTERM);
	sigprocmask(SIG_BLOCK, &waited_for, NULL);
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (argc == 2 && !strcmp(argv[1], "hypercalls"))
		return hypercalls();
	if (argc == 4 && !strcmp(argv[1], "server"))
		return follow(libxenvchan_server_init(NULL, atoi(argv[2]), argv[3], 4096,
						      4096));
	if (argc == 4 && !strcmp(argv[1], "client")) {
		int rc;

		do {
			restored = 0;
			rc = follow(client(atoi(argv[2]), atoi(argv[3])));
		} while (restored);
		return rc;
	}
	fprintf(stderr, "usage: vchan-probe hypercalls | server DOMID PATH | client "
			"DOMID PATH\n");
	return 1;
}
