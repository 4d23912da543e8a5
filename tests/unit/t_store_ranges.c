/* SPDX-License-Identifier: Apache-2.0 */
/* The buddy allocator of the page maps' space. */
#include "gm_test.h"
#include "store_ranges.h"

static void ranges_are_disjoint_and_aligned_whatever_comes_and_goes(void **state)
{
	struct {
		uint32_t first;
		unsigned order;
	} taken[64];
	bool is_used[256] = { 0 };
	struct gm_test_rng rng = { 0 };
	struct gm_ranges ranges;
	unsigned n = 0;

	(void)state;
	assert_int_equal(gm_ranges_init(&ranges, 256), 0);
	for (unsigned i = 0; i < 200000; i++) {
		unsigned order = (unsigned)gm_test_random_below(&rng, 6);
		bool has = gm_ranges_has(&ranges, order);

		if (n < 64 && gm_test_random_below(&rng, 2)) {
			assert_int_equal(gm_ranges_take(&ranges, order, &taken[n].first), has);
			if (!has)
				continue;
			taken[n].order = order;
			assert_true(gm_is_aligned(taken[n].first, 1u << order));
			for (uint32_t at = 0; at < 1u << order; at++) {
				assert_false(is_used[taken[n].first + at]);
				is_used[taken[n].first + at] = true;
			}
			n++;
		} else if (n > 0) {
			unsigned which = (unsigned)gm_test_random_below(&rng, n);

			for (uint32_t at = 0; at < 1u << taken[which].order; at++)
				is_used[taken[which].first + at] = false;
			gm_ranges_give(&ranges, taken[which].order, taken[which].first);
			taken[which] = taken[--n];
		}
	}
	while (n-- > 0)
		gm_ranges_give(&ranges, taken[n].order, taken[n].first);
	/* All came together again. */
	assert_true(gm_ranges_has(&ranges, 8));
	gm_ranges_done(&ranges);
}

static void a_claimed_range_is_nobody_elses(void **state)
{
	struct gm_ranges ranges;
	uint32_t first;

	(void)state;
	assert_int_equal(gm_ranges_init(&ranges, 16), 0);
	assert_true(gm_ranges_claim(&ranges, 1, 6));
	assert_false(gm_ranges_claim(&ranges, 1, 6));
	assert_false(gm_ranges_claim(&ranges, 0, 7));
	assert_false(gm_ranges_claim(&ranges, 2, 4));
	assert_true(gm_ranges_claim(&ranges, 1, 4));
	assert_true(gm_ranges_claim(&ranges, 3, 8));
	assert_true(gm_ranges_take(&ranges, 2, &first));
	assert_int_equal(first, 0);
	assert_false(gm_ranges_has(&ranges, 0));
	gm_ranges_done(&ranges);
}

static void what_is_no_range_cannot_be_claimed(void **state)
{
	struct gm_ranges ranges;

	(void)state;
	assert_int_equal(gm_ranges_init(&ranges, 16), 0);
	assert_false(gm_ranges_claim(&ranges, 1, 3));
	assert_false(gm_ranges_claim(&ranges, 0, 16));
	assert_false(gm_ranges_claim(&ranges, 5, 0));
	assert_false(gm_ranges_claim(&ranges, 200, 0));
	assert_false(gm_ranges_claim(&ranges, 0, UINT32_MAX));
	gm_ranges_done(&ranges);
}

static void the_order_of_a_size_is_the_least_that_holds_it(void **state)
{
	(void)state;
	assert_int_equal(gm_ranges_order(1), 0);
	assert_int_equal(gm_ranges_order(2), 1);
	assert_int_equal(gm_ranges_order(3), 2);
	assert_int_equal(gm_ranges_order(1u << 20), 20);
	assert_int_equal(gm_ranges_order((1u << 20) + 1), GM_RANGE_ORDERS);
	assert_int_equal(gm_ranges_order(UINT64_MAX), GM_RANGE_ORDERS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(ranges_are_disjoint_and_aligned_whatever_comes_and_goes),
		gm_test(a_claimed_range_is_nobody_elses),
		gm_test(what_is_no_range_cannot_be_claimed),
		gm_test(the_order_of_a_size_is_the_least_that_holds_it),
	};

	return gm_test_run("ranges", tests, GM_ARRAY_SIZE(tests));
}
