/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's parts, and the wheel that turns them. Only for daemon.c. */
#ifndef QDB_LOOP_H
#define QDB_LOOP_H

#include <event2/event.h>

#include "daemon/clients.h"
#include "daemon/link.h"
#include "daemon/options.h"
#include "daemon/report.h"
#include "daemon/runtime.h"
#include "daemon/sandbox.h"
#include "daemon/state.h"

struct daemon {
	const struct options *options;
	struct event_base *base;
	struct event *on_term;
	struct event *on_int;
	struct event *on_other; /* another daemon serves, and this tells of its end */
	struct domain domain;
	struct clients clients;
	struct link link;
	struct state state;
	char *state_path; /* NULL: none is kept */
	struct runtime runtime;
	struct report report;
	struct sandbox sandbox;
	uint64_t tidy_at; /* the domain's work when memory was last given back */
	bool has_link;
	bool was_connected;
	bool was_failing; /* to keep the state */
	char status[80];
	bool is_ready;
	bool is_ending;
	bool vm_is_gone;
	int failure; /* why it ends, a negative errno, if that is one */
};

/*
 * Takes the place of whoever is found in the runtime directory: now, until the claim is
 * taken, or, inside a VM, when the daemon that serves there has ended. 0 or a negative
 * errno.
 */
int loop_appear_in_time(struct daemon *d);

/* Has no interest in that daemon any more. */
void loop_forget_other(struct daemon *d);

/* Serves until loop_stop() is called. 0 or a negative errno, with the reason logged. */
int loop_run(struct daemon *d);
void loop_stop(struct daemon *d);

#endif
