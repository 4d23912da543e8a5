/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon is killed while a worker converts memory in place: the next one has the file, and
 * knows the conversion by its digest. It is done again when the client asks again, and lost where
 * nobody does.
 */
#include "resume_rig.h"
#include "step_rig.h"

#define KEY 0x5a
#define SHARED GMEM__PAGE_STATE__PAGE_SHARED

static struct resume_rig rig;
static struct peer peer;
static struct step_region region;

static const struct gm_range two[] = { { 0, 2 * GM_MIB }, { 4 * GM_MIB, GM_MIB } };

static void start(void)
{
	struct made_domain domain;

	rig_private = rig_in_place = true;
	memset(&peer, 0, sizeof(peer));
	resume_start(&rig);
	assert_false(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	region = step_region_in_place(&peer, domain.id, 0);
	step_make_half(&region);
	step_expect_good(step_bind(&region));
	step_expect_good(step_done(&region, 0, 0, NULL, 0));
}

static void stop(void)
{
	step_region_close(&region);
	peer_close(&peer);
	resume_stop(&rig);
	rig_private = rig_in_place = false;
}

static struct gm_crew_job *job(void)
{
	return fake_crew_first(rig.rig.hub);
}

static void restart(void)
{
	resume_kill(&rig);
	resume_forget(&peer);
	resume_restart(&rig);
	peer.serial += 1000;
	assert_true(resume_connect(&peer, &rig, rig.rig.acme, KEY));
}

static uint64_t pages(enum gm_page_state state)
{
	return step_pages(&rig.rig, region.id, state);
}

/* Part of it is done when the daemon dies. */
static void begin_and_kill(void)
{
	(void)step_ask(&region, SHARED, two, 2);
	fake_crew_report(job(), 0, GM_MIB);
	restart();
	assert_int_equal(rig.restore.n_quarantined, 0);
	assert_null(job());
}

static void expect_converted(uint32_t serial)
{
	struct answer answer = peer_take(&peer);
	const Gmem__ConvertReply *reply;

	while (answer.frame.flags & GM_FRAME_EVENT)
		answer = peer_take(&peer);
	assert_int_equal(answer.frame.serial, serial);
	reply = expect_reply(&answer);
	assert_int_equal(reply->bytes, 3 * GM_MIB);
}

static void the_one_file_is_kept_and_comes_back(void **state)
{
	struct answer answer;

	(void)state;
	start();
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 0);
	assert_int_equal(resume_count(&rig, GM_STORED_HALF), 1);
	restart();
	assert_int_equal(rig.restore.n_quarantined, 0);
	answer = ask_region_get(&peer, region.id, true);
	(void)expect_reply(&answer);
	assert_int_equal(answer.frame.n_fds, 1);
	answer_close(&answer);
	answer = ask_region_destroy(&peer, region.id);
	(void)expect_reply(&answer);
	assert_int_equal(resume_count(&rig, GM_STORED_HALF), 0);
	stop();
}

static void a_conversion_that_is_asked_for_again_is_done_again(void **state)
{
	uint32_t serial;

	(void)state;
	start();
	begin_and_kill();
	serial = step_ask(&region, SHARED, two, 2);
	assert_int_equal(fake_crew_order(job())->n_ranges, 2);
	fake_crew_finish(job());
	expect_converted(serial);
	assert_int_equal(pages(GM_PAGE_SHARED), 3 * GM_MIB);
	assert_int_equal(pages(GM_PAGE_LOST), 0);
	stop();
}

static void no_other_begins_before(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	begin_and_kill();
	answer = step_convert(&region, SHARED, &two[1], 1);
	expect_refusal(&answer, GM_BUSY, GM_RULE_STEP_UNDER_WAY);
	answer = step_convert(&region, GMEM__PAGE_STATE__PAGE_PRIVATE, two, 2);
	expect_refusal(&answer, GM_BUSY, GM_RULE_STEP_UNDER_WAY);
	/* Without a worker it waits on. */
	fake_crew_fail_submit(rig.rig.hub, -EPIPE);
	answer = step_convert(&region, SHARED, two, 2);
	expect_refusal(&answer, GM_NO_RESOURCE, GM_RULE_WORKER);
	assert_non_null(gm_book_next_region(&rig.rig.book, NULL)->step);
	serial = step_ask(&region, SHARED, two, 2);
	fake_crew_finish(job());
	expect_converted(serial);
	stop();
}

static void where_it_fails_now_nobody_knows_what_it_was_before(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	begin_and_kill();
	serial = step_ask(&region, SHARED, two, 2);
	fake_crew_held(job(), 0);
	answer = peer_take(&peer);
	assert_int_equal(answer.frame.serial, serial);
	expect_refusal(&answer, GM_BUSY, GM_RULE_PAGES_HELD);
	assert_int_equal(pages(GM_PAGE_SHARED), GM_MIB);
	assert_int_equal(pages(GM_PAGE_LOST), 2 * GM_MIB);
	stop();
}

static void where_nobody_asks_again_the_region_is_lost(void **state)
{
	(void)state;
	start();
	begin_and_kill();
	rig.rig.now_ms += 29999;
	gm_service_expire(rig.rig.service);
	assert_int_equal(pages(GM_PAGE_LOST), 0);
	rig.rig.now_ms += 1;
	gm_service_expire(rig.rig.service);
	assert_int_equal(pages(GM_PAGE_LOST), STEP_SIZE);
	stop();
}

/* However long the worker had been at it. */
static void the_time_to_ask_again_begins_with_what_was_done_last(void **state)
{
	(void)state;
	start();
	(void)step_ask(&region, SHARED, two, 2);
	rig.rig.now_ms += 100000;
	fake_crew_report(job(), 0, GM_MIB);
	restart();
	rig.rig.now_ms += 29999;
	gm_service_expire(rig.rig.service);
	assert_int_equal(pages(GM_PAGE_LOST), 0);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(the_one_file_is_kept_and_comes_back),
		gm_test(a_conversion_that_is_asked_for_again_is_done_again),
		gm_test(no_other_begins_before),
		gm_test(where_it_fails_now_nobody_knows_what_it_was_before),
		gm_test(where_nobody_asks_again_the_region_is_lost),
		gm_test(the_time_to_ask_again_begins_with_what_was_done_last),
	};

	return gm_test_run("service in place again", tests, GM_ARRAY_SIZE(tests));
}
