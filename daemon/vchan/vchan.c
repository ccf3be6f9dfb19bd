/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/vchan/vchan.h"

#include <string.h>

#include "daemon/vchan/transports.h"

/* In the order in which "auto" prefers them. */
static const struct vchan_transport *const transports[] = {
	&vchan_xen_transport,
	&vchan_socket_transport,
};

#define TRANSPORTS (sizeof(transports) / sizeof(transports[0]))

const struct vchan_transport *vchan_transport_find(const char *name)
{
	const bool any = strcmp(name, "auto") == 0;

	for (size_t i = 0; i < TRANSPORTS; i++)
		if ((any || !strcmp(name, transports[i]->name)) &&
		    !transports[i]->missing())
			return transports[i];
	return NULL;
}

const char *vchan_transport_missing(const char *name)
{
	for (size_t i = 0; i < TRANSPORTS; i++)
		if (strcmp(name, transports[i]->name) == 0)
			return transports[i]->missing();
	return "not auto, xen or socket";
}

void vchan_confine(const struct vchan_transport *transport, struct sandbox *s,
		   const struct vchan_address *address)
{
	if (transport->confine)
		transport->confine(s, address);
}

int vchan_open(struct vchan **v, const struct vchan_transport *transport,
	       struct event_base *base, const struct vchan_address *address,
	       const struct vchan_handlers *handlers, void *context)
{
	const struct vchan common = {
		.transport = transport,
		.base = base,
		.address = *address,
		.handlers = handlers,
		.context = context,
	};

	return transport->open(v, &common);
}

ssize_t vchan_read(struct vchan *v, void *buf, size_t len)
{
	return v->transport->read(v, buf, len);
}

void vchan_listen_to(struct vchan *v, bool wanted)
{
	v->transport->listen_to(v, wanted);
}

size_t vchan_room(struct vchan *v)
{
	return v->transport->room(v);
}

ssize_t vchan_write(struct vchan *v, const void *buf, size_t len)
{
	return v->transport->write(v, buf, len);
}

size_t vchan_untaken(struct vchan *v)
{
	return v->transport->untaken(v);
}

void vchan_restart(struct vchan *v, unsigned delay_ms)
{
	v->transport->restart(v, delay_ms);
}

void vchan_close(struct vchan *v)
{
	if (v)
		v->transport->close(v);
}
