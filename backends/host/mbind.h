/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory policy of a mapping, without libnuma.
 */
#ifndef GM_MBIND_H
#define GM_MBIND_H

#include "gm_num.h"

/* Binds the mapping at @address to @nodes (bits). 0; -EINVAL when no such node has memory. */
GM_WARN_UNUSED int gm_mbind(void *address, uint64_t length, uint64_t nodes);

#endif
