/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversions under a standing order as the service takes them: booked at once, answered when the
 * other half is free and the tenant's rate lets it.
 */
#include "step_rig.h"

static struct rig rig;
static struct peer peer, other;
static struct made_domain domain;
static struct step_region region;

static const struct gm_range one = { 0, 2 * GM_MIB };
static const struct gm_range next = { 4 * GM_MIB, 2 * GM_MIB };

/* A region whose binding was answered with an order. */
static void start(void)
{
	rig_private = true;
	rig_start(&rig);
	peer_connect(&peer, &rig, rig.acme);
	peer_connect(&other, &rig, rig.beta);
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	region = step_bound_region(&peer, domain.id, 0);
	assert_true(region.order != 0);
}

static void stop(void)
{
	step_region_close(&region);
	if (peer.link != NULL)
		peer_close(&peer);
	peer_close(&other);
	rig_stop(&rig);
	rig_private = false;
}

static struct gm_region *booked(void)
{
	return gm_book_next_region(&rig.book, NULL);
}

static uint64_t pages(enum gm_page_state state)
{
	return step_pages(&rig, region.id, state);
}

static uint32_t tell(uint64_t number, const struct gm_range *range, Gmem__PageState to)
{
	const struct step_conversion done = { *range, to };

	return step_converted(&region, number, &done, 1);
}

static void expect_room(uint32_t serial, uint64_t room)
{
	struct answer answer = peer_take(&peer);
	const Gmem__ConvertedReply *reply = expect_reply(&answer);

	assert_int_equal(answer.frame.serial, serial);
	assert_int_equal(reply->room, room);
}

static void expect_broken(uint32_t serial)
{
	struct answer answer = peer_take(&peer);

	assert_int_equal(answer.frame.serial, serial);
	expect_refusal(&answer, GM_INVALID, GM_RULE_ORDER);
	assert_int_equal(booked()->order.id, 0);
	assert_int_equal(rig_news.kind, GM_NEWS_REFUSAL);
}

/* ---- booking ---- */

static void a_report_is_booked_and_answered_with_the_room(void **state)
{
	uint32_t serial;

	(void)state;
	start();
	serial = tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	expect_room(serial, GM_ORDER_ROOM + one.length);
	assert_int_equal(pages(GM_PAGE_SHARED), one.length);
	serial = tell(2, &one, GMEM__PAGE_STATE__PAGE_PRIVATE);
	expect_room(serial, GM_ORDER_ROOM + one.length);
	assert_int_equal(pages(GM_PAGE_PRIVATE), one.length);
	assert_int_equal(fake_crew_count(rig.hub), 0);
	stop();
}

static void an_older_report_that_comes_again_changes_nothing(void **state)
{
	(void)state;
	start();
	(void)tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	(void)tell(2, &one, GMEM__PAGE_STATE__PAGE_PRIVATE);
	(void)tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	assert_int_equal(pages(GM_PAGE_PRIVATE), one.length);
	assert_int_equal(booked()->order.last, 2);
	assert_int_equal(booked()->order.spent, one.length);
	for (unsigned i = 0; i < 3; i++)
		step_expect_good(peer_take(&peer));
	stop();
}

static void a_report_that_misses_one_loses_its_pages_and_ends_the_order(void **state)
{
	(void)state;
	start();
	expect_broken(tell(2, &one, GMEM__PAGE_STATE__PAGE_SHARED));
	assert_int_equal(pages(GM_PAGE_LOST), one.length);
	/* So does what was under way behind it. */
	expect_broken(tell(3, &next, GMEM__PAGE_STATE__PAGE_SHARED));
	assert_int_equal(pages(GM_PAGE_LOST), one.length + next.length);
	stop();
}

static void a_report_that_cannot_be_understood_ends_the_order(void **state)
{
	Gmem__ConvertedRequest request = GMEM__CONVERTED_REQUEST__INIT;
	uint64_t numbers[] = { GMEM__PAGE_STATE__PAGE_SHARED, GM_PAGE_4K, GM_PAGE_4K + 5,
			       GM_PAGE_4K };

	(void)state;
	for (size_t n = 0; n <= GM_ARRAY_SIZE(numbers); n++) {
		if (n == 2)
			continue;
		start();
		request.has_region = request.has_order = request.has_number = 1;
		request.region = region.id;
		request.order = region.order;
		request.number = 1;
		request.n_conversions = n;
		request.conversions = numbers;
		expect_broken(peer_send(&peer, GM_MSG_CONVERTED, &request.base));
		assert_int_equal(pages(GM_PAGE_LOST), n < 2 ? 0 : GM_PAGE_4K);
		stop();
	}
}

