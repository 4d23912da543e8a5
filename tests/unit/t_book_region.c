/* SPDX-License-Identifier: Apache-2.0 */
/* Regions: sizes, addresses, policy, charges. */
#include <time.h>

#include "book_fixture.h"

static const struct gm_region_spec good = {
	.name = "ram",
	.gpa = GM_GIB,
	.size = 16 * GM_MIB,
	.page_size = GM_PAGE_4K,
};

/* One host with one domain, and one attempt to make a region of it. */
struct attempt {
	struct host host;
	struct gm_policy policy;
	struct gm_domain *domain;
	struct gm_region *region;
};

static void attempt_init(struct attempt *attempt)
{
	host_init(&attempt->host);
	attempt->policy = attempt->host.acme->policy;
	attempt->domain = host_domain(&attempt->host, attempt->host.session);
	attempt->region = NULL;
}

static int attempt_make(struct attempt *attempt, const struct gm_region_spec *spec)
{
	gm_book_set_policy(attempt->host.acme, &attempt->policy);
	memset(&attempt->host.refusal, 0, sizeof(attempt->host.refusal));
	return host_try_region(&attempt->host, attempt->domain, spec, &attempt->region);
}

static void assert_nothing_booked(const struct attempt *attempt)
{
	const uint64_t *used = attempt->host.acme->account.used;

	assert_null(attempt->region);
	assert_int_equal(attempt->domain->n_regions, 0);
	assert_int_equal(attempt->domain->reserved_bytes, 0);
	assert_int_equal(attempt->host.book.n_regions, 0);
	assert_null(attempt->host.book.regions);
	assert_int_equal(used[GM_RES_MEMORY], 0);
	assert_int_equal(used[GM_RES_HUGE_2M], 0);
	assert_int_equal(used[GM_RES_HUGE_1G], 0);
	assert_int_equal(used[GM_RES_REGIONS], 0);
	assert_int_equal(used[GM_RES_FDS], GM_SESSION_FDS);
}

static void a_new_region_is_charged_and_all_absent(void **state)
{
	struct attempt a;
	struct gm_region *found = NULL;

	(void)state;
	attempt_init(&a);
	assert_int_equal(attempt_make(&a, &good), 0);
	assert_string_equal(a.region->name, "ram");
	assert_int_equal(a.region->gpa, GM_GIB);
	assert_int_equal(a.region->size, 16 * GM_MIB);
	assert_int_equal(a.region->fd, -1);
	assert_int_equal(a.region->allocated_bytes, 0);
	assert_int_equal(a.region->map.pages[GM_PAGE_ABSENT], 4096);
	assert_int_equal(a.domain->reserved_bytes, 16 * GM_MIB);
	assert_int_equal(a.host.acme->account.used[GM_RES_MEMORY], 16 * GM_MIB);
	assert_int_equal(a.host.acme->account.used[GM_RES_REGIONS], 1);
	assert_int_equal(a.host.acme->account.used[GM_RES_FDS], GM_SESSION_FDS + 1);
	assert_int_equal(a.host.acme->account.used[GM_RES_HUGE_2M], 0);
	assert_int_equal(host_used(&a.host, GM_RES_MEMORY), 16 * GM_MIB);
	assert_int_equal(gm_book_find_attached_region(&a.host.book, a.host.session, a.region->id,
						      &found, NULL),
			 0);
	assert_ptr_equal(found, a.region);
	gm_book_remove_region(&a.host.book, a.region);
	a.region = NULL;
	assert_nothing_booked(&a);
	host_done(&a.host);
}

static void a_size_of_zero_or_of_half_a_page_is_refused(void **state)
{
	struct attempt a;
	struct gm_region_spec spec = good;

	(void)state;
	attempt_init(&a);
	spec.size = 0;
	assert_int_equal(attempt_make(&a, &spec), GM_INVALID);
	assert_int_equal(a.host.refusal.rule, GM_RULE_SIZE);
	spec.size = GM_PAGE_4K + 2048;
	assert_int_equal(attempt_make(&a, &spec), GM_INVALID);
	assert_int_equal(a.host.refusal.rule, GM_RULE_SIZE);
	assert_int_equal(a.host.refusal.limit, GM_PAGE_4K);
	assert_int_equal(a.host.refusal.asked, GM_PAGE_4K + 2048);
	assert_string_equal(a.host.refusal.object, "domain 0000000000001004");
	assert_nothing_booked(&a);
	host_done(&a.host);
}

