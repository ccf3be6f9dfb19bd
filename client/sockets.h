/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_CLIENT_SOCKETS_H
#define QDB_CLIENT_SOCKETS_H

#include <stdbool.h>

/* The directory of the sockets. */
const char *sockets_directory(void);

/* Whether the one or the other socket of the daemon can be connected to: 0 or an errno,
 * EAGAIN if it could be, but takes no more connections for now.
 */
int sockets_try(const char *domain, bool read_only);

/* Calls `found` with each domain that has a socket here, in ascending order. */
void sockets_each_domain(void (*found)(const char *domain, void *context), void *context);

#endif
