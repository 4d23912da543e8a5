/* SPDX-License-Identifier: Apache-2.0 */
/* What a tenant may have when the operator says nothing. */
#include <string.h>

#include "gm_test.h"
#include "policy.h"

static void four_fifths_of_the_host_is_the_limit(void **state)
{
	struct gm_policy policy;

	(void)state;
	gm_policy_defaults(&policy, 10 * GM_GIB);
	assert_int_equal(policy.memory_max, 8 * GM_GIB);
	assert_int_equal(policy.region_max, 8 * GM_GIB);
}

static void the_limit_is_whole_pages_and_does_not_overflow(void **state)
{
	struct gm_policy policy;

	(void)state;
	gm_policy_defaults(&policy, UINT64_MAX);
	assert_true(gm_is_aligned(policy.memory_max, GM_PAGE_4K));
	assert_true(policy.memory_max > UINT64_MAX / 5 * 3);
	gm_policy_defaults(&policy, 0);
	assert_int_equal(policy.memory_max, 0);
}

static void hugepages_are_the_operators_to_give(void **state)
{
	struct gm_policy policy;

	(void)state;
	gm_policy_defaults(&policy, GM_TIB);
	assert_int_equal(policy.huge_2m_max, 0);
	assert_int_equal(policy.huge_1g_max, 0);
}

static void counts_nodes_and_lifetimes_have_defaults(void **state)
{
	struct gm_policy policy;

	(void)state;
	gm_policy_defaults(&policy, GM_TIB);
	assert_int_equal(policy.regions_max, 4096);
	assert_int_equal(policy.domains_max, 256);
	assert_int_equal(policy.sessions_max, 64);
	assert_int_equal(policy.jobs_max, 8);
	assert_int_equal(policy.numa_nodes, UINT64_MAX);
	assert_true(policy.persistent);
	assert_int_equal(policy.persistent_ttl_ms, 3600 * 1000);
}

static void locked_memory_and_slots_are_the_operators_to_give(void **state)
{
	struct gm_policy policy;

	(void)state;
	gm_policy_defaults(&policy, GM_TIB);
	assert_int_equal(policy.memlock_max, 0);
	for (unsigned pool = 0; pool < GM_SLOT_POOLS; pool++)
		assert_int_equal(policy.slots_max[pool], 0);
}

static void no_rate_is_limited_by_default(void **state)
{
	struct gm_policy policy;

	(void)state;
	gm_policy_defaults(&policy, GM_TIB);
	assert_int_equal(policy.requests_rate, GM_UNLIMITED);
	assert_int_equal(policy.allocate_rate, GM_UNLIMITED);
	assert_int_equal(policy.workers_max, 0);
}

static void every_kind_is_allowed_by_default(void **state)
{
	struct gm_policy policy;

	(void)state;
	gm_policy_defaults(&policy, GM_TIB);
	assert_true(gm_policy_allows_kind(&policy, "memfd"));
	assert_true(gm_policy_allows_kind(&policy, "guest-memfd"));
}

static void only_the_kinds_that_are_named_are_allowed(void **state)
{
	struct gm_policy policy = { .n_kinds = 2 };

	(void)state;
	strcpy(policy.kinds[0], "memfd");
	strcpy(policy.kinds[1], "private");
	assert_true(gm_policy_allows_kind(&policy, "memfd"));
	assert_true(gm_policy_allows_kind(&policy, "private"));
	assert_false(gm_policy_allows_kind(&policy, "guest-memfd"));
	assert_false(gm_policy_allows_kind(&policy, "mem"));
	assert_false(gm_policy_allows_kind(&policy, ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(four_fifths_of_the_host_is_the_limit),
		gm_test(the_limit_is_whole_pages_and_does_not_overflow),
		gm_test(hugepages_are_the_operators_to_give),
		gm_test(locked_memory_and_slots_are_the_operators_to_give),
		gm_test(no_rate_is_limited_by_default),
		gm_test(counts_nodes_and_lifetimes_have_defaults),
		gm_test(every_kind_is_allowed_by_default),
		gm_test(only_the_kinds_that_are_named_are_allowed),
	};

	return gm_test_run("policy", tests, GM_ARRAY_SIZE(tests));
}