static void an_address_between_pages_is_refused(void **state)
{
	struct attempt a;
	struct gm_region_spec spec = good;

	(void)state;
	attempt_init(&a);
	spec.gpa = GM_GIB + 1;
	assert_int_equal(attempt_make(&a, &spec), GM_INVALID);
	assert_int_equal(a.host.refusal.rule, GM_RULE_OFFSET);
	assert_int_equal(a.host.refusal.asked, GM_GIB + 1);
	assert_nothing_booked(&a);
	host_done(&a.host);
}

static void addresses_that_wrap_or_pass_the_end_are_refused(void **state)
{
	struct attempt a;
	struct gm_region_spec spec = good;

	(void)state;
	attempt_init(&a);
	spec.gpa = UINT64_MAX - 4095;
	assert_int_equal(attempt_make(&a, &spec), GM_INVALID);
	assert_int_equal(a.host.refusal.rule, GM_RULE_OVERFLOW);
	spec.gpa = GM_ADDRESS_END - spec.size + GM_PAGE_4K;
	assert_int_equal(attempt_make(&a, &spec), GM_INVALID);
	assert_int_equal(a.host.refusal.rule, GM_RULE_OVERFLOW);
	assert_nothing_booked(&a);
	spec.gpa = GM_ADDRESS_END - spec.size;
	assert_int_equal(attempt_make(&a, &spec), 0);
	host_done(&a.host);
}

static void a_region_over_RegionMax_is_refused_with_the_numbers(void **state)
{
	struct attempt a;
	struct gm_region_spec spec = good;

	(void)state;
	attempt_init(&a);
	a.policy.region_max = 8 * GM_MIB;
	assert_int_equal(attempt_make(&a, &spec), GM_OVER_LIMIT);
	assert_int_equal(a.host.refusal.rule, GM_RULE_REGION_MAX);
	assert_string_equal(a.host.refusal.object, "tenant acme");
	assert_int_equal(a.host.refusal.limit, 8 * GM_MIB);
	assert_int_equal(a.host.refusal.asked, 16 * GM_MIB);
	assert_nothing_booked(&a);
	spec.size = 8 * GM_MIB;
	assert_int_equal(attempt_make(&a, &spec), 0);
	host_done(&a.host);
}

static void hugepages_need_the_policys_leave(void **state)
{
	struct attempt a;
	struct gm_region_spec spec = good;

	(void)state;
	attempt_init(&a);
	spec.page_size = GM_PAGE_2M;
	assert_int_equal(attempt_make(&a, &spec), GM_DENIED);
	assert_int_equal(a.host.refusal.rule, GM_RULE_HUGE_PAGES);
	assert_string_equal(a.host.refusal.object, "tenant acme");
	a.policy.huge_2m_max = GM_GIB;
	spec.page_size = GM_PAGE_1G;
	spec.size = GM_GIB;
	assert_int_equal(attempt_make(&a, &spec), GM_DENIED);
	assert_int_equal(a.host.refusal.rule, GM_RULE_HUGE_PAGES);
	assert_nothing_booked(&a);
	host_done(&a.host);
}

