/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon is killed with private memory in the books: the next one has both halves and knows
 * the step under way by its digest. What it cannot be sure of is quarantined or lost.
 */
#include "resume_rig.h"
#include "step_rig.h"

#define KEY 0x5a

static struct resume_rig rig;
static struct peer peer;
static struct made_domain domain;
static struct step_region region;

static const struct gm_range two[] = { { 0, 2 * GM_MIB }, { 4 * GM_MIB, GM_MIB } };

static void start(void)
{
	rig_private = true;
	memset(&peer, 0, sizeof(peer));
	resume_start(&rig);
	assert_false(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	region = step_region(&peer, domain.id, 0);
}

static void bind_it(void)
{
	step_make_half(&region);
	step_expect_good(step_bind(&region));
	step_expect_good(step_done(&region, 0, 0, NULL, 0));
}

static void stop(void)
{
	step_region_close(&region);
	peer_close(&peer);
	resume_stop(&rig);
	rig_private = false;
}

static void kill_it(void)
{
	resume_kill(&rig);
	resume_forget(&peer);
}

static void go_on(void)
{
	resume_restart(&rig);
	peer.serial += 1000;
	assert_true(resume_connect(&peer, &rig, rig.rig.acme, KEY));
}

static void expect_refused(struct answer answer, enum gm_verdict verdict, enum gm_rule rule)
{
	expect_refusal(&answer, verdict, rule);
}

static uint64_t pages(enum gm_page_state state)
{
	return step_pages(&rig.rig, region.id, state);
}

static struct gm_region *booked(void)
{
	return gm_book_next_region(&rig.rig.book, NULL);
}

static void begin(size_t n)
{
	step_expect_good(step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, two, n));
}

/* ---- both halves ---- */

static void both_halves_are_kept_and_come_back(void **state)
{
	struct gm_fd_identity mine, its;

	(void)state;
	start();
	bind_it();
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 1);
	assert_int_equal(resume_count(&rig, GM_STORED_HALF), 1);
	kill_it();
	go_on();
	assert_int_equal(rig.restore.n_quarantined, 0);
	assert_true(booked()->bound);
	assert_int_equal(booked()->domain->traits, GM_TRAIT_PRIVATE);
	assert_true(booked()->domain->running);
	assert_int_equal(gm_fd_identify(region.half, &mine), 0);
	assert_int_equal(gm_fd_identify(booked()->private_fd, &its), 0);
	assert_int_equal(mine.inode, its.inode);
	begin(1);
	step_expect_good(step_done(&region, 0, 1, two, 1));
	assert_int_equal(pages(GM_PAGE_SHARED), two[0].length);
	stop();
}

static void the_private_half_leaves_the_fd_store_with_the_region(void **state)
{
	struct answer answer;

	(void)state;
	start();
	bind_it();
	answer = ask_region_destroy(&peer, region.id);
	(void)expect_reply(&answer);
	assert_int_equal(resume_count(&rig, GM_STORED_HALF), 0);
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 0);
	stop();
}

static void the_private_half_leaves_the_fd_store_with_the_vmm_whatever_is_under_way(void **state)
{
	(void)state;
	start();
	bind_it();
	step_fill(region.half, &two[0]);
	begin(1);
	(void)step_report(&peer, region.id, region.step, 0, 1, two, 1);
	assert_int_equal(fake_crew_count(rig.rig.hub), 1);
	peer_close(&peer);
	assert_int_equal(resume_count(&rig, GM_STORED_HALF), 0);
	fake_crew_finish(fake_crew_first(rig.rig.hub));
	memset(&peer, 0, sizeof(peer));
	assert_false(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	stop();
}

static void without_its_private_half_a_region_is_quarantined(void **state)
{
	(void)state;
	start();
	bind_it();
	kill_it();
	gm_fd_close(resume_find(&rig, GM_STORED_HALF)->fd);
	resume_find(&rig, GM_STORED_HALF)->name[0] = '\0';
	go_on();
	assert_int_equal(rig.restore.n_quarantined, 1);
	expect_refused(step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, two, 1), GM_WRONG_STATE,
		       GM_RULE_QUARANTINE);
	stop();
}

