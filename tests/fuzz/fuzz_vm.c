/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* dom0's bytes into a VM's core. */
#include "tests/fuzz/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_link(REPLICA_VM, data, size);
}
