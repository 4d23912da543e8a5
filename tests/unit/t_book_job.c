/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs: which ranges, which pages, how many at a time, and what they leave in the books. */
#include "book_fixture.h"

#define SIZE (16 * GM_MIB)

struct world {
	struct host host;
	struct gm_domain *domain;
	struct gm_region *region;
	struct gm_job_ticket ticket;
};

static void world_init(struct world *world)
{
	host_init(&world->host);
	world->domain = host_domain(&world->host, world->host.session);
	world->region = host_region(&world->host, world->domain, 0, SIZE);
	world->ticket = (struct gm_job_ticket){ 0 };
}

static int begin(struct world *world, enum gm_page_op op, struct gm_range *ranges, size_t n)
{
	memset(&world->host.refusal, 0, sizeof(world->host.refusal));
	return gm_book_begin_job(&world->host.book, world->host.session, world->region, op, ranges,
				 n, &world->ticket, &world->host.refusal);
}

/* Does the whole of one range. */
static void run(struct world *world, enum gm_page_op op, uint64_t offset, uint64_t length)
{
	struct gm_range range = { offset, length };

	assert_int_equal(begin(world, op, &range, 1), 0);
	assert_int_equal(gm_book_job_progress(&world->ticket, &range, &world->host.refusal), 0);
	gm_book_end_job(&world->ticket);
}

static void assert_allocated(const struct world *world, uint64_t bytes)
{
	assert_int_equal(world->region->allocated_bytes, bytes);
	assert_int_equal(world->domain->allocated_bytes, bytes);
	assert_int_equal(world->host.acme->allocated_bytes, bytes);
	assert_int_equal(
		gm_page_map_count(&world->region->map, 0, world->region->size, GM_PAGE_SHARED),
		bytes);
}

static void a_job_counts_with_its_region_domain_session_and_tenant(void **state)
{
	struct world w;
	struct gm_range range = { 0, GM_MIB };

	(void)state;
	world_init(&w);
	assert_int_equal(begin(&w, GM_PAGE_OP_ALLOCATE, &range, 1), 0);
	assert_int_equal(w.region->n_jobs, 1);
	assert_int_equal(w.domain->n_jobs, 1);
	assert_int_equal(w.host.session->n_jobs, 1);
	assert_int_equal(w.host.acme->account.used[GM_RES_JOBS], 1);
	assert_int_equal(gm_book_may_destroy_region(w.region, &w.host.refusal), GM_BUSY);
	assert_int_equal(w.host.refusal.rule, GM_RULE_JOBS_UNDER_WAY);
	assert_string_equal(w.host.refusal.object, "region 0000000000001005");

	gm_book_end_job(&w.ticket);
	gm_book_end_job(&w.ticket);
	assert_int_equal(w.region->n_jobs, 0);
	assert_int_equal(w.domain->n_jobs, 0);
	assert_int_equal(w.host.session->n_jobs, 0);
	assert_int_equal(w.host.acme->account.used[GM_RES_JOBS], 0);
	assert_int_equal(gm_book_may_destroy_region(w.region, &w.host.refusal), 0);
	host_done(&w.host);
}

static void ranges_that_cannot_be_right_are_refused_with_their_offset(void **state)
{
	static const struct {
		struct gm_range range;
		enum gm_rule rule;
	} cases[] = {
		{ { GM_MIB, 0 }, GM_RULE_SIZE },
		{ { GM_MIB, 100 }, GM_RULE_SIZE },
		{ { 100, GM_PAGE_4K }, GM_RULE_OFFSET },
		{ { UINT64_MAX - 4095, GM_PAGE_4K }, GM_RULE_OVERFLOW },
		{ { GM_PAGE_4K, UINT64_MAX - 4095 }, GM_RULE_OVERFLOW },
		{ { SIZE, GM_PAGE_4K }, GM_RULE_RANGE },
		{ { SIZE - GM_PAGE_4K, 2 * GM_PAGE_4K }, GM_RULE_RANGE },
		{ { 0, SIZE + GM_PAGE_4K }, GM_RULE_RANGE },
	};
	struct world w;

	(void)state;
	world_init(&w);
	for (size_t i = 0; i < GM_ARRAY_SIZE(cases); i++) {
		struct gm_range ranges[] = { { 0, GM_PAGE_4K }, cases[i].range };

		assert_int_equal(begin(&w, GM_PAGE_OP_ALLOCATE, ranges, 2), GM_INVALID);
		assert_int_equal(w.host.refusal.rule, cases[i].rule);
		assert_int_equal(w.host.refusal.offset, cases[i].range.offset);
		assert_string_equal(w.host.refusal.object, "region 0000000000001005");
		assert_int_equal(w.host.session->n_jobs, 0);
	}
	host_done(&w.host);
}

