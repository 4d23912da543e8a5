/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Launches that the daemon carries out itself, in the books: what is written down, the job that has
 * all memory of the domain, what is charged for it, and how it is handed over or comes back after a
 * restart.
 */
#include "book_own_launch.h"

#include "book_fixture.h"
#include "book_step.h"

#define SIZE (64 * GM_KIB)
#define TRAITS (GM_TRAIT_LAUNCH | GM_TRAIT_DAEMON_LAUNCHES)
#define VM_FD 77

struct world {
	struct host host;
	struct gm_domain *domain;
	struct gm_region *region;
	struct gm_region *other;
};

static const uint8_t digest[GM_LAUNCH_DIGEST_SIZE] = { 1 };
static const struct gm_step_spec spec = { .id = 9, .deadline_ms = 2000 };

static struct gm_domain *new_domain(struct host *host, enum gm_lifetime lifetime, int expected)
{
	const struct gm_domain_spec wanted = {
		.name = "", .kind = "launched", .lifetime = lifetime, .traits = TRAITS
	};
	const struct gm_domain_id id = { ++host->next_id };
	const struct gm_token token = host_token(id.v);
	struct gm_domain *domain = NULL;

	assert_int_equal(gm_book_create_domain(&host->book, host->session, &wanted, id, &token,
					       1000, &domain, &host->refusal),
			 expected);
	return domain;
}

static void start(struct world *w)
{
	*w = (struct world){ .domain = NULL };
	host_init(&w->host);
	gm_account_set_limit(&w->host.acme->account, GM_RES_MEMLOCK, 2 * SIZE);
	w->domain = new_domain(&w->host, GM_LIFETIME_BOUND, 0);
	w->region = host_region(&w->host, w->domain, 0, SIZE);
	w->other = host_region(&w->host, w->domain, GM_GIB, SIZE);
}

static void stop(struct world *w)
{
	(void)gm_book_take_vm(w->domain);
	host_done(&w->host);
}

static int open_launch(struct world *w)
{
	return gm_book_open_launch(w->domain, "parameters", 10, digest, &w->host.refusal);
}

static int put(struct world *w, uint64_t offset, uint64_t length)
{
	return gm_book_write_down(
		&(struct gm_put){
			.region = w->region, .offset = offset, .length = length, .source = 5 },
		digest, &w->host.refusal);
}

static int begin(struct world *w, struct gm_job_ticket *ticket)
{
	return gm_book_begin_own_finish(&w->host.book, w->host.session, w->domain, ticket,
					&w->host.refusal);
}

static void begin_finish(struct world *w, struct gm_job_ticket *ticket)
{
	assert_int_equal(open_launch(w), 0);
	assert_int_equal(begin(w, ticket), 0);
	gm_book_own_finish_begun(w->domain, digest);
}

static void finish(struct world *w)
{
	struct gm_job_ticket ticket;

	begin_finish(w, &ticket);
	gm_book_end_job(&ticket);
	gm_book_launched(w->domain, VM_FD, &spec);
}

static void assert_refused(const struct world *w, int r, int verdict, enum gm_rule rule)
{
	assert_int_equal(r, verdict);
	assert_int_equal(w->host.refusal.rule, rule);
}

static int discard(struct world *w, uint64_t offset)
{
	struct gm_range range = { offset, GM_PAGE_4K };
	struct gm_job_ticket ticket;
	int r = gm_book_begin_job(&w->host.book, w->host.session, w->region, GM_PAGE_OP_DISCARD,
				  &range, 1, &ticket, &w->host.refusal);

	if (r == 0)
		gm_book_end_job(&ticket);
	return r;
}

static void memory_is_charged_as_locked_when_it_is_made(void **state)
{
	const struct gm_region_spec wanted = {
		.name = "", .gpa = 2 * GM_GIB, .size = SIZE, .page_size = GM_PAGE_4K
	};
	struct gm_region *region;
	struct world w;

	(void)state;
	start(&w);
	assert_int_equal(w.host.acme->account.used[GM_RES_MEMLOCK], 2 * SIZE);
	assert_refused(&w,
		       gm_book_create_region(&w.host.book, w.domain, &wanted,
					     (struct gm_region_id){ 99 }, &region, &w.host.refusal),
		       GM_OVER_LIMIT, GM_RULE_MEMLOCK_MAX);
	gm_book_remove_region(&w.host.book, w.other);
	assert_int_equal(w.host.acme->account.used[GM_RES_MEMLOCK], SIZE);
	stop(&w);
}

