/* SPDX-License-Identifier: Apache-2.0 */
/* Steps: the order in which a region of private memory comes to be, and conversions. */
#include "book_fixture.h"
#include "book_step.h"

#define SIZE (16 * GM_MIB)
#define DEADLINE 5000

struct world {
	struct host host;
	struct gm_domain *domain;
	struct gm_region *region;
	uint64_t last_step;
};

static struct gm_domain *private_domain(struct host *host)
{
	const struct gm_domain_spec spec = { .name = "",
					     .kind = "private",
					     .lifetime = GM_LIFETIME_BOUND,
					     .traits = GM_TRAIT_PRIVATE };
	const struct gm_domain_id id = { ++host->next_id };
	const struct gm_token token = host_token(id.v);
	struct gm_domain *domain = NULL;

	assert_int_equal(gm_book_create_domain(&host->book, host->session, &spec, id, &token, 1000,
					       &domain, &host->refusal),
			 0);
	return domain;
}

static struct gm_step_spec next_step(struct world *w)
{
	return (struct gm_step_spec){ .id = ++w->last_step,
				      .key = { 1, 2 },
				      .deadline_ms = DEADLINE };
}

static int make(struct world *w, uint64_t inode)
{
	const struct gm_step_spec spec = next_step(w);
	const struct gm_file_id file = { 7, inode };
	int r = gm_book_begin_memory(w->region, &spec, &w->host.refusal);

	if (r == 0)
		r = gm_book_check_memory(&w->host.book, w->region, &file, &w->host.refusal);
	if (r == 0)
		gm_book_memory_made(w->region, 3, &file);
	return r;
}

static int bind(struct world *w)
{
	const struct gm_step_spec spec = next_step(w);
	int r = gm_book_begin_bind(w->region, &spec, &w->host.refusal);

	if (r == 0)
		gm_book_bound(w->region);
	return r;
}

static int begin(struct world *w, enum gm_page_op op, struct gm_range *ranges, size_t n)
{
	const struct gm_step_spec spec = next_step(w);

	memset(&w->host.refusal, 0, sizeof(w->host.refusal));
	return gm_book_begin_convert(w->region, op, ranges, n, &spec, &w->host.refusal);
}

static void finish(struct world *w, const struct gm_range *ranges, size_t n, size_t n_done)
{
	uint64_t bytes;

	assert_int_equal(gm_book_converted(w->region, ranges, n, n_done, &bytes, &w->host.refusal),
			 0);
	gm_book_end_step(w->region);
}

static void convert(struct world *w, enum gm_page_op op, uint64_t offset, uint64_t length)
{
	struct gm_range range = { offset, length };

	assert_int_equal(begin(w, op, &range, 1), 0);
	finish(w, &range, 1, 1);
}

static void world_init(struct world *w)
{
	*w = (struct world){ .last_step = 0 };
	host_init(&w->host);
	w->domain = private_domain(&w->host);
	w->region = host_region(&w->host, w->domain, 0, SIZE);
}

static void world_bound(struct world *w)
{
	world_init(w);
	assert_int_equal(make(w, 100), 0);
	assert_int_equal(bind(w), 0);
}

static void assert_refused(const struct world *w, int r, int verdict, enum gm_rule rule)
{
	assert_int_equal(r, verdict);
	assert_int_equal(w->host.refusal.rule, rule);
}

static enum gm_page_state state_at(const struct world *w, uint64_t offset)
{
	return gm_page_map_get(&w->region->map, offset);
}

/* ---- order ---- */

static void memory_comes_before_binding_and_binding_before_conversion(void **state)
{
	struct gm_range range = { 0, GM_PAGE_4K };
	struct world w;

	(void)state;
	world_init(&w);
	assert_refused(&w, bind(&w), GM_WRONG_STATE, GM_RULE_STEP);
	assert_int_equal(make(&w, 100), 0);
	assert_refused(&w, begin(&w, GM_PAGE_OP_TO_SHARED, &range, 1), GM_WRONG_STATE,
		       GM_RULE_STEP);
	assert_refused(&w, make(&w, 101), GM_WRONG_STATE, GM_RULE_STEP);
	assert_int_equal(bind(&w), 0);
	assert_refused(&w, bind(&w), GM_WRONG_STATE, GM_RULE_STEP);
	assert_int_equal(begin(&w, GM_PAGE_OP_TO_SHARED, &range, 1), 0);
	host_done(&w.host);
}

static void a_kind_without_private_memory_has_no_steps(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	w.region = host_region(&w.host, host_domain(&w.host, w.host.session), 0, SIZE);
	assert_refused(&w, make(&w, 100), GM_UNSUPPORTED, GM_RULE_PAGE_STATE);
	host_done(&w.host);
}