static void another_file_is_not_its_private_half(void **state)
{
	struct resume_stored *stored;

	(void)state;
	start();
	bind_it();
	kill_it();
	stored = resume_find(&rig, GM_STORED_HALF);
	gm_fd_close(stored->fd);
	stored->fd = gm_fake_make_half(STEP_SIZE);
	go_on();
	assert_int_equal(rig.restore.n_quarantined, 1);
	assert_true(booked()->quarantined);
	assert_int_equal(booked()->private_fd, -1);
	stop();
}

/* Its record was not written when the file was stored. */
static void a_private_half_that_nobody_booked_is_removed(void **state)
{
	int half;

	(void)state;
	start();
	half = gm_fake_make_half(STEP_SIZE);
	assert_int_equal(
		rig.rig.exec.keep_ops->keep_half(rig.rig.exec.keep_arg, booked(), half, NULL), 0);
	gm_fd_close(half);
	kill_it();
	assert_int_equal(resume_count(&rig, GM_STORED_HALF), 1);
	go_on();
	assert_int_equal(resume_count(&rig, GM_STORED_HALF), 0);
	assert_int_equal(rig.restore.n_quarantined, 0);
	stop();
}

static void a_half_that_cannot_be_kept_is_refused_and_the_step_goes_on(void **state)
{
	(void)state;
	start();
	region.half = gm_fake_make_half(STEP_SIZE);
	rig.push_result = -EAGAIN;
	expect_refused(step_memory(&peer, region.id, region.step, region.half), GM_NO_RESOURCE,
		       GM_RULE_FDS_MAX);
	assert_int_equal(booked()->private_fd, -1);
	rig.push_result = 0;
	step_expect_good(step_memory(&peer, region.id, region.step, region.half));
	assert_int_equal(resume_count(&rig, GM_STORED_HALF), 1);
	stop();
}

static void a_kind_that_is_not_what_it_was_is_quarantined(void **state)
{
	(void)state;
	start();
	bind_it();
	kill_it();
	rig_private = false;
	go_on();
	assert_int_equal(booked()->domain->quarantined, true);
	stop();
}

static void go_on_without_the_kind(void)
{
	kill_it();
	rig_private = false;
	go_on();
	rig_private = true;
	assert_true(booked()->domain->quarantined);
}

/* The kind that could look into the halves is not there. */
static void a_step_is_not_reported_in_quarantine(void **state)
{
	(void)state;
	start();
	bind_it();
	step_fill(region.half, &two[0]);
	begin(1);
	(void)step_report(&peer, region.id, region.step, 0, 1, two, 1);
	go_on_without_the_kind();
	assert_true(booked()->step->reported);
	expect_refused(step_done(&region, 0, 1, two, 1), GM_WRONG_STATE, GM_RULE_QUARANTINE);
	stop();
}

static void memory_is_not_made_in_quarantine(void **state)
{
	(void)state;
	start();
	go_on_without_the_kind();
	region.half = gm_fake_make_half(STEP_SIZE);
	expect_refused(step_memory(&peer, region.id, region.step, region.half), GM_WRONG_STATE,
		       GM_RULE_QUARANTINE);
	stop();
}

static void what_a_conversion_left_over_stays_in_quarantine(void **state)
{
	(void)state;
	start();
	bind_it();
	step_fill(region.half, &two[0]);
	begin(1);
	(void)step_report(&peer, region.id, region.step, 0, 1, two, 1);
	go_on_without_the_kind();
	gm_exec_sweep(&rig.rig.exec, booked());
	assert_null(booked()->step);
	assert_int_equal(fake_crew_count(rig.rig.hub), 0);
	stop();
}

/* ---- Preallocate= ---- */

