/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a program gives for many entries may be a mapping or anything that gives pairs. It
 * is read as a whole first, since its objects may run code of their own; the bytes that
 * the entries point to belong to a list until the library is done.
 */
#include <stdlib.h>

#include "client/python/core.h"

/*
 * The name is an interned one: Python caches each look-up by the name's address, and a
 * new string for each call would push out what others have there.
 */
static bool is_mapping(PyObject *entries)
{
	PyObject *name = PyUnicode_InternFromString("keys");
	bool has_keys = name != NULL && PyObject_HasAttr(entries, name);

	Py_XDECREF(name);
	return has_keys;
}

/* A list of pairs, or NULL with an exception. */
static PyObject *pairs_of(PyObject *entries)
{
	const bool has_keys = is_mapping(entries);

	if (PyErr_Occurred())
		return NULL;
	return has_keys ? PyMapping_Items(entries) : PySequence_List(entries);
}

static int keep(PyObject *kept, PyObject *bytes)
{
	int result = bytes != NULL ? PyList_Append(kept, bytes) : -1;

	Py_XDECREF(bytes);
	return result;
}

/* Fills in the entry, whose strings are then in the list `kept`. */
static int take_pair(PyObject *pair, PyObject *kept, struct qdb_entry *entry)
{
	PyObject *tuple = PySequence_Tuple(pair), *path, *data;
	int result = -1;

	if (tuple == NULL)
		return -1;
	if (PyTuple_Size(tuple) != 2)
		PyErr_SetString(PyExc_ValueError, "an entry must be a path and data");
	else if (keep(kept, path = path_of(PyTuple_GetItem(tuple, 0), "path",
					   PyExc_ValueError)) == 0 &&
		 keep(kept, data = bytes_of(PyTuple_GetItem(tuple, 1), "data")) == 0) {
		entry->path = PyBytes_AsString(path);
		entry->value = PyBytes_AsString(data);
		entry->value_len = length_of(data);
		result = 0;
	}
	Py_DECREF(tuple);
	return result;
}

static int take_pairs(PyObject *pairs, PyObject *kept, struct qdb_entry *entries)
{
	for (Py_ssize_t i = 0; i < PyList_Size(pairs); i++)
		if (take_pair(PyList_GetItem(pairs, i), kept, &entries[i]) < 0)
			return -1;
	return 0;
}

/* That there are none is as well, once the handle is known to be open. */
static bool write_entries(qdb_handle_t handle, struct call *call)
{
	return call->len == 0 || qdb_write_many(handle, call->entries, call->len);
}

static bool write_pairs(PyObject *self, PyObject *pairs, PyObject *kept)
{
	const size_t count = (size_t)PyList_Size(pairs);
	struct qdb_entry *entries = calloc(count + 1, sizeof(*entries));
	struct call call = {.entries = entries, .len = (unsigned int)count};
	bool is_done = false;

	if (entries == NULL)
		PyErr_NoMemory();
	else if (take_pairs(pairs, kept, entries) == 0)
		is_done = carry_out(self, &call, write_entries);
	free(entries);
	return is_done;
}

PyObject *database_write_many(PyObject *self, PyObject *entries)
{
	PyObject *pairs = pairs_of(entries);
	PyObject *kept = pairs != NULL ? PyList_New(0) : NULL;
	bool is_done = kept != NULL && write_pairs(self, pairs, kept);

	Py_XDECREF(kept);
	Py_XDECREF(pairs);
	if (!is_done)
		return NULL;
	Py_RETURN_NONE;
}
