/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs: answered when they are done, told about in between, cancelled, and cleared away with the
 * session or the domain that they belong to.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "gm_version.h"
#include "service_rig.h"

static struct rig rig;
static struct peer peer;
static struct peer other;
static struct made_domain domain;
static uint64_t region;

static void start_with(Gmem__Lifetime lifetime)
{
	rig_start(&rig);
	peer_connect(&peer, &rig, rig.acme);
	peer_connect(&other, &rig, rig.acme);
	domain = make_domain(&peer, lifetime, NULL);
	region = make_region(&peer, domain.id, 0, 16 * GM_MIB);
}

static void start(void)
{
	start_with(GMEM__LIFETIME__LIFETIME_BOUND);
}

static void stop(void)
{
	peer_close(&other);
	peer_close(&peer);
	rig_stop(&rig);
}

static struct gm_crew_job *job(void)
{
	struct gm_crew_job *first = fake_crew_first(rig.hub);

	assert_non_null(first);
	return first;
}

static struct answer take_answer(uint32_t serial)
{
	struct answer answer = peer_take(&peer);

	while (answer.frame.flags == GM_FRAME_EVENT)
		answer = peer_take(&peer);
	assert_int_equal(answer.frame.serial, serial);
	return answer;
}

static uint64_t allocated(void)
{
	struct answer answer = ask_region_get(&other, region, false);

	return ((const Gmem__RegionGetReply *)expect_reply(&answer))->info->allocated_bytes;
}

static struct answer discard(uint64_t offset, uint64_t length)
{
	Gmem__DiscardRequest request = GMEM__DISCARD_REQUEST__INIT;
	Gmem__Range range = GMEM__RANGE__INIT;
	Gmem__Range *ranges = &range;
	uint32_t serial;

	range.has_offset = 1;
	range.offset = offset;
	range.has_length = 1;
	range.length = length;
	request.has_region = 1;
	request.region = region;
	request.n_ranges = 1;
	request.ranges = &ranges;
	serial = peer_send(&peer, GM_MSG_DISCARD, &request.base);
	fake_crew_finish(job());
	return take_answer(serial);
}

static void allocate_is_answered_when_it_is_done(void **state)
{
	const Gmem__AllocateReply *reply;
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	serial = start_allocate(&peer, region, 0, 4 * GM_MIB);
	assert_int_equal(peer.n_packets, 0);
	assert_int_equal(gm_service_jobs(rig.service), 1);
	fake_crew_finish(job());
	answer = take_answer(serial);
	assert_int_equal(answer.frame.type, GM_MSG_ALLOCATE);
	reply = expect_reply(&answer);
	assert_int_equal(reply->bytes, 4 * GM_MIB);
	assert_int_equal(allocated(), 4 * GM_MIB);
	assert_int_equal(gm_service_jobs(rig.service), 0);
	stop();
}

static void discard_makes_pages_absent(void **state)
{
	const Gmem__DiscardReply *reply;
	struct answer answer;

	(void)state;
	start();
	start_allocate(&peer, region, 0, 4 * GM_MIB);
	fake_crew_finish(job());
	while (peer.n_packets > 0)
		peer_take(&peer);
	answer = discard(GM_MIB, GM_MIB);
	reply = expect_reply(&answer);
	assert_int_equal(reply->bytes, GM_MIB);
	assert_int_equal(allocated(), 3 * GM_MIB);
	stop();
}

static void the_order_for_the_worker_says_what_and_where(void **state)
{
	const struct gm_job_order *order;

	(void)state;
	start();
	rig.exec.job_threads = 2;
	start_allocate(&peer, region, GM_MIB, 4 * GM_MIB);
	order = fake_crew_order(job());
	assert_int_equal(order->verb, GM_JOB_ALLOCATE);
	assert_string_equal(order->kind, "fake");
	assert_int_equal(order->page_size, GM_PAGE_4K);
	assert_int_equal(order->n_threads, 1);
	assert_int_equal(order->n_ranges, 1);
	assert_int_equal(order->ranges[0].offset, GM_MIB);
	assert_int_equal(order->ranges[0].length, 4 * GM_MIB);
	fake_crew_finish(job());
	start_allocate(&peer, region, 0, 16 * GM_MIB);
	assert_int_equal(fake_crew_order(job())->n_threads, 2);
	stop();
}

static void other_requests_are_answered_while_a_job_runs(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	serial = start_allocate(&peer, region, 0, GM_MIB);
	answer = ask_ping(&peer);
	expect_reply(&answer);
	fake_crew_finish(job());
	answer = take_answer(serial);
	expect_reply(&answer);
	stop();
}

