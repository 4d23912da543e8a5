/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps as a client sees them: their order, what an honest VMM reports, and what one that lies,
 * repeats, is late or dies gets for it. The books never say what has not been verified.
 */
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "call.h"
#include "step_rig.h"

static struct rig rig;
static struct peer peer, other;
static struct made_domain domain;

static const struct gm_range one = { 0, 2 * GM_MIB };
static const struct gm_range two[] = { { 0, 2 * GM_MIB }, { 4 * GM_MIB, GM_MIB } };

static void start(void)
{
	rig_private = true;
	rig_start(&rig);
	peer_connect(&peer, &rig, rig.acme);
	peer_connect(&other, &rig, rig.beta);
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
}

static void stop(void)
{
	if (peer.link != NULL)
		peer_close(&peer);
	peer_close(&other);
	rig_stop(&rig);
	rig_private = false;
}

static struct step_region bound(void)
{
	return step_bound_region(&peer, domain.id, 0);
}

static uint64_t pages(const struct step_region *region, enum gm_page_state state)
{
	return step_pages(&rig, region->id, state);
}

static void expect_refused(struct answer answer, enum gm_verdict verdict, enum gm_rule rule)
{
	expect_refusal(&answer, verdict, rule);
}

/* The VMM's part of a conversion, done as it is told. */
static void convert(struct step_region *region, Gmem__PageState to, const struct gm_range *range)
{
	step_expect_good(step_convert(region, to, range, 1));
	step_punch(to == GMEM__PAGE_STATE__PAGE_SHARED ? region->half : region->shared, range);
	step_expect_good(step_done(region, 0, 1, range, 1));
}

/* ---- the way it is meant ---- */

static void a_conversion_there_and_back_is_booked(void **state)
{
	struct step_region region;

	(void)state;
	start();
	region = bound();
	assert_int_equal(pages(&region, GM_PAGE_ABSENT), STEP_SIZE);
	convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &one);
	assert_int_equal(pages(&region, GM_PAGE_SHARED), one.length);
	convert(&region, GMEM__PAGE_STATE__PAGE_PRIVATE, &one);
	assert_int_equal(pages(&region, GM_PAGE_SHARED), 0);
	assert_int_equal(pages(&region, GM_PAGE_PRIVATE), one.length);
	assert_int_equal(fake_crew_count(rig.hub), 0);
	step_region_close(&region);
	stop();
}

/* Preallocate=: the VMM does it, and has more time for it. */
static void the_vmm_is_told_to_allocate_where_the_policy_wants_it(void **state)
{
	const Gmem__RegionCreateReply *reply;
	struct answer answer;

	(void)state;
	start();
	answer = step_create(&peer, domain.id, 0);
	reply = expect_reply(&answer);
	assert_false(reply->step->has_preallocate);
	assert_int_equal(reply->step->patience_ms, 30000);
	answer_close(&answer);
	rig.acme->policy.preallocate = true;
	answer = step_create(&peer, domain.id, STEP_SIZE);
	reply = expect_reply(&answer);
	assert_true(reply->step->preallocate);
	assert_int_equal(reply->step->patience_ms, 30000 + STEP_SIZE / (256 * GM_KIB));
	answer_close(&answer);
	stop();
}

/* ---- order ---- */

static void nothing_comes_before_the_private_half(void **state)
{
	struct step_region region;

	(void)state;
	start();
	region = step_region(&peer, domain.id, 0);
	expect_refused(step_bind(&region), GM_BUSY, GM_RULE_STEP_UNDER_WAY);
	/* It failed to make one: the step is over, and the region stays without. */
	step_expect_good(step_done(&region, ENOMEM, 0, NULL, 0));
	expect_refused(step_bind(&region), GM_WRONG_STATE, GM_RULE_STEP);
	expect_refused(step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &one, 1),
		       GM_WRONG_STATE, GM_RULE_STEP);
	step_region_close(&region);
	stop();
}

static void a_region_converts_only_once_it_is_bound_and_is_bound_once(void **state)
{
	struct step_region region;

	(void)state;
	start();
	region = step_region(&peer, domain.id, 0);
	step_make_half(&region);
	expect_refused(step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &one, 1),
		       GM_WRONG_STATE, GM_RULE_STEP);
	step_expect_good(step_bind(&region));
	step_expect_good(step_done(&region, 0, 0, NULL, 0));
	expect_refused(step_bind(&region), GM_WRONG_STATE, GM_RULE_STEP);
	step_region_close(&region);
	stop();
}

