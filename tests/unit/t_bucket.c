/* SPDX-License-Identifier: Apache-2.0 */
/* Rates: what may be taken how soon, whatever the sizes and the times. */
#include "bucket.h"
#include "gm_test.h"

static void a_full_bucket_gives_what_comes_in_a_second_at_once(void **state)
{
	struct gm_bucket bucket;

	(void)state;
	gm_bucket_init(&bucket, 3, 100);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(gm_bucket_wait_ms(&bucket, 100), 0);
		gm_bucket_spend(&bucket, 1, 100);
	}
	/* A third of a second, rounded up. */
	assert_int_equal(gm_bucket_wait_ms(&bucket, 100), 334);
	assert_int_equal(gm_bucket_wait_ms(&bucket, 433), 1);
	assert_int_equal(gm_bucket_wait_ms(&bucket, 434), 0);
}

static void it_holds_no_more_than_a_second_however_long_nothing_was_taken(void **state)
{
	struct gm_bucket bucket;

	(void)state;
	gm_bucket_init(&bucket, 2, 0);
	gm_bucket_spend(&bucket, 2, 0);
	assert_int_equal(gm_bucket_wait_ms(&bucket, UINT64_MAX), 0);
	gm_bucket_spend(&bucket, 2, UINT64_MAX);
	assert_int_equal(gm_bucket_wait_ms(&bucket, UINT64_MAX), 500);
}

static void a_piece_larger_than_the_bucket_is_paid_for_afterwards(void **state)
{
	struct gm_bucket bucket;

	(void)state;
	gm_bucket_init(&bucket, 100, 0);
	gm_bucket_spend(&bucket, 1000, 0);
	/* 900 are owed, and one is to be there. */
	assert_int_equal(gm_bucket_wait_ms(&bucket, 0), 9010);
	assert_int_equal(gm_bucket_wait_ms(&bucket, 9009), 1);
	assert_int_equal(gm_bucket_wait_ms(&bucket, 9010), 0);
}

static void a_wait_is_never_longer_than_its_bound(void **state)
{
	struct gm_bucket bucket;

	(void)state;
	gm_bucket_init(&bucket, 1, 0);
	gm_bucket_spend(&bucket, UINT64_MAX, 0);
	assert_int_equal(gm_bucket_wait_ms(&bucket, 0), GM_BUCKET_WAIT_MAX_MS);
}

static void no_limit_never_waits(void **state)
{
	struct gm_bucket bucket;

	(void)state;
	gm_bucket_init(&bucket, GM_UNLIMITED, 0);
	gm_bucket_spend(&bucket, UINT64_MAX, 0);
	assert_int_equal(gm_bucket_wait_ms(&bucket, 0), 0);
}

static void a_rate_of_nothing_always_waits(void **state)
{
	struct gm_bucket bucket;

	(void)state;
	gm_bucket_init(&bucket, 0, 0);
	assert_int_equal(gm_bucket_wait_ms(&bucket, UINT64_MAX), GM_BUCKET_WAIT_MAX_MS);
}

static void a_clock_that_goes_back_gives_nothing(void **state)
{
	struct gm_bucket bucket;

	(void)state;
	gm_bucket_init(&bucket, 1, 5000);
	gm_bucket_spend(&bucket, 1, 5000);
	assert_int_equal(gm_bucket_wait_ms(&bucket, 4000), 1000);
	assert_int_equal(gm_bucket_wait_ms(&bucket, 5999), 1);
}

static void a_new_rate_neither_gives_nor_forgives(void **state)
{
	struct gm_bucket bucket;

	(void)state;
	gm_bucket_init(&bucket, 1000, 0);
	gm_bucket_set_rate(&bucket, 10, 0);
	gm_bucket_spend(&bucket, 20, 0);
	assert_int_equal(gm_bucket_wait_ms(&bucket, 0), 1100);
	gm_bucket_set_rate(&bucket, 1000, 0);
	assert_int_equal(gm_bucket_wait_ms(&bucket, 0), 11);
	gm_bucket_set_rate(&bucket, GM_UNLIMITED, 0);
	assert_int_equal(gm_bucket_wait_ms(&bucket, 0), 0);
	gm_bucket_set_rate(&bucket, 10, 0);
	assert_int_equal(gm_bucket_wait_ms(&bucket, 0), 0);
}

/* Over any time: not more than the rate, a second's worth, and the one piece that overdrew. */
static void the_rate_holds_whatever_is_asked_for(void **state)
{
	struct gm_test_rng rng = { 0 };

	(void)state;
	for (int round = 0; round < 200; round++) {
		uint64_t rate = 1 + gm_test_random_below(&rng, 1 << gm_test_random_below(&rng, 30));
		uint64_t now = 0, taken = 0, largest = 0;
		struct gm_bucket bucket;

		gm_bucket_init(&bucket, rate, now);
		for (int i = 0; i < 500; i++) {
			uint32_t wait = gm_bucket_wait_ms(&bucket, now);
			uint64_t n = gm_test_random_below(&rng, 2 * rate + 1);

			/* What one is told to wait for is enough, and a moment less is not. */
			if (wait > 0 && wait < GM_BUCKET_WAIT_MAX_MS) {
				assert_int_not_equal(gm_bucket_wait_ms(&bucket, now + wait - 1), 0);
				assert_int_equal(gm_bucket_wait_ms(&bucket, now + wait), 0);
			}
			now += wait;
			if (wait == GM_BUCKET_WAIT_MAX_MS)
				continue;
			gm_bucket_spend(&bucket, n, now);
			taken += n;
			largest = gm_max_u64(largest, n);
			assert_true(taken <= rate * now / 1000 + rate + largest + 1);
			now += gm_test_random_below(&rng, 100);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_full_bucket_gives_what_comes_in_a_second_at_once),
		gm_test(it_holds_no_more_than_a_second_however_long_nothing_was_taken),
		gm_test(a_piece_larger_than_the_bucket_is_paid_for_afterwards),
		gm_test(a_wait_is_never_longer_than_its_bound),
		gm_test(no_limit_never_waits),
		gm_test(a_rate_of_nothing_always_waits),
		gm_test(a_clock_that_goes_back_gives_nothing),
		gm_test(a_new_rate_neither_gives_nor_forgives),
		gm_test(the_rate_holds_whatever_is_asked_for),
	};

	return gm_test_run("bucket", tests, GM_ARRAY_SIZE(tests));
}