/* Whoever says that it comes again may say anything. */
static void a_booked_report_that_comes_again_from_outside_the_region_ends_the_order(void **state)
{
	const struct gm_range ranges[] = {
		{ UINT64_C(1) << 60, GM_PAGE_4K },
		{ STEP_SIZE - GM_PAGE_4K, 2 * GM_PAGE_4K },
		{ GM_PAGE_4K, UINT64_MAX - GM_PAGE_4K + 1 },
		{ 0, GM_PAGE_4K / 2 },
	};

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(ranges); i++) {
		start();
		(void)tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
		step_expect_good(peer_take(&peer));
		expect_broken(tell(1, &ranges[i], GMEM__PAGE_STATE__PAGE_SHARED));
		assert_int_equal(pages(GM_PAGE_SHARED), one.length);
		stop();
	}
}

/* All of a region in pieces, said over and over: the loop has others to serve. */
static void a_report_that_comes_again_is_looked_at_so_far(void **state)
{
	const struct gm_range last = { STEP_SIZE - GM_PAGE_4K, GM_PAGE_4K };
	struct step_conversion all[STEP_RANGES_MAX];
	uint64_t number = 1;

	(void)state;
	start();
	for (uint64_t at = 0; at < STEP_SIZE - GM_MIB; at += 2 * GM_PAGE_4K) {
		(void)tell(number++, &(struct gm_range){ at, GM_PAGE_4K },
			   GMEM__PAGE_STATE__PAGE_SHARED);
		step_expect_good(peer_take(&peer));
	}
	(void)tell(number++, &last, GMEM__PAGE_STATE__PAGE_SHARED);
	step_expect_good(peer_take(&peer));
	for (size_t i = 0; i < STEP_RANGES_MAX; i++)
		all[i] = (struct step_conversion){ { 0, STEP_SIZE - GM_MIB },
						   GMEM__PAGE_STATE__PAGE_SHARED };
	all[STEP_RANGES_MAX - 1].range = last;
	step_fill(region.half, &last);
	(void)step_converted(&region, 1, all, STEP_RANGES_MAX);
	assert_int_equal(fake_crew_count(rig.hub), 0);
	step_expect_good(peer_take(&peer));
	stop();
}

static void a_kind_without_private_pages_loses_none_by_a_report(void **state)
{
	struct answer answer;

	(void)state;
	rig_start(&rig);
	peer_connect(&peer, &rig, rig.acme);
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	answer = step_create(&peer, domain.id, 0);
	region = (struct step_region){
		.peer = &peer,
		.id = ((const Gmem__RegionCreateReply *)expect_reply(&answer))->region,
		.half = -1,
		.shared = answer.fds[0],
	};
	(void)tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_UNSUPPORTED, GM_RULE_PAGE_STATE);
	assert_int_equal(pages(GM_PAGE_LOST), 0);
	step_region_close(&region);
	peer_close(&peer);
	rig_stop(&rig);
}

static void a_conversion_during_a_job_is_in_doubt(void **state)
{
	uint32_t serial;

	(void)state;
	start();
	(void)start_allocate(&peer, region.id, next.offset, next.length);
	serial = tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	expect_broken(serial);
	assert_int_equal(pages(GM_PAGE_LOST), one.length);
	fake_crew_finish(fake_crew_first(rig.hub));
	stop();
}

static void nobody_reports_for_another(void **state)
{
	struct step_region its = region;
	struct answer answer;

	(void)state;
	start();
	its = region;
	its.peer = &other;
	(void)step_converted(&its, 1, &(struct step_conversion){ one, 1 }, 1);
	answer = peer_take(&other);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	assert_int_equal(booked()->order.id, region.order);
	assert_int_equal(pages(GM_PAGE_ABSENT), STEP_SIZE);
	stop();
}

/* ---- the other half ---- */

