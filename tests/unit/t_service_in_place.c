/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that the kernel converts in place: one file, made by the VMM and converted by the daemon's
 * workers. No step is ordered; what is booked is what was reported; what nobody knows is lost.
 */
#include "step_rig.h"

static struct rig rig;
static struct peer peer;
static struct made_domain domain;
static struct step_region region;

static const struct gm_range two[] = { { 0, 2 * GM_MIB }, { 4 * GM_MIB, 2 * GM_MIB } };

#define SHARED GMEM__PAGE_STATE__PAGE_SHARED
#define PRIVATE GMEM__PAGE_STATE__PAGE_PRIVATE

static void bind_it(void)
{
	step_make_half(&region);
	step_expect_good(step_bind(&region));
	step_expect_good(step_done(&region, 0, 0, NULL, 0));
}

static void start(void)
{
	rig_private = rig_in_place = true;
	rig_start(&rig);
	peer_connect(&peer, &rig, rig.acme);
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	region = step_region_in_place(&peer, domain.id, 0);
}

static void start_bound(void)
{
	start();
	bind_it();
}

static void stop(void)
{
	step_region_close(&region);
	if (peer.link != NULL)
		peer_close(&peer);
	rig_stop(&rig);
	rig_private = rig_in_place = false;
}

static uint64_t pages(enum gm_page_state state)
{
	return step_pages(&rig, region.id, state);
}

static struct gm_region *booked(void)
{
	return gm_book_next_region(&rig.book, NULL);
}

static struct gm_crew_job *job(void)
{
	return fake_crew_first(rig.hub);
}

/* Takes the answer to @serial, over what was told meanwhile. */
static struct answer take(uint32_t serial)
{
	struct answer answer = peer_take(&peer);

	while (answer.frame.flags & GM_FRAME_EVENT)
		answer = peer_take(&peer);
	assert_int_equal(answer.frame.serial, serial);
	return answer;
}

static void expect_converted(uint32_t serial, uint64_t bytes)
{
	struct answer answer = take(serial);
	const Gmem__ConvertReply *reply = expect_reply(&answer);

	assert_null(reply->step);
	assert_true(reply->has_bytes);
	assert_int_equal(reply->bytes, bytes);
}

static void convert(Gmem__PageState to, const struct gm_range *ranges, size_t n)
{
	uint32_t serial = step_ask(&region, to, ranges, n);
	uint64_t bytes = 0;

	fake_crew_finish(job());
	for (size_t i = 0; i < n; i++)
		bytes += ranges[i].length;
	expect_converted(serial, bytes);
}

/* ---- one file ---- */

static void a_region_has_one_file_which_the_vmm_makes(void **state)
{
	struct answer answer;

	(void)state;
	start();
	assert_int_equal(booked()->fds.amount, 1);
	assert_int_equal(booked()->fd, -1);
	answer = ask_region_get(&peer, region.id, true);
	expect_refusal(&answer, GM_WRONG_STATE, GM_RULE_STEP);
	bind_it();
	answer = ask_region_get(&peer, region.id, true);
	(void)expect_reply(&answer);
	assert_int_equal(answer.frame.n_fds, 1);
	answer_close(&answer);
	stop();
}

static void a_policy_without_conversion_in_place_has_no_such_domains(void **state)
{
	Gmem__DomainCreateRequest request = GMEM__DOMAIN_CREATE_REQUEST__INIT;
	struct answer answer;

	(void)state;
	start();
	rig.acme->policy.convert_in_place = false;
	request.has_kind = 1;
	request.kind = bytes_of("fake");
	answer = peer_ask(&peer, GM_MSG_DOMAIN_CREATE, &request.base);
	expect_refusal(&answer, GM_DENIED, GM_RULE_CONVERT_IN_PLACE);
	/* What there is goes on. */
	bind_it();
	convert(SHARED, two, 1);
	stop();
}

static void a_job_is_on_shared_and_private_pages_alike(void **state)
{
	Gmem__DiscardRequest request = GMEM__DISCARD_REQUEST__INIT;
	const struct gm_range all = { 0, STEP_SIZE };
	Gmem__Range message, *pointer;
	uint32_t serial;
	struct answer answer;

	(void)state;
	start_bound();
	convert(SHARED, two, 2);
	step_fill(region.half, &all);
	step_fill_ranges(&all, 1, &message, &pointer);
	request.has_region = 1;
	request.region = region.id;
	request.n_ranges = 1;
	request.ranges = &pointer;
	serial = peer_send(&peer, GM_MSG_DISCARD, &request.base);
	fake_crew_finish(job());
	answer = take(serial);
	(void)expect_reply(&answer);
	assert_int_equal(step_blocks(region.half), 0);
	assert_int_equal(pages(GM_PAGE_SHARED), 4 * GM_MIB);
	stop();
}

