/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QDB_CLIENT_COMPLETE_H
#define QDB_CLIENT_COMPLETE_H

/*
 * Prints what the last of `words` may become, one candidate a line; words[0] is the
 * program's name. Returns the exit status: 2 if file names are wanted, otherwise 0.
 */
int complete(char **words, int count);

#endif