static void hugepages_are_charged_by_their_size(void **state)
{
	struct attempt a;
	struct gm_region_spec spec = good;

	(void)state;
	attempt_init(&a);
	a.policy.huge_2m_max = 16 * GM_MIB;
	a.policy.huge_1g_max = GM_GIB;
	spec.page_size = GM_PAGE_2M;
	assert_int_equal(attempt_make(&a, &spec), 0);
	assert_int_equal(a.host.acme->account.used[GM_RES_HUGE_2M], 16 * GM_MIB);
	assert_int_equal(a.host.acme->account.used[GM_RES_HUGE_1G], 0);

	spec.gpa = 2 * GM_GIB;
	assert_int_equal(attempt_make(&a, &spec), GM_OVER_LIMIT);
	assert_int_equal(a.host.refusal.rule, GM_RULE_HUGE_PAGES);
	assert_int_equal(a.host.refusal.limit, 16 * GM_MIB);
	assert_int_equal(a.host.refusal.used, 16 * GM_MIB);
	assert_int_equal(a.host.refusal.asked, 16 * GM_MIB);
	assert_int_equal(a.host.acme->account.used[GM_RES_MEMORY], 16 * GM_MIB);

	spec.page_size = GM_PAGE_1G;
	spec.size = GM_GIB;
	assert_int_equal(attempt_make(&a, &spec), 0);
	assert_int_equal(a.host.acme->account.used[GM_RES_HUGE_1G], GM_GIB);
	host_done(&a.host);
}

static void nodes_outside_the_policy_are_denied_by_name(void **state)
{
	struct attempt a;
	struct gm_region_spec spec = good;

	(void)state;
	attempt_init(&a);
	a.policy.numa_nodes = 0x3;
	spec.numa_nodes = 0x9;
	assert_int_equal(attempt_make(&a, &spec), GM_DENIED);
	assert_int_equal(a.host.refusal.rule, GM_RULE_NUMA_NODES);
	assert_string_equal(a.host.refusal.object, "tenant acme");
	assert_non_null(strstr(a.host.refusal.text, "node 3 "));
	assert_nothing_booked(&a);
	spec.numa_nodes = 0x2;
	assert_int_equal(attempt_make(&a, &spec), 0);
	assert_int_equal(a.region->numa_nodes, 0x2);
	host_done(&a.host);
}

static void a_region_that_may_lie_anywhere_stays_within_the_policys_nodes(void **state)
{
	struct attempt a;
	struct gm_region_spec spec = good;

	(void)state;
	attempt_init(&a);
	assert_int_equal(attempt_make(&a, &spec), 0);
	assert_int_equal(a.region->numa_nodes, 0);
	a.policy.numa_nodes = 0x6;
	spec.gpa = 0;
	assert_int_equal(attempt_make(&a, &spec), 0);
	assert_int_equal(a.region->numa_nodes, 0x6);
	host_done(&a.host);
}

static void addresses_of_another_region_are_refused_with_its_name(void **state)
{
	static const struct {
		uint64_t gpa;
		uint64_t size;
		const char *taken_by; /* NULL: free */
	} cases[] = {
		/* Regions are at 16M..32M and 48M..64M. */
		{ 0, 16 * GM_MIB, NULL },
		{ 0, 16 * GM_MIB + GM_PAGE_4K, "region 0000000000001005" },
		{ 16 * GM_MIB, GM_PAGE_4K, "region 0000000000001005" },
		{ 20 * GM_MIB, GM_PAGE_4K, "region 0000000000001005" },
		{ 32 * GM_MIB - GM_PAGE_4K, GM_PAGE_4K, "region 0000000000001005" },
		{ 0, 256 * GM_MIB, "region 0000000000001005" },
		{ 32 * GM_MIB, 16 * GM_MIB, NULL },
		{ 32 * GM_MIB, 16 * GM_MIB + GM_PAGE_4K, "region 0000000000001006" },
		{ 40 * GM_MIB, GM_GIB, "region 0000000000001006" },
		{ 64 * GM_MIB, GM_GIB, NULL },
	};

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(cases); i++) {
		struct gm_region_spec spec = good;
		struct attempt a;
		int r;

		attempt_init(&a);
		host_region(&a.host, a.domain, 16 * GM_MIB, 16 * GM_MIB);
		host_region(&a.host, a.domain, 48 * GM_MIB, 16 * GM_MIB);
		spec.gpa = cases[i].gpa;
		spec.size = cases[i].size;
		r = attempt_make(&a, &spec);
		if (cases[i].taken_by) {
			assert_int_equal(r, GM_EXISTS);
			assert_int_equal(a.host.refusal.rule, GM_RULE_ADDRESS);
			assert_string_equal(a.host.refusal.object, cases[i].taken_by);
			assert_int_equal(a.domain->n_regions, 2);
		} else {
			assert_int_equal(r, 0);
			assert_int_equal(a.domain->n_regions, 3);
		}
		host_done(&a.host);
	}
}

