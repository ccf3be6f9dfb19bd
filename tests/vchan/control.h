/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One end's event loop, and how it keeps in step with the other end: both run the same
 * case, and meet at its control_sync() calls. Standard output leads to the other end's
 * standard input by whatever connects two machines and is not the vchan: a socket pair
 * here, xenstore in Xen.
 */
#ifndef QDB_TESTS_CONTROL_H
#define QDB_TESTS_CONTROL_H

#include <event2/event.h>
#include <stdbool.h>

/* In a process of its own, before all else. The case fails if it takes `limit` seconds.
 */
void control_begin(const char *who, unsigned limit);
void control_end(void);

struct event_base *control_base(void);

/* What the case is about to do; named if it fails or never comes to an end. */
void control_step(const char *step);

/* One turn of the loop: waits for an event and handles it. */
void control_turn(void);

/* Handles what there is to handle, without waiting. */
void control_turns_at_once(void);

/* Returns when the other end is at the same label. The loop runs meanwhile, or not. */
void control_sync(const char *label);
void control_sync_asleep(const char *label);

/* Ends the process, and with it the case at both ends. */
__attribute__((noreturn, format(printf, 1, 2))) void control_fail(const char *format,
								  ...);

#define check(condition, ...) \
	do { \
		if (!(condition)) \
			control_fail(__VA_ARGS__); \
	} while (0)

/* The exit status of a process whose case the other end has given up. */
#define CONTROL_GIVEN_UP 3

/*
 * Between cases: tells the other end how this one ended here, and returns whether it
 * ended well there. `heard` if this case's process has read that already.
 */
bool control_over(bool passed, bool heard);

#endif