static void a_second_step_waits_for_the_first(void **state)
{
	struct step_region region;
	struct answer answer;

	(void)state;
	start();
	region = bound();
	step_expect_good(step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, two, 1));
	expect_refused(step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &two[1], 1), GM_BUSY,
		       GM_RULE_STEP_UNDER_WAY);
	(void)start_allocate(&peer, region.id, 0, GM_PAGE_4K);
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_BUSY, GM_RULE_STEP_UNDER_WAY);
	step_expect_good(step_done(&region, 0, 1, two, 1));
	step_region_close(&region);
	stop();
}

static void memory_is_not_reported_with_step_done(void **state)
{
	struct step_region region;

	(void)state;
	start();
	region = step_region(&peer, domain.id, 0);
	expect_refused(step_done(&region, 0, 0, NULL, 0), GM_INVALID, GM_RULE_STEP);
	step_make_half(&region);
	step_region_close(&region);
	stop();
}

/* ---- lies ---- */

static void a_report_is_believed_once(void **state)
{
	struct step_region region;

	(void)state;
	start();
	region = bound();
	convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &one);
	expect_refused(step_done(&region, 0, 1, &one, 1), GM_INVALID, GM_RULE_STEP);
	assert_int_equal(pages(&region, GM_PAGE_SHARED), one.length);
	step_region_close(&region);
	stop();
}

static void a_guessed_step_is_none(void **state)
{
	struct step_region region;
	uint64_t step;

	(void)state;
	start();
	region = bound();
	step_expect_good(step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &one, 1));
	step = region.step++;
	expect_refused(step_done(&region, 0, 1, &one, 1), GM_INVALID, GM_RULE_STEP);
	region.step = step;
	step_expect_good(step_done(&region, 0, 1, &one, 1));
	step_region_close(&region);
	stop();
}

static void other_ranges_than_those_of_the_step_are_refused(void **state)
{
	const struct gm_range wrong[][2] = {
		{ two[1], two[0] },				 /* another order */
		{ two[0], { 4 * GM_MIB, 2 * GM_MIB } },		 /* more */
		{ { GM_MIB, GM_MIB }, { 4 * GM_MIB, GM_MIB } },	 /* less */
		{ two[0], { UINT64_MAX - GM_PAGE_4K, GM_MIB } }, /* anything */
	};
	struct step_region region;

	(void)state;
	start();
	region = bound();
	step_expect_good(step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, two, 2));
	for (size_t i = 0; i < GM_ARRAY_SIZE(wrong); i++)
		expect_refused(step_done(&region, 0, 2, wrong[i], 2), GM_INVALID, GM_RULE_STEP);
	expect_refused(step_done(&region, 0, 1, two, 1), GM_INVALID, GM_RULE_STEP);
	/* More done than there are. */
	expect_refused(step_done(&region, EIO, 3, two, 2), GM_INVALID, GM_RULE_STEP);
	assert_int_equal(pages(&region, GM_PAGE_SHARED), 0);
	step_expect_good(step_done(&region, 0, 2, two, 2));
	assert_int_equal(pages(&region, GM_PAGE_SHARED), two[0].length + two[1].length);
	step_region_close(&region);
	stop();
}

static void what_is_no_private_memory_of_that_size_is_refused_and_the_step_goes_on(void **state)
{
	struct step_region region;
	struct gm_fdset wrong = GM_FDSET_NULL;

	(void)state;
	start();
	region = step_region(&peer, domain.id, 0);
	assert_int_equal(gm_fdset_add(&wrong, open("/dev/null", O_RDWR | O_CLOEXEC)), 0);
	assert_int_equal(gm_fdset_add(&wrong, memfd_create("another", MFD_CLOEXEC)), 0);
	assert_int_equal(ftruncate(wrong.fds[1], STEP_SIZE), 0);
	assert_int_equal(gm_fdset_add(&wrong, gm_fake_make_half(STEP_SIZE / 2)), 0);
	assert_int_equal(gm_fdset_add(&wrong, eventfd(0, EFD_CLOEXEC)), 0);
	assert_int_equal(gm_fdset_add(&wrong, gm_fd_dup(region.shared)), 0);
	for (size_t i = 0; i < wrong.n_fds; i++)
		expect_refused(step_memory(&peer, region.id, region.step, wrong.fds[i]), GM_INVALID,
			       GM_RULE_FD);
	/* None was closed here, where its last close could keep everybody waiting. */
	assert_int_equal(fake_crew_disposed(rig.hub), wrong.n_fds);
	gm_fdset_done(&wrong);
	step_make_half(&region);
	step_region_close(&region);
	stop();
}

