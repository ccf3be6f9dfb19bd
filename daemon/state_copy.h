/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A state that can be read but not opened: sqlite writes to the directory even to read.
 * So it is copied to where that can be done, with what is beside it, and the copy is
 * read.
 */
#ifndef QDB_STATE_COPY_H
#define QDB_STATE_COPY_H

#include <stdbool.h>

/* Copies what `fd` is of, which lies at `path`, to `copy`. False with errno set. */
bool state_copy_make(int fd, const char *path, const char *copy);
void state_copy_remove(const char *copy);

#endif
