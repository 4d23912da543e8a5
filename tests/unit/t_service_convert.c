/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the policy says about conversions: how many in a second, of what size, how much at one time.
 * Over the rate they are answered later, and no neighbour is; all else is refused.
 */
#include "step_rig.h"

static struct rig rig;
static struct peer peer, other;
static struct made_domain domain;
static struct step_region region;

static const struct gm_range one = { 0, 2 * GM_MIB };
static const struct gm_range next = { 4 * GM_MIB, 2 * GM_MIB };

static void start(uint64_t rate)
{
	rig_private = true;
	rig_start(&rig);
	rig.acme->policy.conversion_rate = rate;
	peer_connect(&peer, &rig, rig.acme);
	peer_connect(&other, &rig, rig.beta);
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	region = step_bound_region(&peer, domain.id, 0);
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

static uint32_t ask(const struct step_region *of, Gmem__PageState to, const struct gm_range *range)
{
	Gmem__ConvertRequest request = GMEM__CONVERT_REQUEST__INIT;
	Gmem__Range message, *pointer;

	step_fill_ranges(range, 1, &message, &pointer);
	request.has_region = 1;
	request.region = of->id;
	request.has_to = 1;
	request.to = to;
	request.n_ranges = 1;
	request.ranges = &pointer;
	return peer_send(of->peer, GM_MSG_CONVERT, &request.base);
}

static void take_step(struct step_region *of, uint32_t serial)
{
	struct answer answer = peer_take(of->peer);
	const Gmem__ConvertReply *reply;

	assert_int_equal(answer.frame.serial, serial);
	reply = expect_reply(&answer);
	assert_int_equal(reply->step->kind, GMEM__STEP_KIND__STEP_CONVERT);
	of->step = reply->step->step;
}

static void convert_now(struct step_region *of, Gmem__PageState to, const struct gm_range *range)
{
	take_step(of, ask(of, to, range));
	step_expect_good(step_done(of, 0, 1, range, 1));
}

/* The bucket is full at first: a second's worth may come at once, and one more overdraws it. */
static void use_up(unsigned rate)
{
	for (unsigned i = 0; i < rate; i++)
		convert_now(&region,
			    i % 2 ? GMEM__PAGE_STATE__PAGE_PRIVATE : GMEM__PAGE_STATE__PAGE_SHARED,
			    &one);
}

static void over_the_rate_a_conversion_is_answered_later(void **state)
{
	uint32_t serial;

	(void)state;
	start(2);
	use_up(2);
	serial = ask(&region, GMEM__PAGE_STATE__PAGE_SHARED, &next);
	assert_int_equal(peer.n_packets, 0);
	/* No step is under way that somebody would have to report. */
	assert_int_equal(gm_service_jobs(rig.service), 1);
	assert_null(gm_book_next_region(&rig.book, NULL)->step);
	rig_turn(&rig, 499);
	assert_int_equal(peer.n_packets, 0);
	rig_turn(&rig, 1);
	take_step(&region, serial);
	assert_int_equal(gm_service_jobs(rig.service), 0);
	/* The time to report it has begun now. */
	rig.now_ms += 29500;
	gm_service_expire(rig.service);
	step_expect_good(step_done(&region, 0, 1, &next, 1));
	stop();
}

static void a_slow_tenant_is_read_on(void **state)
{
	struct answer answer;

	(void)state;
	start(2);
	use_up(2);
	(void)ask(&region, GMEM__PAGE_STATE__PAGE_SHARED, &next);
	answer = ask_ping(&peer);
	(void)expect_reply(&answer);
	stop();
}

static void a_neighbour_is_not_delayed(void **state)
{
	struct step_region its;
	struct made_domain vm;

	(void)state;
	start(2);
	rig.beta->policy.conversion_rate = 2;
	use_up(2);
	(void)ask(&region, GMEM__PAGE_STATE__PAGE_SHARED, &next);
	vm = make_domain(&other, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	its = step_bound_region(&other, vm.id, 0);
	convert_now(&its, GMEM__PAGE_STATE__PAGE_SHARED, &one);
	assert_int_equal(peer.n_packets, 0);
	step_region_close(&its);
	stop();
}

static void what_is_wrong_by_then_is_refused_then(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start(2);
	use_up(2);
	serial = ask(&region, GMEM__PAGE_STATE__PAGE_SHARED, &next);
	answer = ask_region_destroy(&peer, region.id);
	(void)expect_reply(&answer);
	rig_turn(&rig, 1000);
	answer = peer_take(&peer);
	assert_int_equal(answer.frame.serial, serial);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	stop();
}

static void who_has_gone_is_not_waited_for(void **state)
{
	(void)state;
	start(2);
	use_up(2);
	(void)ask(&region, GMEM__PAGE_STATE__PAGE_SHARED, &next);
	peer_close(&peer);
	assert_int_equal(gm_service_jobs(rig.service), 0);
	rig_turn(&rig, 2000);
	stop();
}

static void a_conversion_that_waits_is_no_job_to_cancel(void **state)
{
	Gmem__CancelRequest request = GMEM__CANCEL_REQUEST__INIT;
	struct answer answer;

	(void)state;
	start(2);
	use_up(2);
	request.has_serial = 1;
	request.serial = ask(&region, GMEM__PAGE_STATE__PAGE_SHARED, &next);
	answer = peer_ask(&peer, GM_MSG_CANCEL, &request.base);
	assert_false(((const Gmem__CancelReply *)expect_reply(&answer))->found);
	rig_turn(&rig, 1000);
	take_step(&region, request.serial);
	step_expect_good(step_done(&region, 0, 1, &next, 1));
	stop();
}

static void more_shared_memory_than_the_policy_allows_is_refused_with_numbers(void **state)
{
	struct answer answer;

	(void)state;
	start(GM_UNLIMITED);
	rig.acme->policy.shared_max = 3 * GM_MIB;
	convert_now(&region, GMEM__PAGE_STATE__PAGE_SHARED, &one);
	answer = step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &next, 1);
	expect_refusal(&answer, GM_OVER_LIMIT, GM_RULE_SHARED_MAX);
	expect_numbers(&answer, 3 * GM_MIB, 2 * GM_MIB, 2 * GM_MIB);
	convert_now(&region, GMEM__PAGE_STATE__PAGE_PRIVATE, &one);
	convert_now(&region, GMEM__PAGE_STATE__PAGE_SHARED, &next);
	stop();
}

static void a_finer_range_than_the_policy_allows_is_refused(void **state)
{
	const struct gm_range page = { 2 * GM_MIB, GM_PAGE_4K };
	struct answer answer;

	(void)state;
	start(GM_UNLIMITED);
	rig.acme->policy.conversion_granularity = GM_PAGE_2M;
	answer = step_convert(&region, GMEM__PAGE_STATE__PAGE_SHARED, &page, 1);
	expect_refusal(&answer, GM_INVALID, GM_RULE_CONVERSION_GRANULARITY);
	convert_now(&region, GMEM__PAGE_STATE__PAGE_SHARED, &one);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(over_the_rate_a_conversion_is_answered_later),
		gm_test(a_slow_tenant_is_read_on),
		gm_test(a_neighbour_is_not_delayed),
		gm_test(what_is_wrong_by_then_is_refused_then),
		gm_test(who_has_gone_is_not_waited_for),
		gm_test(a_conversion_that_waits_is_no_job_to_cancel),
		gm_test(more_shared_memory_than_the_policy_allows_is_refused_with_numbers),
		gm_test(a_finer_range_than_the_policy_allows_is_refused),
	};

	return gm_test_run("service convert", tests, GM_ARRAY_SIZE(tests));
}
