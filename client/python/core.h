/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The core of the Python package: `qubesdb._qubesdb`, one class over one handle of
 * libqubesdb. What is more comfortable than that is written in Python, beside it.
 *
 *   module.c     the exceptions, the type, what Python asks for when it loads the module
 *   database.c   the object: its handle, who may use it now, opening and closing
 *   convert.c    arguments and results
 *   commands.c   the methods that send a request and take its answer
 *   many.c       the one that sends many entries
 *   watches.c    events
 *
 * It keeps to Python's limited API, so that one build serves every later Python.
 */
#ifndef QDB_PYTHON_CORE_H
#define QDB_PYTHON_CORE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x03090000
#include <Python.h>
#include <stdbool.h>

#include "lib/qubesdb-client.h"

struct database {
	PyObject object;
	PyObject *vmname;           /* as it was opened: str, bytes or None */
	qdb_handle_t handle;        /* NULL: not opened, or closed */
	PyThread_type_lock lock;    /* on the handle */
	PyThread_type_lock reading; /* one thread at a time waits for an event */
	int wake_fd;                /* an eventfd, once somebody has waited; -1 before */
	bool is_waiting;            /* somebody does, without the lock */
	bool is_polled;             /* the program has asked for the descriptor */
};

/* module.c */

/*
 * Raises what an errno of the library stands for, and returns NULL. An EINTR runs the
 * signal handlers first, whose exceptions go before.
 */
PyObject *raise_errno(int error);

/* Raises Error whatever `error` is, and returns NULL. */
PyObject *raise_error(int error);

/* database.c */

PyObject *database_new(PyTypeObject *type, PyObject *args, PyObject *keywords);
int database_init(PyObject *self, PyObject *args, PyObject *keywords);
void database_dealloc(PyObject *self);
PyObject *database_vmname(PyObject *self, void *unused);
PyObject *database_close(PyObject *self, PyObject *unused);
PyObject *database_open_context(PyObject *self, PyObject *unused);
PyObject *database_close_context(PyObject *self, PyObject *args);

/*
 * From here to database_leave() the handle belongs to this thread, and the interpreter to
 * the others. Returns NULL, with an exception and nothing to leave, if there is no
 * handle.
 */
PyThreadState *database_enter(struct database *db);

/* Returns the errno that the library left. */
int database_leave(struct database *db, PyThreadState *thread);

/*
 * Whether a command that has failed is to be done again. The library does so by itself
 * when the daemon was replaced, except where its descriptor is polled, which is the
 * program's business then; but here it may be this module alone that polls it. Once in
 * each command, which has `*is_again` false at first.
 */
bool database_again(struct database *db, bool *is_again);

/*
 * Lets others have the handle until `fd` is readable or one of them has used it, which
 * may have put events into its queue, or closed it. Called between enter and leave.
 * Returns 0, or -1 with an errno.
 */
int database_wait(struct database *db, int fd);

/* convert.c */

/* Returns a new bytes object of a str or bytes, or NULL with a TypeError. */
PyObject *bytes_of(PyObject *text, const char *what);

/* The same for a path, or a name; a NUL in it raises `nul_error`. */
PyObject *path_of(PyObject *path, const char *what, PyObject *nul_error);

/* How long it is, or INT_MAX if that does not fit: it must not look shorter. */
unsigned int length_of(PyObject *bytes);

/* These take what the library gave, and free it. */
PyObject *text_from(char *path);
PyObject *list_from(char **paths, unsigned int len);
PyObject *texts_from(char **strings, unsigned int len); /* a dict of str to str */
PyObject *dict_from(char **strings, unsigned int *lengths, unsigned int len);

/* commands.c */

/* What a function of the library takes and gives. */
struct call {
	const char *path;
	const char *value;
	const struct qdb_entry *entries;
	char *text;
	char **strings;
	unsigned int *lengths;
	unsigned int len; /* of what it takes or gives */
	int number;
};

/* Calls `function`; false with an exception if it failed. */
bool carry_out(PyObject *self, struct call *call,
	       bool (*function)(qdb_handle_t, struct call *));

PyObject *database_read(PyObject *self, PyObject *path);
PyObject *database_write(PyObject *self, PyObject *args);
PyObject *database_list(PyObject *self, PyObject *path);
PyObject *database_multiread(PyObject *self, PyObject *path);
PyObject *database_rm(PyObject *self, PyObject *path);
PyObject *database_watch(PyObject *self, PyObject *path);
PyObject *database_unwatch(PyObject *self, PyObject *path);
PyObject *database_set_timeout(PyObject *self, PyObject *seconds);
PyObject *database_is_read_only(PyObject *self, PyObject *unused);
PyObject *database_status(PyObject *self, PyObject *args);
PyObject *database_trace(PyObject *self, PyObject *on);

/* many.c */

PyObject *database_write_many(PyObject *self, PyObject *entries);

/* watches.c */

PyObject *database_read_watch(PyObject *self, PyObject *unused);
PyObject *database_watch_fd(PyObject *self, PyObject *unused);
PyObject *database_watches_pending(PyObject *self, PyObject *unused);

#endif
