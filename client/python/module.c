/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "client/python/core.h"

PyMODINIT_FUNC PyInit__qubesdb(void);

static PyObject *error_class, *disconnected_class;

PyObject *raise_error(int error)
{
	const char *reason = error != 0 ? strerror(error) : "Error";
	PyObject *text = PyUnicode_DecodeLocale(reason, "surrogateescape");
	PyObject *args = text != NULL ? Py_BuildValue("(iN)", error, text) : NULL;

	if (args != NULL)
		PyErr_SetObject(error_class, args);
	Py_XDECREF(args);
	return NULL;
}

PyObject *raise_errno(int error)
{
	if (error == EPIPE) {
		PyErr_SetString(disconnected_class, "QubesDB disconnected");
		return NULL;
	}
	if (error == EINTR) {
		errno = EINTR;
		return PyErr_SetFromErrno(PyExc_OSError);
	}
	return raise_error(error);
}

PyDoc_STRVAR(error_doc,
	     "The daemon or the library refused something.\n\n"
	     "args is (errno, strerror), and (0, 'Error') where there is no errno:\n"
	     "a path or value that is not allowed, a read-only connection, a limit.");
PyDoc_STRVAR(disconnected_doc,
	     "The daemon is gone.\n\n"
	     "If another one has taken its place, calls go on with that and raise\n"
	     "nothing; only a program that has asked for watch_fd() is told, once.");
PyDoc_STRVAR(database_doc,
	     "QubesDB(vmname=None)\n--\n\n"
	     "A connection to the QubesDB daemon of a VM, or of this VM if None.\n\n"
	     "Paths and data may be str or bytes. Every call may wait for the daemon,\n"
	     "and lets other threads run meanwhile. Threads may share an object: their\n"
	     "calls take place one after the other, except that read_watch() waits\n"
	     "without keeping others from their calls, and ends when another thread\n"
	     "calls close(). After close() every call raises Error(22, 'Invalid\n"
	     "argument'). After a fork only one of the two processes may use it.");
PyDoc_STRVAR(read_doc, "read($self, path, /)\n--\n\n"
		       "Return the value at path as bytes, or None if there is none.");
PyDoc_STRVAR(write_doc, "write($self, path, data, /)\n--\n\n"
			"Set the entry path to data.");
PyDoc_STRVAR(write_many_doc,
	     "write_many($self, entries, /)\n--\n\n"
	     "Set all these entries, or none: a mapping, or pairs, of path and data.\n\n"
	     "It is one request. Nobody who reads or watches the same daemon sees some\n"
	     "without the others. Deployed daemons do not know it: Error(95, ...).\n"
	     "More than 262144 bytes: Error(7, ...).");
PyDoc_STRVAR(list_doc, "list($self, path, /)\n--\n\n"
		       "Return the paths that begin with path, in ascending order.\n\n"
		       "A '/' has no special meaning, and \"/\" gives all paths.");
PyDoc_STRVAR(multiread_doc,
	     "multiread($self, path, /)\n--\n\n"
	     "Return a dict of the entries that begin with path: str to bytes.");
PyDoc_STRVAR(rm_doc, "rm($self, path, /)\n--\n\n"
		     "Remove the entry path, or all below it if it ends in '/'.\n\n"
		     "That there is none is no error.");
PyDoc_STRVAR(watch_doc, "watch($self, path, /)\n--\n\n"
			"Watch path, or everything below it if it ends in '/'.\n\n"
			"It need not exist. Watched twice, it gives two events.");
PyDoc_STRVAR(unwatch_doc, "unwatch($self, path, /)\n--\n\n"
			  "Take back one watch(path). That there is none is no error.");
PyDoc_STRVAR(read_watch_doc,
	     "read_watch($self, /)\n--\n\n"
	     "Wait for the next event; return its path, what was written or removed.\n\n"
	     "A signal runs its handler, then InterruptedError is raised, unless the\n"
	     "handler raised something. When the daemon was replaced, every watch\n"
	     "gives an event of its own path. After DisconnectedError, watch_fd()\n"
	     "stays as it is until the next other call.");
PyDoc_STRVAR(watch_fd_doc,
	     "watch_fd($self, /)\n--\n\n"
	     "Return the descriptor that is readable when there is an event.\n\n"
	     "It tells nothing of events that came while another call waited for its\n"
	     "answer: see watches_pending().");
PyDoc_STRVAR(watches_pending_doc,
	     "watches_pending($self, /)\n--\n\n"
	     "Return how many events read_watch() can give without watch_fd().");
