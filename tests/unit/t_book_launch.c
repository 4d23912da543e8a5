/* SPDX-License-Identifier: Apache-2.0 */
/* Launches in the books: one order, each page once, and nothing is repaired. */
#include <errno.h>

#include "book_fixture.h"
#include "book_launch.h"

#define SIZE (16 * GM_MIB)
#define DEADLINE 5000

struct world {
	struct host host;
	struct gm_domain *domain;
	struct gm_region *region;
	uint64_t last;
	uint8_t digests; /* so many have been made */
};

static const struct gm_launch_failure broken = { .sys_errno = EIO, .text = "a page: EIO" };

static struct gm_domain *new_domain(struct host *host, unsigned traits)
{
	const struct gm_domain_spec spec = {
		.name = "", .kind = "measured", .lifetime = GM_LIFETIME_BOUND, .traits = traits
	};
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
	memset(&w->host.refusal, 0, sizeof(w->host.refusal));
	return (struct gm_step_spec){ .id = ++w->last, .key = { 1, 2 }, .deadline_ms = DEADLINE };
}

static struct gm_region *bound_region(struct world *w, struct gm_domain *domain, uint64_t gpa)
{
	struct gm_region *region = host_region(&w->host, domain, gpa, SIZE);
	struct gm_step_spec spec = next_step(w);
	const struct gm_file_id file = { 7, region->id.v };

	assert_int_equal(gm_book_begin_memory(region, &spec, NULL), 0);
	assert_int_equal(gm_book_check_memory(&w->host.book, region, &file, NULL), 0);
	gm_book_memory_made(region, 3, &file);
	spec = next_step(w);
	assert_int_equal(gm_book_begin_bind(region, &spec, NULL), 0);
	gm_book_bound(region);
	return region;
}

static void start(struct world *w)
{
	*w = (struct world){ .last = 0 };
	host_init(&w->host);
	w->domain = new_domain(&w->host, GM_TRAIT_PRIVATE | GM_TRAIT_LAUNCH);
	w->region = bound_region(w, w->domain, 0);
}

static void stop(struct world *w)
{
	while (gm_book_drop_source(w->domain) >= 0)
		;
	host_done(&w->host);
}

static const uint8_t *new_digest(struct world *w)
{
	static uint8_t digest[GM_LAUNCH_DIGEST_SIZE];

	memset(digest, ++w->digests, sizeof(digest));
	return digest;
}

static void assert_digest(const struct world *w, uint8_t number)
{
	for (size_t i = 0; i < GM_LAUNCH_DIGEST_SIZE; i++)
		assert_int_equal(w->domain->launch->digest[i], number);
}

static int begin_launch(struct world *w)
{
	const struct gm_step_spec spec = next_step(w);

	return gm_book_begin_launch(w->domain, &spec, new_digest(w), &w->host.refusal);
}

static int begin_finish(struct world *w)
{
	const struct gm_step_spec spec = next_step(w);

	return gm_book_begin_finish(w->domain, &spec, new_digest(w), &w->host.refusal);
}

static void open_launch(struct world *w)
{
	assert_int_equal(begin_launch(w), 0);
	gm_book_launch_step_done(w->domain);
}

static int begin_populate(struct world *w, enum gm_page_op op, uint64_t offset, uint64_t length)
{
	const struct gm_step_spec spec = next_step(w);
	const struct gm_range range = { offset, length };

	return gm_book_begin_populate(w->region, op, &range, &spec, new_digest(w),
				      &w->host.refusal);
}

static int populated(struct world *w, uint64_t offset, uint64_t length, uint64_t done, bool failed)
{
	const struct gm_range range = { offset, length };

	memset(&w->host.refusal, 0, sizeof(w->host.refusal));
	return gm_book_populated(w->region, &range, done, failed ? &broken : NULL,
				 &w->host.refusal);
}

static void populate(struct world *w, uint64_t offset, uint64_t length)
{
	assert_int_equal(begin_populate(w, GM_PAGE_OP_POPULATE, offset, length), 0);
	assert_int_equal(populated(w, offset, length, length, false), 0);
}

