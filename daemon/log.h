/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One line per event: time, level, the VM's name, what happened and why. Lines never
 * carry values. Logging never waits: a line that the other end of standard error does not
 * take is lost. A flood is cut short and counted, unless it is the trace: lines that the
 * other side brings about, those that clients do, and all others, each by itself.
 */
#ifndef QDB_LOG_H
#define QDB_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR, LOG_LEVEL_TRACE };

enum log_cause { LOG_OWN, LOG_PEER, LOG_CLIENTS };

/* The name that follows the level in every line. Kept by reference. */
void log_set_name(const char *name);

/*
 * Appends to this file from now on (mode 0664), besides standard error. 0 or a negative
 * errno: -EINVAL for what is not a regular file. Does not wait, and follows no link.
 */
int log_open(const char *path);

/* Stops writing to standard error. */
void log_leave_stderr(void);

void log_line(enum log_cause cause, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * A warning of what clients of this user do, however many, at most once in ten minutes
 * for the same `what`, which is kept by reference. The next one tells how often it was.
 */
void log_offence(unsigned long user, const char *what, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
#define LOG_ANYBODY (~0ul)

/* The text and the number after it; may be called from a signal handler. */
void log_from_handler(const char *text, unsigned number);

#define log_info(...) log_line(LOG_OWN, LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(...) log_line(LOG_OWN, LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(...) log_line(LOG_OWN, LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_peer_info(...) log_line(LOG_PEER, LOG_LEVEL_INFO, __VA_ARGS__)
#define log_peer_warning(...) log_line(LOG_PEER, LOG_LEVEL_WARNING, __VA_ARGS__)

#endif
