/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Puts the parts together and turns the wheel. A turn of the loop takes in what has
 * arrived (clients.c, link.c), the core works on it, and only when the turn ends is
 * anything sent: first answers and events to local clients, then operations and answers
 * to the peer.
 *
 * Nothing is installed in the runtime directory before everything that can fail has been
 * done, as far as that is possible; what was installed is removed if a later step fails.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/clients.h"
#include "daemon/core/pathhash.h"
#include "daemon/installed.h"
#include "daemon/link.h"
#include "daemon/log.h"
#include "daemon/startup.h"

/* Kept for the vchan, a new listener and the like when clients take all the others. */
#define RESERVED_DESCRIPTORS 8

enum { RW_SOCKET, RO_SOCKET, RW_LINK, RO_LINK, PIDFILE, INSTALLED };

struct daemon {
	const struct options *options;
	struct event_base *base;
	struct event *on_term;
	struct event *on_int;
	struct domain domain;
	struct clients clients;
	struct link link;
	struct installed installed[INSTALLED];
	char directory[PATH_MAX]; /* the runtime directory, absolute */
	bool has_link;
	bool is_ready;
	bool is_ending;
};

/* ---- what other programs find ---- */

static int cannot(const char *what, const char *path, int error)
{
	log_error("cannot %s %s: %s", what, path, strerror(-error));
	return error;
}

static int runtime_path(const struct daemon *d, char *path, const char *name,
			const char *suffix)
{
	const char *dot = name ? "." : "";
	int n = snprintf(path, PATH_MAX, "%s/qubesdb%s%s%s", d->directory, dot,
			 name ? name : "", suffix);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int find_directory(struct daemon *d)
{
	const char *path = d->options->runtime_dir;
	int r = installed_directory(path);

	if (r < 0)
		return cannot("create", path, r);
	if (!realpath(path, d->directory))
		return cannot("use", path, -errno);
	return 0;
}

static int begin_log(const struct daemon *d)
{
	const struct options *o = d->options;
	const char *name = o->remote_name ? o->remote_name : "dom0";
	char path[PATH_MAX];
	int n, r;

	log_set_name(name);
	if (o->foreground)
		return 0;
	n = snprintf(path, sizeof(path), "%s/qubesdb.%s.log", o->log_dir, name);
	r = n < 0 || (size_t)n >= sizeof(path) ? -ENAMETOOLONG : log_open(path);
	return r < 0 ? cannot("open the log", path, r) : 0;
}

static int install_socket(struct daemon *d, int which, enum session_access access,
			  const char *suffix, int mode)
{
	char path[PATH_MAX];
	int r = runtime_path(d, path, d->options->remote_name, suffix);

	if (r == 0)
		r = installed_listen(&d->installed[which], path, mode, SOMAXCONN);
	if (r < 0)
		return cannot("listen on", path, r);
	clients_listen(&d->clients, access, r);
	return 0;
}

static int install_link(struct daemon *d, int which, int target, const char *suffix)
{
	char path[PATH_MAX];
	int r = runtime_path(d, path, NULL, suffix);

	if (r == 0)
		r = installed_symlink(&d->installed[which], path,
				      d->installed[target].path);
	return r < 0 ? cannot("create", path, r) : 0;
}

static int install_sockets(struct daemon *d)
{
	const struct options *o = d->options;
	int r;

	r = install_socket(d, RW_SOCKET, SESSION_READ_WRITE, ".sock", o->rw_socket_mode);
	if (r == 0)
		r = install_socket(d, RO_SOCKET, SESSION_READ_ONLY, ".ro.sock", 0666);
	if (r < 0 || !o->remote_name || o->remote_domid != 0)
		return r;
	r = install_link(d, RW_LINK, RW_SOCKET, ".sock");
	return r < 0 ? r : install_link(d, RO_LINK, RO_SOCKET, ".ro.sock");
}

static int install_pidfile(struct daemon *d)
{
	char path[PATH_MAX], text[32];
	int r;

	if (!d->options->remote_name)
		return 0;
	snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	r = runtime_path(d, path, d->options->remote_name, ".pid");
	if (r == 0)
		r = installed_file(&d->installed[PIDFILE], path, text, 0664);
	return r < 0 ? cannot("create", path, r) : 0;
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
	log_info("ending, for the VM is gone");
	stop(context);
}

static int open_link(struct daemon *d)
{
	const struct options *o = d->options;
	const struct vchan_address address = {
		.end = o->remote_name ? VCHAN_SERVER : VCHAN_CLIENT,
		.remote_domid = o->remote_domid,
		.port = QDB_VCHAN_PORT,
	};
	int r;

	if (d->domain.replica.role == REPLICA_ALONE)
		return 0;
	r = link_open(&d->link, &d->domain.replica, vchan_transport_find(o->vchan),
		      d->base, &address, on_gone, d);
	d->has_link = r == 0;
	return r;
}

/* Clients may have all the descriptors that are there but a few. */
static int bound_connections(struct daemon *d)
{
	struct account *connections = &d->domain.connections;
	struct rlimit limit;
	size_t free_ones;
	int next;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	next = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (next < 0)
		return -errno;
	close(next);
	if (limit.rlim_cur < (rlim_t)next + 2 * RESERVED_DESCRIPTORS)
		return -EMFILE;
	free_ones = (size_t)limit.rlim_cur - (size_t)next - RESERVED_DESCRIPTORS;
	if (free_ones < connections->limit)
		connections->limit = free_ones;
	return 0;
}

static void become_ready(struct daemon *d)
{
	d->is_ready = true;
	log_info("serving");
	clients_serve(&d->clients);
	startup_ready(d->base);
}

static void end_turn(struct daemon *d, bool *more)
{
	*more = clients_turn(&d->clients);
	if (d->has_link)
		*more |= link_turn(&d->link);
	if (!d->is_ready && d->domain.serving) {
		become_ready(d);
		*more = true;
	}
}

static int run_loop(struct daemon *d)
{
	bool more;

	end_turn(d, &more);
	while (!d->is_ending) {
		if (event_base_loop(d->base, EVLOOP_ONCE | (more ? EVLOOP_NONBLOCK : 0)) <
		    0)
			return -EIO;
		clients_resume(&d->clients);
		end_turn(d, &more);
	}
	return 0;
}

/* ---- life ---- */

static enum replica_role role_of(const struct options *o)
{
	if (!o->remote_name)
		return REPLICA_VM;
	return o->remote_domid == 0 ? REPLICA_ALONE : REPLICA_DOM0;
}

/*
 * The key of the path hash, and a number that no other daemon has. Inside a VM this may run
 * before the kernel has gathered entropy, and it must not wait.
 */
static uint64_t choose_numbers(void)
{
	static const unsigned flags[] = {GRND_INSECURE, GRND_NONBLOCK};
	uint64_t numbers[3] = {0};
	struct timespec now;
	bool chosen = false;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]) && !chosen; i++)
		chosen = getrandom(numbers, sizeof(numbers), flags[i]) == sizeof(numbers);
	if (!chosen) {
		log_warning("paths are hashed without a secret key: %s", strerror(errno));
		clock_gettime(CLOCK_REALTIME, &now);
		numbers[2] = (uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec ^
		             (uint64_t)getpid() << 48;
	}
	path_hash_key((const uint8_t *)numbers);
	return numbers[2];
}