static void what_was_left_over_is_freed_before_the_answer(void **state)
{
	uint32_t serial;

	(void)state;
	start();
	step_fill(region.half, &one);
	step_fill(region.half, &next);
	serial = tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	assert_int_equal(peer.n_packets, 0);
	assert_int_equal(pages(GM_PAGE_SHARED), one.length);
	fake_crew_finish(fake_crew_first(rig.hub));
	expect_room(serial, GM_ORDER_ROOM + one.length);
	/* What is in use stays. */
	assert_int_equal(step_blocks(region.half), next.length);
	stop();
}

static void both_halves_are_looked_at(void **state)
{
	const struct step_conversion both[] = { { one, GMEM__PAGE_STATE__PAGE_SHARED },
						{ next, GMEM__PAGE_STATE__PAGE_PRIVATE } };

	(void)state;
	start();
	step_fill(region.half, &one);
	step_fill(region.half, &next);
	step_fill(region.shared, &one);
	step_fill(region.shared, &next);
	(void)step_converted(&region, 1, both, 2);
	fake_crew_finish(fake_crew_first(rig.hub));
	assert_int_equal(peer.n_packets, 0);
	fake_crew_finish(fake_crew_first(rig.hub));
	step_expect_good(peer_take(&peer));
	assert_int_equal(fake_crew_count(rig.hub), 0);
	assert_int_equal(step_blocks(region.half), next.length);
	assert_int_equal(step_blocks(region.shared), one.length);
	stop();
}

/* A worker's progress is counted by ranges that are sorted and apart. */
static void ranges_in_any_order_and_over_each_other_are_freed_once(void **state)
{
	const struct step_conversion done[] = {
		{ { 8 * GM_MIB, GM_MIB }, GMEM__PAGE_STATE__PAGE_SHARED },
		{ { 3 * GM_MIB, 2 * GM_MIB }, GMEM__PAGE_STATE__PAGE_SHARED },
		{ { 2 * GM_MIB, 2 * GM_MIB }, GMEM__PAGE_STATE__PAGE_SHARED },
	};
	const struct gm_job_order *order;

	(void)state;
	start();
	for (size_t i = 0; i < GM_ARRAY_SIZE(done); i++)
		step_fill(region.half, &done[i].range);
	(void)step_converted(&region, 1, done, GM_ARRAY_SIZE(done));
	order = fake_crew_order(fake_crew_first(rig.hub));
	assert_int_equal(order->n_ranges, 2);
	assert_int_equal(order->ranges[0].offset, 2 * GM_MIB);
	assert_int_equal(order->ranges[0].length, 3 * GM_MIB);
	assert_int_equal(order->ranges[1].offset, 8 * GM_MIB);
	fake_crew_finish(fake_crew_first(rig.hub));
	step_expect_good(peer_take(&peer));
	assert_int_equal(pages(GM_PAGE_LOST), 0);
	assert_int_equal(step_blocks(region.half), 0);
	stop();
}

/* A page that was converted back within the report is in use where it was before. */
static void a_page_that_went_to_and_fro_is_not_freed_where_it_is(void **state)
{
	const struct step_conversion both[] = { { one, GMEM__PAGE_STATE__PAGE_SHARED },
						{ one, GMEM__PAGE_STATE__PAGE_PRIVATE } };

	(void)state;
	start();
	step_fill(region.half, &one);
	(void)step_converted(&region, 1, both, 2);
	step_expect_good(peer_take(&peer));
	assert_int_equal(fake_crew_count(rig.hub), 0);
	assert_int_equal(step_blocks(region.half), one.length);
	stop();
}

static void reports_wait_for_one_that_is_cleaned_up_after_in_their_order(void **state)
{
	uint32_t first, second, third;

	(void)state;
	start();
	step_fill(region.half, &one);
	first = tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	second = tell(2, &next, GMEM__PAGE_STATE__PAGE_SHARED);
	third = tell(3, &next, GMEM__PAGE_STATE__PAGE_PRIVATE);
	assert_int_equal(peer.n_packets, 0);
	assert_int_equal(pages(GM_PAGE_SHARED), one.length);
	fake_crew_finish(fake_crew_first(rig.hub));
	expect_room(first, GM_ORDER_ROOM + one.length);
	expect_room(second, GM_ORDER_ROOM + 2 * one.length);
	expect_room(third, GM_ORDER_ROOM + 2 * one.length);
	assert_int_equal(pages(GM_PAGE_PRIVATE), next.length);
	assert_int_equal(booked()->order.n_waiting, 0);
	stop();
}