/* Its creation was not answered: it is asked for again. */
static void a_region_that_was_being_allocated_goes_with_the_daemon(void **state)
{
	Gmem__RegionCreateRequest request = GMEM__REGION_CREATE_REQUEST__INIT;
	struct answer answer;

	(void)state;
	memset(&peer, 0, sizeof(peer));
	resume_start(&rig);
	region = (struct step_region){ .shared = -1, .half = -1 };
	rig.rig.acme->policy.preallocate = true;
	assert_false(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	request.has_domain = 1;
	request.domain = domain.id;
	request.has_size = 1;
	request.size = STEP_SIZE;
	(void)peer_send(&peer, GM_MSG_REGION_CREATE, &request.base);
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 1);
	kill_it();
	go_on();
	assert_null(booked());
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 0);
	answer = peer_ask(&peer, GM_MSG_REGION_CREATE, &request.base);
	(void)expect_reply(&answer);
	answer_close(&answer);
	stop();
}

/* ---- steps under way ---- */

static void a_step_to_make_memory_can_be_reported_after_a_restart(void **state)
{
	(void)state;
	start();
	kill_it();
	go_on();
	step_make_half(&region);
	assert_int_equal(resume_count(&rig, GM_STORED_HALF), 1);
	stop();
}

static void a_conversion_can_be_reported_after_a_restart(void **state)
{
	struct answer answer;

	(void)state;
	start();
	bind_it();
	begin(2);
	kill_it();
	go_on();
	assert_int_equal(booked()->step->n_ranges, 0);
	/* Its ranges are known by their digest. */
	expect_refused(step_done(&region, 0, 1, two, 1), GM_INVALID, GM_RULE_STEP);
	answer = step_done(&region, 0, 2, two, 2);
	assert_int_equal(((const Gmem__StepDoneReply *)expect_reply(&answer))->bytes, 3 * GM_MIB);
	assert_int_equal(pages(GM_PAGE_SHARED), 3 * GM_MIB);
	assert_null(booked()->step);
	stop();
}

/* Nobody knows any more which pages it was about. */
static void a_conversion_that_is_not_reported_after_a_restart_loses_the_region(void **state)
{
	(void)state;
	start();
	bind_it();
	begin(1);
	kill_it();
	go_on();
	rig.rig.now_ms += 30000;
	gm_service_expire(rig.rig.service);
	assert_int_equal(pages(GM_PAGE_LOST), STEP_SIZE);
	stop();
}

/* ---- killed while the other half was freed ---- */

static void report_and_kill(void)
{
	step_fill(region.half, &two[0]);
	begin(1);
	(void)step_report(&peer, region.id, region.step, 0, 1, two, 1);
	assert_int_equal(fake_crew_count(rig.rig.hub), 1);
	kill_it();
	go_on();
	assert_true(booked()->step->reported);
	assert_int_equal(pages(GM_PAGE_SHARED), two[0].length);
}

static void a_conversion_is_reported_once_more_and_cleaned_up_after(void **state)
{
	struct answer answer;

	(void)state;
	start();
	bind_it();
	report_and_kill();
	(void)step_report(&peer, region.id, region.step, 0, 1, two, 1);
	fake_crew_finish(fake_crew_first(rig.rig.hub));
	answer = peer_take(&peer);
	assert_int_equal(((const Gmem__StepDoneReply *)expect_reply(&answer))->bytes,
			 two[0].length);
	assert_int_equal(step_blocks(region.half), 0);
	assert_null(booked()->step);
	stop();
}

static void other_ranges_are_not_freed_however_they_are_reported(void **state)
{
	(void)state;
	start();
	bind_it();
	report_and_kill();
	expect_refused(step_done(&region, 0, 1, &two[1], 1), GM_INVALID, GM_RULE_STEP);
	expect_refused(step_done(&region, EIO, 2, two, 1), GM_INVALID, GM_RULE_STEP);
	assert_true(booked()->step->reported);
	stop();
}