static void one_file_is_the_memory_of_one_region(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	assert_int_equal(make(&w, 100), 0);
	w.region = host_region(&w.host, w.domain, SIZE, SIZE);
	assert_refused(&w, make(&w, 100), GM_EXISTS, GM_RULE_FD);
	assert_int_equal(w.region->private_fd, -1);
	assert_non_null(w.region->step);
	host_done(&w.host);
}

static void one_step_at_a_time_and_no_job_beside_it(void **state)
{
	struct gm_range range = { 0, GM_PAGE_4K };
	struct gm_job_ticket ticket;
	struct world w;

	(void)state;
	world_bound(&w);
	assert_int_equal(begin(&w, GM_PAGE_OP_TO_SHARED, &range, 1), 0);
	assert_refused(&w, begin(&w, GM_PAGE_OP_TO_SHARED, &range, 1), GM_BUSY,
		       GM_RULE_STEP_UNDER_WAY);
	assert_refused(&w,
		       gm_book_begin_job(&w.host.book, w.host.session, w.region,
					 GM_PAGE_OP_ALLOCATE, &range, 1, &ticket, &w.host.refusal),
		       GM_BUSY, GM_RULE_STEP_UNDER_WAY);
	assert_refused(&w, gm_book_may_destroy_region(w.region, &w.host.refusal), GM_BUSY,
		       GM_RULE_STEP_UNDER_WAY);
	finish(&w, &range, 1, 1);

	assert_int_equal(gm_book_begin_job(&w.host.book, w.host.session, w.region,
					   GM_PAGE_OP_ALLOCATE, &range, 1, &ticket,
					   &w.host.refusal),
			 0);
	assert_refused(&w, begin(&w, GM_PAGE_OP_TO_PRIVATE, &range, 1), GM_BUSY,
		       GM_RULE_JOBS_UNDER_WAY);
	gm_book_end_job(&ticket);
	host_done(&w.host);
}

static void private_memory_neither_outlives_its_vmm_nor_changes_hands(void **state)
{
	const struct gm_domain_spec spec = { .name = "",
					     .kind = "private",
					     .lifetime = GM_LIFETIME_PERSISTENT,
					     .traits = GM_TRAIT_PRIVATE };
	const struct gm_token token = { 0 };
	struct gm_session *second, *loser;
	struct gm_domain *domain;
	struct world w;

	(void)state;
	world_init(&w);
	assert_refused(&w,
		       gm_book_create_domain(&w.host.book, w.host.session, &spec,
					     (struct gm_domain_id){ 1 }, &token, 0, &domain,
					     &w.host.refusal),
		       GM_INVALID, GM_RULE_PERSISTENT);
	second = host_session(&w.host, w.host.acme);
	assert_refused(&w, gm_book_attach(second, w.domain, true, &loser, &w.host.refusal),
		       GM_WRONG_STATE, GM_RULE_ATTACHED);
	host_done(&w.host);
}

/* ---- conversion ---- */

static void what_is_converted_is_booked_and_the_rest_is_not(void **state)
{
	struct gm_range ranges[] = { { 0, GM_MIB },
				     { 2 * GM_MIB, GM_MIB },
				     { 4 * GM_MIB, GM_MIB } };
	struct world w;

	(void)state;
	world_bound(&w);
	assert_int_equal(begin(&w, GM_PAGE_OP_TO_SHARED, ranges, 3), 0);
	finish(&w, ranges, 3, 2);
	assert_int_equal(state_at(&w, 0), GM_PAGE_SHARED);
	assert_int_equal(state_at(&w, 2 * GM_MIB), GM_PAGE_SHARED);
	assert_int_equal(state_at(&w, 4 * GM_MIB), GM_PAGE_ABSENT);
	assert_int_equal(w.domain->shared_bytes, 2 * GM_MIB);
	assert_int_equal(w.domain->converting_bytes, 0);
	convert(&w, GM_PAGE_OP_TO_PRIVATE, 0, GM_MIB);
	assert_int_equal(state_at(&w, 0), GM_PAGE_PRIVATE);
	assert_int_equal(w.domain->shared_bytes, GM_MIB);
	host_done(&w.host);
}

