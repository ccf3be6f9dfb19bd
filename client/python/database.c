/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A handle of the library belongs to one thread at a time, so a lock goes with it. It is
 * taken after the interpreter's lock was released and released before that one is taken
 * again: neither is ever waited for while the other is held.
 *
 * A thread that waits for an event may wait for ever, and another one may be about to do
 * on the same handle just what it waits for. So it waits without the lock, for the
 * connection's descriptor to become readable. The other one may then take the event out
 * of the socket, into the library's queue, while it awaits its answer; so whoever leaves
 * the handle wakes the one that waits, which looks again.
 */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/python/core.h"

PyObject *database_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	PyObject *self = PyType_GenericAlloc(type, 0);
	struct database *db = (struct database *)self;

	(void)args;
	(void)keywords;
	if (self == NULL)
		return NULL;
	Py_INCREF(Py_None);
	db->vmname = Py_None;
	db->wake_fd = -1;
	db->lock = PyThread_allocate_lock();
	db->reading = PyThread_allocate_lock();
	if (db->lock != NULL && db->reading != NULL)
		return self;
	Py_DECREF(self);
	return PyErr_NoMemory();
}

void database_dealloc(PyObject *self)
{
	struct database *db = (struct database *)self;
	PyTypeObject *type = Py_TYPE(self);

	qdb_close(db->handle);
	if (db->wake_fd >= 0)
		close(db->wake_fd);
	if (db->lock != NULL)
		PyThread_free_lock(db->lock);
	if (db->reading != NULL)
		PyThread_free_lock(db->reading);
	Py_XDECREF(db->vmname);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static void lock(struct database *db)
{
	PyThread_acquire_lock(db->lock, WAIT_LOCK);
}

static void unlock(struct database *db)
{
	if (db->is_waiting)
		eventfd_write(db->wake_fd, 1);
	db->is_waiting = false;
	PyThread_release_lock(db->lock);
}

PyThreadState *database_enter(struct database *db)
{
	PyThreadState *thread = PyEval_SaveThread();

	lock(db);
	if (db->handle != NULL)
		return thread;
	unlock(db);
	PyEval_RestoreThread(thread);
	raise_error(EINVAL);
	return NULL;
}

int database_leave(struct database *db, PyThreadState *thread)
{
	int error = errno;

	unlock(db);
	PyEval_RestoreThread(thread);
	return error;
}

bool database_again(struct database *db, bool *is_again)
{
	bool was_polled = db->is_polled;

	if (errno != EPIPE)
		return false;
	db->is_polled = false;
	if (was_polled || *is_again)
		return false;
	*is_again = true;
	return true;
}

int database_wait(struct database *db, int fd)
{
	struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.events = POLLIN}};
	eventfd_t count;
	int result, error;

	if (db->wake_fd < 0)
		db->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (db->wake_fd < 0)
		return -1;
	fds[1].fd = db->wake_fd;
	db->is_waiting = true;
	PyThread_release_lock(db->lock);
	result = poll(fds, 2, -1);
	error = errno;
	lock(db);
	db->is_waiting = false;
	eventfd_read(db->wake_fd, &count);
	errno = error;
	return result < 0 ? -1 : 0;
}

/* Puts `handle` in the place of the one that there is, if there is one. */
static void replace_handle(struct database *db, qdb_handle_t handle)
{
	lock(db);
	qdb_close(db->handle);
	db->handle = handle;
	db->is_polled = false;
	unlock(db);
}

static int open_handle(struct database *db, char *vmname)
{
	PyThreadState *thread = PyEval_SaveThread();
	qdb_handle_t handle = qdb_open(vmname);
	int error = errno;

	if (handle != NULL)
		replace_handle(db, handle);
	PyEval_RestoreThread(thread);
	if (handle == NULL)
		raise_error(error);
	return handle != NULL ? 0 : -1;
}

int database_init(PyObject *self, PyObject *args, PyObject *keywords)
{
	static char name[] = "vmname", *names[] = {name, NULL};
	struct database *db = (struct database *)self;
	PyObject *vmname = Py_None, *bytes = NULL, *old;
	int result;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "|O:QubesDB", names, &vmname))
		return -1;
	if (vmname != Py_None &&
	    (bytes = path_of(vmname, "vmname", PyExc_ValueError)) == NULL)
		return -1;
	result = open_handle(db, bytes != NULL ? PyBytes_AsString(bytes) : NULL);
	Py_XDECREF(bytes);
	if (result < 0)
		return -1;
	old = db->vmname;
	Py_INCREF(vmname);
	db->vmname = vmname;
	Py_DECREF(old);
	return 0;
}

PyObject *database_vmname(PyObject *self, void *unused)
{
	PyObject *vmname = ((struct database *)self)->vmname;

	(void)unused;
	Py_INCREF(vmname);
	return vmname;
}

PyObject *database_close(PyObject *self, PyObject *unused)
{
	struct database *db = (struct database *)self;
	PyThreadState *thread = database_enter(db);

	(void)unused;
	if (thread == NULL)
		return NULL;
	qdb_close(db->handle);
	db->handle = NULL;
	database_leave(db, thread);
	Py_RETURN_NONE;
}

PyObject *database_open_context(PyObject *self, PyObject *unused)
{
	struct database *db = (struct database *)self;
	PyThreadState *thread = database_enter(db);

	(void)unused;
	if (thread == NULL)
		return NULL;
	database_leave(db, thread);
	Py_INCREF(self);
	return self;
}

PyObject *database_close_context(PyObject *self, PyObject *args)
{
	struct database *db = (struct database *)self;
	PyThreadState *thread = PyEval_SaveThread();

	(void)args;
	replace_handle(db, NULL);
	PyEval_RestoreThread(thread);
	Py_RETURN_NONE;
}
