/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "client/python/core.h"

/* What a function of the library takes and gives. */
struct call {
	const char *path;
	const char *value;
	char *text;
	char **strings;
	unsigned int *lengths;
	unsigned int len; /* of what it takes or gives */
};

/* Calls it, with the path in the bytes object; false with an exception if it failed. */
static bool carry_out(PyObject *self, PyObject *path, struct call *call,
		      bool (*function)(qdb_handle_t, struct call *))
{
	struct database *db = (struct database *)self;
	PyThreadState *thread = database_enter(db);
	bool is_done, is_again = false;
	int error;

	if (thread == NULL)
		return false;
	call->path = PyBytes_AsString(path);
	do {
		is_done = function(db->handle, call);
	} while (!is_done && database_again(db, &is_again));
	error = database_leave(db, thread);
	if (!is_done)
		raise_errno(error);
	return is_done;
}

/* The same, with the path in what the program gave. */
static bool run(PyObject *self, PyObject *path, struct call *call,
		bool (*function)(qdb_handle_t, struct call *))
{
	PyObject *bytes = path_of(path, "path", PyExc_TypeError);
	bool is_done = bytes != NULL && carry_out(self, bytes, call, function);

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

/* What does not fit into the library's length must not look shorter than it is. */
static unsigned int value_len(PyObject *value)
{
	Py_ssize_t len = PyBytes_Size(value);

	return len < INT_MAX ? (unsigned int)len : INT_MAX;
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
		call.value = PyBytes_AsString(data);
		call.len = value_len(data);
		is_done = carry_out(self, path, &call, write_value);
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
