/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "client/python/core.h"

PyObject *bytes_of(PyObject *text, const char *what)
{
	if (PyUnicode_Check(text))
		return PyUnicode_AsUTF8String(text);
	if (PyBytes_Check(text)) {
		Py_INCREF(text);
		return text;
	}
	return PyErr_Format(PyExc_TypeError, "%s must be str or bytes, not %R", what,
			    (PyObject *)Py_TYPE(text));
}

PyObject *path_of(PyObject *path, const char *what, PyObject *nul_error)
{
	PyObject *bytes = bytes_of(path, what);

	if (bytes == NULL ||
	    strlen(PyBytes_AsString(bytes)) == (size_t)PyBytes_Size(bytes))
		return bytes;
	Py_DECREF(bytes);
	return PyErr_Format(nul_error, "%s must not contain a NUL", what);
}

unsigned int length_of(PyObject *bytes)
{
	Py_ssize_t len = PyBytes_Size(bytes);

	return len < INT_MAX ? (unsigned int)len : INT_MAX;
}

static PyObject *decode(const char *path)
{
	return PyUnicode_DecodeUTF8(path, (Py_ssize_t)strlen(path), "surrogateescape");
}

PyObject *text_from(char *path)
{
	PyObject *text = decode(path);

	free(path);
	return text;
}

static void free_strings(char **strings, unsigned int len)
{
	for (unsigned int i = 0; i < len; i++)
		free(strings[i]);
	free(strings);
}

PyObject *list_from(char **paths, unsigned int len)
{
	PyObject *list = PyList_New((Py_ssize_t)len);

	for (unsigned int i = 0; list != NULL && i < len; i++) {
		PyObject *path = decode(paths[i]);

		if (path == NULL)
			Py_CLEAR(list);
		else
			PyList_SetItem(list, (Py_ssize_t)i, path);
	}
	free_strings(paths, len);
	return list;
}

static int add_text(PyObject *dict, const char *name, const char *text)
{
	PyObject *key = decode(name), *value = decode(text);
	int result = -1;

	if (key != NULL && value != NULL)
		result = PyDict_SetItem(dict, key, value);
	Py_XDECREF(key);
	Py_XDECREF(value);
	return result;
}

PyObject *texts_from(char **strings, unsigned int len)
{
	PyObject *dict = PyDict_New();

	for (unsigned int i = 0; dict != NULL && i < len; i++) {
		if (add_text(dict, strings[2 * i], strings[2 * i + 1]) < 0)
			Py_CLEAR(dict);
	}
	free_strings(strings, 2 * len);
	return dict;
}

static int add_entry(PyObject *dict, const char *path, const char *value,
		     unsigned int value_len)
{
	PyObject *key = decode(path);
	PyObject *bytes = PyBytes_FromStringAndSize(value, (Py_ssize_t)value_len);
	int result = -1;

	if (key != NULL && bytes != NULL)
		result = PyDict_SetItem(dict, key, bytes);
	Py_XDECREF(key);
	Py_XDECREF(bytes);
	return result;
}

PyObject *dict_from(char **strings, unsigned int *lengths, unsigned int len)
{
	PyObject *dict = PyDict_New();

	for (unsigned int i = 0; dict != NULL && i < len; i++) {
		if (add_entry(dict, strings[2 * i], strings[2 * i + 1], lengths[i]) < 0)
			Py_CLEAR(dict);
	}
	free_strings(strings, 2 * len);
	free(lengths);
	return dict;
}