static void more_reports_than_may_be_unanswered_do_not_wait(void **state)
{
	struct answer answer;

	(void)state;
	start();
	step_fill(region.half, &one);
	(void)tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	for (unsigned i = 2; i <= GM_ORDER_REPORTS + 1; i++)
		(void)tell(i, &next, GMEM__PAGE_STATE__PAGE_SHARED);
	assert_int_equal(peer.n_packets, 0);
	(void)tell(GM_ORDER_REPORTS + 2, &next, GMEM__PAGE_STATE__PAGE_SHARED);
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_INVALID, GM_RULE_ORDER);
	fake_crew_finish(fake_crew_first(rig.hub));
	stop();
}

static void a_conversion_that_is_asked_for_comes_after_what_is_cleaned_up(void **state)
{
	struct answer answer;

	(void)state;
	start();
	step_fill(region.half, &one);
	(void)tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	answer = step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &next, 1);
	expect_refusal(&answer, GM_BUSY, GM_RULE_STEP_UNDER_WAY);
	fake_crew_finish(fake_crew_first(rig.hub));
	step_expect_good(peer_take(&peer));
	step_expect_good(step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &next, 1));
	stop();
}

static void what_cannot_be_freed_is_lost_and_the_order_goes_on(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	step_fill(region.half, &one);
	serial = tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	(void)tell(2, &next, GMEM__PAGE_STATE__PAGE_SHARED);
	for (unsigned i = 0; i < 3; i++)
		fake_crew_end(fake_crew_first(rig.hub), GM_JOB_WORKER_LOST, 11);
	answer = peer_take(&peer);
	assert_int_equal(answer.frame.serial, serial);
	expect_refusal(&answer, GM_WORKER_LOST, GM_RULE_WORKER);
	assert_int_equal(pages(GM_PAGE_LOST), one.length);
	step_expect_good(peer_take(&peer));
	assert_int_equal(pages(GM_PAGE_SHARED), next.length);
	assert_int_equal(booked()->order.id, region.order);
	stop();
}

static void what_the_kernel_does_not_tell_a_worker_makes_sure_of_once(void **state)
{
	(void)state;
	start();
	rig.fake->loses_track = true;
	(void)tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	fake_crew_finish(fake_crew_first(rig.hub));
	assert_int_equal(fake_crew_count(rig.hub), 0);
	step_expect_good(peer_take(&peer));
	stop();
}

/* ---- ends ---- */

static void a_domain_that_ends_takes_its_reports_along(void **state)
{
	uint32_t first, second;
	struct answer answer;

	(void)state;
	start();
	step_fill(region.half, &one);
	first = tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	second = tell(2, &next, GMEM__PAGE_STATE__PAGE_SHARED);
	assert_int_equal(gm_exec_end_domain(&rig.exec, booked()->domain), 1);
	fake_crew_end(fake_crew_first(rig.hub), GM_JOB_CANCELLED, 0);
	answer = peer_take(&peer);
	assert_int_equal(answer.frame.serial, first);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	answer = peer_take(&peer);
	assert_int_equal(answer.frame.serial, second);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	assert_int_equal(gm_service_jobs(rig.service), 0);
	stop();
}

static void a_vmm_that_dies_takes_its_reports_along(void **state)
{
	(void)state;
	start();
	step_fill(region.half, &one);
	(void)tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	(void)tell(2, &next, GMEM__PAGE_STATE__PAGE_SHARED);
	peer_close(&peer);
	assert_int_equal(gm_service_jobs(rig.service), 1);
	fake_crew_end(fake_crew_first(rig.hub), GM_JOB_CANCELLED, 0);
	assert_int_equal(gm_service_jobs(rig.service), 0);
	stop();
}

/* ---- limits ---- */

static void over_the_rate_the_answer_comes_later_and_the_books_are_right_at_once(void **state)
{
	uint32_t first, second;

	(void)state;
	start();
	rig.acme->policy.conversion_rate = 1;
	first = tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	second = tell(2, &next, GMEM__PAGE_STATE__PAGE_SHARED);
	assert_int_equal(peer.n_packets, 0);
	assert_int_equal(pages(GM_PAGE_SHARED), one.length + next.length);
	rig_turn(&rig, 1000);
	assert_int_equal(peer.n_packets, 0);
	rig_turn(&rig, 1000);
	expect_room(first, GM_ORDER_ROOM + 2 * one.length);
	expect_room(second, GM_ORDER_ROOM + 2 * one.length);
	stop();
}

