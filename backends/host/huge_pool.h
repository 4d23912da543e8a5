/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's hugepage pools, and the reservations that make a promise of hugepages hold.
 */
#ifndef GM_HOST_HUGE_POOL_H
#define GM_HOST_HUGE_POOL_H

#include "backend.h"

/* "4K", "2M", "1G"; "?" for a size that has no name here. */
const char *gm_page_size_name(uint64_t page_size);

/*
 * Reserves [offset, +length) of a hugetlb file: each page of it can from now on be allocated or
 * touched without fail. Idempotent; the reservation lives as long as the file. With @nodes the
 * kernel also checks that they exist (-EINVAL). -ENOMEM when the pool is short.
 */
GM_WARN_UNUSED int gm_huge_reserve(int fd, uint64_t offset, uint64_t length, uint64_t nodes);

/* GM_NO_RESOURCE with the pool's numbers, in bytes. */
int gm_huge_refuse(struct gm_refusal *refusal, uint64_t page_size, uint64_t asked);

/*
 * GM_NO_RESOURCE when @nodes (bits) have fewer free pages than @asked bytes beside those that are
 * @promised to others (bytes): a reservation counts on the whole host's pool and says nothing of
 * nodes. 0 when they have enough.
 */
GM_WARN_UNUSED int gm_huge_check_nodes(uint64_t page_size, uint64_t nodes, uint64_t promised,
				       uint64_t asked, struct gm_refusal *refusal);

#endif
