/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What there is to choose from; known to vchan.c alone. */
#ifndef QDB_VCHAN_TRANSPORTS_H
#define QDB_VCHAN_TRANSPORTS_H

#include "daemon/vchan/vchan.h"

extern const struct vchan_transport vchan_xen_transport;
extern const struct vchan_transport vchan_socket_transport;

#endif
