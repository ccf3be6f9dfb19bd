/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An ordinary build needs nothing besides; see sandbox_build_sanitized.c. */
#include <stddef.h>

#include "daemon/sandbox.h"

const struct sandbox_call sandbox_build_calls[] = {{NULL}};

const char *const sandbox_build_directories[] = {NULL};
