/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Puts the parts together and turns the wheel. A turn of the loop takes in what has
 * arrived (clients.c, link.c) and answers who only asked; when it ends, what has changed
 * is committed to the state file, and then everyone whom that concerns is told: who made
 * the changes, who watches, and the peer.
 *
 * All that can keep this daemon from serving is done before anybody can notice it,
 * because another one may be serving in its place. In dom0 this one then takes over at
 * once: new clients wait in the new sockets while the other daemon, if it serves the same
 * VM, ends and leaves the state. That cannot be had before, and need not: whatever
 * becomes of it, this daemon serves. Inside a VM the other one has the link, without
 * which this one cannot serve: it is left alone until it ends.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <event2/event.h>
#include <libgen.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/clients.h"
#include "daemon/link.h"
#include "daemon/log.h"
#include "daemon/report.h"
#include "daemon/resources.h"
#include "daemon/runtime.h"
#include "daemon/sandbox.h"
#include "daemon/startup.h"
#include "daemon/state.h"

/* One to accept those who have connected, one to hear them. */
#define LAST_TURNS 2
#define LAST_TURNS_US 100000

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
	bool has_link;
	bool was_connected;
	bool is_ready;
	bool is_ending;
	bool vm_is_gone;
	int failure; /* why it ends, a negative errno, if that is one */
};

/* Of the other side. */
static const char *name_of(const struct options *o)
{
	return o->remote_name ? o->remote_name : "dom0";
}

static int begin_log(const struct daemon *d)
{
	const struct options *o = d->options;
	char path[PATH_MAX];
	int n, r;

	if (o->foreground)
		return 0;
	n = snprintf(path, sizeof(path), "%s/qubesdb.%s.log", o->log_dir, name_of(o));
	r = n < 0 || (size_t)n >= sizeof(path) ? -ENAMETOOLONG : log_open(path);
	if (r < 0)
		log_error("cannot open the log %s: %s; --log-dir chooses another place, "
			  "--foreground does without",
			  path, strerror(-r));
	return r;
}

/* ---- the loop ---- */

static void stop(struct daemon *d)
{
	d->is_ending = true;
	event_base_loopbreak(d->base);
}

static void on_signal(evutil_socket_t number, short what, void *context)
{
	(void)what;
	log_info("ending on signal %d", (int)number);
	stop(context);
}

static void on_gone(void *context)
{
	struct daemon *d = context;

	log_info("ending, for the VM is gone");
	d->vm_is_gone = true;
	stop(d);
}

static void forget_other(struct daemon *d)
{
	if (!d->on_other)
		return;
	close(event_get_fd(d->on_other));
	event_free(d->on_other);
	d->on_other = NULL;
}

static int appear(struct daemon *d)
{
	forget_other(d);
	return runtime_appear(&d->runtime);
}

static void on_other(evutil_socket_t fd, short what, void *context)
{
	struct daemon *d = context;

	(void)fd, (void)what;
	d->failure = appear(d);
	if (d->failure < 0)
		stop(d);
}

/* When it cannot be waited for, the first dump tells that it has gone. */
static int appear_in_time(struct daemon *d)
{
	int other = d->options->remote_name ? -ENOENT : runtime_find_other(&d->runtime);

	if (other < 0 && other != -EAGAIN)
		return appear(d);
	log_info("another daemon serves here and is left alone until it ends");
	if (other < 0)
		return 0;
	d->on_other = event_new(d->base, other, EV_READ, on_other, d);
	if (d->on_other && event_add(d->on_other, NULL) == 0)
		return 0;
	if (!d->on_other)
		close(other);
	return appear(d);
}

static int find_state(struct daemon *d)
{
	const struct options *o = d->options;
	char path[PATH_MAX];
	int r;

	if (!o->remote_name || (o->state && strcmp(o->state, "none") == 0))
		return 0;
	r = runtime_state_path(&d->runtime, o, path);
	if (r < 0)
		return r;
	d->state_path = strdup(path);
	return d->state_path ? 0 : -ENOMEM;
}