static void progress_is_told_at_most_once_in_100_ms(void **state)
{
	const Gmem__ProgressEvent *event;
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	serial = start_allocate(&peer, region, 0, 10 * GM_MIB);
	for (uint64_t i = 0; i < 10; i++) {
		fake_crew_report(job(), i * GM_MIB, GM_MIB);
		rig.now_ms += 25;
	}
	/* At 0, 100 and 200 ms. */
	assert_int_equal(peer.n_packets, 3);
	for (uint64_t i = 0; i < 3; i++) {
		answer = peer_take(&peer);
		assert_int_equal(answer.frame.type, GM_EVENT_PROGRESS);
		assert_int_equal(answer.frame.serial, 0);
		event = answer.reply;
		assert_int_equal(event->serial, serial);
		assert_int_equal(event->done, (4 * i + 1) * GM_MIB);
		assert_int_equal(event->total, 10 * GM_MIB);
	}
	fake_crew_end(job(), GM_JOB_DONE, 0);
	answer = take_answer(serial);
	expect_reply(&answer);
	stop();
}

/* ---- refusals ---- */

static struct answer allocate_refused(Gmem__Range **ranges, size_t n)
{
	Gmem__AllocateRequest request = GMEM__ALLOCATE_REQUEST__INIT;
	struct answer answer;

	request.has_region = 1;
	request.region = region;
	request.n_ranges = n;
	request.ranges = ranges;
	answer = peer_ask(&peer, GM_MSG_ALLOCATE, &request.base);
	assert_non_null(answer.status);
	assert_int_equal(gm_service_jobs(rig.service), 0);
	assert_int_equal(rig.acme->account.used[GM_RES_JOBS], 0);
	return answer;
}

static struct answer range_refused(uint64_t offset, uint64_t length)
{
	Gmem__Range range = GMEM__RANGE__INIT;
	Gmem__Range *ranges = &range;

	range.has_offset = 1;
	range.offset = offset;
	range.has_length = 1;
	range.length = length;
	return allocate_refused(&ranges, 1);
}

static void bad_ranges_are_refused_with_their_offset(void **state)
{
	struct answer answer;

	(void)state;
	start();
	answer = allocate_refused(NULL, 0);
	expect_refusal(&answer, GM_INVALID, GM_RULE_RANGES);
	answer = range_refused(4096, 0);
	expect_refusal(&answer, GM_INVALID, GM_RULE_SIZE);
	assert_int_equal(answer.status->offset, 4096);
	answer = range_refused(1, 4096);
	expect_refusal(&answer, GM_INVALID, GM_RULE_OFFSET);
	answer = range_refused(UINT64_MAX - 4095, 8192);
	expect_refusal(&answer, GM_INVALID, GM_RULE_OVERFLOW);
	answer = range_refused(16 * GM_MIB - 4096, 8192);
	expect_refusal(&answer, GM_INVALID, GM_RULE_RANGE);
	expect_numbers(&answer, 16 * GM_MIB, 0, 16 * GM_MIB + 4096);
	stop();
}

static void ranges_that_overlap_are_refused(void **state)
{
	Gmem__Range a = GMEM__RANGE__INIT;
	Gmem__Range b = GMEM__RANGE__INIT;
	Gmem__Range *ranges[] = { &a, &b };
	struct answer answer;

	(void)state;
	start();
	a.has_offset = b.has_offset = 1;
	a.has_length = b.has_length = 1;
	a.offset = 8192;
	a.length = 8192;
	b.offset = 4096;
	b.length = 8192;
	answer = allocate_refused(ranges, 2);
	expect_refusal(&answer, GM_INVALID, GM_RULE_RANGES);
	stop();
}

static void jobs_max_is_refused_with_the_numbers(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	gm_account_set_limit(&rig.acme->account, GM_RES_JOBS, 1);
	serial = start_allocate(&peer, region, 0, GM_MIB);
	start_allocate(&peer, region, GM_MIB, GM_MIB);
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_OVER_LIMIT, GM_RULE_JOBS_MAX);
	expect_numbers(&answer, 1, 1, 1);
	fake_crew_finish(job());
	answer = take_answer(serial);
	expect_reply(&answer);
	stop();
}

