/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools of hardware slots: ids that a confidential guest needs one of, and of which a host has few.
 * The kernel counts them in its misc controller; nothing can reserve one, so what is left now may
 * be gone later to somebody who does not ask here.
 */
#ifndef GM_SLOT_H
#define GM_SLOT_H

#include <stdint.h>

#include "gm_num.h"

#define GM_SLOTS_N 3

/* Numbers of pools, for the kinds that need a slot of one. */
#define GM_SLOT_SEV 0
#define GM_SLOT_ES 1
#define GM_SLOT_TDX 2

struct gm_slot_pool {
	const char *name;     /* on the wire and the command line */
	const char *resource; /* of the misc controller */
	const char *key;      /* of the policy */
	const char *what;     /* for people */
};

/* In the order of GM_RES_SLOT_0 and on. */
extern const struct gm_slot_pool gm_slot_pools[GM_SLOTS_N];

/* The number of the pool, or -1. */
int gm_slot_find(const char *name);

/*
 * How many slots of the pool the host has and how many are in use, from misc.capacity and
 * misc.current of the root cgroup. @root: where control groups are mounted, version 2 there or
 * the controller's version 1 in "misc" below; NULL: where a host has them. -ENOENT where there is
 * no such controller, or it has no such resource: then there is no slot.
 */
GM_WARN_UNUSED int gm_slot_read(const char *root, unsigned pool, uint64_t *ret_capacity,
				uint64_t *ret_current);

#endif
