/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libqubesdb for event loops: requests that are started at once and completed later, and
 * watches with a callback each. Nothing here waits.
 *
 * A handle of this kind has a connection of its own and nothing to do with those of
 * qubesdb-client.h. It reads ahead, so its descriptor is good for polling only: wait
 * until qdb_async_fd() is readable, in whatever way, then call qdb_async_process().
 *
 *   qdb_async_t a = qdb_async_open(NULL);
 *   qdb_async_watch(a, "/qubes-timezone", changed, NULL, state);
 *   qdb_async_read(a, "/name", got_name, state);
 *   for (;;) {
 *       struct pollfd p = {.fd = qdb_async_fd(a), .events = POLLIN};
 *       poll(&p, 1, -1);
 *       qdb_async_process(a);
 *   }
 *
 * Callbacks run inside qdb_async_process() and qdb_async_close() only. They may start
 * requests, set and take back watches, and close the handle; qdb_async_process() is not
 * for them. What a result points to lives until the callback returns.
 *
 * Order: requests are carried out in the order in which they were started, and completed
 * in that order. An event that the daemon sent before an answer is delivered before it.
 *
 * Reconnecting: when the daemon is replaced, the handle connects again, sets all watches
 * again and starts the requests anew that were not answered, each with up to three
 * connections; so a write may be done twice. If no daemon can be reached, these requests
 * fail with EPIPE. While there are watches, the handle goes on trying, less and less
 * often, every 3 seconds in the end, and at once for a request that is started outside of
 * callbacks. Every watch that was set again fires once, with its own path. The descriptor
 * stays the same.
 *
 * A daemon that ends closes its read-only socket last, so the handle may come to be on
 * that one. Before a write or removal is refused there, the read-write socket is tried
 * once more. If its connection broke under it, it fails with EPIPE, not EPERM.
 *
 * Threads, fork() and signals: as in qubesdb-client.h.
 */
#ifndef QUBESDB_ASYNC_H
#define QUBESDB_ASYNC_H

#include "qubesdb-client.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Requests that may be under way at a time. */
#define QDB_ASYNC_REQUESTS_MAX 1024

struct qdb_async;
typedef struct qdb_async *qdb_async_t;

struct qdb_result {
	/*
	 * 0 if the request was carried out, otherwise an errno value:
	 *   ENOENT     qdb_async_read() only: there is no such entry
	 *   EPERM      refused by the daemon
	 *   EPIPE      no daemon can be reached
	 *   EPROTO     the daemon sent something that is not the protocol, or too much
	 *   ECANCELED  the handle was closed
	 *   ENOMEM
	 *   ENOTSUP    qdb_async_write_many() only: the daemon does not know it
	 */
	int error;
	/* What qdb_async_read(), _list() and _multiread() found, in the order of the
	 * answer. */
	unsigned int count;
	const struct qdb_entry *entries; /* those of a list have NULL for the value */
};

typedef void (*qdb_done_fn)(void *token, const struct qdb_result *result);

/* `path` is what was written or removed. */
typedef void (*qdb_event_fn)(void *token, const char *path);

/* As qdb_open(), and with the errno of epoll_create() and timerfd_create(). */
qdb_async_t qdb_async_open(const char *vmname);

/*
 * Completes what is under way, with ECANCELED, and frees the handle; in a callback, when
 * qdb_async_process() ends. NULL is ignored.
 */
void qdb_async_close(qdb_async_t a);

/*
 * Returns the descriptor to wait on, the same as long as the handle lives, or -1 for a
 * NULL handle. Readable: call qdb_async_process(). It never becomes writable.
 */
int qdb_async_fd(qdb_async_t a);

/*
 * Does what can be done without waiting, and calls the callbacks that this leads to.
 * Returns 1, or 0 if there is no connection now (EPIPE), in a callback (EBUSY), or for a
 * NULL handle (EINVAL). The handle may go on being used in any case.
 */
int qdb_async_process(qdb_async_t a);

/*
 * Each starts a request, which `done` is called for exactly once, unless it is NULL.
 * Strings are copied. Return 1, or 0 if it was not started: errno is 0 for a path or
 * value that cannot be sent (as in qubesdb-client.h), EAGAIN if as many requests are
 * under way as may be, E2BIG for too many entries, EINVAL for what is NULL and must not
 * be, or ENOMEM.
 */
int qdb_async_read(qdb_async_t a, const char *path, qdb_done_fn done, void *token);
int qdb_async_list(qdb_async_t a, const char *path, qdb_done_fn done, void *token);
int qdb_async_multiread(qdb_async_t a, const char *path, qdb_done_fn done, void *token);
int qdb_async_write(qdb_async_t a, const char *path, const char *value,
		    unsigned int value_len, qdb_done_fn done, void *token);
int qdb_async_rm(qdb_async_t a, const char *path, qdb_done_fn done, void *token);
int qdb_async_write_many(qdb_async_t a, const struct qdb_entry *entries,
			 unsigned int count, qdb_done_fn done, void *token);

/*
 * Sets a watch: `event` is called for each event on `path`, or under it if it ends in
 * '/'. Where watches overlap, or are set twice, one change may be several calls, and
 * several changes in a row may be one. `done`, which may be NULL, is called when it is
 * set, or if it is not, which ends it. Returns a number above 0 for qdb_async_unwatch(),
 * or 0 as above.
 */
int qdb_async_watch(qdb_async_t a, const char *path, qdb_event_fn event, qdb_done_fn done,
		    void *token);

/*
 * Takes back a watch: neither of its callbacks is called any more. Returns 1, or 0 with
 * EINVAL if there is no such watch, or as above.
 */
int qdb_async_unwatch(qdb_async_t a, int watch);

#ifdef __cplusplus
}
#endif

#endif
