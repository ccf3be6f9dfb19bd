/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In the place of sandbox_filter.c where the program is built without libseccomp. */
#include <errno.h>

#include "daemon/sandbox_parts.h"

const struct sandbox_call sandbox_common[] = {{NULL}};
const struct sandbox_call sandbox_connecting[] = {{NULL}};

int sandbox_filter_new(struct sandbox_filter *f, const struct sandbox_call *const *tables,
		       size_t n_tables)
{
	(void)f, (void)tables, (void)n_tables;
	return -ENOSYS;
}

int sandbox_filter_enforce(const struct sandbox_filter *f)
{
	(void)f;
	return -ENOSYS;
}

void sandbox_filter_free(struct sandbox_filter *f)
{
	(void)f;
}
