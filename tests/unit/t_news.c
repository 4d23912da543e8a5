/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting: buckets of histograms, and what an answer counts as.
 */
#include "gm_test.h"

#include <errno.h>
#include <string.h>

#include "news.h"

static void bounds_are_1_2_and_5_of_each_power_of_ten(void **state)
{
	static const uint64_t steps[] = { 1, 2, 5 };
	uint64_t power = 10;

	(void)state;
	for (unsigned i = 0; i < GM_HISTOGRAM_BOUNDS; i++) {
		assert_int_equal(gm_histogram_bounds_us[i], steps[i % 3] * power);
		if (i % 3 == 2)
			power *= 10;
	}
	assert_int_equal(gm_histogram_bounds_us[GM_HISTOGRAM_BOUNDS - 1], 100 * UINT64_C(1000000));
}

static void a_value_is_in_the_first_bucket_that_it_is_not_above(void **state)
{
	(void)state;
	for (unsigned i = 0; i < GM_HISTOGRAM_BOUNDS; i++) {
		struct gm_histogram histogram = { 0 };

		gm_histogram_add(&histogram, gm_histogram_bounds_us[i]);
		assert_int_equal(histogram.counts[i], 1);
		gm_histogram_add(&histogram, gm_histogram_bounds_us[i] + 1);
		assert_int_equal(histogram.counts[i], 1);
		assert_int_equal(histogram.counts[i + 1], 1);
		assert_int_equal(histogram.sum_us, 2 * gm_histogram_bounds_us[i] + 1);
	}
}

static void nothing_is_too_short_or_too_long_to_be_counted(void **state)
{
	struct gm_histogram histogram = { 0 };

	(void)state;
	gm_histogram_add(&histogram, 0);
	gm_histogram_add(&histogram, UINT64_MAX / 2);
	assert_int_equal(histogram.counts[0], 1);
	assert_int_equal(histogram.counts[GM_HISTOGRAM_BUCKETS - 1], 1);
}

static void an_answer_counts_by_its_code_and_a_refusal_by_its_rule(void **state)
{
	struct gm_counters counters = { 0 };

	(void)state;
	gm_counters_answer(&counters, 0, GM_RULE_NONE);
	gm_counters_answer(&counters, GM_OVER_LIMIT, GM_RULE_MEMORY_MAX);
	gm_counters_answer(&counters, -EIO, GM_RULE_MEMORY_MAX);
	assert_int_equal(counters.codes[GM_OK], 1);
	assert_int_equal(counters.codes[GM_OVER_LIMIT], 1);
	assert_int_equal(counters.codes[GM_FAILED], 1);
	assert_int_equal(counters.rules[GM_RULE_MEMORY_MAX], 1);
	assert_int_equal(counters.refusals, 1);
}

static void counts_of_two_tenants_add_up(void **state)
{
	struct gm_counters one = { 0 };
	struct gm_counters two;
	uint64_t *values = (uint64_t *)&one;

	(void)state;
	/* Nothing but counts in it: every one of them is to be added. */
	for (size_t i = 0; i < sizeof(one) / sizeof(*values); i++)
		values[i] = i + 1;
	two = one;
	gm_counters_merge(&one, &two);
	for (size_t i = 0; i < sizeof(one) / sizeof(*values); i++)
		assert_int_equal(values[i], 2 * (i + 1));
}

static void every_kind_of_news_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (int a = 0; a < GM_NEWS_N_; a++) {
		assert_non_null(gm_news_name((enum gm_news_kind)a));
		for (int b = 0; b < a; b++)
			assert_string_not_equal(gm_news_name((enum gm_news_kind)a),
						gm_news_name((enum gm_news_kind)b));
	}
	assert_string_equal(gm_news_name(GM_NEWS_N_), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(bounds_are_1_2_and_5_of_each_power_of_ten),
		gm_test(a_value_is_in_the_first_bucket_that_it_is_not_above),
		gm_test(nothing_is_too_short_or_too_long_to_be_counted),
		gm_test(an_answer_counts_by_its_code_and_a_refusal_by_its_rule),
		gm_test(counts_of_two_tenants_add_up),
		gm_test(every_kind_of_news_has_a_name_of_its_own),
	};

	return gm_test_run("news", tests, GM_ARRAY_SIZE(tests));
}
