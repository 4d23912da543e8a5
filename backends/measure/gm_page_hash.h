/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-384 of each 4 KiB page of a range, over as many threads as the caller gives. */
#ifndef GM_PAGE_HASH_H
#define GM_PAGE_HASH_H

#include "gm_digest.h"

/*
 * Told on the caller's thread, while others still hash: digests [@first, @end) are there. Ranges
 * come in order and without gaps, so that a chain over the digests costs no time of its own.
 */
struct gm_hash_ready {
	void (*tell)(void *data, size_t first, size_t end);
	void *data;
};

/* One per processor that is online. */
unsigned gm_hash_threads(void);

/*
 * Pages past the end of @bytes, and the rest of the page in which they end, are zeros: bytes that
 * are not there are not read. @n_threads 0 or 1: on the caller's alone. A thread that cannot be
 * made is done without. @ready may be NULL. 0 or -ENOMEM.
 */
int gm_hash_pages(const uint8_t *bytes, size_t n_bytes, size_t n_pages, unsigned n_threads,
		  const struct gm_hash_ready *ready,
		  uint8_t (*ret_digests)[GM_SHA384_SIZE]) GM_WARN_UNUSED;

#endif