/* A page that was not converted is in the half that the step would have given up. */
static void what_was_not_done_the_first_time_is_not_freed_the_second(void **state)
{
	(void)state;
	start();
	bind_it();
	step_fill(region.half, &two[0]);
	step_fill(region.half, &two[1]);
	begin(2);
	(void)step_report(&peer, region.id, region.step, EIO, 1, two, 2);
	kill_it();
	go_on();
	expect_refused(step_done(&region, 0, 2, two, 2), GM_INVALID, GM_RULE_STEP);
	(void)step_report(&peer, region.id, region.step, EIO, 1, two, 2);
	fake_crew_finish(fake_crew_first(rig.rig.hub));
	assert_int_equal(step_blocks(region.half), two[1].length);
	stop();
}

static void what_nobody_reports_again_is_swept(void **state)
{
	const struct gm_range apart = { 8 * GM_MIB, GM_MIB };

	(void)state;
	start();
	bind_it();
	/* In use: it stays. */
	step_fill(region.half, &apart);
	report_and_kill();
	gm_service_expire(rig.rig.service);
	assert_int_equal(fake_crew_count(rig.rig.hub), 0);
	rig.rig.now_ms += 30000;
	gm_service_expire(rig.rig.service);
	assert_int_equal(fake_crew_count(rig.rig.hub), 1);
	/* Not twice. */
	gm_service_expire(rig.rig.service);
	assert_int_equal(fake_crew_count(rig.rig.hub), 1);
	fake_crew_finish(fake_crew_first(rig.rig.hub));
	assert_null(booked()->step);
	assert_int_equal(step_blocks(region.half), apart.length);
	assert_int_equal(pages(GM_PAGE_LOST), 0);
	stop();
}

static void a_sweep_that_does_not_work_ends_all_the_same(void **state)
{
	(void)state;
	start();
	bind_it();
	report_and_kill();
	rig.rig.now_ms += 30000;
	gm_service_expire(rig.rig.service);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(fake_crew_count(rig.rig.hub), 1);
		fake_crew_end(fake_crew_first(rig.rig.hub), GM_JOB_WORKER_LOST, 9);
	}
	assert_int_equal(fake_crew_count(rig.rig.hub), 0);
	assert_null(booked()->step);
	stop();
}

static void a_vmm_that_dies_during_a_sweep_leaves_nothing(void **state)
{
	(void)state;
	start();
	bind_it();
	report_and_kill();
	rig.rig.now_ms += 30000;
	gm_service_expire(rig.rig.service);
	peer_close(&peer);
	fake_crew_finish(fake_crew_first(rig.rig.hub));
	assert_null(booked());
	memset(&peer, 0, sizeof(peer));
	assert_false(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(both_halves_are_kept_and_come_back),
		gm_test(the_private_half_leaves_the_fd_store_with_the_region),
		gm_test(the_private_half_leaves_the_fd_store_with_the_vmm_whatever_is_under_way),
		gm_test(without_its_private_half_a_region_is_quarantined),
		gm_test(another_file_is_not_its_private_half),
		gm_test(a_private_half_that_nobody_booked_is_removed),
		gm_test(a_half_that_cannot_be_kept_is_refused_and_the_step_goes_on),
		gm_test(a_kind_that_is_not_what_it_was_is_quarantined),
		gm_test(a_step_is_not_reported_in_quarantine),
		gm_test(memory_is_not_made_in_quarantine),
		gm_test(what_a_conversion_left_over_stays_in_quarantine),
		gm_test(a_region_that_was_being_allocated_goes_with_the_daemon),
		gm_test(a_step_to_make_memory_can_be_reported_after_a_restart),
		gm_test(a_conversion_can_be_reported_after_a_restart),
		gm_test(a_conversion_that_is_not_reported_after_a_restart_loses_the_region),
		gm_test(a_conversion_is_reported_once_more_and_cleaned_up_after),
		gm_test(other_ranges_are_not_freed_however_they_are_reported),
		gm_test(what_was_not_done_the_first_time_is_not_freed_the_second),
		gm_test(what_nobody_reports_again_is_swept),
		gm_test(a_sweep_that_does_not_work_ends_all_the_same),
		gm_test(a_vmm_that_dies_during_a_sweep_leaves_nothing),
	};

	return gm_test_run("service step again", tests, GM_ARRAY_SIZE(tests));
}