static enum gm_launch_state state_of(const struct world *w)
{
	return gm_domain_launch_state(w->domain);
}

static enum gm_page_state page_at(const struct world *w, uint64_t offset)
{
	return gm_page_map_get(&w->region->map, offset);
}

#define assert_refused(w, call, verdict, number)                  \
	do {                                                      \
		assert_int_equal(call, verdict);                  \
		assert_int_equal((w)->host.refusal.rule, number); \
	} while (0)

static void a_launch_starts_populates_and_finishes_and_then_the_guest_runs(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	assert_int_equal(state_of(&w), GM_LAUNCH_READY);
	assert_false(w.domain->running);
	open_launch(&w);
	assert_int_equal(state_of(&w), GM_LAUNCH_OPEN);
	populate(&w, 0, GM_MIB);
	assert_int_equal(page_at(&w, GM_MIB - GM_PAGE_4K), GM_PAGE_MEASURED);
	assert_int_equal(page_at(&w, GM_MIB), GM_PAGE_ABSENT);
	assert_int_equal(begin_finish(&w), 0);
	assert_false(w.domain->running);
	gm_book_launch_step_done(w.domain);
	assert_int_equal(state_of(&w), GM_LAUNCH_RUNNING);
	assert_true(w.domain->running);
	stop(&w);
}

static void the_digest_is_that_of_what_was_reported_and_not_of_what_was_asked_for(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	open_launch(&w);
	assert_digest(&w, 1);
	assert_int_equal(begin_populate(&w, GM_PAGE_OP_POPULATE, 0, GM_MIB), 0);
	assert_digest(&w, 1);
	assert_int_equal(populated(&w, 0, GM_MIB, GM_MIB, false), 0);
	assert_digest(&w, 2);
	assert_int_equal(begin_finish(&w), 0);
	assert_digest(&w, 2);
	gm_book_launch_step_done(w.domain);
	assert_digest(&w, 3);
	stop(&w);
}

static void a_page_is_populated_once(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	open_launch(&w);
	populate(&w, GM_MIB, GM_MIB);
	assert_refused(&w, begin_populate(&w, GM_PAGE_OP_POPULATE, 0, 2 * GM_MIB), GM_WRONG_STATE,
		       GM_RULE_PAGE_STATE);
	assert_int_equal(w.host.refusal.offset, GM_MIB);
	assert_int_equal(state_of(&w), GM_LAUNCH_OPEN);
	stop(&w);
}

static void what_is_not_measured_is_booked_as_that(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	open_launch(&w);
	assert_int_equal(begin_populate(&w, GM_PAGE_OP_POPULATE_UNMEASURED, 0, GM_PAGE_4K), 0);
	assert_int_equal(populated(&w, 0, GM_PAGE_4K, GM_PAGE_4K, false), 0);
	assert_int_equal(page_at(&w, 0), GM_PAGE_UNMEASURED);
	stop(&w);
}

static void a_step_that_fails_ends_the_launch_for_good(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	open_launch(&w);
	assert_int_equal(begin_populate(&w, GM_PAGE_OP_POPULATE, 0, GM_MIB), 0);
	assert_int_equal(populated(&w, 0, GM_MIB, GM_PAGE_4K, true), 0);
	assert_int_equal(state_of(&w), GM_LAUNCH_FAILED);
	assert_int_equal(page_at(&w, 0), GM_PAGE_MEASURED);
	assert_int_equal(page_at(&w, GM_PAGE_4K), GM_PAGE_LOST);
	assert_digest(&w, 1);
	assert_refused(&w, begin_launch(&w), GM_WRONG_STATE, GM_RULE_LAUNCH_STATE);
	assert_refused(&w, begin_populate(&w, GM_PAGE_OP_POPULATE, 4 * GM_MIB, GM_MIB),
		       GM_WRONG_STATE, GM_RULE_LAUNCH_STATE);
	assert_refused(&w, begin_finish(&w), GM_WRONG_STATE, GM_RULE_LAUNCH_STATE);
	stop(&w);
}

