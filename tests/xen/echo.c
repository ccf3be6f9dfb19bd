/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The floor under every round trip: libxenvchan alone.
 *
 *   vchan-echo server DOMID PATH COUNT   in dom0: sends COUNT messages, as long as a
 *                                        small WRITE, and waits for each to come back
 *   vchan-echo client DOMID PATH         in the guest: sends back what comes, until the
 *                                        server leaves
 *
 * "server" prints "median_us=N max_us=N". Both use nothing but what an unprivileged guest
 * has: xenbus, evtchn and gntdev (or gntalloc).
 */
#include <libxenvchan.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "timing.h"

#define MESSAGE 80

static int wait_client(struct libxenvchan *vchan)
{
	while (libxenvchan_is_open(vchan) == 2)
		if (libxenvchan_wait(vchan))
			return -1;
	return 0;
}

static int round_trips(struct libxenvchan *vchan, long *took, int count)
{
	char out[MESSAGE], in[MESSAGE];

	memset(out, 'x', sizeof(out));
	for (int i = 0; i < count; i++) {
		long start = now_us();

		if (libxenvchan_send(vchan, out, sizeof(out)) != sizeof(out) ||
		    libxenvchan_recv(vchan, in, sizeof(in)) != sizeof(in) ||
		    memcmp(in, out, sizeof(in)))
			return -1;
		took[i] = now_us() - start;
	}
	return 0;
}

static int server(int domid, const char *path, int count)
{
	struct libxenvchan *vchan =
		libxenvchan_server_init(NULL, domid, path, 4096, 4096);
	long *took = calloc((size_t)count, sizeof(*took));
	int rc = 1;

	if (!vchan || !took) {
		perror("server");
		free(took);
		return 1;
	}
	vchan->blocking = 1;
	puts("listening");
	fflush(stdout);
	if (wait_client(vchan) == 0 && round_trips(vchan, took, count) == 0) {
		print_times(took, count);
		rc = 0;
	}
	libxenvchan_close(vchan);
	free(took);
	return rc;
}

static int client(int domid, const char *path)
{
	struct libxenvchan *vchan = libxenvchan_client_init(NULL, domid, path);
	char message[MESSAGE];
	long count = 0;

	if (!vchan) {
		perror("client");
		return 1;
	}
	vchan->blocking = 1;
	while (libxenvchan_recv(vchan, message, sizeof(message)) == sizeof(message) &&
	       libxenvchan_send(vchan, message, sizeof(message)) == sizeof(message))
		count++;
	libxenvchan_close(vchan);
	printf("echoed %ld\n", count);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "server") && atoi(argv[4]) > 0)
		return server(atoi(argv[2]), argv[3], atoi(argv[4]));
	if (argc == 4 && !strcmp(argv[1], "client"))
		return client(atoi(argv[2]), argv[3]);
	fprintf(stderr, "usage: vchan-echo server DOMID PATH COUNT | vchan-echo client "
			"DOMID PATH\n");
	return 1;
}