static void two_domains_may_use_the_same_addresses(void **state)
{
	struct attempt a;
	struct gm_domain *second;

	(void)state;
	attempt_init(&a);
	assert_int_equal(attempt_make(&a, &good), 0);
	second = host_domain(&a.host, a.host.session);
	host_region(&a.host, second, good.gpa, good.size);
	host_done(&a.host);
}

static void regions_are_kept_lowest_address_first(void **state)
{
	static const uint64_t order[] = { 5, 1, 9, 0, 7, 3, 8, 2, 6, 4 };
	struct attempt a;

	(void)state;
	attempt_init(&a);
	for (size_t i = 0; i < GM_ARRAY_SIZE(order); i++)
		host_region(&a.host, a.domain, order[i] * GM_MIB, GM_MIB);
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(a.domain->regions[i]->gpa, i * GM_MIB);
	gm_book_remove_region(&a.host.book, a.domain->regions[4]);
	gm_book_remove_region(&a.host.book, a.domain->regions[0]);
	assert_int_equal(a.domain->n_regions, 8);
	assert_int_equal(a.domain->regions[0]->gpa, GM_MIB);
	assert_int_equal(a.domain->regions[3]->gpa, 5 * GM_MIB);
	host_done(&a.host);
}

/* A request with every fault at once is refused for the first; mended one by one for the next. */
static void the_first_rule_that_is_broken_is_the_one_that_is_named(void **state)
{
	struct attempt a;
	struct gm_region_spec spec = {
		.name = "",
		.gpa = UINT64_MAX,
		.size = 3 * GM_GIB + 1,
		.page_size = GM_PAGE_2M,
		.numa_nodes = 2,
	};

	(void)state;
	attempt_init(&a);
	host_region(&a.host, a.domain, GM_GIB, GM_MIB);
	a.host.book.draining = true;
	a.policy.region_max = GM_GIB;
	a.policy.memory_max = GM_MIB;
	a.policy.numa_nodes = 1;

	assert_int_equal(attempt_make(&a, &spec), GM_INVALID);
	assert_int_equal(a.host.refusal.rule, GM_RULE_SIZE);
	spec.size = 3 * GM_GIB;
	assert_int_equal(attempt_make(&a, &spec), GM_INVALID);
	assert_int_equal(a.host.refusal.rule, GM_RULE_OFFSET);
	spec.gpa = -GM_PAGE_2M;
	assert_int_equal(attempt_make(&a, &spec), GM_INVALID);
	assert_int_equal(a.host.refusal.rule, GM_RULE_OVERFLOW);
	spec.gpa = 0;
	assert_int_equal(attempt_make(&a, &spec), GM_OVER_LIMIT);
	assert_int_equal(a.host.refusal.rule, GM_RULE_REGION_MAX);
	a.policy.region_max = 4 * GM_GIB;
	assert_int_equal(attempt_make(&a, &spec), GM_DENIED);
	assert_int_equal(a.host.refusal.rule, GM_RULE_HUGE_PAGES);
	a.policy.huge_2m_max = GM_PAGE_2M;
	assert_int_equal(attempt_make(&a, &spec), GM_DENIED);
	assert_int_equal(a.host.refusal.rule, GM_RULE_NUMA_NODES);
	a.policy.numa_nodes = 3;
	assert_int_equal(attempt_make(&a, &spec), GM_EXISTS);
	assert_int_equal(a.host.refusal.rule, GM_RULE_ADDRESS);
	spec.gpa = 4 * GM_GIB;
	assert_int_equal(attempt_make(&a, &spec), GM_SHUTTING_DOWN);
	assert_int_equal(a.host.refusal.rule, GM_RULE_DRAINING);
	a.host.book.draining = false;
	assert_int_equal(attempt_make(&a, &spec), GM_OVER_LIMIT);
	assert_int_equal(a.host.refusal.rule, GM_RULE_MEMORY_MAX);
	a.policy.memory_max = GM_UNLIMITED;
	assert_int_equal(attempt_make(&a, &spec), GM_OVER_LIMIT);
	assert_int_equal(a.host.refusal.rule, GM_RULE_HUGE_PAGES);
	a.policy.huge_2m_max = GM_UNLIMITED;
	a.policy.regions_max = 1;
	assert_int_equal(attempt_make(&a, &spec), GM_OVER_LIMIT);
	assert_int_equal(a.host.refusal.rule, GM_RULE_REGIONS_MAX);
	a.policy.regions_max = 2;
	gm_account_set_limit(&a.host.book.host, GM_RES_FDS, 1);
	assert_int_equal(attempt_make(&a, &spec), GM_OVER_LIMIT);
	assert_int_equal(a.host.refusal.rule, GM_RULE_FDS_MAX);

	/* Nothing of all this was kept. */
	assert_null(a.region);
	assert_int_equal(a.host.acme->account.used[GM_RES_MEMORY], GM_MIB);
	assert_int_equal(a.host.acme->account.used[GM_RES_HUGE_2M], 0);
	assert_int_equal(a.host.acme->account.used[GM_RES_REGIONS], 1);
	gm_account_set_limit(&a.host.book.host, GM_RES_FDS, GM_UNLIMITED);
	assert_int_equal(attempt_make(&a, &spec), 0);
	host_done(&a.host);
}