static void a_session_with_256_unanswered_requests_is_full(void **state)
{
	struct answer answer;

	(void)state;
	start();
	for (unsigned i = 0; i < GM_REQUESTS_MAX; i++) {
		assert_false(gm_link_is_full(peer.link));
		start_allocate(&peer, region, 0, GM_PAGE_4K);
	}
	assert_true(gm_link_is_full(peer.link));
	start_allocate(&peer, region, 0, GM_PAGE_4K);
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_OVER_LIMIT, GM_RULE_REQUESTS);
	expect_numbers(&answer, 256, 256, 1);
	fake_crew_finish(job());
	assert_false(gm_link_is_full(peer.link));
	stop();
}

static void a_drain_refuses_new_jobs_and_lets_old_ones_end(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	serial = start_allocate(&peer, region, 0, GM_MIB);
	gm_service_drain(rig.service, 100);
	peer_take(&peer);
	start_allocate(&peer, region, GM_MIB, GM_MIB);
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_SHUTTING_DOWN, GM_RULE_DRAINING);
	fake_crew_finish(job());
	answer = take_answer(serial);
	expect_reply(&answer);
	stop();
}

static void without_workers_a_job_is_refused(void **state)
{
	struct answer answer;

	(void)state;
	start();
	rig.exec.hub = NULL;
	answer = range_refused(0, GM_MIB);
	expect_refusal(&answer, GM_UNSUPPORTED, GM_RULE_WORKER);
	rig.exec.hub = rig.hub;
	stop();
}

static void a_worker_that_cannot_be_had_is_a_refusal_that_leaves_nothing(void **state)
{
	struct answer answer;

	(void)state;
	start();
	fake_crew_fail_submit(rig.hub, -EPIPE);
	answer = range_refused(0, GM_MIB);
	expect_refusal(&answer, GM_NO_RESOURCE, GM_RULE_WORKER);
	assert_int_equal(answer.status->sys_errno, EPIPE);
	stop();
}

/* ---- how jobs end ---- */

static void a_worker_killed_by_sigkill_points_at_the_memory_limit(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	serial = start_allocate(&peer, region, 0, 4 * GM_MIB);
	fake_crew_end(job(), GM_JOB_WORKER_LOST, SIGKILL);
	answer = take_answer(serial);
	expect_refusal(&answer, GM_WORKER_LOST, GM_RULE_MEMORY_CGROUP);
	expect_text(&answer, "out-of-memory killer");
	stop();
}

static void an_error_of_the_kernel_is_a_failure(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	serial = start_allocate(&peer, region, 0, 4 * GM_MIB);
	fake_crew_end(job(), GM_JOB_ERROR, EIO);
	answer = take_answer(serial);
	assert_int_equal(answer.status->code, GMEM__CODE__CODE_FAILED);
	assert_int_equal(answer.status->sys_errno, EIO);
	stop();
}

static struct answer cancel(struct peer *who, uint32_t serial, bool found)
{
	Gmem__CancelRequest request = GMEM__CANCEL_REQUEST__INIT;
	struct answer answer;

	request.has_serial = 1;
	request.serial = serial;
	answer = peer_ask(who, GM_MSG_CANCEL, &request.base);
	assert_int_equal(((const Gmem__CancelReply *)expect_reply(&answer))->found, found);
	return answer;
}

static void cancel_ends_a_job_and_what_it_did_stays(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	serial = start_allocate(&peer, region, 0, 4 * GM_MIB);
	fake_crew_report(job(), 0, GM_MIB);
	peer_take(&peer);
	cancel(&peer, serial, true);
	assert_true(fake_crew_is_cancelled(job()));
	fake_crew_finish(job());
	answer = take_answer(serial);
	expect_refusal(&answer, GM_CANCELLED, GM_RULE_NONE);
	assert_int_equal(allocated(), GM_MIB);
	stop();
}

static void cancel_of_a_job_that_was_done_by_then_changes_nothing(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	serial = start_allocate(&peer, region, 0, GM_MIB);
	cancel(&peer, serial, true);
	fake_crew_report(job(), 0, GM_MIB);
	fake_crew_end(job(), GM_JOB_DONE, 0);
	answer = take_answer(serial);
	expect_reply(&answer);
	cancel(&peer, serial, false);
	stop();
}

static void a_session_cancels_its_own_jobs_only(void **state)
{
	uint32_t serial;

	(void)state;
	start();
	serial = start_allocate(&peer, region, 0, GM_MIB);
	cancel(&other, serial, false);
	assert_false(fake_crew_is_cancelled(job()));
	stop();
}

/* ---- ends of sessions and domains ---- */