static void a_neighbour_is_not_delayed(void **state)
{
	struct step_region its;
	struct made_domain vm;

	(void)state;
	start();
	rig.acme->policy.conversion_rate = 1;
	(void)tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	(void)tell(2, &next, GMEM__PAGE_STATE__PAGE_SHARED);
	vm = make_domain(&other, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	its = step_bound_region(&other, vm.id, 0);
	(void)step_converted(&its, 1, &(struct step_conversion){ one, 1 }, 1);
	step_expect_good(peer_take(&other));
	step_region_close(&its);
	stop();
}

static void who_has_gone_is_not_waited_for(void **state)
{
	(void)state;
	start();
	rig.acme->policy.conversion_rate = 1;
	(void)tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	(void)tell(2, &next, GMEM__PAGE_STATE__PAGE_SHARED);
	peer_close(&peer);
	assert_int_equal(gm_service_jobs(rig.service), 0);
	rig_turn(&rig, 5000);
	stop();
}

static void a_report_is_no_job_to_cancel(void **state)
{
	Gmem__CancelRequest request = GMEM__CANCEL_REQUEST__INIT;
	struct answer answer;

	(void)state;
	start();
	step_fill(region.half, &one);
	request.has_serial = 1;
	request.serial = tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	answer = peer_ask(&peer, GM_MSG_CANCEL, &request.base);
	assert_false(((const Gmem__CancelReply *)expect_reply(&answer))->found);
	fake_crew_finish(fake_crew_first(rig.hub));
	step_expect_good(peer_take(&peer));
	stop();
}

static void a_conversion_that_needs_all_the_room_gets_it_and_says_so(void **state)
{
	const struct gm_range all = { 0, 8 * GM_MIB };
	struct answer answer;

	(void)state;
	start();
	rig.acme->policy.shared_max = all.length;
	answer = step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &all, 1);
	assert_true(((const Gmem__ConvertReply *)expect_reply(&answer))->rooms_end);
	answer = step_done(&region, 0, 1, &all, 1);
	/* There is none left now. */
	assert_int_equal(((const Gmem__StepDoneReply *)expect_reply(&answer))->order->room, 0);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_report_is_booked_and_answered_with_the_room),
		gm_test(an_older_report_that_comes_again_changes_nothing),
		gm_test(a_report_that_misses_one_loses_its_pages_and_ends_the_order),
		gm_test(a_report_that_cannot_be_understood_ends_the_order),
		gm_test(a_booked_report_that_comes_again_from_outside_the_region_ends_the_order),
		gm_test(a_report_that_comes_again_is_looked_at_so_far),
		gm_test(a_kind_without_private_pages_loses_none_by_a_report),
		gm_test(a_conversion_during_a_job_is_in_doubt),
		gm_test(nobody_reports_for_another),
		gm_test(what_was_left_over_is_freed_before_the_answer),
		gm_test(both_halves_are_looked_at),
		gm_test(ranges_in_any_order_and_over_each_other_are_freed_once),
		gm_test(a_page_that_went_to_and_fro_is_not_freed_where_it_is),
		gm_test(reports_wait_for_one_that_is_cleaned_up_after_in_their_order),
		gm_test(more_reports_than_may_be_unanswered_do_not_wait),
		gm_test(a_conversion_that_is_asked_for_comes_after_what_is_cleaned_up),
		gm_test(what_cannot_be_freed_is_lost_and_the_order_goes_on),
		gm_test(what_the_kernel_does_not_tell_a_worker_makes_sure_of_once),
		gm_test(a_domain_that_ends_takes_its_reports_along),
		gm_test(a_vmm_that_dies_takes_its_reports_along),
		gm_test(over_the_rate_the_answer_comes_later_and_the_books_are_right_at_once),
		gm_test(a_neighbour_is_not_delayed),
		gm_test(who_has_gone_is_not_waited_for),
		gm_test(a_report_is_no_job_to_cancel),
		gm_test(a_conversion_that_needs_all_the_room_gets_it_and_says_so),
	};

	return gm_test_run("service converted", tests, GM_ARRAY_SIZE(tests));
}