static void memory_of_another_region_is_refused(void **state)
{
	struct step_region first, second;

	(void)state;
	start();
	first = step_region(&peer, domain.id, 0);
	step_make_half(&first);
	second = step_region(&peer, domain.id, GM_GIB);
	expect_refused(step_memory(&peer, second.id, second.step, first.half), GM_EXISTS,
		       GM_RULE_FD);
	step_make_half(&second);
	step_region_close(&first);
	step_region_close(&second);
	stop();
}

static unsigned n_strangers;

static void close_stranger(void *arg, const struct gm_tenant *tenant, int fd)
{
	assert_ptr_equal(arg, &rig);
	assert_non_null(tenant);
	n_strangers++;
	close(fd);
}

static void what_a_worker_passes_on_wrongly_is_closed_elsewhere(void **state)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct step_region region;

	(void)state;
	start();
	rig.exec.close_stranger = close_stranger;
	rig.exec.close_stranger_arg = &rig;
	n_strangers = 0;
	region = step_region(&peer, domain.id, 0);
	expect_refused(step_memory(&peer, region.id, region.step, null), GM_INVALID, GM_RULE_FD);
	assert_int_equal(n_strangers, 1);
	assert_int_equal(fake_crew_disposed(rig.hub), 0);
	step_make_half(&region);
	gm_fd_close(null);
	step_region_close(&region);
	stop();
}

static void a_step_of_another_tenant_is_not_there(void **state)
{
	struct step_region region;
	struct answer answer;

	(void)state;
	start();
	region = bound();
	step_expect_good(step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &one, 1));
	(void)step_report(&other, region.id, region.step, 0, 1, &one, 1);
	answer = peer_take(&other);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	answer = step_memory(&other, region.id, region.step, region.half);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	assert_int_equal(pages(&region, GM_PAGE_SHARED), 0);
	step_region_close(&region);
	stop();
}

/* ---- failures ---- */

static void only_what_was_done_is_booked(void **state)
{
	struct step_region region;
	struct answer answer;

	(void)state;
	start();
	region = bound();
	step_expect_good(step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, two, 2));
	answer = step_done(&region, ENOMEM, 1, two, 2);
	assert_int_equal(((const Gmem__StepDoneReply *)expect_reply(&answer))->bytes,
			 two[0].length);
	assert_int_equal(pages(&region, GM_PAGE_SHARED), two[0].length);
	convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &two[1]);
	step_region_close(&region);
	stop();
}

static void a_step_that_is_not_reported_in_time_loses_its_pages_and_no_others(void **state)
{
	struct step_region region;

	(void)state;
	start();
	region = bound();
	convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &two[1]);
	step_expect_good(step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &two[0], 1));
	rig.now_ms += 29999;
	gm_service_expire(rig.service);
	assert_int_equal(pages(&region, GM_PAGE_LOST), 0);
	rig.now_ms += 1;
	gm_service_expire(rig.service);
	assert_int_equal(pages(&region, GM_PAGE_LOST), two[0].length);
	assert_int_equal(pages(&region, GM_PAGE_SHARED), two[1].length);
	assert_int_equal(rig_news.kind, GM_NEWS_LOST);
	assert_int_equal(rig_news.region, region.id);
	assert_int_equal(rig_news.bytes, two[0].length);
	/* Too late. */
	expect_refused(step_done(&region, 0, 1, &two[0], 1), GM_INVALID, GM_RULE_STEP);
	expect_refused(step_convert(&region, GMEM__PAGE_STATE__PAGE_PRIVATE, &two[0], 1),
		       GM_WRONG_STATE, GM_RULE_PAGE_STATE);
	convert(&region, GMEM__PAGE_STATE__PAGE_PRIVATE, &two[1]);
	step_region_close(&region);
	stop();
}

static void of_a_vmm_that_dies_inside_a_step_nothing_remains(void **state)
{
	struct step_region region;

	(void)state;
	start();
	region = bound();
	step_expect_good(step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &one, 1));
	peer_close(&peer);
	assert_null(gm_book_next_region(&rig.book, NULL));
	assert_int_equal(rig.acme->account.used[GM_RES_MEMORY], 0);
	rig.now_ms += 60000;
	gm_service_expire(rig.service);
	step_region_close(&region);
	stop();
}

/* ---- a half that was not given up ---- */

