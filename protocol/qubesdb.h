/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The QubesDB wire constants.
 *
 * Every message, on a local socket and on the vchan alike, is a struct qdb_hdr followed
 * by data_len bytes of data. Programs that use libqubesdb do not need this header; it is
 * for those that speak the protocol themselves.
 */
#ifndef QUBESDB_H
#define QUBESDB_H

#include <stdint.h>

/* The vchan port on which the daemon in dom0 waits for the one in the VM. */
#define QDB_VCHAN_PORT 111

/* Size of the path field in bytes. A path has at most QDB_MAX_PATH - 1 characters. */
#define QDB_MAX_PATH 64

/* The longest value in bytes. Deployed daemons refuse 3072 and more. */
#define QDB_MAX_DATA 3071

/* The longest data in bytes of QDB_CMD_WRITE_MANY. */
#define QDB_MAX_MANY 262144

enum qdb_msg {
	QDB_CMD_READ = 0,
	QDB_CMD_WRITE = 1,
	QDB_CMD_MULTIREAD = 2,
	QDB_CMD_LIST = 3,
	QDB_CMD_RM = 4,
	QDB_CMD_WATCH = 5,
	QDB_CMD_UNWATCH = 6,
	QDB_RESP_OK = 7,
	QDB_RESP_ERROR_NOENT = 8,
	QDB_RESP_ERROR = 9,
	QDB_RESP_READ = 10,
	QDB_RESP_MULTIREAD = 11,
	QDB_RESP_LIST = 12,
	QDB_RESP_WATCH = 13,
	/*
	 * Local, from a client: entries as path, NUL, value, NUL, for each, to be written
	 * all or none. The path is empty. RESP_OK, or RESP_ERROR with the path of the
	 * entry that is refused, or "/" if a limit is in the way. Malformed data, a
	 * read-only socket, and a daemon that does not know this request: RESP_ERROR with
	 * the request's path.
	 */
	QDB_CMD_WRITE_MANY = 64,
	/*
	 * Local, from a client, with the path "@", or "@/peer" for what begins with
	 * "/peer": what the daemon tells of itself, in RESP_STATUS messages with a path
	 * and a text each, and one with an empty path at the end. Any other request, and
	 * any to a daemon that does not know it, gets RESP_ERROR.
	 */
	QDB_CMD_STATUS = 65,
	QDB_RESP_STATUS = 66,
	/*
	 * Local, from a client: with the path "on", the daemon logs each request from now
	 * on, without values; with "off", no longer. RESP_OK, or RESP_ERROR, also for who
	 * may not.
	 */
	QDB_CMD_TRACE = 67
};

struct qdb_hdr {
	uint8_t type;            /* enum qdb_msg */
	char path[QDB_MAX_PATH]; /* NUL-terminated */
	uint8_t padding[3];      /* zero when sent, ignored when received */
	uint32_t data_len;       /* bytes that follow the header, host byte order */
};

#endif
