/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who comes first, who leaves first, and what is still read afterwards. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/vchan/cases.h"
#include "tests/vchan/control.h"

#define SOME 3000 /* bytes that any vchan takes without being read */

static void part(struct end *e)
{
	control_sync("all is received");
	if (!e->server)
		end_close(e);
	else
		end_expect_the_end(e);
	end_close(e);
}

static void check_unconnected(struct end *e)
{
	check(e->connected == 0, "connected to nobody");
	check(end_take(e, 1) == 0, "a read from nobody is not -EAGAIN");
	check(vchan_room(e->vchan) == 0, "room for nobody");
}

static void alone_first(struct end *e, bool first)
{
	if (first) {
		end_open(e);
		control_turns_at_once();
		control_sync("one end is there");
		check_unconnected(e);
		control_sync("and has nobody");
	} else {
		control_sync("one end is there");
		control_sync("and has nobody");
		end_open(e);
	}
	end_meet(e, 1, 1);
	end_exchange(e, 10000, 100);
	part(e);
}

static void client_first(struct end *e)
{
	alone_first(e, !e->server);
}

static void server_first(struct end *e)
{
	alone_first(e, e->server);
}

/* The client has its connection, and uses it, before the server has looked. */
static void half_open(struct end *e)
{
	if (e->server) {
		end_open(e);
		control_sync_asleep("the server is there");
		control_sync_asleep("the client has written");
		check_unconnected(e);
		end_meet(e, 1, 1);
		end_receive(e, SOME);
		end_send(e, SOME, SOME);
	} else {
		control_sync_asleep("the server is there");
		end_open(e);
		end_meet(e, 1, 1);
		end_send(e, SOME, SOME);
		control_sync_asleep("the client has written");
		end_receive(e, SOME);
	}
	part(e);
}

/* It even leaves before. The server still hears it, and then the next one. */
static void half_open_and_closed(struct end *e)
{
	if (e->server) {
		end_open(e);
		control_sync_asleep("the server is there");
		control_sync_asleep("the client has left");
		end_meet(e, 1, 1);
		end_receive(e, SOME);
		end_expect_the_end(e);
		vchan_restart(e->vchan, 0);
		end_meet(e, 2, 2);
	} else {
		control_sync_asleep("the server is there");
		end_open(e);
		end_meet(e, 1, 1);
		end_send(e, SOME, SOME);
		end_close(e);
		control_sync_asleep("the client has left");
		end_open(e);
		end_meet(e, 1, 2);
	}
	end_exchange(e, 10000, 100);
	part(e);
}

/* Both have written and neither has read when the one leaves, by close or restart. */
static void leave_first(struct end *e, bool first, bool restart)
{
	end_open(e);
	end_meet(e, 1, 1);
	end_send(e, SOME, SOME);
	control_sync_asleep("both have written");
	if (first && restart)
		vchan_restart(e->vchan, 0);
	else if (first)
		end_close(e);
	control_sync_asleep("one end has left");
	if (!first) {
		end_receive(e, SOME);
		end_expect_the_end(e);
		vchan_restart(e->vchan, 0);
		check(end_take(e, 1) == 0, "a read between connections is not -EAGAIN");
		check(vchan_room(e->vchan) == 0, "room between connections");
	} else if (!restart) {
		end_open(e);
	}
	end_meet(e, first && !restart ? 1 : 2, 2);
	end_exchange(e, 10000, 100);
	part(e);
}

static void server_closes_first(struct end *e)
{
	leave_first(e, e->server, false);
}

static void client_closes_first(struct end *e)
{
	leave_first(e, !e->server, false);
}

static void server_restarts_first(struct end *e)
{
	leave_first(e, e->server, true);
}

static void client_restarts_first(struct end *e)
{
	leave_first(e, !e->server, true);
}

/* A full ring, a close, and only then the first read. */
static void leave_full(struct end *e, bool first)
{
	uint32_t sent = 0;

	end_open(e);
	end_meet(e, 1, 1);
	if (first) {
		while (end_put(e, 100))
			sent++;
		check(sent > 0, "no room in a new connection");
		end_close(e);
		control_sync_asleep("one end has left");
		return;
	}
	control_sync_asleep("one end has left");
	while (end_take(e, 1000) > 0)
		sent++;
	check(sent > 0 && e->in.at % 100 == 0, "%u bytes of messages of 100", e->in.at);
	end_expect_the_end(e);
	end_close(e);
}

static void server_leaves_full(struct end *e)
{
	leave_full(e, e->server);
}

static void client_leaves_full(struct end *e)
{
	leave_full(e, !e->server);
}

/* A process in the place of this one, without a word at its end. */
static void live_and_die(struct end *e, unsigned limit)
{
	const pid_t pid = fork();
	int status = 0;

	check(pid >= 0, "cannot fork");
	if (pid == 0) {
		control_begin("who is to die", limit);
		end_open(e);
		end_meet(e, 1, 1);
		end_send(e, SOME, SOME);
		control_sync_asleep("both have written");
		raise(SIGKILL);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
		exit(WEXITSTATUS(status));
}

static void die(struct end *e, bool who)
{
	if (who) {
		live_and_die(e, 600);
		control_sync_asleep("one end is dead");
		end_open(e);
		end_meet(e, 1, 2);
	} else {
		end_open(e);
		end_meet(e, 1, 1);
		end_send(e, SOME, SOME);
		control_sync_asleep("both have written");
		control_sync("one end is dead");
		end_receive(e, SOME);
		end_expect_the_end(e);
		vchan_restart(e->vchan, 0);
		end_meet(e, 2, 2);
	}
	end_exchange(e, 10000, 100);
	part(e);
}

static void server_is_killed(struct end *e)
{
	die(e, e->server);
}

static void client_is_killed(struct end *e)
{
	die(e, !e->server);
}

const struct conformance_case connecting_cases[] = {
	{"client_first", client_first},
	{"server_first", server_first},
	{"half_open", half_open},
	{"half_open_and_closed", half_open_and_closed},
	{"server_closes_first", server_closes_first},
	{"client_closes_first", client_closes_first},
	{"server_restarts_first", server_restarts_first},
	{"client_restarts_first", client_restarts_first},
	{"server_leaves_full", server_leaves_full},
	{"client_leaves_full", client_leaves_full},
	{"server_is_killed", server_is_killed},
	{"client_is_killed", client_is_killed},
	{0},
};