/* ---- conversions ---- */

static void the_daemon_converts_and_orders_no_step(void **state)
{
	uint32_t serial;

	(void)state;
	start_bound();
	serial = step_ask(&region, SHARED, two, 2);
	assert_int_equal(peer.n_packets, 0);
	assert_int_equal(fake_crew_order(job())->verb, GM_JOB_MAKE_SHARED);
	assert_int_equal(fake_crew_order(job())->n_ranges, 2);
	fake_crew_finish(job());
	expect_converted(serial, 4 * GM_MIB);
	assert_int_equal(rig.fake->n_converts, 2);
	assert_int_equal(pages(GM_PAGE_SHARED), 4 * GM_MIB);
	assert_null(booked()->step);

	serial = step_ask(&region, PRIVATE, two, 1);
	assert_int_equal(fake_crew_order(job())->verb, GM_JOB_MAKE_PRIVATE);
	fake_crew_finish(job());
	expect_converted(serial, 2 * GM_MIB);
	assert_int_equal(pages(GM_PAGE_SHARED), 2 * GM_MIB);
	assert_int_equal(pages(GM_PAGE_PRIVATE), 2 * GM_MIB);
	stop();
}

static void nothing_else_happens_to_the_region_meanwhile(void **state)
{
	struct answer answer;
	uint32_t serial, again;

	(void)state;
	start_bound();
	serial = step_ask(&region, SHARED, two, 1);
	answer = step_convert(&region, SHARED, &two[1], 1);
	expect_refusal(&answer, GM_BUSY, GM_RULE_STEP_UNDER_WAY);
	/* The same ranges, too: a worker is at them. */
	again = step_ask(&region, SHARED, two, 1);
	answer = take(again);
	expect_refusal(&answer, GM_BUSY, GM_RULE_STEP_UNDER_WAY);
	answer = ask_region_destroy(&peer, region.id);
	expect_refusal(&answer, GM_BUSY, GM_RULE_STEP_UNDER_WAY);
	fake_crew_finish(job());
	expect_converted(serial, 2 * GM_MIB);
	stop();
}

static void a_worker_that_takes_long_loses_no_step(void **state)
{
	uint32_t serial;

	(void)state;
	start_bound();
	serial = step_ask(&region, SHARED, two, 1);
	rig.now_ms += 600000;
	gm_service_expire(rig.service);
	assert_int_equal(pages(GM_PAGE_LOST), 0);
	fake_crew_finish(job());
	expect_converted(serial, 2 * GM_MIB);
	stop();
}

static void a_page_that_somebody_holds_is_busy_at_its_offset(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start_bound();
	convert(SHARED, two, 2);
	serial = step_ask(&region, PRIVATE, two, 2);
	fake_crew_report(job(), 0, GM_MIB);
	fake_crew_held(job(), GM_MIB);
	answer = take(serial);
	expect_refusal(&answer, GM_BUSY, GM_RULE_PAGES_HELD);
	expect_numbers(&answer, 4 * GM_MIB, GM_MIB, 3 * GM_MIB);
	assert_int_equal(answer.status->offset, GM_MIB);
	assert_false(rig_told[GM_NEWS_LOST]);
	/* What was converted is booked, the rest is as it was. */
	assert_int_equal(pages(GM_PAGE_PRIVATE), GM_MIB);
	assert_int_equal(pages(GM_PAGE_SHARED), 3 * GM_MIB);
	assert_int_equal(pages(GM_PAGE_LOST), 0);
	convert(PRIVATE, two, 2);
	stop();
}

static void a_worker_that_dies_is_followed_by_another(void **state)
{
	uint32_t serial;

	(void)state;
	start_bound();
	serial = step_ask(&region, SHARED, two, 2);
	fake_crew_report(job(), 0, GM_MIB);
	fake_crew_end(job(), GM_JOB_WORKER_LOST, 9);
	assert_int_equal(peer.n_packets, 1);
	/* All of it: nobody knows how far that one came. */
	assert_int_equal(fake_crew_order(job())->n_ranges, 2);
	fake_crew_finish(job());
	expect_converted(serial, 4 * GM_MIB);
	assert_int_equal(pages(GM_PAGE_SHARED), 4 * GM_MIB);
	assert_int_equal(pages(GM_PAGE_LOST), 0);
	stop();
}

