/* SPDX-License-Identifier: Apache-2.0 */
#include "bucket.h"

#define MILLI 1000

static bool is_endless(const struct gm_bucket *bucket)
{
	return bucket->rate > GM_BUCKET_RATE_MAX;
}

/* What comes in a second; of a rate of 1 or more always a whole token. */
static int64_t capacity(const struct gm_bucket *bucket)
{
	return is_endless(bucket) ? 0 : (int64_t)(bucket->rate * MILLI);
}

/* Tokens a second are thousandths of a token in a millisecond. */
static void refill(struct gm_bucket *bucket, uint64_t now_ms)
{
	uint64_t room = (uint64_t)capacity(bucket) - (uint64_t)bucket->level;
	uint64_t come;

	if (now_ms <= bucket->at_ms || is_endless(bucket))
		return;
	if (gm_mul_overflows(now_ms - bucket->at_ms, bucket->rate, &come))
		come = room;
	bucket->level += (int64_t)gm_min_u64(come, room);
	bucket->at_ms = now_ms;
}

void gm_bucket_init(struct gm_bucket *bucket, uint64_t rate, uint64_t now_ms)
{
	*bucket = (struct gm_bucket){ .rate = rate, .at_ms = now_ms };
	bucket->level = capacity(bucket);
}

void gm_bucket_set_rate(struct gm_bucket *bucket, uint64_t rate, uint64_t now_ms)
{
	if (rate == bucket->rate)
		return;
	if (is_endless(bucket)) {
		gm_bucket_init(bucket, rate, now_ms);
		return;
	}
	refill(bucket, now_ms);
	bucket->rate = rate;
	if (bucket->level > capacity(bucket))
		bucket->level = capacity(bucket);
}

uint32_t gm_bucket_wait_ms(struct gm_bucket *bucket, uint64_t now_ms)
{
	uint64_t missing, ms;

	if (is_endless(bucket))
		return 0;
	refill(bucket, now_ms);
	if (bucket->level >= MILLI)
		return 0;
	if (bucket->rate == 0)
		return GM_BUCKET_WAIT_MAX_MS;
	missing = (uint64_t)MILLI - (uint64_t)bucket->level;
	ms = missing / bucket->rate + (missing % bucket->rate != 0);
	return (uint32_t)gm_min_u64(ms, GM_BUCKET_WAIT_MAX_MS);
}

void gm_bucket_spend(struct gm_bucket *bucket, uint64_t n, uint64_t now_ms)
{
	/* A debt of this much can be paid twice over without leaving 64 bits. */
	const int64_t deepest = -(int64_t)(GM_BUCKET_RATE_MAX * MILLI);
	int64_t price = (int64_t)(gm_min_u64(n, GM_BUCKET_RATE_MAX) * MILLI);

	if (is_endless(bucket))
		return;
	refill(bucket, now_ms);
	bucket->level = bucket->level < deepest + price ? deepest : bucket->level - price;
}
