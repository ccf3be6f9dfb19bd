/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "client/python/core.h"

bool carry_out(PyObject *self, struct call *call,
	       bool (*function)(qdb_handle_t, struct call *))
{
	struct database *db = (struct database *)self;
	PyThreadState *thread = database_enter(db);
	bool is_done, is_again = false;
	int error;

	if (thread == NULL)
		return false;
	do {
		is_done = function(db->handle, call);
	} while (!is_done && database_again(db, &is_again));
	error = database_leave(db, thread);
	if (!is_done)
		raise_errno(error);
	return is_done;
}

/* The same, with a path that the program gave. */
static bool run(PyObject *self, PyObject *path, struct call *call,
		bool (*function)(qdb_handle_t, struct call *))
{
	PyObject *bytes = path_of(path, "path", PyExc_TypeError);
	bool is_done = false;

	if (bytes != NULL) {
		call->path = PyBytes_AsString(bytes);
		is_done = carry_out(self, call, function);
	}
	Py_XDECREF(bytes);
	return is_done;
}

static PyObject *run_plain(PyObject *self, PyObject *path,
			   bool (*function)(qdb_handle_t, struct call *))
{
	struct call call = {0};

	if (!run(self, path, &call, function))
		return NULL;
	Py_RETURN_NONE;
}

static bool read_value(qdb_handle_t handle, struct call *call)
{
	call->text = qdb_read(handle, call->path, &call->len);
	return call->text != NULL || errno == ENOENT;
}

static bool write_value(qdb_handle_t handle, struct call *call)
{
	return qdb_write(handle, call->path, call->value, call->len);
}

static bool list_paths(qdb_handle_t handle, struct call *call)
{
	call->strings = qdb_list(handle, call->path, &call->len);
	return call->strings != NULL;
}

static bool read_entries(qdb_handle_t handle, struct call *call)
{
	call->strings = qdb_multiread(handle, call->path, &call->lengths, &call->len);
	return call->strings != NULL;
}

static bool remove_entries(qdb_handle_t handle, struct call *call)
{
	return qdb_rm(handle, call->path);
}

static bool add_watch(qdb_handle_t handle, struct call *call)
{
	return qdb_watch(handle, call->path);
}

static bool remove_watch(qdb_handle_t handle, struct call *call)
{
	return qdb_unwatch(handle, call->path);
}

PyObject *database_read(PyObject *self, PyObject *path)
{
	struct call call = {0};
	PyObject *value;

	if (!run(self, path, &call, read_value))
		return NULL;
	if (call.text == NULL)
		Py_RETURN_NONE;
	value = PyBytes_FromStringAndSize(call.text, (Py_ssize_t)call.len);
	free(call.text);
	return value;
}

PyObject *database_write(PyObject *self, PyObject *args)
{
	PyObject *path, *data;
	struct call call = {0};
	bool is_done = false;

	if (!PyArg_ParseTuple(args, "OO:write", &path, &data))
		return NULL;
	path = path_of(path, "path", PyExc_ValueError);
	data = path != NULL ? bytes_of(data, "data") : NULL;
	if (data != NULL) {
		call.path = PyBytes_AsString(path);
		call.value = PyBytes_AsString(data);
		call.len = length_of(data);
		is_done = carry_out(self, &call, write_value);
	}
	Py_XDECREF(path);
	Py_XDECREF(data);
	if (!is_done)
		return NULL;
	Py_RETURN_NONE;
}

PyObject *database_list(PyObject *self, PyObject *path)
{
	struct call call = {0};

	if (!run(self, path, &call, list_paths))
		return NULL;
	return list_from(call.strings, call.len);
}

PyObject *database_multiread(PyObject *self, PyObject *path)
{
	struct call call = {0};

	if (!run(self, path, &call, read_entries))
		return NULL;
	return dict_from(call.strings, call.lengths, call.len);
}

PyObject *database_rm(PyObject *self, PyObject *path)
{
	return run_plain(self, path, remove_entries);
}

PyObject *database_watch(PyObject *self, PyObject *path)
{
	return run_plain(self, path, add_watch);
}

PyObject *database_unwatch(PyObject *self, PyObject *path)
{
	return run_plain(self, path, remove_watch);
}

/* ---- the connection, and the daemon itself ---- */

static bool set_timeout(qdb_handle_t handle, struct call *call)
{
	return qdb_set_timeout(handle, call->number);
}

static bool look_whether_read_only(qdb_handle_t handle, struct call *call)
{
	call->number = qdb_is_read_only(handle);
	return true;
}

static bool ask_status(qdb_handle_t handle, struct call *call)
{
	call->strings = qdb_status(handle, call->path, &call->len);
	return call->strings != NULL;
}

static bool switch_trace(qdb_handle_t handle, struct call *call)
{
	return qdb_trace(handle, call->number);
}

/* In milliseconds, at least one; -1 with an exception. */
static int timeout_of(PyObject *seconds)
{
	double milliseconds;

	if (seconds == Py_None)
		return 0;
	milliseconds = PyFloat_AsDouble(seconds) * 1000;
	if (PyErr_Occurred())
		return -1;
	if (milliseconds > 0)
		return milliseconds < INT_MAX ? (int)ceil(milliseconds) : INT_MAX;
	PyErr_SetString(PyExc_ValueError, "a time-out must be above zero, or None");
	return -1;
}

PyObject *database_set_timeout(PyObject *self, PyObject *seconds)
{
	struct call call = {.number = timeout_of(seconds)};

	if (call.number < 0 || !carry_out(self, &call, set_timeout))
		return NULL;
	Py_RETURN_NONE;
}

PyObject *database_is_read_only(PyObject *self, PyObject *unused)
{
	struct call call = {0};

	(void)unused;
	if (!carry_out(self, &call, look_whether_read_only))
		return NULL;
	return PyBool_FromLong(call.number);
}

PyObject *database_status(PyObject *self, PyObject *args)
{
	PyObject *prefix = NULL;
	struct call call = {.path = ""};
	bool is_done;

	if (!PyArg_ParseTuple(args, "|O:status", &prefix))
		return NULL;
	is_done = prefix != NULL ? run(self, prefix, &call, ask_status)
				 : carry_out(self, &call, ask_status);
	return is_done ? texts_from(call.strings, call.len) : NULL;
}

PyObject *database_trace(PyObject *self, PyObject *on)
{
	struct call call = {.number = PyObject_IsTrue(on)};

	if (call.number < 0 || !carry_out(self, &call, switch_trace))
		return NULL;
	Py_RETURN_NONE;
}