static void what_no_worker_lives_to_convert_is_lost(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start_bound();
	serial = step_ask(&region, SHARED, two, 2);
	fake_crew_report(job(), 0, GM_MIB);
	for (int i = 0; i < 3; i++)
		fake_crew_end(job(), GM_JOB_WORKER_LOST, 9);
	assert_null(job());
	answer = take(serial);
	expect_refusal(&answer, GM_WORKER_LOST, GM_RULE_MEMORY_CGROUP);
	assert_int_equal(pages(GM_PAGE_SHARED), GM_MIB);
	assert_int_equal(pages(GM_PAGE_LOST), 3 * GM_MIB);
	assert_true(rig_told[GM_NEWS_LOST]);
	assert_null(booked()->step);
	assert_int_equal(booked()->domain->converting_bytes, 0);
	stop();
}

static void an_error_after_a_death_leaves_doubt(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start_bound();
	convert(SHARED, two, 2);
	serial = step_ask(&region, PRIVATE, two, 2);
	fake_crew_end(job(), GM_JOB_WORKER_LOST, 9);
	fake_crew_report(job(), 0, 2 * GM_MIB);
	fake_crew_held(job(), two[1].offset);
	answer = take(serial);
	expect_refusal(&answer, GM_BUSY, GM_RULE_PAGES_HELD);
	/* The one that died may have converted the second range. */
	assert_true(rig_told[GM_NEWS_LOST]);
	assert_int_equal(pages(GM_PAGE_PRIVATE), 2 * GM_MIB);
	assert_int_equal(pages(GM_PAGE_LOST), 2 * GM_MIB);
	stop();
}

static void an_error_of_the_kernel_changes_nothing(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start_bound();
	serial = step_ask(&region, SHARED, two, 2);
	fake_crew_end(job(), GM_JOB_ERROR, ENOMEM);
	answer = take(serial);
	expect_refusal(&answer, GM_NO_RESOURCE, GM_RULE_MEMORY_CGROUP);
	assert_int_equal(pages(GM_PAGE_ABSENT), STEP_SIZE);
	convert(SHARED, two, 2);
	stop();
}

static void a_client_may_cancel_it(void **state)
{
	Gmem__CancelRequest request = GMEM__CANCEL_REQUEST__INIT;
	struct answer answer;

	(void)state;
	start_bound();
	request.has_serial = 1;
	request.serial = step_ask(&region, SHARED, two, 2);
	fake_crew_report(job(), 0, 2 * GM_MIB);
	answer = peer_take(&peer); /* progress */
	answer = peer_ask(&peer, GM_MSG_CANCEL, &request.base);
	assert_true(((const Gmem__CancelReply *)expect_reply(&answer))->found);
	fake_crew_end(job(), GM_JOB_CANCELLED, 0);
	answer = take(request.serial);
	expect_refusal(&answer, GM_CANCELLED, GM_RULE_NONE);
	assert_int_equal(pages(GM_PAGE_SHARED), 2 * GM_MIB);
	assert_int_equal(pages(GM_PAGE_LOST), 0);
	stop();
}

static void a_worker_that_has_to_be_killed_for_it_leaves_doubt(void **state)
{
	Gmem__CancelRequest request = GMEM__CANCEL_REQUEST__INIT;
	struct answer answer;

	(void)state;
	start_bound();
	request.has_serial = 1;
	request.serial = step_ask(&region, SHARED, two, 1);
	answer = peer_ask(&peer, GM_MSG_CANCEL, &request.base);
	(void)expect_reply(&answer);
	fake_crew_end(job(), GM_JOB_WORKER_LOST, 9);
	assert_null(job());
	answer = take(request.serial);
	expect_refusal(&answer, GM_CANCELLED, GM_RULE_NONE);
	assert_int_equal(pages(GM_PAGE_LOST), 2 * GM_MIB);
	assert_true(rig_told[GM_NEWS_LOST]);
	stop();
}