static void open_state(struct daemon *d)
{
	const struct options *o = d->options;

	if (d->state_path)
		state_open(&d->state, d->state_path, o->remote_name, o->remote_domid,
			   o->state_sync, &d->domain, d->base);
}

static struct vchan_address address_of(const struct options *o)
{
	return (struct vchan_address){
		.end = o->remote_name ? VCHAN_SERVER : VCHAN_CLIENT,
		.remote_domid = o->remote_domid,
		.port = QDB_VCHAN_PORT,
	};
}

static int open_link(struct daemon *d)
{
	const struct options *o = d->options;
	const struct vchan_address address = address_of(o);
	int r;

	if (d->domain.replica.role == REPLICA_ALONE)
		return 0;
	r = link_open(&d->link, &d->domain.replica, vchan_transport_find(o->vchan),
		      d->base, &address, on_gone, d);
	d->has_link = r == 0;
	return r;
}

static int restrict_files(struct daemon *d)
{
	const struct options *o = d->options;
	const struct vchan_address address = address_of(o);
	char path[PATH_MAX];

	sandbox_init(&d->sandbox, o->sandbox);
	sandbox_allow_files(&d->sandbox, d->runtime.directory);
	if (d->state_path) {
		memcpy(path, d->state_path, strlen(d->state_path) + 1);
		sandbox_allow_files(&d->sandbox, dirname(path));
	}
	if (d->domain.replica.role != REPLICA_ALONE)
		vchan_confine(vchan_transport_find(o->vchan), &d->sandbox, &address);
	return sandbox_restrict_files(&d->sandbox);
}

static void tell_status(const struct daemon *d)
{
	if (!d->has_link)
		startup_status("serving");
	else if (d->options->remote_name)
		startup_status(d->link.connected ? "serving; the VM is connected"
						 : "serving; the VM is not connected");
	else
		startup_status(d->link.connected ? "serving; connected with dom0"
						 : "serving; dom0 is out of reach");
}

static void become_ready(struct daemon *d)
{
	d->failure = appear(d);
	if (d->failure < 0) {
		stop(d);
		return;
	}
	d->is_ready = true;
	log_info("serving");
	clients_serve(&d->clients);
	tell_status(d);
	startup_ready();
}

static void notice_link(struct daemon *d)
{
	if (d->link.connected == d->was_connected)
		return;
	d->was_connected = d->link.connected;
	if (d->is_ready)
		tell_status(d);
}

static void resume(struct daemon *d)
{
	if (d->has_link)
		link_resume(&d->link);
	clients_resume(&d->clients);
}

/* The peer first: it works while the clients here are told. */
static void end_turn(struct daemon *d, bool *more)
{
	state_commit(&d->state);
	*more = d->has_link && link_turn(&d->link);
	*more |= clients_turn(&d->clients);
	notice_link(d);
	if (!d->is_ready && d->domain.serving) {
		become_ready(d);
		*more = true;
	}
}

static void on_impatience(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	*(bool *)context = true;
}

/*
 * A client that has connected gets its first answer, so that one that comes while this
 * daemon is being replaced is served by either; but it must ask soon.
 */
static void run_last_turns(struct daemon *d)
{
	static const struct timeval patience = {.tv_usec = LAST_TURNS_US};
	struct event *impatience;
	bool is_over = false, more = true;

	impatience = evtimer_new(d->base, on_impatience, &is_over);
	if (!impatience)
		return;
	evtimer_add(impatience, &patience);
	for (int turn = 0; !is_over; turn++) {
		if (turn >= LAST_TURNS && !clients_expect_requests(&d->clients))
			break;
		event_base_loop(
			d->base,
			EVLOOP_ONCE | (more || turn < LAST_TURNS ? EVLOOP_NONBLOCK : 0));
		resume(d);
		end_turn(d, &more);
	}
	event_free(impatience);
}