static void the_hosts_limit_holds_over_all_tenants(void **state)
{
	struct attempt a;
	struct gm_region *region = NULL;

	(void)state;
	attempt_init(&a);
	gm_account_set_limit(&a.host.book.host, GM_RES_MEMORY, 24 * GM_MIB);
	assert_int_equal(attempt_make(&a, &good), 0);
	assert_int_equal(
		host_try_region(&a.host, host_domain(&a.host, a.host.stranger), &good, &region),
		GM_OVER_LIMIT);
	assert_string_equal(a.host.refusal.object, "host");
	assert_int_equal(a.host.refusal.limit, 24 * GM_MIB);
	assert_int_equal(a.host.refusal.used, 16 * GM_MIB);
	assert_int_equal(a.host.refusal.asked, 16 * GM_MIB);
	assert_int_equal(a.host.other->account.used[GM_RES_MEMORY], 0);
	host_done(&a.host);
}

static void a_domain_has_4096_regions_at_most(void **state)
{
	struct attempt a;
	struct gm_region_spec spec = good;

	(void)state;
	attempt_init(&a);
	a.policy.regions_max = GM_UNLIMITED;
	spec.size = GM_PAGE_4K;
	for (uint64_t i = 0; i < GM_DOMAIN_REGIONS_MAX; i++) {
		spec.gpa = i * GM_PAGE_4K;
		assert_int_equal(attempt_make(&a, &spec), 0);
	}
	spec.gpa += GM_PAGE_4K;
	assert_int_equal(attempt_make(&a, &spec), GM_OVER_LIMIT);
	assert_int_equal(a.host.refusal.rule, GM_RULE_REGIONS_MAX);
	assert_string_equal(a.host.refusal.object, "domain 0000000000001004");
	assert_int_equal(a.host.refusal.limit, 4096);
	assert_int_equal(a.host.refusal.used, 4096);
	assert_int_equal(a.host.refusal.asked, 1);
	host_done(&a.host);
}

