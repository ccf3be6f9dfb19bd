/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A peer that connects and closes, again and again, with libxenvchan alone.
 *
 *   vchan-churn server DOMID PATH COUNT   publishes a vchan, closes it when a client
 *                                         is there
 *   vchan-churn client DOMID PATH COUNT   connects when a new one is published, and
 *                                         closes
 */
#include <errno.h>
#include <libxenvchan.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

static int serve_once(int domid, const char *path)
{
	struct libxenvchan *vchan =
		libxenvchan_server_init(NULL, domid, path, 4096, 4096);

	if (!vchan)
		return -1;
	while (libxenvchan_is_open(vchan) == 2)
		if (libxenvchan_wait(vchan) < 0)
			return -1;
	libxenvchan_close(vchan);
	return 0;
}

/* A ring that was closed is not connected to again: its server may not have noticed. */
static int connect_once(struct xs_handle *store, int domid, const char *path)
{
	static char last[16];
	struct libxenvchan *vchan = NULL;
	char key[128], *port;
	unsigned n;

	snprintf(key, sizeof(key), "%s/event-channel", path);
	if (!xs_watch(store, key, ""))
		return -1;
	while (!vchan) {
		free(xs_read_watch(store, &n));
		port = xs_read(store, XBT_NULL, key, NULL);
		if (port && strcmp(port, last) != 0)
			vchan = libxenvchan_client_init(NULL, domid, path);
		snprintf(last, sizeof(last), "%s", port ? port : "");
		free(port);
	}
	xs_unwatch(store, key, "");
	libxenvchan_close(vchan);
	return 0;
}

int main(int argc, char **argv)
{
	struct xs_handle *store = xs_open(0);

	if (argc != 5 || !store) {
		fprintf(stderr, "usage: vchan-churn server|client DOMID PATH COUNT\n");
		return 1;
	}
	for (int i = 0; i < atoi(argv[4]); i++) {
		const int domid = atoi(argv[2]);

		if ((strcmp(argv[1], "server") == 0
			     ? serve_once(domid, argv[3])
			     : connect_once(store, domid, argv[3])) < 0) {
			fprintf(stderr, "vchan-churn: turn %d: %s\n", i, strerror(errno));
			return 1;
		}
	}
	xs_close(store);
	return 0;
}
