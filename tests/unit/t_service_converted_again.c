/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon is killed between an order, its reports and their answers: what was booked is not
 * booked again, what was not is booked now, and room is given once.
 */
#include "resume_rig.h"
#include "step_rig.h"

#define KEY 0x5a

static struct resume_rig rig;
static struct peer peer;
static struct made_domain domain;
static struct step_region region;

static const struct gm_range one = { 0, 2 * GM_MIB };
static const struct gm_range next = { 4 * GM_MIB, 2 * GM_MIB };

static void start(void)
{
	rig_private = true;
	memset(&peer, 0, sizeof(peer));
	resume_start(&rig);
	assert_false(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	region = step_bound_region(&peer, domain.id, 0);
}

static void stop(void)
{
	step_region_close(&region);
	peer_close(&peer);
	resume_stop(&rig);
	rig_private = false;
}

static void kill_and_restart(void)
{
	resume_kill(&rig);
	resume_forget(&peer);
	resume_restart(&rig);
	peer.serial += 1000;
	assert_true(resume_connect(&peer, &rig, rig.rig.acme, KEY));
}

static struct gm_region *booked(void)
{
	return gm_book_next_region(&rig.rig.book, NULL);
}

static uint64_t pages(enum gm_page_state state)
{
	return step_pages(&rig.rig, region.id, state);
}

static void tell(uint64_t number, const struct gm_range *range, Gmem__PageState to)
{
	const struct step_conversion done = { *range, to };

	(void)step_converted(&region, number, &done, 1);
}

static void expect_good(void)
{
	step_expect_good(peer_take(&peer));
}

static void an_order_and_its_room_outlive_the_daemon(void **state)
{
	(void)state;
	start();
	tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	expect_good();
	kill_and_restart();
	assert_int_equal(booked()->order.id, region.order);
	assert_int_equal(booked()->order.last, 1);
	assert_int_equal(booked()->order.spent, one.length);
	assert_int_equal(booked()->domain->converting_bytes, GM_ORDER_ROOM);
	assert_int_equal(booked()->domain->shared_bytes, one.length);
	tell(2, &next, GMEM__PAGE_STATE__PAGE_SHARED);
	expect_good();
	assert_int_equal(pages(GM_PAGE_SHARED), one.length + next.length);
	stop();
}

static void an_order_from_which_nobody_has_heard_is_still_one(void **state)
{
	(void)state;
	start();
	kill_and_restart();
	tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	expect_good();
	stop();
}

/* To shared, then to private: the older one must not win because it comes again. */
static void reports_that_were_booked_are_not_booked_again(void **state)
{
	(void)state;
	start();
	tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	expect_good();
	tell(2, &one, GMEM__PAGE_STATE__PAGE_PRIVATE);
	kill_and_restart();
	tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	expect_good();
	assert_int_equal(pages(GM_PAGE_PRIVATE), one.length);
	tell(2, &one, GMEM__PAGE_STATE__PAGE_PRIVATE);
	expect_good();
	tell(3, &next, GMEM__PAGE_STATE__PAGE_SHARED);
	expect_good();
	assert_int_equal(pages(GM_PAGE_PRIVATE), one.length);
	assert_int_equal(pages(GM_PAGE_SHARED), next.length);
	assert_int_equal(booked()->order.spent, one.length + next.length);
	stop();
}

static void what_a_booked_report_has_left_over_is_freed_when_it_comes_again(void **state)
{
	(void)state;
	start();
	step_fill(region.half, &one);
	step_fill(region.half, &next);
	tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	assert_int_equal(peer.n_packets, 0);
	kill_and_restart();
	assert_int_equal(pages(GM_PAGE_SHARED), one.length);
	tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	assert_int_equal(peer.n_packets, 0);
	fake_crew_finish(fake_crew_first(rig.rig.hub));
	expect_good();
	assert_int_equal(step_blocks(region.half), next.length);
	stop();
}

/* The kind that could look into the halves is not there. */
static void nothing_is_freed_in_quarantine(void **state)
{
	(void)state;
	start();
	step_fill(region.half, &one);
	tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	resume_kill(&rig);
	resume_forget(&peer);
	rig_private = false;
	resume_restart(&rig);
	rig_private = true;
	peer.serial += 1000;
	assert_true(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	assert_true(booked()->domain->quarantined);
	tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	expect_good();
	assert_int_equal(fake_crew_count(rig.rig.hub), 0);
	stop();
}

static void reports_that_waited_are_booked_when_they_come_again(void **state)
{
	(void)state;
	start();
	step_fill(region.half, &one);
	tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	tell(2, &next, GMEM__PAGE_STATE__PAGE_SHARED);
	kill_and_restart();
	assert_int_equal(pages(GM_PAGE_SHARED), one.length);
	tell(1, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	tell(2, &next, GMEM__PAGE_STATE__PAGE_SHARED);
	fake_crew_finish(fake_crew_first(rig.rig.hub));
	expect_good();
	expect_good();
	assert_int_equal(pages(GM_PAGE_SHARED), one.length + next.length);
	stop();
}

static void room_that_was_taken_back_is_not_there_after_a_restart(void **state)
{
	const struct gm_range most = { 8 * GM_MIB, 8 * GM_MIB };

	(void)state;
	start();
	rig.rig.acme->policy.shared_max = most.length;
	step_expect_good(step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &most, 1));
	kill_and_restart();
	assert_int_equal(booked()->order.room, 0);
	stop();
}

static void an_order_that_was_broken_is_not_there_after_a_restart(void **state)
{
	struct answer answer;

	(void)state;
	start();
	tell(7, &one, GMEM__PAGE_STATE__PAGE_SHARED);
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_INVALID, GM_RULE_ORDER);
	kill_and_restart();
	assert_int_equal(booked()->order.id, 0);
	assert_int_equal(pages(GM_PAGE_LOST), one.length);
	assert_int_equal(booked()->domain->converting_bytes, 0);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(an_order_and_its_room_outlive_the_daemon),
		gm_test(an_order_from_which_nobody_has_heard_is_still_one),
		gm_test(reports_that_were_booked_are_not_booked_again),
		gm_test(what_a_booked_report_has_left_over_is_freed_when_it_comes_again),
		gm_test(nothing_is_freed_in_quarantine),
		gm_test(reports_that_waited_are_booked_when_they_come_again),
		gm_test(room_that_was_taken_back_is_not_there_after_a_restart),
		gm_test(an_order_that_was_broken_is_not_there_after_a_restart),
	};

	return gm_test_run("standing orders over restarts", tests, GM_ARRAY_SIZE(tests));
}
