/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which GiBs of the maps are whose: a buddy allocator. A range has 1 << order GiBs and starts at a
 * multiple of that, so that taking and giving back cost the same whatever there is.
 */
#ifndef GM_STORE_RANGES_H
#define GM_STORE_RANGES_H

#include "gm_num.h"

#define GM_RANGE_ORDERS 21 /* 0 to 20: GM_STORE's limits are at most 1 << 20 */

struct gm_ranges {
	uint32_t n;			/* a power of two */
	uint32_t free[GM_RANGE_ORDERS]; /* first free range of the order, and 1; 0: none */
	uint32_t *next;			/* by first GiB, of free ranges; and 1 */
	uint32_t *previous;
	uint8_t *order; /* by first GiB: of a free range, and 1; 0: no free range starts here */
};

/* All free. 0 or -ENOMEM. */
GM_WARN_UNUSED int gm_ranges_init(struct gm_ranges *ranges, uint32_t n);

/* Idempotent; safe on a zeroed struct. */
void gm_ranges_done(struct gm_ranges *ranges);

/* The order of a range for @n GiBs; GM_RANGE_ORDERS when there is none. */
unsigned gm_ranges_order(uint64_t n);

bool gm_ranges_has(const struct gm_ranges *ranges, unsigned order);

/* False: no such range is free. */
bool gm_ranges_take(struct gm_ranges *ranges, unsigned order, uint32_t *ret_first);

/* Takes that very range. False: some of it is not free, or it is no range. */
bool gm_ranges_claim(struct gm_ranges *ranges, unsigned order, uint32_t first);

void gm_ranges_give(struct gm_ranges *ranges, unsigned order, uint32_t first);

/* Calls @visit for every free range. */
void gm_ranges_each_free(const struct gm_ranges *ranges,
			 void (*visit)(void *arg, uint32_t first, uint32_t n), void *arg);

#endif