static void a_report_of_other_ranges_is_not_believed(void **state)
{
	struct gm_range asked = { 0, GM_MIB }, told = { 0, 2 * GM_MIB };
	uint64_t bytes;
	struct world w;

	(void)state;
	world_bound(&w);
	assert_int_equal(begin(&w, GM_PAGE_OP_TO_SHARED, &asked, 1), 0);
	assert_refused(&w, gm_book_converted(w.region, &told, 1, 1, &bytes, &w.host.refusal),
		       GM_INVALID, GM_RULE_STEP);
	assert_refused(&w, gm_book_converted(w.region, &asked, 1, 2, &bytes, &w.host.refusal),
		       GM_INVALID, GM_RULE_STEP);
	assert_int_equal(w.domain->shared_bytes, 0);
	assert_int_equal(gm_book_converted(w.region, &asked, 1, 1, &bytes, &w.host.refusal), 0);
	assert_int_equal(bytes, GM_MIB);
	host_done(&w.host);
}

static void a_report_must_name_the_step_and_its_kind(void **state)
{
	struct gm_range range = { 0, GM_MIB };
	struct world w;

	(void)state;
	world_bound(&w);
	assert_refused(&w, gm_book_find_step(w.region, 1, GM_STEP_CONVERT, &w.host.refusal),
		       GM_INVALID, GM_RULE_STEP);
	assert_int_equal(begin(&w, GM_PAGE_OP_TO_SHARED, &range, 1), 0);
	assert_refused(
		&w, gm_book_find_step(w.region, w.last_step - 1, GM_STEP_CONVERT, &w.host.refusal),
		GM_INVALID, GM_RULE_STEP);
	assert_refused(&w, gm_book_find_step(w.region, w.last_step, GM_STEP_BIND, &w.host.refusal),
		       GM_INVALID, GM_RULE_STEP);
	assert_int_equal(gm_book_find_step(w.region, w.last_step, GM_STEP_CONVERT, NULL), 0);
	host_done(&w.host);
}

static void shared_max_counts_what_is_shared_and_what_is_being_shared(void **state)
{
	struct gm_range first = { 0, 3 * GM_MIB }, second = { 0, 2 * GM_MIB };
	struct gm_region *other;
	struct world w;

	(void)state;
	world_bound(&w);
	w.host.acme->policy.shared_max = 4 * GM_MIB;
	other = w.region;
	assert_int_equal(begin(&w, GM_PAGE_OP_TO_SHARED, &first, 1), 0);

	w.region = host_region(&w.host, w.domain, SIZE, SIZE);
	assert_int_equal(make(&w, 101), 0);
	assert_int_equal(bind(&w), 0);
	assert_refused(&w, begin(&w, GM_PAGE_OP_TO_SHARED, &second, 1), GM_OVER_LIMIT,
		       GM_RULE_SHARED_MAX);
	assert_int_equal(w.host.refusal.limit, 4 * GM_MIB);
	assert_int_equal(w.host.refusal.used, 3 * GM_MIB);
	assert_int_equal(w.host.refusal.asked, 2 * GM_MIB);

	w.region = other;
	finish(&w, &first, 1, 1);
	/* What is shared already is not asked for again. */
	first.length = 4 * GM_MIB;
	assert_int_equal(begin(&w, GM_PAGE_OP_TO_SHARED, &first, 1), 0);
	host_done(&w.host);
}

static void ranges_are_whole_granules_of_guest_addresses(void **state)
{
	struct gm_range range = { GM_PAGE_4K, GM_PAGE_2M };
	struct world w;

	(void)state;
	world_bound(&w);
	w.host.acme->policy.conversion_granularity = GM_PAGE_2M;
	assert_refused(&w, begin(&w, GM_PAGE_OP_TO_SHARED, &range, 1), GM_INVALID,
		       GM_RULE_CONVERSION_GRANULARITY);
	assert_int_equal(w.host.refusal.offset, GM_PAGE_4K);
	range.offset = GM_PAGE_2M;
	assert_int_equal(begin(&w, GM_PAGE_OP_TO_SHARED, &range, 1), 0);
	host_done(&w.host);
}

static void the_first_page_that_forbids_it_is_named(void **state)
{
	struct gm_range range = { 0, SIZE };
	struct world w;

	(void)state;
	world_bound(&w);
	gm_page_map_set_lost(&w.region->map, GM_MIB, GM_PAGE_4K);
	assert_refused(&w, begin(&w, GM_PAGE_OP_TO_SHARED, &range, 1), GM_WRONG_STATE,
		       GM_RULE_PAGE_STATE);
	assert_int_equal(w.host.refusal.offset, GM_MIB);
	host_done(&w.host);
}

/* ---- doubt ---- */

