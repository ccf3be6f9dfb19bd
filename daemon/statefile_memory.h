/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_STATEFILE_MEMORY_H
#define QDB_STATEFILE_MEMORY_H

/* From now on sqlite, which must not be in use yet, wipes what it frees. */
void statefile_wipe_memory(void);

#endif
