/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Damage in sqlite's write-ahead log. sqlite takes the first frame that is not valid for
 * the end, for a crash in the middle of a commit looks like that, and drops in silence
 * whatever was committed after it. But such a commit is the last one in the log. So if
 * two end behind that place, the log was whole once and is damaged.
 *
 * A log that was cut tells nothing of what it had. So it has its full size before
 * anything is written to it, in zeros, and never less.
 *
 * What remains unnoticed is damage that begins in the last commit, or hits the end of the
 * one before: then the last of them, or both, have not happened.
 *
 * The format is described at https://www.sqlite.org/fileformat2.html#walformat.
 */
#ifndef QDB_WALCHECK_H
#define QDB_WALCHECK_H

#include "daemon/statefile.h"

#define WAL_SIZE 655360

/*
 * Looks at the log beside the file `path`. STATEFILE_FINE (also if there is none),
 * STATEFILE_DAMAGED, or STATEFILE_FAILED with errno set. `is_there` tells whether there
 * is one, with something in it.
 */
enum statefile_result walcheck(const char *path, bool *is_there);

#endif