static void a_job_needs_a_range(void **state)
{
	struct world w;
	struct gm_range none;

	(void)state;
	world_init(&w);
	assert_int_equal(begin(&w, GM_PAGE_OP_ALLOCATE, &none, 0), GM_INVALID);
	assert_int_equal(w.host.refusal.rule, GM_RULE_RANGES);
	host_done(&w.host);
}

static void ranges_of_hugepages_are_whole_hugepages(void **state)
{
	const struct gm_region_spec spec = {
		.name = "",
		.gpa = GM_GIB,
		.size = 4 * GM_MIB,
		.page_size = GM_PAGE_2M,
	};
	struct gm_range small = { 0, GM_PAGE_4K };
	struct gm_range whole = { GM_PAGE_2M, GM_PAGE_2M };
	struct gm_policy policy;
	struct world w;

	(void)state;
	world_init(&w);
	policy = w.host.acme->policy;
	policy.huge_2m_max = GM_GIB;
	gm_book_set_policy(w.host.acme, &policy);
	assert_int_equal(host_try_region(&w.host, w.domain, &spec, &w.region), 0);
	assert_int_equal(begin(&w, GM_PAGE_OP_ALLOCATE, &small, 1), GM_INVALID);
	assert_int_equal(w.host.refusal.rule, GM_RULE_SIZE);
	assert_int_equal(w.host.refusal.limit, GM_PAGE_2M);
	assert_int_equal(begin(&w, GM_PAGE_OP_ALLOCATE, &whole, 1), 0);
	gm_book_end_job(&w.ticket);
	host_done(&w.host);
}

static void ranges_that_overlap_are_refused_in_any_order(void **state)
{
	struct gm_range twice[] = { { GM_MIB, GM_MIB }, { 0, GM_PAGE_4K }, { GM_MIB, GM_MIB } };
	struct gm_range partly[] = { { GM_MIB, GM_MIB }, { 0, GM_MIB + GM_PAGE_4K } };
	struct gm_range touching[] = { { GM_MIB, GM_MIB }, { 0, GM_MIB } };
	struct world w;

	(void)state;
	world_init(&w);
	assert_int_equal(begin(&w, GM_PAGE_OP_ALLOCATE, twice, 3), GM_INVALID);
	assert_int_equal(w.host.refusal.rule, GM_RULE_RANGES);
	assert_int_equal(w.host.refusal.offset, GM_MIB);
	assert_int_equal(begin(&w, GM_PAGE_OP_ALLOCATE, partly, 2), GM_INVALID);
	assert_int_equal(w.host.refusal.rule, GM_RULE_RANGES);
	assert_int_equal(begin(&w, GM_PAGE_OP_ALLOCATE, touching, 2), 0);
	gm_book_end_job(&w.ticket);
	host_done(&w.host);
}

