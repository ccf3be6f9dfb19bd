/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In the place of xen.c where the program is built without Xen's libraries. */
#include "daemon/vchan/transports.h"

static const char *missing(void)
{
	return "this program was built without Xen";
}

const struct vchan_transport vchan_xen_transport = {
	.name = "xen",
	.missing = missing,
};
