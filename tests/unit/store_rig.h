/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of the record: areas in memory, a load that believes whatever the core believes, and a
 * digest by which two books are compared.
 */
#ifndef STORE_RIG_H
#define STORE_RIG_H

#include "store.h"

/* Zeroed, of the sizes for @limits. Not from the heap: tests count that. False: short of memory. */
bool store_rig_map(struct gm_store_area *ret_area, const struct gm_store_limits *limits);
void store_rig_unmap(struct gm_store_area *area);

struct store_rig_load {
	struct gm_book *book;
	struct gm_policy policy; /* of tenants that are made */
	unsigned n_tenants;	 /* made */
	unsigned n_damaged;
	char object[GM_OBJECT_MAX]; /* the last that was damaged */
	char why[GM_TEXT_MAX];
};

/*
 * Loads into @load->book, which is empty but for tenants. Jobs that were under way are counted in
 * gm_region::n_jobs_of, as the books had them.
 */
int store_rig_load(struct store_rig_load *load, struct gm_store *store, uint64_t now_ms);

/*
 * Everything of the books that outlives the daemon, in one number: tenants apart, and what is
 * ending.
 */
uint64_t store_rig_digest(const struct gm_book *book);

/* Whether every account has in use what the objects add up to. */
bool store_rig_adds_up(const struct gm_book *book);

/* Takes everything out of the books, and makes an end of them. */
void store_rig_clear(struct gm_book *book);

#endif
