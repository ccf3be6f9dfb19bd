/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libqubesdb: a program's connection to the QubesDB daemon of one VM.
 *
 * Paths begin with '/', have at most 63 characters out of a-z A-Z 0-9 _ / . : @ - and are
 * NUL-terminated. Values have 0 to 3071 bytes, none of them NUL.
 *
 * Threads: a handle belongs to one thread at a time; different handles are independent.
 * After fork() only one of the two processes may go on using a handle; the other must not
 * even close it. Descriptors are close-on-exec.
 *
 * Signals: every call but qdb_read_watch() and qdb_reconnect() finishes even if signals
 * arrive. The library never prints, exits, aborts or raises SIGPIPE.
 *
 * Errors: where a call fails, errno says why, and output arguments are left alone.
 *   ENOENT  qdb_read() only: there is no such entry
 *   0       refused: a path that is too long or does not begin with '/', a value that is
 *           too long, a write on a read-only connection, or anything else the daemon
 *           answers with an error
 *   EPROTO  the daemon refused to read, or sent something that is not the protocol,
 *           or more than 64 MiB
 *   EPIPE   the daemon is gone, and no other can be reached
 *   ETIMEDOUT  the daemon did not answer in time, see below
 *   EINTR   qdb_read_watch() and qdb_reconnect() only: a signal handler without
 *           SA_RESTART ran, or any if there is a time-out to the wait
 *   EINVAL  the handle, the path, or the value with a length above 0, is NULL
 *   ENOMEM
 * and of qdb_open() also what it says there.
 *
 * Reconnecting: when the daemon is replaced, its connections break. A call that finds
 * its own broken connects again, registers all watches again, and is done again from the
 * start, with up to three connections in all. So what was written may be written twice,
 * and watches on it fire twice; what was removed is removed again, if somebody put it
 * back in between. Each registered watch then fires once, with its own path, since
 * something may have changed unseen.
 *
 * A program that asked for the descriptor, with qdb_watch_fd(), gets EPIPE instead, since
 * it has to put the new one into its event loop: epoll forgets a descriptor that is
 * closed, whatever gets its number. Nothing has been done twice then. A command closes
 * the descriptor, and the next command, qdb_reconnect(), qdb_watch_fd() or
 * qdb_read_watch() connects again, with all watches as above. What qdb_read_watch() does
 * is said there.
 *
 * A daemon that ends closes its read-only socket last, so a handle may come to be on that
 * one. The next write or removal then tries the read-write socket once more, as above,
 * before it is refused. If its connection broke under it, it gets EPIPE, since the daemon
 * may have carried it out, and never "refused".
 *
 * EPIPE also means that there is no other daemon, or that it does not take back every
 * watch. A command that gets an answer which is not the protocol, or that runs out of
 * time or memory in the middle of an answer, closes the descriptor too.
 *
 * Waiting: the daemon may take its time before it answers; one that has just started in a
 * VM answers when it has heard from dom0. qdb_set_timeout() limits that. Once a part of
 * an answer has come, a pause of 30 seconds in the middle of a message, or before the
 * next one of the answer, is ETIMEDOUT in any case.
 *
 * Events say "look again". The library queues those that arrive while a command waits for
 * its answer; beyond 1024 of them, it keeps only one for each path, and beyond 16384 only
 * one for each watch, with the watch's own path.
 */
#ifndef QUBESDB_CLIENT_H
#define QUBESDB_CLIENT_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Deployed headers declare strings that no function changes as char *. Any call that
 * compiles with those compiles with these. A source that has such a function in a pointer
 * of the deployed type, or defines one itself, defines QDB_DEPLOYED_PROTOTYPES first.
 */
#ifdef QDB_DEPLOYED_PROTOTYPES
#define QDB_CONST
#else
#define QDB_CONST const
#endif

struct qdb_handle;
typedef struct qdb_handle *qdb_handle_t;

/*
 * Connects to the daemon of `vmname`, or to this VM's own if that is NULL: first to its
 * read-write socket, then to the read-only one, in the directory that the environment
 * variable QUBESDB_RUNTIME_DIR names (ignored in set-user-ID programs), or
 * /var/run/qubes. Returns a handle for qdb_close(), or NULL with the errno of the second
 * socket() or connect(), EINVAL if `vmname` contains a '/', or ENAMETOOLONG if the
 * socket's path does not fit into an address.
 */
qdb_handle_t qdb_open(QDB_CONST char *vmname);

/*
 * As qdb_open(), and then qdb_set_timeout(), whose limit is also one for connecting: a
 * daemon that takes no connections keeps qdb_open() waiting. NULL also with ETIMEDOUT, or
 * EINVAL for a negative number.
 */
qdb_handle_t qdb_open_timeout(const char *vmname, int milliseconds);

/*
 * From now on a command fails with ETIMEDOUT, and closes the descriptor, if it is not
 * done after that many milliseconds; 0, as at first, means that it waits. The daemon may
 * carry out the command all the same. Does not concern the wait of qdb_read_watch().
 * Returns 1, or 0 on failure: EINVAL for a negative number.
 */
int qdb_set_timeout(qdb_handle_t h, int milliseconds);

/*
 * Returns 1 if the latest connection is one to the read-only socket, on which writes and
 * removals are refused, 0 if not, or -1 for a NULL handle.
 */
int qdb_is_read_only(qdb_handle_t h);

/*
 * Returns the path of the socket that the latest connection is one to, valid until the
 * handle is closed; it changes when the handle reconnects to the other socket. NULL for a
 * NULL handle.
 */
const char *qdb_socket_path(qdb_handle_t h);