static void ranges_are_sorted_whatever_order_they_come_in(void **state)
{
	enum {
		N = 1024
	};
	static struct gm_range ranges[N];
	struct gm_test_rng rng = { 0 };
	struct world w;

	(void)state;
	world_init(&w);
	for (size_t i = 0; i < N; i++)
		ranges[i] = (struct gm_range){ i * 2 * GM_PAGE_4K, GM_PAGE_4K };
	for (size_t i = N - 1; i > 0; i--) {
		size_t j = gm_test_random_below(&rng, i + 1);
		struct gm_range swap = ranges[i];

		ranges[i] = ranges[j];
		ranges[j] = swap;
	}
	assert_int_equal(begin(&w, GM_PAGE_OP_ALLOCATE, ranges, N), 0);
	for (size_t i = 0; i < N; i++)
		assert_int_equal(ranges[i].offset, i * 2 * GM_PAGE_4K);
	gm_book_end_job(&w.ticket);
	host_done(&w.host);
}

static void a_page_whose_state_forbids_it_stops_the_job_before_it_starts(void **state)
{
	struct gm_range ranges[] = { { GM_MIB, GM_MIB }, { 0, GM_PAGE_4K } };
	struct world w;

	(void)state;
	world_init(&w);
	assert_int_equal(gm_page_map_set(&w.region->map, GM_MIB + GM_PAGE_4K, GM_PAGE_4K,
					 GM_PAGE_PRIVATE, NULL),
			 0);
	assert_int_equal(begin(&w, GM_PAGE_OP_DISCARD, ranges, 2), GM_WRONG_STATE);
	assert_int_equal(w.host.refusal.rule, GM_RULE_PAGE_STATE);
	assert_int_equal(w.host.refusal.offset, GM_MIB + GM_PAGE_4K);
	assert_string_equal(w.host.refusal.object, "region 0000000000001005");
	assert_int_equal(w.host.acme->account.used[GM_RES_JOBS], 0);
	host_done(&w.host);
}

static void a_draining_daemon_starts_no_job(void **state)
{
	struct gm_range range = { 0, GM_MIB };
	struct world w;

	(void)state;
	world_init(&w);
	w.host.book.draining = true;
	assert_int_equal(begin(&w, GM_PAGE_OP_ALLOCATE, &range, 1), GM_SHUTTING_DOWN);
	assert_int_equal(w.host.refusal.rule, GM_RULE_DRAINING);
	host_done(&w.host);
}

static void a_job_over_the_limit_is_refused_with_the_numbers(void **state)
{
	struct gm_range range = { 0, GM_MIB };
	struct gm_job_ticket second;
	struct gm_policy policy;
	struct world w;

	(void)state;
	world_init(&w);
	policy = w.host.acme->policy;
	policy.jobs_max = 1;
	gm_book_set_policy(w.host.acme, &policy);
	assert_int_equal(begin(&w, GM_PAGE_OP_ALLOCATE, &range, 1), 0);
	second = w.ticket;
	assert_int_equal(begin(&w, GM_PAGE_OP_ALLOCATE, &range, 1), GM_OVER_LIMIT);
	assert_int_equal(w.host.refusal.rule, GM_RULE_JOBS_MAX);
	assert_string_equal(w.host.refusal.object, "tenant acme");
	assert_int_equal(w.host.refusal.limit, 1);
	assert_int_equal(w.host.refusal.used, 1);
	assert_int_equal(w.region->n_jobs, 1);
	gm_book_end_job(&second);
	host_done(&w.host);
}

static void progress_books_what_was_done_and_no_more(void **state)
{
	struct gm_range range = { 0, 8 * GM_MIB };
	const struct gm_range part = { GM_MIB, GM_MIB };
	struct world w;

	(void)state;
	world_init(&w);
	assert_int_equal(begin(&w, GM_PAGE_OP_ALLOCATE, &range, 1), 0);
	assert_allocated(&w, 0);
	assert_int_equal(gm_book_job_progress(&w.ticket, &part, &w.host.refusal), 0);
	assert_allocated(&w, GM_MIB);
	assert_int_equal(gm_page_map_get(&w.region->map, GM_MIB), GM_PAGE_SHARED);
	assert_int_equal(gm_page_map_get(&w.region->map, 0), GM_PAGE_ABSENT);
	gm_book_end_job(&w.ticket);
	assert_allocated(&w, GM_MIB);
	host_done(&w.host);
}