static int run_loop(struct daemon *d)
{
	bool more;

	end_turn(d, &more);
	while (!d->is_ending) {
		if (event_base_loop(d->base, EVLOOP_ONCE | (more ? EVLOOP_NONBLOCK : 0)) <
		    0) {
			log_error("ending, for the event loop has failed: %s; start it "
				  "again",
				  strerror(errno));
			return -EIO;
		}
		resume(d);
		end_turn(d, &more);
	}
	if (d->is_ready)
		run_last_turns(d);
	return d->failure;
}

/* ---- life ---- */

static enum replica_role role_of(const struct options *o)
{
	if (!o->remote_name)
		return REPLICA_VM;
	return o->remote_domid == 0 ? REPLICA_ALONE : REPLICA_DOM0;
}

static int create_loop(struct daemon *d)
{
	sigset_t ending;
	int r;

	d->base = event_base_new();
	if (!d->base)
		return -ENOMEM;
	r = resources_bound(&d->domain.connections);
	if (r < 0)
		return r;
	clients_init(&d->clients, d->base, &d->domain);
	report_init(&d->report, d->options, &d->clients, &d->link, &d->state);
	d->on_term = evsignal_new(d->base, SIGTERM, on_signal, d);
	d->on_int = evsignal_new(d->base, SIGINT, on_signal, d);
	if (!d->on_term || !d->on_int || evsignal_add(d->on_term, NULL) < 0 ||
	    evsignal_add(d->on_int, NULL) < 0)
		return -ENOMEM;
	sigemptyset(&ending);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGINT);
	sigprocmask(SIG_UNBLOCK, &ending, NULL);
	return 0;
}

static int start(struct daemon *d)
{
	int r;

	domain_init(&d->domain, role_of(d->options), resources_draw_numbers());
	r = begin_log(d);
	if (r < 0)
		return r;
	r = create_loop(d);
	if (r == -ENOMEM)
		log_error("cannot create the event loop: %s", strerror(-r));
	if (r < 0)
		return r;
	r = runtime_prepare(&d->runtime, d->options, &d->clients);
	if (r < 0)
		return r;
	startup_find_supervisor(d->base);
	r = find_state(d);
	if (r == 0)
		r = restrict_files(d);
	if (r == 0)
		r = open_link(d);
	if (r == 0)
		r = appear_in_time(d);
	if (r < 0)
		return r;
	open_state(d);
	if (!d->options->foreground && chdir("/") < 0)
		log_warning("cannot leave the working directory: %s", strerror(errno));
	sandbox_restrict_calls(&d->sandbox);
	malloc_trim(0); /* above all what making the filter took */
	return 0;
}

static void end(struct daemon *d)
{
	startup_end();
	sandbox_free(&d->sandbox);
	forget_other(d);
	if (d->has_link)
		link_close(&d->link);
	if (d->base)
		clients_close(&d->clients);
	if (d->vm_is_gone)
		state_remove(&d->state);
	else
		state_close(&d->state);
	free(d->state_path);
	runtime_remove(&d->runtime);
	domain_free(&d->domain);
	if (d->on_term)
		event_free(d->on_term);
	if (d->on_int)
		event_free(d->on_int);
	if (d->base)
		event_base_free(d->base);
}

int daemon_run(const struct options *o)
{
	struct daemon d = {.options = o};
	int r, status;

	log_set_name(name_of(o));
	runtime_init(&d.runtime);
	state_init(&d.state);
	signal(SIGPIPE, SIG_IGN);
	r = startup_standard_files();
	if (r < 0) {
		log_error("cannot open /dev/null: %s; is /dev there?", strerror(-r));
		return EXIT_FAILURE;
	}
	if (!o->foreground) {
		r = startup_fork(&status);
		if (r != 0) {
			if (r < 0)
				log_error("cannot fork: %s; --foreground need not",
					  strerror(-r));
			return r > 0 ? status : EXIT_FAILURE;
		}
	}
	r = start(&d);
	if (r == 0)
		r = run_loop(&d);
	end(&d);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
