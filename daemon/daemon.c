/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Puts the parts together, and takes them apart.
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
#include <libgen.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/resources.h"
#include "daemon/signals.h"
#include "daemon/startup.h"

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

static void on_signal(evutil_socket_t number, short what, void *context)
{
	(void)what;
	log_info("ending on signal %d", (int)number);
	loop_stop(context);
}

static void on_gone(void *context)
{
	struct daemon *d = context;

	log_info("ending, for the VM is gone");
	d->vm_is_gone = true;
	loop_stop(d);
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
	if (!d->state_path)
		log_error("no memory for the name of the state");
	return d->state_path ? 0 : -ENOMEM;
}

static int open_state(struct daemon *d)
{
	const struct options *o = d->options;

	if (!d->state_path)
		return 0;
	return state_open(&d->state, d->state_path, d->runtime.directory, o->remote_name,
			  o->remote_domid, o->state_sync, &d->domain, d->base);
}

/*
 * In dom0. Several daemons may have started at once, and each of them taken the names:
 * they are of the one that takes the claim last.
 */
static int take_over(struct daemon *d)
{
	int r;

	if (!d->options->remote_name)
		return 0;
	r = runtime_claim(&d->runtime, d->options);
	if (r == 0)
		r = runtime_appear(&d->runtime);
	if (r == 0)
		r = open_state(d);
	if (r == -EINTR) {
		log_info("ending on a signal, before it serves");
		d->is_ending = true;
		return 0;
	}
	return r;
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

static enum replica_role role_of(const struct options *o)
{
	if (!o->remote_name)
		return REPLICA_VM;
	return o->remote_domid == 0 ? REPLICA_ALONE : REPLICA_DOM0;
}

static int create_loop(struct daemon *d)
{
	int r;

	d->base = event_base_new();
	if (!d->base)
		return -ENOMEM;
	r = resources_bound(&d->domain.connections);
	if (r < 0) {
		event_base_free(d->base);
		d->base = NULL; /* as there are no clients yet, either */
		return r;
	}
	clients_init(&d->clients, d->base, &d->domain);
	report_init(&d->report, d->options, &d->clients, &d->link, &d->state);
	d->on_term = evsignal_new(d->base, SIGTERM, on_signal, d);
	d->on_int = evsignal_new(d->base, SIGINT, on_signal, d);
	if (!d->on_term || !d->on_int || evsignal_add(d->on_term, NULL) < 0 ||
	    evsignal_add(d->on_int, NULL) < 0)
		return -ENOMEM;
	return 0;
}

static int start(struct daemon *d)
{
	int r;

	r = begin_log(d);
	resources_key_paths();
	domain_init(&d->domain, role_of(d->options), resources_draw_id());
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
		r = loop_appear_in_time(d);
	if (r == 0)
		r = take_over(d);
	if (r < 0 || d->is_ending)
		return r;
	if (!d->options->foreground && chdir("/") < 0)
		log_warning("cannot leave the working directory: %s", strerror(errno));
	sandbox_restrict_calls(&d->sandbox);
	malloc_trim(0); /* of what only starting took */
	return 0;
}

static void end(struct daemon *d)
{
	startup_end();
	sandbox_free(&d->sandbox);
	loop_forget_other(d);
	runtime_withdraw(&d->runtime);
	if (d->base)
		clients_close(&d->clients);
	if (d->has_link)
		link_close(&d->link);
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

	signals_hold();
	log_set_name(name_of(o));
	runtime_init(&d.runtime);
	state_init(&d.state);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
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
	if (r == 0 && !d.is_ending) {
		signals_release();
		r = loop_run(&d);
	}
	end(&d);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