static void in_a_failed_launch_nothing_is_converted_any_more(void **state)
{
	struct gm_range range = { 0, GM_PAGE_4K };
	struct gm_step_spec spec;
	struct world w;

	(void)state;
	start(&w);
	gm_book_fail_launch(w.domain, &broken);
	spec = next_step(&w);
	assert_refused(&w,
		       gm_book_begin_convert(w.region, GM_PAGE_OP_TO_SHARED, &range, 1, &spec,
					     &w.host.refusal),
		       GM_WRONG_STATE, GM_RULE_LAUNCH_STATE);
	stop(&w);
}

static void what_the_firmware_said_is_the_answer_to_whatever_is_asked_later(void **state)
{
	const struct gm_launch_failure why = { EIO, 0x1a, "a page: INVALID_PAGE_STATE" };
	const struct gm_launch_failure later = { .text = "something else" };
	struct gm_range range = { 0, GM_PAGE_4K };
	struct gm_step_spec spec;
	struct world w;

	(void)state;
	start(&w);
	gm_book_fail_launch(w.domain, &why);
	gm_book_fail_launch(w.domain, &later);
	spec = next_step(&w);
	assert_refused(&w,
		       gm_book_begin_convert(w.region, GM_PAGE_OP_TO_SHARED, &range, 1, &spec,
					     &w.host.refusal),
		       GM_WRONG_STATE, GM_RULE_FIRMWARE);
	assert_refused(&w, begin_finish(&w), GM_WRONG_STATE, GM_RULE_FIRMWARE);
	assert_int_equal(w.host.refusal.firmware_error, 0x1a);
	assert_int_equal(w.host.refusal.sys_errno, EIO);
	assert_non_null(strstr(w.host.refusal.text, "a page: INVALID_PAGE_STATE"));
	stop(&w);
}

static void a_report_of_another_range_or_of_a_part_without_a_failure_is_not_believed(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	open_launch(&w);
	assert_int_equal(begin_populate(&w, GM_PAGE_OP_POPULATE, 0, GM_MIB), 0);
	assert_refused(&w, populated(&w, GM_MIB, GM_MIB, GM_MIB, false), GM_INVALID, GM_RULE_STEP);
	assert_refused(&w, populated(&w, 0, GM_MIB, GM_MIB + GM_PAGE_4K, true), GM_INVALID,
		       GM_RULE_STEP);
	assert_refused(&w, populated(&w, 0, GM_MIB, GM_PAGE_4K, false), GM_INVALID, GM_RULE_STEP);
	assert_int_equal(page_at(&w, 0), GM_PAGE_ABSENT);
	assert_int_equal(populated(&w, 0, GM_MIB, GM_MIB, false), 0);
	stop(&w);
}

static void a_second_population_waits_for_the_report_of_the_first(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	open_launch(&w);
	assert_int_equal(begin_populate(&w, GM_PAGE_OP_POPULATE, 0, GM_MIB), 0);
	assert_refused(&w, begin_populate(&w, GM_PAGE_OP_POPULATE, GM_MIB, GM_MIB), GM_WRONG_STATE,
		       GM_RULE_LAUNCH_STATE);
	assert_refused(&w, begin_finish(&w), GM_WRONG_STATE, GM_RULE_LAUNCH_STATE);
	stop(&w);
}

static void while_something_is_hashed_nothing_else_of_the_launch_goes_on_but_its_end(void **state)
{
	const struct gm_range range = { GM_MIB, GM_MIB };
	struct gm_job_ticket ticket;
	struct world w;

	(void)state;
	start(&w);
	open_launch(&w);
	assert_int_equal(
		gm_book_begin_hashing(&w.host.book, w.host.session, w.region, &ticket, NULL), 0);
	assert_refused(
		&w, gm_book_check_populate(w.region, GM_PAGE_OP_POPULATE, &range, &w.host.refusal),
		GM_BUSY, GM_RULE_JOBS_UNDER_WAY);
	assert_refused(&w, begin_finish(&w), GM_BUSY, GM_RULE_JOBS_UNDER_WAY);
	assert_int_equal(gm_book_check_launch(w.domain, GM_LAUNCH_ABORT, NULL), 0);
	gm_book_end_job(&ticket);
	assert_int_equal(gm_book_check_populate(w.region, GM_PAGE_OP_POPULATE, &range, NULL), 0);
	assert_int_equal(w.domain->n_jobs, 0);
	stop(&w);
}