static uint32_t report_lazily(struct step_region *region)
{
	step_fill(region->half, &one);
	step_expect_good(step_convert(region, GMEM__PAGE_STATE__PAGE_SHARED, &one, 1));
	return step_report(&peer, region->id, region->step, 0, 1, &one, 1);
}

static void what_the_vmm_did_not_free_is_freed_before_the_answer(void **state)
{
	const struct gm_job_order *order;
	struct step_region region;
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	region = bound();
	serial = report_lazily(&region);
	assert_int_equal(peer.n_packets, 0);
	order = fake_crew_order(fake_crew_first(rig.hub));
	assert_int_equal(order->verb, GM_JOB_DISCARD);
	assert_int_equal(order->n_ranges, 1);
	fake_crew_finish(fake_crew_first(rig.hub));
	answer = peer_take(&peer);
	assert_int_equal(answer.frame.serial, serial);
	assert_int_equal(((const Gmem__StepDoneReply *)expect_reply(&answer))->bytes, one.length);
	assert_int_equal(step_blocks(region.half), 0);
	assert_int_equal(pages(&region, GM_PAGE_SHARED), one.length);
	step_region_close(&region);
	stop();
}

static void one_page_that_is_left_is_enough(void **state)
{
	const struct gm_range page = { one.length - GM_PAGE_4K, GM_PAGE_4K };
	struct step_region region;
	struct answer answer;

	(void)state;
	start();
	region = bound();
	step_expect_good(step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &one, 1));
	step_fill(region.half, &page);
	(void)step_report(&peer, region.id, region.step, 0, 1, &one, 1);
	fake_crew_finish(fake_crew_first(rig.hub));
	answer = peer_take(&peer);
	(void)expect_reply(&answer);
	assert_int_equal(step_blocks(region.half), 0);
	step_region_close(&region);
	stop();
}

static void where_nobody_can_look_a_worker_makes_sure(void **state)
{
	struct step_region region;
	struct answer answer;

	(void)state;
	start();
	region = bound();
	step_expect_good(step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &one, 1));
	atomic_store(&rig.fake->loses_track, true);
	(void)step_report(&peer, region.id, region.step, 0, 1, &one, 1);
	assert_int_equal(fake_crew_count(rig.hub), 1);
	fake_crew_finish(fake_crew_first(rig.hub));
	answer = peer_take(&peer);
	(void)expect_reply(&answer);
	step_region_close(&region);
	stop();
}

static void a_worker_that_dies_is_replaced_twice_then_the_pages_are_lost(void **state)
{
	struct step_region region;
	struct answer answer;

	(void)state;
	start();
	region = bound();
	(void)report_lazily(&region);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(peer.n_packets, 0);
		assert_int_equal(fake_crew_count(rig.hub), 1);
		fake_crew_end(fake_crew_first(rig.hub), GM_JOB_WORKER_LOST, 9);
	}
	assert_int_equal(fake_crew_count(rig.hub), 0);
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_WORKER_LOST, GM_RULE_MEMORY_CGROUP);
	assert_int_equal(pages(&region, GM_PAGE_LOST), one.length);
	/* The rest of the region is as good as before. */
	convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &two[1]);
	step_region_close(&region);
	stop();
}

static void freeing_cannot_be_cancelled(void **state)
{
	Gmem__CancelRequest request = GMEM__CANCEL_REQUEST__INIT;
	struct step_region region;
	struct answer answer;

	(void)state;
	start();
	region = bound();
	request.has_serial = 1;
	request.serial = report_lazily(&region);
	answer = peer_ask(&peer, GM_MSG_CANCEL, &request.base);
	assert_false(((const Gmem__CancelReply *)expect_reply(&answer))->found);
	assert_false(fake_crew_is_cancelled(fake_crew_first(rig.hub)));
	fake_crew_finish(fake_crew_first(rig.hub));
	answer = peer_take(&peer);
	(void)expect_reply(&answer);
	step_region_close(&region);
	stop();
}

static void a_domain_that_is_evicted_while_a_half_is_freed_answers_and_goes(void **state)
{
	Gmem__EvictRequest request = GMEM__EVICT_REQUEST__INIT;
	struct step_region region;
	static struct peer admin;
	struct answer answer;

	(void)state;
	start();
	peer_connect(&admin, &rig, NULL);
	region = bound();
	(void)report_lazily(&region);
	request.has_domain = 1;
	request.domain = domain.id;
	answer = peer_ask(&admin, GM_MSG_EVICT, &request.base);
	(void)expect_reply(&answer);
	answer = peer_take(&peer);
	assert_int_equal(answer.frame.type, GM_EVENT_DOMAIN_GONE);
	fake_crew_finish(fake_crew_first(rig.hub));
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	assert_int_equal(rig.acme->account.used[GM_RES_MEMORY], 0);
	step_region_close(&region);
	peer_close(&admin);
	stop();
}