static void an_id_that_is_in_use_is_not_booked_twice(void **state)
{
	struct attempt a;
	struct gm_region_spec spec = good;
	struct gm_region *second = NULL;

	(void)state;
	attempt_init(&a);
	assert_int_equal(attempt_make(&a, &good), 0);
	spec.gpa = 0;
	assert_int_equal(gm_book_create_region(&a.host.book, a.domain, &spec, a.region->id, &second,
					       &a.host.refusal),
			 -EEXIST);
	assert_null(second);
	assert_int_equal(a.domain->n_regions, 1);
	assert_int_equal(a.host.acme->account.used[GM_RES_MEMORY], good.size);
	host_done(&a.host);
}

static void a_region_that_is_short_of_memory_leaves_nothing(void **state)
{
	struct attempt a;
	struct gm_region_spec spec = good;
	long nth = 1;

	(void)state;
	attempt_init(&a);
	/* Large enough for the page map to need memory of its own. */
	spec.size = 4 * GM_GIB;
	for (;; nth++) {
		int r;

		gm_test_fail_allocation(nth);
		r = attempt_make(&a, &spec);
		gm_test_fail_allocation(0);
		if (r == 0)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_nothing_booked(&a);
	}
	/* The array of regions, the region, its map, and two for the hash table. */
	assert_true(nth >= 5);
	host_done(&a.host);
}

static int find(struct attempt *a, const struct gm_session *session, uint64_t id)
{
	struct gm_region *found = NULL;

	memset(&a->host.refusal, 0, sizeof(a->host.refusal));
	return gm_book_find_region(&a->host.book, session, (struct gm_region_id){ id }, &found,
				   &a->host.refusal);
}

static void unknown_foreign_ended_and_destroyed_ids_get_one_answer(void **state)
{
	struct attempt a;
	struct gm_domain *ending;
	struct gm_region *of_ended;
	uint64_t ids[4] = { 0xdeadbeef };

	(void)state;
	attempt_init(&a);
	assert_int_equal(attempt_make(&a, &good), 0);
	ids[1] = a.region->id.v;
	gm_book_remove_region(&a.host.book, a.region);
	ids[2] = host_region(&a.host, host_domain(&a.host, a.host.stranger), 0, GM_MIB)->id.v;
	ending = host_domain(&a.host, a.host.session);
	of_ended = host_region(&a.host, ending, 0, GM_MIB);
	ids[3] = of_ended->id.v;
	gm_book_end_domain(ending);

	for (size_t i = 0; i < GM_ARRAY_SIZE(ids); i++) {
		assert_int_equal(find(&a, a.host.session, ids[i]), GM_NO_SUCH_OBJECT);
		assert_int_equal(a.host.refusal.rule, GM_RULE_NONE);
		assert_string_equal(a.host.refusal.object, "region");
		assert_string_equal(a.host.refusal.text, "");
		assert_int_equal(a.host.refusal.limit + a.host.refusal.used + a.host.refusal.asked,
				 0);
	}
	assert_int_equal(find(&a, a.host.admin, ids[2]), 0);
	assert_int_equal(find(&a, a.host.admin, ids[3]), GM_NO_SUCH_OBJECT);
	host_done(&a.host);
}

static void a_region_is_used_by_the_attached_session_only(void **state)
{
	struct attempt a;
	struct gm_session *second;
	struct gm_region *found = NULL;

	(void)state;
	attempt_init(&a);
	second = host_session(&a.host, a.host.acme);
	assert_int_equal(attempt_make(&a, &good), 0);
	assert_int_equal(find(&a, second, a.region->id.v), 0);
	assert_int_equal(gm_book_find_attached_region(&a.host.book, second, a.region->id, &found,
						      &a.host.refusal),
			 GM_BUSY);
	assert_int_equal(a.host.refusal.rule, GM_RULE_ATTACHED);
	assert_int_equal(gm_book_find_attached_region(&a.host.book, a.host.admin, a.region->id,
						      &found, &a.host.refusal),
			 GM_BUSY);
	assert_null(found);
	host_done(&a.host);
}

