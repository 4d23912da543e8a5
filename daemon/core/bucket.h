/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rate as a bucket of tokens: it fills at the rate, holds what comes in one second, and may be
 * overdrawn by whoever finds it not empty. So a rate holds over time whatever the size of a piece,
 * and a piece that is larger than the bucket is done all the same.
 *
 * Pure: the time is an argument. Times that go backwards count as no time.
 */
#ifndef GM_BUCKET_H
#define GM_BUCKET_H

#include "gm_num.h"

/* Faster than this is no limit. With a thousandth as the unit of @level nothing can overflow. */
#define GM_BUCKET_RATE_MAX (UINT64_C(1) << 52)

struct gm_bucket {
	uint64_t rate;	/* tokens a second; 0: none ever come; GM_UNLIMITED: never empty */
	int64_t level;	/* thousandths of a token; negative: overdrawn */
	uint64_t at_ms; /* when @level was right */
};

/* Full. */
void gm_bucket_init(struct gm_bucket *bucket, uint64_t rate, uint64_t now_ms);

/* From now on. What is in it stays, as far as it fits; what is owed is still owed. */
void gm_bucket_set_rate(struct gm_bucket *bucket, uint64_t rate, uint64_t now_ms);

/*
 * Milliseconds until there is a token, at most GM_BUCKET_WAIT_MAX_MS: 0 where there is one. Whoever
 * waits asks again.
 */
#define GM_BUCKET_WAIT_MAX_MS 60000u
uint32_t gm_bucket_wait_ms(struct gm_bucket *bucket, uint64_t now_ms);

/* Takes @n tokens, at most GM_BUCKET_RATE_MAX, whether there are as many or not. */
void gm_bucket_spend(struct gm_bucket *bucket, uint64_t n, uint64_t now_ms);

#endif