static void what_is_launched_is_the_vm_of_one_process(void **state)
{
	struct gm_session *loser;
	struct world w;

	(void)state;
	start(&w);
	(void)new_domain(&w.host, GM_LIFETIME_PERSISTENT, GM_INVALID);
	assert_int_equal(w.host.refusal.rule, GM_RULE_PERSISTENT);
	assert_refused(&w,
		       gm_book_attach(host_session(&w.host, w.host.acme), w.domain, true, &loser,
				      &w.host.refusal),
		       GM_WRONG_STATE, GM_RULE_ATTACHED);
	stop(&w);
}

static void what_is_written_down_is_measured_and_stays(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	assert_refused(&w, put(&w, 0, GM_PAGE_4K), GM_WRONG_STATE, GM_RULE_LAUNCH_STATE);
	assert_int_equal(open_launch(&w), 0);
	assert_int_equal(gm_domain_launch_state(w.domain), GM_LAUNCH_OPEN);
	assert_int_equal(put(&w, GM_PAGE_4K, 2 * GM_PAGE_4K), 0);
	assert_int_equal(gm_domain_launch_state(w.domain), GM_LAUNCH_OPEN);
	assert_int_equal(w.domain->launch->n_puts, 1);
	assert_int_equal(w.region->map.pages[GM_PAGE_MEASURED], 2);
	assert_refused(&w, put(&w, 0, 2 * GM_PAGE_4K), GM_WRONG_STATE, GM_RULE_PAGE_STATE);
	assert_refused(&w, discard(&w, GM_PAGE_4K), GM_WRONG_STATE, GM_RULE_PAGE_STATE);
	assert_int_equal(discard(&w, 0), 0);
	assert_refused(&w, gm_book_may_destroy_region(w.region, &w.host.refusal), GM_WRONG_STATE,
		       GM_RULE_LAUNCH_STATE);
	assert_int_equal(gm_book_may_destroy_region(w.other, &w.host.refusal), 0);
	stop(&w);
}

/* The launch goes to the region whatever has become of its pages. */
static void a_region_to_which_the_launch_goes_stays(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	assert_int_equal(open_launch(&w), 0);
	assert_int_equal(put(&w, 0, GM_PAGE_4K), 0);
	gm_book_lose_ranges(w.region, &(struct gm_range){ 0, SIZE }, 1);
	assert_refused(&w, gm_book_may_destroy_region(w.region, &w.host.refusal), GM_WRONG_STATE,
		       GM_RULE_LAUNCH_STATE);
	stop(&w);
}

static void no_more_is_written_down_than_a_launch_may_have(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	assert_int_equal(open_launch(&w), 0);
	/* As many calls, and no pages: they are free again in the map. */
	for (unsigned i = 0; i < GM_LAUNCH_PUTS_MAX; i++) {
		assert_int_equal(put(&w, 0, GM_PAGE_4K), 0);
		assert_int_equal(
			gm_page_map_set(&w.region->map, 0, GM_PAGE_4K, GM_PAGE_ABSENT, NULL), 0);
	}
	assert_refused(&w, put(&w, 0, GM_PAGE_4K), GM_OVER_LIMIT, GM_RULE_RANGES);
	stop(&w);
}

static void the_job_has_all_memory_of_the_domain(void **state)
{
	struct gm_range range = { 0, GM_PAGE_4K };
	struct gm_job_ticket ticket, again;
	struct world w;

	(void)state;
	start(&w);
	begin_finish(&w, &ticket);
	assert_int_equal(gm_domain_launch_state(w.domain), GM_LAUNCH_FINISHING);
	assert_int_equal(w.region->n_jobs, 1);
	assert_int_equal(w.other->n_jobs, 1);
	assert_int_equal(w.domain->n_jobs, 1);
	assert_refused(&w, discard(&w, 0), GM_WRONG_STATE, GM_RULE_PAGE_STATE);
	assert_refused(&w, gm_book_may_destroy_region(w.other, &w.host.refusal), GM_WRONG_STATE,
		       GM_RULE_LAUNCH_STATE);
	assert_refused(&w, begin(&w, &again), GM_WRONG_STATE, GM_RULE_LAUNCH_STATE);
	/* What a worker reports meanwhile changes no page. */
	assert_int_equal(gm_book_job_progress(&ticket, &range, NULL), 0);
	assert_int_equal(w.region->map.pages[GM_PAGE_ABSENT], SIZE / GM_PAGE_4K);
	gm_book_end_job(&ticket);
	assert_int_equal(w.other->n_jobs, 0);
	stop(&w);
}