PyDoc_STRVAR(
	set_timeout_doc,
	"set_timeout($self, seconds, /)\n--\n\n"
	"Let calls fail with Error(110, ...) that the daemon has not answered after\n"
	"so long; None, as at first: they wait. Does not concern read_watch().");
PyDoc_STRVAR(is_read_only_doc,
	     "is_read_only($self, /)\n--\n\n"
	     "Return whether the latest connection is one for reading only.");
PyDoc_STRVAR(status_doc,
	     "status($self, prefix='', /)\n--\n\n"
	     "Return what the daemon tells of itself as a dict of str to str, as far as\n"
	     "the names begin with prefix. qubesdb-daemon(8) lists them; there may be\n"
	     "more one day. Deployed daemons do not know it: Error(95, ...).");
PyDoc_STRVAR(trace_doc,
	     "trace($self, on, /)\n--\n\n"
	     "Let the daemon log each request of any client, without values, or stop.\n\n"
	     "Only root and the daemon's own user may.");
PyDoc_STRVAR(close_doc, "close($self, /)\n--\n\n"
			"End the connection.");
PyDoc_STRVAR(enter_doc, "__enter__($self, /)\n--\n\n"
			"Return the object itself.");
PyDoc_STRVAR(exit_doc, "__exit__($self, /, *exc_info)\n--\n\n"
		       "End the connection, if it has not been.");

static PyMethodDef methods[] = {
	{"read", database_read, METH_O, read_doc},
	{"write", database_write, METH_VARARGS, write_doc},
	{"write_many", database_write_many, METH_O, write_many_doc},
	{"list", database_list, METH_O, list_doc},
	{"multiread", database_multiread, METH_O, multiread_doc},
	{"rm", database_rm, METH_O, rm_doc},
	{"watch", database_watch, METH_O, watch_doc},
	{"unwatch", database_unwatch, METH_O, unwatch_doc},
	{"read_watch", database_read_watch, METH_NOARGS, read_watch_doc},
	{"watch_fd", database_watch_fd, METH_NOARGS, watch_fd_doc},
	{"watches_pending", database_watches_pending, METH_NOARGS, watches_pending_doc},
	{"set_timeout", database_set_timeout, METH_O, set_timeout_doc},
	{"is_read_only", database_is_read_only, METH_NOARGS, is_read_only_doc},
	{"status", database_status, METH_VARARGS, status_doc},
	{"trace", database_trace, METH_O, trace_doc},
	{"close", database_close, METH_NOARGS, close_doc},
	{"__enter__", database_open_context, METH_NOARGS, enter_doc},
	{"__exit__", database_close_context, METH_VARARGS, exit_doc},
	{NULL, NULL, 0, NULL},
};

static PyGetSetDef attributes[] = {
	{"vmname", database_vmname, NULL, "What it was opened with.", NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
	{Py_tp_doc, (void *)database_doc},
	{Py_tp_new, database_new},
	{Py_tp_init, database_init},
	{Py_tp_dealloc, database_dealloc},
	{Py_tp_methods, methods},
	{Py_tp_getset, attributes},
	{0, NULL},
};

static PyType_Spec spec = {
	.name = "qubesdb._qubesdb.QubesDB",
	.basicsize = sizeof(struct database),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = slots,
};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "qubesdb._qubesdb",
	.m_doc = "A connection to a QubesDB daemon; use it as qubesdb.QubesDB.",
	.m_size = -1,
};

/* Takes the reference to `object`, which may be NULL. */
static int add(PyObject *module, const char *name, PyObject *object)
{
	int result = object != NULL ? PyModule_AddObject(module, name, object) : -1;

	if (result < 0)
		Py_XDECREF(object);
	return result;
}

static int add_exceptions(PyObject *module)
{
	error_class = PyErr_NewExceptionWithDoc("qubesdb.Error", error_doc,
						PyExc_RuntimeError, NULL);
	if (error_class == NULL)
		return -1;
	disconnected_class = PyErr_NewExceptionWithDoc(
		"qubesdb.DisconnectedError", disconnected_doc, error_class, NULL);
	if (disconnected_class == NULL)
		return -1;
	Py_INCREF(error_class);
	Py_INCREF(disconnected_class);
	if (add(module, "Error", error_class) < 0)
		return -1;
	return add(module, "DisconnectedError", disconnected_class);
}

PyMODINIT_FUNC PyInit__qubesdb(void)
{
	PyObject *module = PyModule_Create(&definition);

	if (module != NULL && add_exceptions(module) == 0 &&
	    add(module, "QubesDB", PyType_FromSpec(&spec)) == 0)
		return module;
	Py_XDECREF(module);
	return NULL;
}
