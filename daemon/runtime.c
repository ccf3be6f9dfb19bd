/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/runtime.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/claim.h"
#include "daemon/log.h"
#include "protocol/message.h"

/* What a state's path may be longer for the files beside it. */
#define BESIDE 32

static int cannot(const char *what, const char *path, int error)
{
	log_error("cannot %s %s: %s; --runtime-dir chooses another place", what, path,
		  strerror(-error));
	return error;
}

static int runtime_path(const struct runtime *r, char *path, const char *name,
			const char *suffix)
{
	const char *dot = name ? "." : "";
	int n = snprintf(path, PATH_MAX, "%s/qubesdb%s%s%s", r->directory, dot,
			 name ? name : "", suffix);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int find_directory(struct runtime *r, const char *path)
{
	int error = installed_directory(path);

	if (error < 0)
		return cannot("create", path, error);
	if (!realpath(path, r->directory))
		return cannot("use", path, -errno);
	return 0;
}

static int prepare_socket(struct runtime *r, const struct options *o, struct clients *c,
			  enum session_access access)
{
	const bool writes = access == SESSION_READ_WRITE;
	char path[PATH_MAX];
	int n;

	n = runtime_path(r, path, o->remote_name, writes ? ".sock" : ".ro.sock");
	if (n == 0)
		n = installed_listen(&r->files[writes ? RW_SOCKET : RO_SOCKET], path,
				     writes ? o->rw_socket_mode : 0666, SOMAXCONN);
	if (n < 0)
		return cannot("listen on", path, n);
	clients_listen(c, access, n);
	return 0;
}

static int prepare_link(struct runtime *r, int which, int target, const char *suffix)
{
	char path[PATH_MAX];
	int n = runtime_path(r, path, NULL, suffix);

	if (n == 0)
		n = installed_symlink(&r->files[which], path, r->files[target].path);
	return n < 0 ? cannot("create", path, n) : 0;
}

static int prepare_sockets(struct runtime *r, const struct options *o, struct clients *c)
{
	int n = prepare_socket(r, o, c, SESSION_READ_WRITE);

	if (n == 0)
		n = prepare_socket(r, o, c, SESSION_READ_ONLY);
	if (n < 0 || !o->remote_name || o->remote_domid != 0)
		return n;
	n = prepare_link(r, RW_LINK, RW_SOCKET, ".sock");
	return n < 0 ? n : prepare_link(r, RO_LINK, RO_SOCKET, ".ro.sock");
}

static int prepare_pidfile(struct runtime *r, const struct options *o)
{
	char path[PATH_MAX], text[32];
	int n;

	if (!o->remote_name)
		return 0;
	snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	n = runtime_path(r, path, o->remote_name, ".pid");
	if (n == 0)
		n = installed_file(&r->files[PIDFILE], path, text, 0664);
	return n < 0 ? cannot("create", path, n) : 0;
}

void runtime_init(struct runtime *r)
{
	for (int i = 0; i < RUNTIME_FILES; i++)
		r->files[i] = (struct installed)INSTALLED_NONE;
	r->lock = (struct installed)INSTALLED_NONE;
	r->fd = -1;
}

int runtime_prepare(struct runtime *r, const struct options *o, struct clients *c)
{
	int n = find_directory(r, o->runtime_dir);

	if (n == 0)
		n = prepare_sockets(r, o, c);
	return n < 0 ? n : prepare_pidfile(r, o);
}

/* Who has not asked is waited for when that daemon ends. Nobody needs the answer. */
static void ask_something(int fd)
{
	static const char path[] = "/name";
	uint8_t request[MESSAGE_HEADER_SIZE];
	size_t len =
		message_encode(request, QDB_CMD_UNWATCH, path, strlen(path), NULL, 0);

	if (send(fd, request, len, MSG_NOSIGNAL) < 0)
		log_warning("cannot ask the daemon that serves here: %s",
			    strerror(errno));
}

int runtime_find_other(const struct runtime *r)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = r->files[RW_SOCKET].path;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error;

	if (fd < 0)
		return -errno;
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
		ask_something(fd);
		return fd;
	}
	error = errno == EAGAIN ? -EAGAIN : -ENOENT;
	close(fd);
	return error;
}

int runtime_state_path(const struct runtime *r, const struct options *o, char *path)
{
	char here[PATH_MAX];
	int n = 0;

	if (!o->state)
		return runtime_path(r, path, o->remote_name, ".state");
	if (o->state[0] == '/')
		n = snprintf(path, PATH_MAX, "%s", o->state);
	else if (getcwd(here, sizeof(here)))
		n = snprintf(path, PATH_MAX, "%s/%s", here, o->state);
	else
		n = -errno;
	if (n >= PATH_MAX - BESIDE)
		n = -ENAMETOOLONG;
	if (n >= 0)
		return 0;
	log_error("cannot use the state %s: %s; --state chooses another place", o->state,
		  strerror(-n));
	return n;
}

static int for_all(struct runtime *r, int (*put)(struct installed *f))
{
	for (int i = 0; i < RUNTIME_FILES; i++) {
		int n = put(&r->files[i]);

		if (n < 0)
			return cannot("create", r->files[i].path, n);
	}
	return 0;
}

int runtime_show(struct runtime *r)
{
	return for_all(r, installed_show);
}

int runtime_appear(struct runtime *r)
{
	return for_all(r, installed_appear);
}

int runtime_claim(struct runtime *r, const struct options *o)
{
	char path[PATH_MAX], suffix[32];
	int n;

	snprintf(suffix, sizeof(suffix), ".%d.lock", o->remote_domid);
	n = runtime_path(r, path, o->remote_name, suffix);
	if (n == 0)
		n = claim_take_at(path, o->remote_name, o->remote_domid);
	if (n == -EINTR)
		return n;
	if (n < 0) {
		log_error("cannot tell whether another daemon serves, by the lock %s: %s",
			  path, strerror(-n));
		return 0;
	}
	r->fd = n;
	installed_adopt(&r->lock, path);
	return 0;
}

void runtime_withdraw(struct runtime *r)
{
	for (int i = PIDFILE - 1; i >= 0; i--)
		installed_remove(&r->files[i]);
}

void runtime_remove(struct runtime *r)
{
	runtime_withdraw(r);
	installed_remove(&r->files[PIDFILE]);
	installed_remove(&r->lock);
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}
