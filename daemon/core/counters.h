/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What local clients have asked for so far, and what they did not get. For the status. */
#ifndef QDB_COUNTERS_H
#define QDB_COUNTERS_H

#include <stdint.h>

#include "protocol/qubesdb.h"

enum refusal_kind {
	REFUSAL_ABSENT,
	REFUSAL_REQUEST,
	REFUSAL_PATH,
	REFUSAL_VALUE,
	REFUSAL_DATA,
	REFUSAL_ACCESS,
	REFUSAL_QUOTA,
	REFUSAL_MEMORY,
	REFUSALS,
};

#define COUNTED_REQUESTS (QDB_CMD_TRACE + 1)

struct counters {
	uint64_t requests[COUNTED_REQUESTS]; /* by type, those that are known */
	uint64_t refusals[REFUSALS];
	uint64_t events;
};

#endif