static void the_pages_of_a_step_that_nobody_reports_are_lost(void **state)
{
	struct gm_range range = { GM_MIB, GM_MIB };
	struct world w;

	(void)state;
	world_bound(&w);
	assert_int_equal(begin(&w, GM_PAGE_OP_TO_SHARED, &range, 1), 0);
	assert_null(gm_book_overdue_step(&w.host.book, DEADLINE - 1));
	assert_ptr_equal(gm_book_overdue_step(&w.host.book, DEADLINE), w.region);
	gm_book_lose_step(w.region);
	assert_null(gm_book_overdue_step(&w.host.book, DEADLINE));
	assert_int_equal(state_at(&w, 0), GM_PAGE_ABSENT);
	assert_int_equal(state_at(&w, GM_MIB), GM_PAGE_LOST);
	assert_int_equal(state_at(&w, 2 * GM_MIB), GM_PAGE_ABSENT);
	assert_int_equal(w.domain->converting_bytes, 0);
	host_done(&w.host);
}

static void where_only_the_digest_is_left_the_whole_region_is_lost(void **state)
{
	struct gm_range range = { GM_MIB, GM_MIB };
	struct world w;

	(void)state;
	world_bound(&w);
	assert_int_equal(begin(&w, GM_PAGE_OP_TO_SHARED, &range, 1), 0);
	w.region->step->n_ranges = 0;
	gm_book_lose_step(w.region);
	assert_int_equal(gm_page_map_count(&w.region->map, 0, SIZE, GM_PAGE_LOST), SIZE);
	host_done(&w.host);
}

/* ---- jobs on one of two halves ---- */

static void a_job_works_on_one_half(void **state)
{
	struct gm_range all = { 0, SIZE }, shared = { 0, GM_MIB };
	struct gm_job_ticket ticket;
	struct world w;

	(void)state;
	world_bound(&w);
	convert(&w, GM_PAGE_OP_TO_SHARED, 0, GM_MIB);
	assert_refused(&w,
		       gm_book_begin_job(&w.host.book, w.host.session, w.region,
					 GM_PAGE_OP_ALLOCATE, &all, 1, &ticket, &w.host.refusal),
		       GM_WRONG_STATE, GM_RULE_PAGE_STATE);
	assert_int_equal(w.host.refusal.offset, GM_MIB);

	assert_int_equal(gm_book_begin_job(&w.host.book, w.host.session, w.region,
					   GM_PAGE_OP_DISCARD, &shared, 1, &ticket,
					   &w.host.refusal),
			 0);
	assert_false(ticket.private_half);
	assert_int_equal(gm_book_job_progress(&ticket, &shared, NULL), 0);
	gm_book_end_job(&ticket);
	assert_int_equal(state_at(&w, 0), GM_PAGE_SHARED);

	all.offset = GM_MIB;
	all.length = SIZE - GM_MIB;
	assert_int_equal(gm_book_begin_job(&w.host.book, w.host.session, w.region,
					   GM_PAGE_OP_ALLOCATE, &all, 1, &ticket, &w.host.refusal),
			 0);
	assert_true(ticket.private_half);
	gm_book_end_job(&ticket);
	host_done(&w.host);
}

static void a_private_region_is_charged_for_two_fds_and_one_size(void **state)
{
	struct world w;
	uint64_t fds, memory;

	(void)state;
	world_init(&w);
	fds = host_used(&w.host, GM_RES_FDS);
	memory = host_used(&w.host, GM_RES_MEMORY);
	host_region(&w.host, w.domain, SIZE, SIZE);
	assert_int_equal(host_used(&w.host, GM_RES_FDS) - fds, 2);
	assert_int_equal(host_used(&w.host, GM_RES_MEMORY) - memory, SIZE);
	host_done(&w.host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(memory_comes_before_binding_and_binding_before_conversion),
		gm_test(a_kind_without_private_memory_has_no_steps),
		gm_test(one_file_is_the_memory_of_one_region),
		gm_test(one_step_at_a_time_and_no_job_beside_it),
		gm_test(private_memory_neither_outlives_its_vmm_nor_changes_hands),
		gm_test(what_is_converted_is_booked_and_the_rest_is_not),
		gm_test(a_report_of_other_ranges_is_not_believed),
		gm_test(a_report_must_name_the_step_and_its_kind),
		gm_test(shared_max_counts_what_is_shared_and_what_is_being_shared),
		gm_test(ranges_are_whole_granules_of_guest_addresses),
		gm_test(the_first_page_that_forbids_it_is_named),
		gm_test(the_pages_of_a_step_that_nobody_reports_are_lost),
		gm_test(where_only_the_digest_is_left_the_whole_region_is_lost),
		gm_test(a_job_works_on_one_half),
		gm_test(a_private_region_is_charged_for_two_fds_and_one_size),
	};

	return gm_test_run("steps", tests, GM_ARRAY_SIZE(tests));
}