static void a_region_that_is_not_bound_cannot_be_populated(void **state)
{
	const struct gm_range range = { 0, GM_PAGE_4K };
	struct gm_region *region;
	struct world w;

	(void)state;
	start(&w);
	open_launch(&w);
	region = host_region(&w.host, w.domain, GM_GIB, SIZE);
	assert_refused(&w,
		       gm_book_check_populate(region, GM_PAGE_OP_POPULATE, &range, &w.host.refusal),
		       GM_WRONG_STATE, GM_RULE_STEP);
	stop(&w);
}

static void a_step_that_nobody_reports_in_time_ends_the_launch(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	assert_int_equal(begin_launch(&w), 0);
	assert_null(gm_book_overdue_launch(&w.host.book, DEADLINE - 1));
	assert_ptr_equal(gm_book_overdue_launch(&w.host.book, DEADLINE), w.domain);
	gm_book_fail_launch(w.domain, &broken);
	assert_null(gm_book_overdue_launch(&w.host.book, DEADLINE));
	stop(&w);

	start(&w);
	open_launch(&w);
	assert_int_equal(begin_populate(&w, GM_PAGE_OP_POPULATE, 0, GM_MIB), 0);
	assert_ptr_equal(gm_book_overdue_step(&w.host.book, DEADLINE), w.region);
	gm_book_lose_step(w.region);
	assert_int_equal(state_of(&w), GM_LAUNCH_FAILED);
	assert_int_equal(page_at(&w, 0), GM_PAGE_LOST);
	assert_int_equal(page_at(&w, GM_MIB), GM_PAGE_ABSENT);
	stop(&w);
}

static void a_step_that_is_reported_after_the_abort_books_its_pages_and_repairs_nothing(
	void **state)
{
	struct world w;

	(void)state;
	start(&w);
	open_launch(&w);
	assert_int_equal(begin_populate(&w, GM_PAGE_OP_POPULATE, 0, GM_MIB), 0);
	gm_book_fail_launch(w.domain, &broken);
	assert_int_equal(populated(&w, 0, GM_MIB, GM_MIB, false), 0);
	assert_int_equal(page_at(&w, 0), GM_PAGE_MEASURED);
	assert_int_equal(state_of(&w), GM_LAUNCH_FAILED);
	assert_digest(&w, 1);
	stop(&w);
}

static void the_step_of_the_domain_is_known_by_its_id_once(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	assert_refused(&w, gm_book_find_launch_step(w.domain, 0, &w.host.refusal), GM_INVALID,
		       GM_RULE_STEP);
	assert_int_equal(begin_launch(&w), 0);
	assert_int_equal(gm_book_find_launch_step(w.domain, w.last, NULL), 0);
	assert_int_equal(gm_book_find_launch_step(w.domain, w.last + 1, NULL), GM_INVALID);
	gm_book_launch_step_done(w.domain);
	assert_int_equal(gm_book_find_launch_step(w.domain, w.last, NULL), GM_INVALID);
	stop(&w);
}

static int add_source(struct world *w, uint64_t inode)
{
	const struct gm_file_id file = { 8, inode };

	w->last++;
	return gm_book_add_source(&w->host.book, w->domain, w->last, (int)w->last, GM_MIB, &file,
				  &w->host.refusal);
}