static void a_vmm_that_dies_while_a_half_is_freed_leaves_nothing(void **state)
{
	struct step_region region;

	(void)state;
	start();
	region = bound();
	(void)report_lazily(&region);
	peer_close(&peer);
	assert_true(fake_crew_is_cancelled(fake_crew_first(rig.hub)));
	fake_crew_finish(fake_crew_first(rig.hub));
	assert_null(gm_book_next_region(&rig.book, NULL));
	assert_int_equal(gm_service_jobs(rig.service), 0);
	step_region_close(&region);
	stop();
}

/* The file holds the VM, with all that this has of the platform. */
static void the_private_half_is_let_go_of_with_the_region(void **state)
{
	struct step_region region;
	struct answer answer;
	unsigned disposed;

	(void)state;
	start();
	region = bound();
	disposed = fake_crew_disposed(rig.hub);
	answer = ask_region_destroy(&peer, region.id);
	(void)expect_reply(&answer);
	/* Both halves: the shared one is big. */
	assert_int_equal(fake_crew_disposed(rig.hub), disposed + 2);
	step_region_close(&region);
	stop();
}

/* ---- jobs on the private half ---- */

static void a_worker_that_dies_on_the_private_half_is_looked_after_there(void **state)
{
	Gmem__DiscardRequest request = GMEM__DISCARD_REQUEST__INIT;
	Gmem__Range range, *pointer;
	struct step_region region;
	struct answer answer;

	(void)state;
	start();
	region = bound();
	convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &one);
	convert(&region, GMEM__PAGE_STATE__PAGE_PRIVATE, &one);
	step_fill(region.half, &one);
	step_fill_ranges(&one, 1, &range, &pointer);
	request.has_region = 1;
	request.region = region.id;
	request.n_ranges = 1;
	request.ranges = &pointer;
	(void)peer_send(&peer, GM_MSG_DISCARD, &request.base);
	fake_crew_work(fake_crew_first(rig.hub), 0, GM_MIB);
	fake_crew_end(fake_crew_first(rig.hub), GM_JOB_WORKER_LOST, 9);
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_WORKER_LOST, GM_RULE_MEMORY_CGROUP);
	assert_int_equal(pages(&region, GM_PAGE_PRIVATE), GM_MIB);
	assert_int_equal(pages(&region, GM_PAGE_ABSENT), STEP_SIZE - GM_MIB);
	step_region_close(&region);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_conversion_there_and_back_is_booked),
		gm_test(the_vmm_is_told_to_allocate_where_the_policy_wants_it),
		gm_test(nothing_comes_before_the_private_half),
		gm_test(a_region_converts_only_once_it_is_bound_and_is_bound_once),
		gm_test(a_second_step_waits_for_the_first),
		gm_test(memory_is_not_reported_with_step_done),
		gm_test(a_report_is_believed_once),
		gm_test(a_guessed_step_is_none),
		gm_test(other_ranges_than_those_of_the_step_are_refused),
		gm_test(what_is_no_private_memory_of_that_size_is_refused_and_the_step_goes_on),
		gm_test(memory_of_another_region_is_refused),
		gm_test(what_a_worker_passes_on_wrongly_is_closed_elsewhere),
		gm_test(a_step_of_another_tenant_is_not_there),
		gm_test(only_what_was_done_is_booked),
		gm_test(a_step_that_is_not_reported_in_time_loses_its_pages_and_no_others),
		gm_test(of_a_vmm_that_dies_inside_a_step_nothing_remains),
		gm_test(what_the_vmm_did_not_free_is_freed_before_the_answer),
		gm_test(one_page_that_is_left_is_enough),
		gm_test(where_nobody_can_look_a_worker_makes_sure),
		gm_test(a_worker_that_dies_is_replaced_twice_then_the_pages_are_lost),
		gm_test(freeing_cannot_be_cancelled),
		gm_test(a_domain_that_is_evicted_while_a_half_is_freed_answers_and_goes),
		gm_test(a_vmm_that_dies_while_a_half_is_freed_leaves_nothing),
		gm_test(the_private_half_is_let_go_of_with_the_region),
		gm_test(a_worker_that_dies_on_the_private_half_is_looked_after_there),
	};

	return gm_test_run("service step", tests, GM_ARRAY_SIZE(tests));
}
