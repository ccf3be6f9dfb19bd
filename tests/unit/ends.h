/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Two real domains with a wire between them, or one with the test as its peer. */
#ifndef QDB_ENDS_H
#define QDB_ENDS_H

#include "daemon/core/domain.h"
#include "tests/unit/unit.h"

extern struct domain dom0, vm;
extern char text[400000];

/* A test begins and ends with these. The end checks every counter. */
void ends_setup(void);
void ends_teardown(void);

/* Local changes; set() must succeed, drop() gives the result. */
void set(struct domain *d, const char *path, const char *value);
int drop(struct domain *d, const char *path);

/* The value as a string, or "(absent)". Valid until the next call. */
const char *get(struct domain *d, const char *path);

/* Bytes arrive over the link, in whatever pieces there is room for. */
void receive(struct domain *d, const uint8_t *bytes, size_t len);

/* Moves at most one write's worth from one end to the other; false: there was nothing. */
bool carry(struct domain *from, struct domain *to);

/* Moves everything, until both are silent. */
void exchange(void);

/* The link. begin() connects and exchanges. */
void connect_ends(void);
void disconnect_ends(void);
void begin(void);

/* Nothing differs, and nothing is owed. */
void assert_equal_ends(void);

/* The test as the peer of one end. hear() gives all that it says, as text. */
void say(struct domain *d, enum qdb_msg type, const char *path, const char *data);
const char *hear(struct domain *d);

/* dom0 has a link to a VM that did not announce itself, and has sent the dump. */
void begin_as_legacy_vm(void);

#endif
