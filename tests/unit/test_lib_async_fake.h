/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The asynchronous interface beside a daemon that the test plays. No second thread:
 * nothing here waits, so the test plays both ends by turns. What the callbacks get is
 * written down as text: "A=ok /a:1;" for a result, "A!/a;" for an event.
 */
#ifndef TEST_LIB_ASYNC_FAKE_H
#define TEST_LIB_ASYNC_FAKE_H

#include <stdbool.h>

#include "lib/qubesdb-async.h"
#include "test_lib_fake.h"

#define ASYNC_TEXT_SIZE 4096

extern qdb_async_t async;
extern char text[ASYNC_TEXT_SIZE]; /* what has happened */
extern char A[], B[], C[], D[];    /* tokens, by their names */

/* A checked fixture: `async` is open, and accepted as fake_peer. */
void async_setup(void);
void async_teardown(void);

/* Callbacks, of which the token is a string. */
void note_done(void *token, const struct qdb_result *result);
void note_event(void *token, const char *path);

/* Sets a watch, all the way; returns its number. */
int watch(const char *path, char *token);

bool is_ready(void);

/* Processes once, and compares what has happened since the last time. */
void happens(const char *expected);
void happens_when_ready(const char *expected);

#endif