static void sources_are_charged_found_and_at_most_sixteen(void **state)
{
	struct world w;
	uint64_t fds;

	(void)state;
	start(&w);
	fds = w.host.acme->account.used[GM_RES_FDS];
	for (unsigned i = 0; i < GM_LAUNCH_SOURCES_MAX; i++)
		assert_int_equal(add_source(&w, i + 1), 0);
	assert_int_equal(w.host.acme->account.used[GM_RES_FDS], fds + GM_LAUNCH_SOURCES_MAX);
	assert_int_equal(gm_book_find_source(w.domain, w.last)->size, GM_MIB);
	assert_null(gm_book_find_source(w.domain, w.last + 1));
	assert_refused(&w, add_source(&w, 99), GM_OVER_LIMIT, GM_RULE_SOURCE);
	assert_int_equal(w.host.refusal.limit, GM_LAUNCH_SOURCES_MAX);
	for (unsigned i = 0; i < GM_LAUNCH_SOURCES_MAX; i++)
		assert_true(gm_book_drop_source(w.domain) > 0);
	assert_int_equal(gm_book_drop_source(w.domain), -1);
	assert_int_equal(w.host.acme->account.used[GM_RES_FDS], fds);
	stop(&w);
}

static void the_memory_of_a_region_is_no_source(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	assert_refused(&w,
		       gm_book_add_source(&w.host.book, w.domain, 1, 5, GM_MIB,
					  &w.region->private_file, &w.host.refusal),
		       GM_INVALID, GM_RULE_SOURCE);
	stop(&w);
}

static void a_kind_without_a_launch_has_none(void **state)
{
	struct gm_domain *domain;
	struct world w;

	(void)state;
	start(&w);
	domain = new_domain(&w.host, GM_TRAIT_PRIVATE);
	assert_true(domain->running);
	assert_int_equal(gm_domain_launch_state(domain), GM_LAUNCH_NONE);
	assert_refused(&w, gm_book_check_launch(domain, GM_LAUNCH_START, &w.host.refusal),
		       GM_UNSUPPORTED, GM_RULE_LAUNCH_STATE);
	stop(&w);
}

static void two_launches_side_by_side_know_nothing_of_each_other(void **state)
{
	struct gm_domain *other;
	struct world w;

	(void)state;
	start(&w);
	other = new_domain(&w.host, GM_TRAIT_PRIVATE | GM_TRAIT_LAUNCH);
	open_launch(&w);
	assert_int_equal(begin_populate(&w, GM_PAGE_OP_POPULATE, 0, GM_MIB), 0);
	gm_book_fail_launch(other, &broken);
	assert_int_equal(state_of(&w), GM_LAUNCH_POPULATING);
	assert_int_equal(populated(&w, 0, GM_MIB, GM_MIB, false), 0);
	assert_int_equal(state_of(&w), GM_LAUNCH_OPEN);
	stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_launch_starts_populates_and_finishes_and_then_the_guest_runs),
		gm_test(the_digest_is_that_of_what_was_reported_and_not_of_what_was_asked_for),
		gm_test(a_page_is_populated_once),
		gm_test(what_is_not_measured_is_booked_as_that),
		gm_test(a_step_that_fails_ends_the_launch_for_good),
		gm_test(in_a_failed_launch_nothing_is_converted_any_more),
		gm_test(what_the_firmware_said_is_the_answer_to_whatever_is_asked_later),
		gm_test(a_report_of_another_range_or_of_a_part_without_a_failure_is_not_believed),
		gm_test(a_second_population_waits_for_the_report_of_the_first),
		gm_test(while_something_is_hashed_nothing_else_of_the_launch_goes_on_but_its_end),
		gm_test(a_region_that_is_not_bound_cannot_be_populated),
		gm_test(a_step_that_nobody_reports_in_time_ends_the_launch),
		gm_test(a_step_that_is_reported_after_the_abort_books_its_pages_and_repairs_nothing),
		gm_test(the_step_of_the_domain_is_known_by_its_id_once),
		gm_test(sources_are_charged_found_and_at_most_sixteen),
		gm_test(the_memory_of_a_region_is_no_source),
		gm_test(a_kind_without_a_launch_has_none),
		gm_test(two_launches_side_by_side_know_nothing_of_each_other),
	};

	return gm_test_run("book_launch", tests, GM_ARRAY_SIZE(tests));
}
