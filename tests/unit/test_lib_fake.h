/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's end of a library connection, played by the test. A socket holds what is
 * sent, so most tests need no second thread: they send the answer first, make the call,
 * and look at the request afterwards. Where the call has to be waiting, fake_start() runs
 * a function beside it.
 *
 * Headers are sent as deployed daemons send them, with rubbish in the padding and behind
 * the path's NUL, and expected with zeros there.
 */
#ifndef TEST_LIB_FAKE_H
#define TEST_LIB_FAKE_H

#include <check.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/qubesdb-client.h"
#include "protocol/qubesdb.h"

extern char fake_dir[];
extern int fake_listener; /* of qubesdb.sock, and what fake_accept() accepts from */
extern int fake_peer;     /* the daemon's end of `fake_handle`, last accepted */
extern qdb_handle_t fake_handle;

/* Checked fixtures: a runtime directory with a listener, with and without a connection.
 */
void fake_setup_listener(void);
void fake_setup(void);
void fake_teardown(void);
/* Runs the cases, a NULL-terminated list. */
int fake_run(const char *name, TCase **tcases);

int fake_listen(const char *name);
void fake_unlisten(void);
void fake_accept(void);
void fake_hang_up(void);
bool fake_is_asked_to_accept(void);

void fake_send(enum qdb_msg type, const char *path, const char *value);
void fake_send_bytes(const void *bytes, size_t len);
void fake_header(struct qdb_hdr *hdr, unsigned type, const char *path, size_t data_len);

/* The next request, which has to be exactly this one. */
void fake_expect(enum qdb_msg type, const char *path, const char *value);
void fake_expect_nothing(void);

/* Sets a watch, and takes an event of `fake_handle`, which has to be this one. */
void fake_set_watch(const char *path);
void fake_expect_event(const char *path);

bool fake_is_open(int fd);
/* Bytes that arrived on a socket and were not read. */
size_t fake_unread(int fd);
bool fake_is_readable(int fd);

/* Runs `body` in a thread that takes no signals; fake_join() waits for its end. */
void fake_start(void (*body)(void));
void fake_join(void);

/* From such a thread: until the main thread waits in recv(), send() or poll(). */
void fake_await_recv(void);
void fake_await_send(void);
void fake_await_poll(void);
void fake_await_connect(void);
/* Until the library has read everything that was sent. */
void fake_await_all_read(void);

/*
 * Signals whose handler counts them, with these flags of sigaction(); such a thread sends
 * one to the main thread where that waits, and may await that it waits once more.
 */
extern volatile sig_atomic_t fake_signals;
void fake_on_signal(int flags);
void fake_interrupt(void);
void fake_interrupt_and(void (*await)(void));

#endif