static void pages_that_were_there_already_are_not_counted_twice(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	run(&w, GM_PAGE_OP_ALLOCATE, GM_MIB, GM_MIB);
	run(&w, GM_PAGE_OP_ALLOCATE, 0, 4 * GM_MIB);
	assert_allocated(&w, 4 * GM_MIB);
	run(&w, GM_PAGE_OP_DISCARD, 2 * GM_MIB, 8 * GM_MIB);
	assert_allocated(&w, 2 * GM_MIB);
	run(&w, GM_PAGE_OP_DISCARD, 0, SIZE);
	assert_allocated(&w, 0);
	host_done(&w.host);
}

static void sums_cover_all_regions_and_go_with_them(void **state)
{
	struct gm_region *first;
	struct world w;

	(void)state;
	world_init(&w);
	first = w.region;
	run(&w, GM_PAGE_OP_ALLOCATE, 0, GM_MIB);
	w.region = host_region(&w.host, w.domain, GM_GIB, SIZE);
	run(&w, GM_PAGE_OP_ALLOCATE, 0, 2 * GM_MIB);
	assert_int_equal(w.region->allocated_bytes, 2 * GM_MIB);
	assert_int_equal(w.domain->allocated_bytes, 3 * GM_MIB);
	assert_int_equal(w.host.acme->allocated_bytes, 3 * GM_MIB);
	gm_book_remove_region(&w.host.book, first);
	assert_allocated(&w, 2 * GM_MIB);
	host_done(&w.host);
}

static void a_fragmented_range_becomes_uniform_in_one_report(void **state)
{
	struct world w;
	struct gm_page_run all;

	(void)state;
	world_init(&w);
	for (uint64_t at = 0; at < SIZE; at += 2 * GM_PAGE_4K)
		run(&w, GM_PAGE_OP_ALLOCATE, at, GM_PAGE_4K);
	assert_allocated(&w, SIZE / 2);
	run(&w, GM_PAGE_OP_ALLOCATE, 0, SIZE);
	assert_allocated(&w, SIZE);
	gm_page_map_run(&w.region->map, 0, SIZE, &all);
	assert_int_equal(all.length, SIZE);
	assert_int_equal(all.state, GM_PAGE_SHARED);
	host_done(&w.host);
}

static void a_report_outside_the_region_is_not_believed(void **state)
{
	static const struct gm_range lies[] = {
		{ SIZE, GM_PAGE_4K },
		{ 0, SIZE + GM_PAGE_4K },
		{ UINT64_MAX - 4095, GM_PAGE_4K },
		{ 1, GM_PAGE_4K },
		{ 0, 1 },
	};
	struct gm_range range = { 0, GM_MIB };
	struct world w;

	(void)state;
	world_init(&w);
	assert_int_equal(begin(&w, GM_PAGE_OP_ALLOCATE, &range, 1), 0);
	for (size_t i = 0; i < GM_ARRAY_SIZE(lies); i++)
		assert_int_equal(gm_book_job_progress(&w.ticket, &lies[i], NULL), -EPROTO);
	assert_allocated(&w, 0);
	gm_book_end_job(&w.ticket);
	host_done(&w.host);
}

static void an_empty_report_changes_nothing(void **state)
{
	const struct gm_range nothing = { 0, 0 };
	struct gm_range range = { 0, GM_MIB };
	struct world w;

	(void)state;
	world_init(&w);
	assert_int_equal(begin(&w, GM_PAGE_OP_ALLOCATE, &range, 1), 0);
	assert_int_equal(gm_book_job_progress(&w.ticket, &nothing, NULL), 0);
	assert_allocated(&w, 0);
	gm_book_end_job(&w.ticket);
	host_done(&w.host);
}