static void a_worker_that_cannot_be_had_changes_nothing(void **state)
{
	struct answer answer;

	(void)state;
	start_bound();
	fake_crew_fail_submit(rig.hub, -EPIPE);
	answer = step_convert(&region, SHARED, two, 1);
	expect_refusal(&answer, GM_NO_RESOURCE, GM_RULE_WORKER);
	assert_null(booked()->step);
	assert_int_equal(booked()->domain->converting_bytes, 0);
	convert(SHARED, two, 1);
	stop();
}

static void the_end_of_the_domain_ends_it(void **state)
{
	(void)state;
	start_bound();
	(void)step_ask(&region, SHARED, two, 2);
	fake_crew_report(job(), 0, GM_MIB);
	peer_close(&peer);
	assert_true(fake_crew_is_cancelled(job()));
	assert_int_equal(rig.acme->account.used[GM_RES_MEMORY], STEP_SIZE);
	fake_crew_end(job(), GM_JOB_WORKER_LOST, 9);
	assert_null(job());
	assert_int_equal(rig.acme->account.used[GM_RES_MEMORY], 0);
	stop();
}

/* ---- the policy ---- */

static void what_is_being_made_shared_counts_against_the_limit(void **state)
{
	struct step_region next;
	struct answer answer;
	uint32_t serial;

	(void)state;
	start_bound();
	next = step_region_in_place(&peer, domain.id, GM_GIB);
	step_make_half(&next);
	step_expect_good(step_bind(&next));
	step_expect_good(step_done(&next, 0, 0, NULL, 0));
	rig.acme->policy.shared_max = 3 * GM_MIB;
	serial = step_ask(&region, SHARED, two, 1);
	answer = step_convert(&next, SHARED, two, 1);
	expect_refusal(&answer, GM_OVER_LIMIT, GM_RULE_SHARED_MAX);
	/* Half of it is shared, half is under way: no page counts twice, and none is left out. */
	fake_crew_report(job(), 0, GM_MIB);
	assert_int_equal(booked()->domain->shared_bytes, GM_MIB);
	assert_int_equal(booked()->domain->converting_bytes, GM_MIB);
	fake_crew_end(job(), GM_JOB_ERROR, ENOMEM);
	answer = take(serial);
	expect_refusal(&answer, GM_NO_RESOURCE, GM_RULE_MEMORY_CGROUP);
	assert_int_equal(booked()->domain->converting_bytes, 0);
	serial = step_ask(&next, SHARED, two, 1);
	fake_crew_finish(job());
	expect_converted(serial, 2 * GM_MIB);
	step_region_close(&next);
	stop();
}

static void over_the_rate_it_begins_later(void **state)
{
	uint32_t serial;

	(void)state;
	start_bound();
	rig.acme->policy.conversion_rate = 2;
	convert(SHARED, two, 1);
	convert(PRIVATE, two, 1);
	serial = step_ask(&region, SHARED, two, 1);
	assert_null(job());
	rig_turn(&rig, 500);
	assert_non_null(job());
	assert_int_equal(peer.n_packets, 0);
	fake_crew_finish(job());
	expect_converted(serial, 2 * GM_MIB);
	assert_int_equal(gm_service_jobs(rig.service), 0);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_region_has_one_file_which_the_vmm_makes),
		gm_test(a_policy_without_conversion_in_place_has_no_such_domains),
		gm_test(a_job_is_on_shared_and_private_pages_alike),
		gm_test(the_daemon_converts_and_orders_no_step),
		gm_test(nothing_else_happens_to_the_region_meanwhile),
		gm_test(a_worker_that_takes_long_loses_no_step),
		gm_test(a_page_that_somebody_holds_is_busy_at_its_offset),
		gm_test(a_worker_that_dies_is_followed_by_another),
		gm_test(what_no_worker_lives_to_convert_is_lost),
		gm_test(an_error_after_a_death_leaves_doubt),
		gm_test(an_error_of_the_kernel_changes_nothing),
		gm_test(a_client_may_cancel_it),
		gm_test(a_worker_that_has_to_be_killed_for_it_leaves_doubt),
		gm_test(a_worker_that_cannot_be_had_changes_nothing),
		gm_test(the_end_of_the_domain_ends_it),
		gm_test(what_is_being_made_shared_counts_against_the_limit),
		gm_test(over_the_rate_it_begins_later),
	};

	return gm_test_run("service in place", tests, GM_ARRAY_SIZE(tests));
}