static void regions_are_walked_in_order_of_creation(void **state)
{
	struct attempt a;
	struct gm_domain *second;
	struct gm_region *high;
	struct gm_region *low;
	struct gm_region *elsewhere;

	(void)state;
	attempt_init(&a);
	second = host_domain(&a.host, a.host.stranger);
	assert_null(gm_book_next_region(&a.host.book, NULL));
	high = host_region(&a.host, a.domain, GM_GIB, GM_MIB);
	elsewhere = host_region(&a.host, second, 0, GM_MIB);
	low = host_region(&a.host, a.domain, 0, GM_MIB);
	assert_ptr_equal(gm_book_next_region(&a.host.book, NULL), high);
	assert_ptr_equal(gm_book_next_region(&a.host.book, high), elsewhere);
	assert_ptr_equal(gm_book_next_region(&a.host.book, elsewhere), low);
	assert_null(gm_book_next_region(&a.host.book, low));
	gm_book_end_domain(second);
	assert_ptr_equal(gm_book_next_region(&a.host.book, high), low);
	host_done(&a.host);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* The best of some hundred grants into a domain of its own: the cost without other load. */
static uint64_t grant_cost_ns(struct attempt *a)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 500; i++) {
		uint64_t start = now_ns();

		assert_int_equal(host_try_region(&a->host, a->domain, &good, &a->region), 0);
		best = gm_min_u64(best, now_ns() - start);
		gm_book_remove_region(&a->host.book, a->region);
	}
	return best;
}

static void a_grant_costs_with_10000_regions_what_it_costs_with_10(void **state)
{
	struct attempt a;
	uint64_t with_10;
	uint64_t with_10000;

	(void)state;
	attempt_init(&a);
	a.policy.domains_max = GM_UNLIMITED;
	a.policy.regions_max = GM_UNLIMITED;
	gm_book_set_policy(a.host.acme, &a.policy);
	for (uint64_t i = 0; i < 10; i++)
		host_region(&a.host, host_domain(&a.host, a.host.session), 0, GM_PAGE_4K);
	with_10 = grant_cost_ns(&a);
	for (uint64_t d = 0; d < 1000; d++) {
		struct gm_domain *domain = host_domain(&a.host, a.host.session);

		for (uint64_t i = 0; i < 10; i++)
			host_region(&a.host, domain, i * GM_MIB, GM_MIB);
	}
	with_10000 = grant_cost_ns(&a);
	print_message("grant in the books: %lu ns with 10 regions, %lu ns with 10010\n",
		      (unsigned long)with_10, (unsigned long)with_10000);
	/* A walk over all regions would be 1000 times as much; caches and the clock get 3. */
	assert_true(with_10000 < 3 * with_10 + 500);
	host_done(&a.host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_new_region_is_charged_and_all_absent),
		gm_test(a_size_of_zero_or_of_half_a_page_is_refused),
		gm_test(an_address_between_pages_is_refused),
		gm_test(addresses_that_wrap_or_pass_the_end_are_refused),
		gm_test(a_region_over_RegionMax_is_refused_with_the_numbers),
		gm_test(hugepages_need_the_policys_leave),
		gm_test(hugepages_are_charged_by_their_size),
		gm_test(nodes_outside_the_policy_are_denied_by_name),
		gm_test(a_region_that_may_lie_anywhere_stays_within_the_policys_nodes),
		gm_test(addresses_of_another_region_are_refused_with_its_name),
		gm_test(two_domains_may_use_the_same_addresses),
		gm_test(regions_are_kept_lowest_address_first),
		gm_test(the_first_rule_that_is_broken_is_the_one_that_is_named),
		gm_test(the_hosts_limit_holds_over_all_tenants),
		gm_test(a_domain_has_4096_regions_at_most),
		gm_test(an_id_that_is_in_use_is_not_booked_twice),
		gm_test(a_region_that_is_short_of_memory_leaves_nothing),
		gm_test(unknown_foreign_ended_and_destroyed_ids_get_one_answer),
		gm_test(a_region_is_used_by_the_attached_session_only),
		gm_test(regions_are_walked_in_order_of_creation),
		gm_test(a_grant_costs_with_10000_regions_what_it_costs_with_10),
	};

	return gm_test_run("book_region", tests, GM_ARRAY_SIZE(tests));
}
