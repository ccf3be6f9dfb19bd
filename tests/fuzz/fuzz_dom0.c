/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The VM's bytes into dom0's core. */
#include "tests/fuzz/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_link(REPLICA_DOM0, data, size);
}