/*
 * Writes to `path`, which has `size` bytes, where qdb_open() looks for the socket of
 * `vmname`, the read-only one if `read_only` is not 0, whether or not it exists. Returns
 * the path's length as snprintf() does: it was cut if that is not less than `size`. -1
 * with EINVAL if `vmname` contains a '/'.
 */
int qdb_find_socket(const char *vmname, int read_only, char *path, unsigned int size);

/* Ends the connection and frees everything that belongs to it. NULL is ignored. */
void qdb_close(qdb_handle_t h);

/*
 * Returns the value at `path`, NUL-terminated, to be freed by the caller, and its length
 * in bytes without that NUL in *value_len, which may be NULL. NULL on failure.
 */
char *qdb_read(qdb_handle_t h, QDB_CONST char *path, unsigned int *value_len);

/*
 * Returns the full paths that begin with the string `path`, in ascending byte order, as a
 * NULL-terminated array; the caller frees each string and the array. *list_len, which may
 * be NULL, is their number. A '/' has no special meaning; "/" gives all paths. Without a
 * match an empty array, NULL on failure.
 */
char **qdb_list(qdb_handle_t h, QDB_CONST char *path, unsigned int *list_len);

/*
 * As qdb_list(), but the array is path, value, path, value, ..., NULL, NULL, each value
 * NUL-terminated. *values_len, which may be NULL, becomes an array of the values'
 * lengths, to be freed by the caller; *list_len, which may be NULL, is the number of
 * entries. What the daemon refuses to list looks like no match.
 */
char **qdb_multiread(qdb_handle_t h, QDB_CONST char *path, unsigned int **values_len,
		     unsigned int *list_len);

/*
 * Sets the entry `path` to `value_len` bytes of `value`, which may be NULL if there are
 * none. Returns 1, or 0 on failure.
 */
int qdb_write(qdb_handle_t h, QDB_CONST char *path, QDB_CONST char *value,
	      unsigned int value_len);

struct qdb_entry {
	const char *path;
	const char *value;      /* may be NULL if value_len is 0 */
	unsigned int value_len; /* in bytes */
};

/*
 * Sets all these entries or none, in one request and in this order: no reader and no
 * watcher of the same daemon sees some of them without the others. The other end of the
 * link gets them one by one. Returns 1, or 0 on failure: with E2BIG if paths and values
 * have more than 262144 bytes, counting a NUL after each, with ENOTSUP if the daemon does
 * not know this request, as deployed ones do not, or as qdb_write().
 */
int qdb_write_many(qdb_handle_t h, const struct qdb_entry *entries, unsigned int count);

/*
 * Removes the entry `path`, or all entries below it if it ends in '/'. Returns 1, also if
 * there was nothing to remove, or 0 on failure.
 */
int qdb_rm(qdb_handle_t h, QDB_CONST char *path);

/*
 * Registers a watch: on exactly `path`, or on everything below if it ends in '/'. The
 * path need not exist. The same watch may be registered several times, and then fires as
 * often. Returns 1, or 0 on failure.
 */
int qdb_watch(qdb_handle_t h, QDB_CONST char *path);

/*
 * Takes back one registration. Returns 1, also if there was none, or 0 on failure, which
 * leaves it as it was. Events that had already happened still come.
 */
int qdb_unwatch(qdb_handle_t h, QDB_CONST char *path);

/*
 * Waits for the next event, in the order in which they happened. Returns its path, to be
 * freed by the caller: what was written or removed, not the watch. NULL on failure; the
 * descriptor then stays as it is, even if the daemon is gone, so that it can be taken out
 * of an event loop, and this call goes on failing with EPIPE until qdb_reconnect() or a
 * command gives the same number to a new connection, or a command fails and closes it.
 * After EINTR the next call goes on where this one was, connecting again included.
 */
char *qdb_read_watch(qdb_handle_t h);

/*
 * Connects again, if the connection is closed or dead, and registers all watches, as a
 * command would do; for who has none to send before it waits for events. Returns 1, or 0
 * on failure, which leaves the descriptor as qdb_read_watch() does, with EINTR closed.
 */
int qdb_reconnect(qdb_handle_t h);

/*
 * Returns the descriptor to poll for readability, or -1 on failure: with EPIPE if the
 * connection was closed and the daemon cannot be reached. It belongs to the library, is
 * the one that commands use, and stays the same while the connection lives. A program may
 * make it non-blocking: every call waits all the same, but any signal handler then ends
 * qdb_read_watch() with EINTR, SA_RESTART or not. It tells nothing of events that arrived
 * while a command waited for its answer: ask qdb_watches_pending() too.
 */
int qdb_watch_fd(qdb_handle_t h);

/*
 * Returns how many events are queued in the library, so many times qdb_read_watch() will
 * not wait. -1 for a NULL handle. Never waits and never reads from the connection.
 */
int qdb_watches_pending(qdb_handle_t h);

/*
 * What the daemon tells of itself, as far as the item's name begins with the string
 * `prefix`, "" for all: an array of name, text, name, text, ..., NULL, NULL, as
 * qdb_multiread() returns it, in no particular order. Names look like paths but are none
 * of the VM's; qubesdb-daemon(8) lists them, and there may be more of them one day.
 * *list_len, which may be NULL, is the number of items. NULL on failure: with ENOTSUP if
 * the daemon does not know this request, as deployed ones do not.
 */
char **qdb_status(qdb_handle_t h, const char *prefix, unsigned int *list_len);

/*
 * If `on` is not 0 the daemon logs each request of any client from now on, without
 * values; otherwise no longer. Returns 1, or 0 on failure. Only root and the daemon's own
 * user may, on a read-write connection, and deployed daemons do not know this: others are
 * refused.
 */
int qdb_trace(qdb_handle_t h, int on);

#ifdef __cplusplus
}
#endif

#endif