static void the_end_of_a_session_cancels_its_jobs_and_all_goes_when_they_have(void **state)
{
	(void)state;
	start();
	start_allocate(&peer, region, 0, GM_MIB);
	make_region(&peer, domain.id, GM_GIB, GM_MIB);
	peer_close(&peer);
	assert_true(fake_crew_is_cancelled(job()));
	/* Only what the job holds is still charged. */
	assert_int_equal(rig.acme->account.used[GM_RES_MEMORY], 16 * GM_MIB);
	fake_crew_finish(job());
	assert_int_equal(rig.acme->account.used[GM_RES_MEMORY], 0);
	assert_int_equal(rig.acme->account.used[GM_RES_SESSIONS], 1);
	assert_int_equal(rig.book.n_domains, 0);
	peer_connect(&peer, &rig, rig.acme);
	stop();
}

static void a_persistent_domain_survives_the_jobs_of_its_session(void **state)
{
	struct answer answer;

	(void)state;
	start_with(GMEM__LIFETIME__LIFETIME_PERSISTENT);
	start_allocate(&peer, region, 0, 4 * GM_MIB);
	fake_crew_report(job(), 0, GM_MIB);
	peer_close(&peer);
	assert_true(fake_crew_is_cancelled(job()));
	answer = ask_attach(&other, domain.id, domain.token, false);
	expect_reply(&answer);
	fake_crew_finish(job());
	assert_int_equal(allocated(), GM_MIB);
	peer_connect(&peer, &rig, rig.acme);
	stop();
}

static void evict_cancels_the_jobs_and_tells_the_owner(void **state)
{
	Gmem__EvictRequest request = GMEM__EVICT_REQUEST__INIT;
	const Gmem__DomainGoneEvent *gone;
	const Gmem__EvictReply *reply;
	static struct peer admin;
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	peer_connect(&admin, &rig, NULL);
	serial = start_allocate(&peer, region, 0, GM_MIB);
	request.has_domain = 1;
	request.domain = domain.id;
	answer = peer_ask(&admin, GM_MSG_EVICT, &request.base);
	reply = expect_reply(&answer);
	assert_int_equal(reply->bytes, 16 * GM_MIB);
	assert_int_equal(reply->jobs_cancelled, 1);
	answer = peer_take(&peer);
	assert_int_equal(answer.frame.type, GM_EVENT_DOMAIN_GONE);
	gone = answer.reply;
	assert_int_equal(gone->domain, domain.id);
	assert_int_equal(gone->why, GMEM__FAREWELL__FAREWELL_EVICTED);
	answer = ask_domain_get(&peer, domain.id);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	fake_crew_finish(job());
	answer = take_answer(serial);
	expect_refusal(&answer, GM_CANCELLED, GM_RULE_NONE);
	assert_int_equal(rig.acme->account.used[GM_RES_MEMORY], 0);
	answer = peer_ask(&admin, GM_MSG_EVICT, &request.base);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	peer_close(&admin);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(allocate_is_answered_when_it_is_done),
		gm_test(discard_makes_pages_absent),
		gm_test(the_order_for_the_worker_says_what_and_where),
		gm_test(other_requests_are_answered_while_a_job_runs),
		gm_test(progress_is_told_at_most_once_in_100_ms),
		gm_test(bad_ranges_are_refused_with_their_offset),
		gm_test(ranges_that_overlap_are_refused),
		gm_test(jobs_max_is_refused_with_the_numbers),
		gm_test(a_session_with_256_unanswered_requests_is_full),
		gm_test(a_drain_refuses_new_jobs_and_lets_old_ones_end),
		gm_test(without_workers_a_job_is_refused),
		gm_test(a_worker_that_cannot_be_had_is_a_refusal_that_leaves_nothing),
		gm_test(a_worker_killed_by_sigkill_points_at_the_memory_limit),
		gm_test(an_error_of_the_kernel_is_a_failure),
		gm_test(cancel_ends_a_job_and_what_it_did_stays),
		gm_test(cancel_of_a_job_that_was_done_by_then_changes_nothing),
		gm_test(a_session_cancels_its_own_jobs_only),
		gm_test(the_end_of_a_session_cancels_its_jobs_and_all_goes_when_they_have),
		gm_test(a_persistent_domain_survives_the_jobs_of_its_session),
		gm_test(evict_cancels_the_jobs_and_tells_the_owner),
	};

	return gm_test_run("service jobs", tests, GM_ARRAY_SIZE(tests));
}
