/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "client/python/core.h"

PyObject *database_read(PyObject *self, PyObject *path)
{
	struct database *db = (struct database *)self;
	PyObject *bytes = path_of(path, "path", PyExc_TypeError), *result;
	PyThreadState *thread;
	unsigned int len;
	char *value;
	int error;

	if (bytes == NULL || (thread = database_enter(db)) == NULL) {
		Py_XDECREF(bytes);
		return NULL;
	}
	value = qdb_read(db->handle, PyBytes_AsString(bytes), &len);
	error = database_leave(db, thread);
	Py_DECREF(bytes);
	if (value == NULL) {
		if (error != ENOENT)
			return raise_errno(error);
		Py_RETURN_NONE;
	}
	result = PyBytes_FromStringAndSize(value, (Py_ssize_t)len);
	free(value);
	return result;
}

/* What does not fit into the library's length must not look shorter than it is. */
static unsigned int value_len(PyObject *value)
{
	Py_ssize_t len = PyBytes_Size(value);

	return len < INT_MAX ? (unsigned int)len : INT_MAX;
}

static PyObject *write_entry(struct database *db, PyObject *path, PyObject *value)
{
	PyThreadState *thread = database_enter(db);
	int is_done, error;

	if (thread == NULL)
		return NULL;
	is_done = qdb_write(db->handle, PyBytes_AsString(path), PyBytes_AsString(value),
			    value_len(value));
	error = database_leave(db, thread);
	if (!is_done)
		return raise_errno(error);
	Py_RETURN_NONE;
}

PyObject *database_write(PyObject *self, PyObject *args)
{
	PyObject *path, *data, *result = NULL;

	if (!PyArg_ParseTuple(args, "OO:write", &path, &data))
		return NULL;
	path = path_of(path, "path", PyExc_ValueError);
	data = path != NULL ? bytes_of(data, "data") : NULL;
	if (data != NULL)
		result = write_entry((struct database *)self, path, data);
	Py_XDECREF(path);
	Py_XDECREF(data);
	return result;
}

PyObject *database_list(PyObject *self, PyObject *path)
{
	struct database *db = (struct database *)self;
	PyObject *bytes = path_of(path, "path", PyExc_TypeError);
	PyThreadState *thread;
	unsigned int len;
	char **paths;
	int error;

	if (bytes == NULL || (thread = database_enter(db)) == NULL) {
		Py_XDECREF(bytes);
		return NULL;
	}
	paths = qdb_list(db->handle, PyBytes_AsString(bytes), &len);
	error = database_leave(db, thread);
	Py_DECREF(bytes);
	return paths != NULL ? list_from(paths, len) : raise_errno(error);
}

PyObject *database_multiread(PyObject *self, PyObject *path)
{
	struct database *db = (struct database *)self;
	PyObject *bytes = path_of(path, "path", PyExc_TypeError);
	PyThreadState *thread;
	unsigned int len, *lengths;
	char **strings;
	int error;

	if (bytes == NULL || (thread = database_enter(db)) == NULL) {
		Py_XDECREF(bytes);
		return NULL;
	}
	strings = qdb_multiread(db->handle, PyBytes_AsString(bytes), &lengths, &len);
	error = database_leave(db, thread);
	Py_DECREF(bytes);
	return strings != NULL ? dict_from(strings, lengths, len) : raise_errno(error);
}

/* A request that takes a path and gives nothing. */
static PyObject *run(PyObject *self, PyObject *path,
		     int (*function)(qdb_handle_t, char *))
{
	struct database *db = (struct database *)self;
	PyObject *bytes = path_of(path, "path", PyExc_TypeError);
	PyThreadState *thread;
	int is_done, error;

	if (bytes == NULL || (thread = database_enter(db)) == NULL) {
		Py_XDECREF(bytes);
		return NULL;
	}
	is_done = function(db->handle, PyBytes_AsString(bytes));
	error = database_leave(db, thread);
	Py_DECREF(bytes);
	if (!is_done)
		return raise_errno(error);
	Py_RETURN_NONE;
}

PyObject *database_rm(PyObject *self, PyObject *path)
{
	return run(self, path, qdb_rm);
}

PyObject *database_watch(PyObject *self, PyObject *path)
{
	return run(self, path, qdb_watch);
}

PyObject *database_unwatch(PyObject *self, PyObject *path)
{
	return run(self, path, qdb_unwatch);
}
