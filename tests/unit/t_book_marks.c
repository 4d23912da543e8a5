/* SPDX-License-Identifier: Apache-2.0 */
/* What the books mark as changed, and what marking costs. */
#include "book_fixture.h"
#include "book_restore.h"

static bool is_dirty(const struct gm_mark *mark)
{
	return mark->state == GM_MARK_DIRTY;
}

static void without_a_record_nothing_is_marked_or_kept(void **state)
{
	struct gm_region *region;
	struct host host;

	(void)state;
	host_init(&host);
	region = host_region(&host, host_domain(&host, host.session), 0, GM_GIB);
	gm_book_remove_region(&host.book, region);
	assert_true(gm_marks_are_clear(&host.book.marks));
	host_done(&host);
}

static void all_there_is_is_marked_when_recording_starts(void **state)
{
	struct gm_region *region;
	struct host host;

	(void)state;
	host_init(&host);
	gm_session_set_state(host.session, GM_SESSION_OPEN);
	region = host_region(&host, host_domain(&host, host.session), 0, GM_GIB);
	gm_book_start_recording(&host.book);
	assert_true(is_dirty(&host.acme->mark));
	assert_true(is_dirty(&host.session->mark));
	assert_false(is_dirty(&host.stranger->mark)); /* has not said hello */
	assert_true(is_dirty(&region->domain->mark));
	assert_true(is_dirty(&region->mark));
	assert_true(region->map_is_unknown);
	gm_marks_clear(&host.book.marks);
	assert_true(gm_marks_are_clear(&host.book.marks));
	assert_false(is_dirty(&region->mark));
	host_done(&host);
}

static void every_change_of_a_domain_is_marked(void **state)
{
	struct gm_session *second;
	struct gm_session *loser;
	struct gm_domain *domain;
	struct host host;

	(void)state;
	host_init(&host);
	gm_book_start_recording(&host.book);
	domain = host_domain(&host, host.session);
	assert_true(is_dirty(&domain->mark));
	gm_marks_clear(&host.book.marks);

	gm_book_detach(domain, 1);
	assert_true(is_dirty(&domain->mark));
	gm_marks_clear(&host.book.marks);

	second = host_session(&host, host.acme);
	assert_int_equal(gm_book_attach(second, domain, false, &loser, NULL), 0);
	assert_true(is_dirty(&domain->mark));
	gm_marks_clear(&host.book.marks);

	gm_book_quarantine_domain(domain);
	assert_true(is_dirty(&domain->mark));
	host_done(&host);
}

static void an_ending_domain_marks_its_regions(void **state)
{
	struct gm_region *region;
	struct host host;

	(void)state;
	host_init(&host);
	gm_book_start_recording(&host.book);
	region = host_region(&host, host_domain(&host, host.session), 0, GM_GIB);
	gm_marks_clear(&host.book.marks);
	gm_book_end_domain(region->domain);
	assert_true(is_dirty(&region->mark) && is_dirty(&region->domain->mark));
	host_done(&host);
}

static void what_has_a_record_is_kept_until_the_marks_are_cleared(void **state)
{
	struct gm_region *region;
	struct host host;

	(void)state;
	host_init(&host);
	gm_book_start_recording(&host.book);
	region = host_region(&host, host_domain(&host, host.session), 0, GM_GIB);
	region->mark.record = 5;
	gm_book_remove_region(&host.book, region);
	assert_false(TAILQ_EMPTY(&host.book.marks.removed));
	assert_int_equal(TAILQ_FIRST(&host.book.marks.removed)->record, 5);
	gm_marks_clear(&host.book.marks);
	assert_true(TAILQ_EMPTY(&host.book.marks.removed));
	host_done(&host);
}

static void what_was_never_recorded_is_forgotten_at_once(void **state)
{
	struct gm_region *region;
	struct host host;

	(void)state;
	host_init(&host);
	gm_book_start_recording(&host.book);
	region = host_region(&host, host_domain(&host, host.session), 0, GM_GIB);
	gm_mark_pages(&host.book.marks, region, 0, GM_PAGE_4K, GM_PAGE_SHARED);
	gm_book_remove_region(&host.book, region);
	assert_true(TAILQ_EMPTY(&host.book.marks.removed));
	assert_null(host.book.marks.changes[0].region);
	host_done(&host);
}