static int create_loop(struct daemon *d)
{
	sigset_t ending;

	d->base = event_base_new();
	if (!d->base)
		return -ENOMEM;
	clients_init(&d->clients, d->base, &d->domain);
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

	domain_init(&d->domain, role_of(d->options), choose_numbers());
	r = begin_log(d);
	if (r < 0)
		return r;
	r = create_loop(d);
	if (r < 0) {
		log_error("cannot create the event loop: %s", strerror(-r));
		return r;
	}
	r = find_directory(d);
	if (r == 0)
		r = open_link(d);
	if (r == 0)
		r = install_sockets(d);
	if (r == 0)
		r = install_pidfile(d);
	if (r < 0)
		return r;
	r = bound_connections(d);
	if (r < 0)
		log_error("cannot start with so few file descriptors: %s", strerror(-r));
	return r;
}

static void end(struct daemon *d)
{
	if (d->has_link)
		link_close(&d->link);
	if (d->base)
		clients_close(&d->clients);
	for (int i = 0; i < INSTALLED; i++)
		installed_remove(&d->installed[i]);
	startup_end();
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

	for (int i = 0; i < INSTALLED; i++)
		d.installed[i] = (struct installed)INSTALLED_NONE;
	signal(SIGPIPE, SIG_IGN);
	r = startup_standard_files();
	if (r < 0) {
		log_error("cannot open /dev/null: %s", strerror(-r));
		return EXIT_FAILURE;
	}
	if (!o->foreground) {
		r = startup_fork(&status);
		if (r != 0) {
			if (r < 0)
				log_error("cannot fork: %s", strerror(-r));
			return r > 0 ? status : EXIT_FAILURE;
		}
	}
	r = start(&d);
	if (r == 0) {
		r = run_loop(&d);
		if (r < 0)
			log_error("the event loop has failed");
	}
	end(&d);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
