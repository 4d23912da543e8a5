/* SPDX-License-Identifier: Apache-2.0 */
#include "mbind.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/mempolicy.h>

int gm_mbind(void *address, uint64_t length, uint64_t nodes)
{
	unsigned long mask = nodes;

	/* get_nodes takes the number of bits plus one. */
	if (syscall(SYS_mbind, address, length, MPOL_BIND, &mask, sizeof(mask) * 8 + 1, 0U) < 0)
		return -errno;
	return 0;
}