static void a_report_is_booked_up_to_the_page_that_has_changed_meanwhile(void **state)
{
	struct gm_range range = { 0, 4 * GM_MIB };
	struct world w;

	(void)state;
	world_init(&w);
	assert_int_equal(begin(&w, GM_PAGE_OP_ALLOCATE, &range, 1), 0);
	gm_page_map_set_lost(&w.region->map, 2 * GM_MIB, 2 * GM_MIB);
	assert_int_equal(gm_book_job_progress(&w.ticket, &range, &w.host.refusal), GM_WRONG_STATE);
	assert_int_equal(w.host.refusal.offset, 2 * GM_MIB);
	assert_string_equal(w.host.refusal.object, "region 0000000000001005");
	assert_int_equal(gm_page_map_get(&w.region->map, GM_MIB), GM_PAGE_SHARED);
	assert_int_equal(gm_page_map_get(&w.region->map, 2 * GM_MIB), GM_PAGE_LOST);
	/* What is lost may be there: it counts as allocated until the domain ends. */
	assert_int_equal(w.region->allocated_bytes, 4 * GM_MIB);
	gm_book_end_job(&w.ticket);
	host_done(&w.host);
}

static void a_map_that_is_short_of_memory_keeps_the_pages_as_they_were(void **state)
{
	struct gm_range range = { 0, GM_MIB };
	struct world w;

	(void)state;
	world_init(&w);
	assert_int_equal(begin(&w, GM_PAGE_OP_ALLOCATE, &range, 1), 0);
	gm_test_fail_allocation(1);
	assert_int_equal(gm_book_job_progress(&w.ticket, &range, &w.host.refusal), -ENOMEM);
	gm_test_fail_allocation(0);
	assert_allocated(&w, 0);
	assert_int_equal(gm_book_job_progress(&w.ticket, &range, &w.host.refusal), 0);
	assert_allocated(&w, GM_MIB);
	gm_book_end_job(&w.ticket);
	host_done(&w.host);
}

static void a_job_may_outlive_its_sessions_hold_on_the_domain(void **state)
{
	struct gm_range range = { 0, GM_MIB };
	struct world w;

	(void)state;
	world_init(&w);
	assert_int_equal(begin(&w, GM_PAGE_OP_ALLOCATE, &range, 1), 0);
	gm_book_end_domain(w.domain);
	assert_true(TAILQ_EMPTY(&w.host.session->domains));
	assert_int_equal(w.host.session->n_jobs, 1);
	assert_int_equal(gm_book_job_progress(&w.ticket, &range, &w.host.refusal), 0);
	gm_book_end_job(&w.ticket);
	assert_int_equal(w.host.session->n_jobs, 0);
	host_done(&w.host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_job_counts_with_its_region_domain_session_and_tenant),
		gm_test(ranges_that_cannot_be_right_are_refused_with_their_offset),
		gm_test(a_job_needs_a_range),
		gm_test(ranges_of_hugepages_are_whole_hugepages),
		gm_test(ranges_that_overlap_are_refused_in_any_order),
		gm_test(ranges_are_sorted_whatever_order_they_come_in),
		gm_test(a_page_whose_state_forbids_it_stops_the_job_before_it_starts),
		gm_test(a_draining_daemon_starts_no_job),
		gm_test(a_job_over_the_limit_is_refused_with_the_numbers),
		gm_test(progress_books_what_was_done_and_no_more),
		gm_test(pages_that_were_there_already_are_not_counted_twice),
		gm_test(sums_cover_all_regions_and_go_with_them),
		gm_test(a_fragmented_range_becomes_uniform_in_one_report),
		gm_test(a_report_outside_the_region_is_not_believed),
		gm_test(an_empty_report_changes_nothing),
		gm_test(a_report_is_booked_up_to_the_page_that_has_changed_meanwhile),
		gm_test(a_map_that_is_short_of_memory_keeps_the_pages_as_they_were),
		gm_test(a_job_may_outlive_its_sessions_hold_on_the_domain),
	};

	return gm_test_run("book_job", tests, GM_ARRAY_SIZE(tests));
}
