/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "client/python/core.h"

/* How many connections may break under one call, as in the library. */
#define LOSSES_PER_CALL 3

static bool is_readable(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	return poll(&poll_fd, 1, 0) > 0;
}

/*
 * After something that was not the protocol, reading fails until the handle is connected
 * again. The descriptor, which stays, is to look like that too: nobody shall poll it for
 * what will never come.
 */
static char *take_event(qdb_handle_t handle, int fd)
{
	char *path = qdb_read_watch(handle);

	if (path == NULL && errno == EPROTO) {
		shutdown(fd, SHUT_RDWR);
		errno = EPROTO;
	}
	return path;
}

/*
 * Whether there is a connection. Where the program polls the descriptor it makes another
 * one when it sees fit, by a command.
 */
static bool is_connected(struct database *db)
{
	return db->is_polled || qdb_reconnect(db->handle);
}

static bool may_go_on(const struct database *db, int *losses)
{
	return errno == EPIPE && !db->is_polled && ++*losses < LOSSES_PER_CALL;
}

static char *next_event(struct database *db)
{
	int losses = 0;

	while (db->handle != NULL) {
		char *path;
		int fd = -1;

		if (qdb_watches_pending(db->handle) == 0 && is_connected(db))
			fd = qdb_watch_fd(db->handle);
		if (qdb_watches_pending(db->handle) > 0)
			return qdb_read_watch(db->handle);
		if (fd < 0)
			return NULL;
		if (is_readable(fd)) {
			path = take_event(db->handle, fd);
			if (path != NULL || !may_go_on(db, &losses))
				return path;
		} else if (database_wait(db, fd) < 0) {
			return NULL;
		}
	}
	errno = EINVAL;
	return NULL;
}

static bool begin_reading(struct database *db)
{
	PyThreadState *thread;
	PyLockStatus status;

	if (PyThread_acquire_lock(db->reading, NOWAIT_LOCK))
		return true;
	thread = PyEval_SaveThread();
	status = PyThread_acquire_lock_timed(db->reading, -1, 1);
	PyEval_RestoreThread(thread);
	if (status == PY_LOCK_ACQUIRED)
		return true;
	raise_errno(EINTR);
	return false;
}

PyObject *database_read_watch(PyObject *self, PyObject *unused)
{
	struct database *db = (struct database *)self;
	PyThreadState *thread;
	char *path = NULL;
	int error = 0;

	(void)unused;
	if (!begin_reading(db))
		return NULL;
	thread = database_enter(db);
	if (thread != NULL) {
		path = next_event(db);
		error = database_leave(db, thread);
	}
	PyThread_release_lock(db->reading);
	if (path != NULL)
		return text_from(path);
	return thread != NULL ? raise_errno(error) : NULL;
}

PyObject *database_watch_fd(PyObject *self, PyObject *unused)
{
	struct database *db = (struct database *)self;
	PyThreadState *thread = database_enter(db);
	int fd, error;

	(void)unused;
	if (thread == NULL)
		return NULL;
	fd = qdb_watch_fd(db->handle);
	db->is_polled = fd >= 0;
	error = database_leave(db, thread);
	return fd >= 0 ? PyLong_FromLong(fd) : raise_errno(error);
}

PyObject *database_watches_pending(PyObject *self, PyObject *unused)
{
	struct database *db = (struct database *)self;
	PyThreadState *thread = database_enter(db);
	int count;

	(void)unused;
	if (thread == NULL)
		return NULL;
	count = qdb_watches_pending(db->handle);
	database_leave(db, thread);
	return PyLong_FromLong(count);
}