static void changes_of_pages_that_follow_one_another_are_one(void **state)
{
	struct gm_region *region;
	struct host host;

	(void)state;
	host_init(&host);
	gm_book_start_recording(&host.book);
	region = host_region(&host, host_domain(&host, host.session), 0, GM_GIB);
	gm_marks_clear(&host.book.marks);
	for (uint64_t page = 0; page < 1000; page++) {
		const struct gm_range range = { page * GM_PAGE_4K, GM_PAGE_4K };

		assert_int_equal(gm_book_restore_pages(region, &range, GM_PAGE_SHARED, NULL), 0);
	}
	assert_int_equal(host.book.marks.n_changes, 1);
	assert_int_equal(host.book.marks.changes[0].length, 1000 * GM_PAGE_4K);
	host_done(&host);
}

static void more_changes_than_there_is_room_for_mark_the_whole_map(void **state)
{
	struct gm_region *region;
	struct host host;

	(void)state;
	host_init(&host);
	gm_book_start_recording(&host.book);
	region = host_region(&host, host_domain(&host, host.session), 0, GM_GIB);
	gm_marks_clear(&host.book.marks);
	for (uint64_t i = 0; i <= GM_MARKS_CHANGES_MAX; i++) {
		assert_false(region->map_is_unknown);
		gm_mark_pages(&host.book.marks, region, 2 * i * GM_PAGE_4K, GM_PAGE_4K,
			      GM_PAGE_SHARED);
	}
	assert_true(region->map_is_unknown && is_dirty(&region->mark));
	gm_marks_clear(&host.book.marks);
	assert_false(region->map_is_unknown);
	host_done(&host);
}

static void a_quarantined_region_is_refused_for_jobs_and_may_be_destroyed(void **state)
{
	struct gm_range range = { 0, GM_PAGE_4K };
	struct gm_job_ticket ticket;
	struct gm_region *region;
	struct host host;

	(void)state;
	host_init(&host);
	region = host_region(&host, host_domain(&host, host.session), 0, GM_GIB);
	gm_book_quarantine_region(region);
	assert_int_equal(gm_book_begin_job(&host.book, host.session, region, GM_PAGE_OP_ALLOCATE,
					   &range, 1, &ticket, &host.refusal),
			 GM_WRONG_STATE);
	assert_int_equal(host.refusal.rule, GM_RULE_QUARANTINE);
	assert_int_equal(gm_book_may_destroy_region(region, &host.refusal), 0);
	host_done(&host);
}

static void a_quarantined_domain_is_refused_for_attaching_and_regions(void **state)
{
	const struct gm_region_spec spec = { .name = "", .size = GM_GIB, .page_size = GM_PAGE_4K };
	struct gm_session *loser;
	struct gm_region *region;
	struct gm_domain *domain;
	struct host host;

	(void)state;
	host_init(&host);
	domain = host_domain(&host, host.session);
	gm_book_quarantine_domain(domain);
	assert_int_equal(host_try_region(&host, domain, &spec, &region), GM_WRONG_STATE);
	assert_int_equal(gm_book_attach(host.session, domain, true, &loser, &host.refusal),
			 GM_WRONG_STATE);
	assert_int_equal(host.refusal.rule, GM_RULE_QUARANTINE);
	host_done(&host);
}

static void a_session_is_found_by_its_key_in_its_tenant_only(void **state)
{
	const struct gm_session_key key = { .bytes = { 1 } };
	const struct gm_session_key other = { .bytes = { 2 } };
	struct host host;

	(void)state;
	host_init(&host);
	gm_session_set_key(host.session, &key);
	assert_null(gm_book_find_session_by_key(host.acme, &key));
	gm_session_set_state(host.session, GM_SESSION_OPEN);
	assert_ptr_equal(gm_book_find_session_by_key(host.acme, &key), host.session);
	assert_null(gm_book_find_session_by_key(host.acme, &other));
	assert_null(gm_book_find_session_by_key(host.other, &key));
	host_done(&host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(without_a_record_nothing_is_marked_or_kept),
		gm_test(all_there_is_is_marked_when_recording_starts),
		gm_test(every_change_of_a_domain_is_marked),
		gm_test(an_ending_domain_marks_its_regions),
		gm_test(what_has_a_record_is_kept_until_the_marks_are_cleared),
		gm_test(what_was_never_recorded_is_forgotten_at_once),
		gm_test(changes_of_pages_that_follow_one_another_are_one),
		gm_test(more_changes_than_there_is_room_for_mark_the_whole_map),
		gm_test(a_quarantined_region_is_refused_for_jobs_and_may_be_destroyed),
		gm_test(a_quarantined_domain_is_refused_for_attaching_and_regions),
		gm_test(a_session_is_found_by_its_key_in_its_tenant_only),
	};

	return gm_test_run("marks of the book", tests, GM_ARRAY_SIZE(tests));
}