static void it_waits_for_no_other_job_and_needs_memory(void **state)
{
	struct gm_range range = { 0, GM_PAGE_4K };
	struct gm_job_ticket ticket, launch;
	struct world w;

	(void)state;
	start(&w);
	assert_int_equal(open_launch(&w), 0);
	assert_int_equal(gm_book_begin_job(&w.host.book, w.host.session, w.other,
					   GM_PAGE_OP_ALLOCATE, &range, 1, &ticket, NULL),
			 0);
	assert_refused(&w, begin(&w, &launch), GM_BUSY, GM_RULE_JOBS_UNDER_WAY);
	gm_book_end_job(&ticket);
	gm_book_remove_region(&w.host.book, w.other);
	gm_book_remove_region(&w.host.book, w.region);
	assert_refused(&w, begin(&w, &launch), GM_WRONG_STATE, GM_RULE_LAUNCH_STATE);
	stop(&w);
}

static void a_job_that_is_not_begun_after_all_costs_nothing(void **state)
{
	struct gm_job_ticket ticket;
	struct world w;
	uint64_t fds;

	(void)state;
	start(&w);
	fds = w.host.acme->account.used[GM_RES_FDS];
	assert_int_equal(open_launch(&w), 0);
	assert_int_equal(begin(&w, &ticket), 0);
	assert_int_equal(w.host.acme->account.used[GM_RES_FDS], fds + 1);
	gm_book_end_job(&ticket);
	assert_int_equal(gm_book_take_vm(w.domain), -1);
	assert_int_equal(w.host.acme->account.used[GM_RES_FDS], fds);
	assert_int_equal(gm_domain_launch_state(w.domain), GM_LAUNCH_OPEN);
	stop(&w);
}

static void what_was_launched_is_handed_over_in_a_step(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	finish(&w);
	assert_int_equal(w.domain->launch->step_kind, GM_STEP_MOVE);
	assert_int_equal(w.region->map.pages[GM_PAGE_SHARED], SIZE / GM_PAGE_4K);
	assert_int_equal(w.domain->allocated_bytes, 2 * SIZE);
	assert_int_equal(gm_book_find_launch_step(w.domain, spec.id, NULL), 0);
	gm_book_launch_step_done(w.domain);
	assert_int_equal(gm_domain_launch_state(w.domain), GM_LAUNCH_RUNNING);
	assert_int_equal(gm_book_take_vm(w.domain), VM_FD);
	assert_int_equal(gm_book_take_vm(w.domain), -1);
	assert_refused(&w, discard(&w, 0), GM_WRONG_STATE, GM_RULE_PAGE_STATE);
	stop(&w);
}

static void a_step_that_is_not_reported_in_time_is_overdue(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	finish(&w);
	assert_null(gm_book_overdue_launch(&w.host.book, spec.deadline_ms - 1));
	assert_ptr_equal(gm_book_overdue_launch(&w.host.book, spec.deadline_ms), w.domain);
	stop(&w);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		gm_test(memory_is_charged_as_locked_when_it_is_made),
		gm_test(what_is_launched_is_the_vm_of_one_process),
		gm_test(what_is_written_down_is_measured_and_stays),
		gm_test(a_region_to_which_the_launch_goes_stays),
		gm_test(no_more_is_written_down_than_a_launch_may_have),
		gm_test(the_job_has_all_memory_of_the_domain),
		gm_test(it_waits_for_no_other_job_and_needs_memory),
		gm_test(a_job_that_is_not_begun_after_all_costs_nothing),
		gm_test(what_was_launched_is_handed_over_in_a_step),
		gm_test(a_step_that_is_not_reported_in_time_is_overdue),
	};

	return gm_test_run("book_own_launch", tests, GM_ARRAY_SIZE(tests));
}
