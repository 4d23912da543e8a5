/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Population in place: pages that the VMM has filled while they were shared are made private by the
 * daemon and then measured where they are. What they hold nobody else has seen: the digest of such
 * a launch is not known, and a policy that asks for one refuses.
 */
#include <stdlib.h>

#include "call.h"
#include "slot.h"
#include "step_rig.h"

static struct rig rig;
static struct peer peer;
static struct made_domain domain;
static struct step_region region;
static char folder[] = "/tmp/gmemd-launch-XXXXXX";

static const struct gm_range first = { 0, 2 * GM_MIB };
static const struct gm_range second = { 2 * GM_MIB, 2 * GM_MIB };

#define SHARED GMEM__PAGE_STATE__PAGE_SHARED
#define PRIVATE GMEM__PAGE_STATE__PAGE_PRIVATE

static void write_file(const char *name, unsigned n)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fprintf(file, "%s %u\n", gm_slot_pools[GM_SLOT_ES].resource, n) > 0);
	assert_int_equal(fclose(file), 0);
}

static void remove_file(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	(void)unlink(path);
}

static struct gm_crew_job *job(void)
{
	return fake_crew_first(rig.hub);
}

static struct answer take(uint32_t serial)
{
	struct answer answer = peer_take(&peer);

	while (answer.frame.flags & GM_FRAME_EVENT)
		answer = peer_take(&peer);
	assert_int_equal(answer.frame.serial, serial);
	return answer;
}

static struct answer report(uint64_t step)
{
	Gmem__StepDoneRequest request = GMEM__STEP_DONE_REQUEST__INIT;

	request.has_domain = 1;
	request.domain = domain.id;
	request.has_step = 1;
	request.step = step;
	request.has_sys_errno = 1;
	return peer_ask(&peer, GM_MSG_STEP_DONE, &request.base);
}

static void open_launch(void)
{
	Gmem__LaunchStartRequest request = GMEM__LAUNCH_START_REQUEST__INIT;
	struct answer answer;

	request.has_domain = 1;
	request.domain = domain.id;
	answer = peer_ask(&peer, GM_MSG_LAUNCH_START, &request.base);
	step_expect_good(
		report(((const Gmem__LaunchStartReply *)expect_reply(&answer))->step->step));
}

static void start(void)
{
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	assert_non_null(mkdtemp(folder));
	write_file("misc.capacity", 2);
	write_file("misc.current", 0);
	rig_private = rig_in_place = rig_launched = true;
	rig_start(&rig);
	rig.exec.cgroup_root = folder;
	peer_connect(&peer, &rig, rig.acme);
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	open_launch();
	region = step_region_in_place(&peer, domain.id, 0);
	step_make_half(&region);
	step_expect_good(step_bind(&region));
	step_expect_good(step_done(&region, 0, 0, NULL, 0));
}

static void stop(void)
{
	step_region_close(&region);
	peer_close(&peer);
	rig_stop(&rig);
	rig_private = rig_in_place = rig_launched = false;
	remove_file("misc.capacity");
	remove_file("misc.current");
	(void)rmdir(folder);
}

static void convert(Gmem__PageState to, const struct gm_range *range)
{
	uint32_t serial = step_ask(&region, to, range, 1);
	struct answer answer;

	fake_crew_finish(job());
	answer = take(serial);
	(void)expect_reply(&answer);
}

static uint32_t send_populate(const struct gm_range *range, Gmem__PageType type)
{
	Gmem__PopulateRequest request = GMEM__POPULATE_REQUEST__INIT;

	request.has_region = 1;
	request.region = region.id;
	request.has_offset = 1;
	request.offset = range->offset;
	request.has_length = 1;
	request.length = range->length;
	request.has_type = 1;
	request.type = type;
	return peer_send(&peer, GM_MSG_POPULATE, &request.base);
}

static void expect_refused(const struct gm_range *range, enum gm_verdict verdict, enum gm_rule rule)
{
	struct answer answer = take(send_populate(range, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL));

	expect_refusal(&answer, verdict, rule);
	assert_null(job());
}

static void take_step(uint32_t serial)
{
	struct answer answer = take(serial);
	const Gmem__PopulateReply *reply = expect_reply(&answer);

	assert_int_equal(reply->step->kind, GMEM__STEP_KIND__STEP_POPULATE);
	region.step = reply->step->step;
}

static void populate(const struct gm_range *range)
{
	uint32_t serial = send_populate(range, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL);

	assert_int_equal(fake_crew_order(job())->verb, GM_JOB_MAKE_PRIVATE);
	fake_crew_finish(job());
	take_step(serial);
}

static uint64_t pages(enum gm_page_state state)
{
	return step_pages(&rig, region.id, state);
}

static struct gm_domain *booked(void)
{
	return gm_book_next_domain(&rig.book, NULL);
}

static const Gmem__DomainInfo *look(void)
{
	struct answer answer = ask_domain_get(&peer, domain.id);

	return ((const Gmem__DomainGetReply *)expect_reply(&answer))->info;
}

static void shared_pages_are_made_private_and_then_measured(void **state)
{
	(void)state;
	start();
	convert(SHARED, &first);
	populate(&first);
	/* As the VMM sees it, they are the guest's; as the books do, not before it says so. */
	assert_int_equal(pages(GM_PAGE_SHARED), 2 * GM_MIB);
	assert_int_equal(booked()->launch->state, GM_LAUNCH_POPULATING);
	step_expect_good(step_done(&region, 0, 512, &first, 1));
	assert_int_equal(pages(GM_PAGE_MEASURED), 2 * GM_MIB);
	assert_int_equal(booked()->launch->state, GM_LAUNCH_OPEN);
	stop();
}

static void what_they_hold_nobody_can_predict(void **state)
{
	const Gmem__DomainInfo *info;
	char text[200];

	(void)state;
	start();
	convert(SHARED, &first);
	info = look();
	assert_true(info->has_measurement);
	populate(&first);
	step_expect_good(step_done(&region, 0, 512, &first, 1));
	info = look();
	assert_false(info->has_measurement);
	snprintf(text, sizeof(text), "%.*s", (int)info->measurement_reason.len,
		 (const char *)info->measurement_reason.data);
	assert_non_null(strstr(text, "populated in place"));
	stop();
}

static void a_policy_that_allows_measurements_allows_none_of_it(void **state)
{
	(void)state;
	start();
	convert(SHARED, &first);
	rig.acme->policy.n_measurements = 1;
	expect_refused(&first, GM_DENIED, GM_RULE_MEASUREMENT_ALLOW);
	rig.acme->policy.n_measurements = 0;
	rig.acme->policy.require_id_block = true;
	expect_refused(&first, GM_DENIED, GM_RULE_REQUIRE_ID_BLOCK);
	assert_int_equal(pages(GM_PAGE_SHARED), 2 * GM_MIB);
	assert_true(look()->has_measurement);
	stop();
}

static void a_page_that_is_not_shared_is_refused(void **state)
{
	(void)state;
	start();
	/* Never touched, as far as is known. */
	expect_refused(&first, GM_WRONG_STATE, GM_RULE_PAGE_STATE);
	/* Once private. */
	convert(SHARED, &first);
	convert(PRIVATE, &first);
	expect_refused(&first, GM_WRONG_STATE, GM_RULE_PAGE_STATE);
	/* In already. */
	convert(SHARED, &second);
	populate(&second);
	step_expect_good(step_done(&region, 0, 512, &second, 1));
	expect_refused(&second, GM_WRONG_STATE, GM_RULE_PAGE_STATE);
	stop();
}

static void only_normal_pages_are_their_own_source(void **state)
{
	struct answer answer;

	(void)state;
	start();
	convert(SHARED, &first);
	answer = take(send_populate(&first, GMEM__PAGE_TYPE__PAGE_TYPE_UNMEASURED));
	expect_refusal(&answer, GM_INVALID, GM_RULE_SOURCE);
	answer = take(send_populate(&second, GMEM__PAGE_TYPE__PAGE_TYPE_UNMEASURED));
	expect_refusal(&answer, GM_INVALID, GM_RULE_SOURCE);
	stop();
}

static void the_memory_of_the_region_is_no_source(void **state)
{
	Gmem__SourceRequest request = GMEM__SOURCE_REQUEST__INIT;
	struct answer answer;

	(void)state;
	start();
	request.has_domain = 1;
	request.domain = domain.id;
	request.has_box = 1;
	request.box = step_box(&peer, domain.id, region.half);
	answer = peer_ask(&peer, GM_MSG_SOURCE, &request.base);
	expect_refusal(&answer, GM_INVALID, GM_RULE_SOURCE);
	stop();
}

static void a_page_that_is_held_leaves_the_launch_open(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	convert(SHARED, &first);
	convert(SHARED, &second);
	serial = send_populate(&first, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL);
	fake_crew_report(job(), 0, GM_MIB);
	fake_crew_held(job(), GM_MIB);
	answer = take(serial);
	expect_refusal(&answer, GM_BUSY, GM_RULE_PAGES_HELD);
	assert_int_equal(booked()->launch->state, GM_LAUNCH_OPEN);
	assert_true(look()->has_measurement);
	/* Private by now, and no more to be populated. */
	assert_int_equal(pages(GM_PAGE_PRIVATE), GM_MIB);
	expect_refused(&first, GM_WRONG_STATE, GM_RULE_PAGE_STATE);
	populate(&second);
	step_expect_good(step_done(&region, 0, 512, &second, 1));
	stop();
}

static void a_launch_whose_pages_nobody_knows_has_failed(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	convert(SHARED, &first);
	serial = send_populate(&first, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL);
	for (int i = 0; i < 3; i++)
		fake_crew_end(job(), GM_JOB_WORKER_LOST, 9);
	answer = take(serial);
	expect_refusal(&answer, GM_WORKER_LOST, GM_RULE_MEMORY_CGROUP);
	assert_int_equal(booked()->launch->state, GM_LAUNCH_FAILED);
	assert_int_equal(pages(GM_PAGE_LOST), 2 * GM_MIB);
	stop();
}

static void a_launch_that_is_given_up_meanwhile_gets_no_step(void **state)
{
	Gmem__LaunchAbortRequest request = GMEM__LAUNCH_ABORT_REQUEST__INIT;
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	convert(SHARED, &first);
	serial = send_populate(&first, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL);
	request.has_domain = 1;
	request.domain = domain.id;
	answer = peer_ask(&peer, GM_MSG_LAUNCH_ABORT, &request.base);
	(void)expect_reply(&answer);
	fake_crew_finish(job());
	answer = take(serial);
	expect_refusal(&answer, GM_WRONG_STATE, GM_RULE_LAUNCH_STATE);
	assert_int_equal(pages(GM_PAGE_PRIVATE), 2 * GM_MIB);
	stop();
}

static void nothing_else_is_populated_meanwhile(void **state)
{
	uint32_t serial;

	(void)state;
	start();
	convert(SHARED, &first);
	convert(SHARED, &second);
	serial = send_populate(&first, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL);
	{
		struct answer answer =
			take(send_populate(&second, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL));

		expect_refusal(&answer, GM_WRONG_STATE, GM_RULE_LAUNCH_STATE);
	}
	fake_crew_finish(job());
	take_step(serial);
	step_expect_good(step_done(&region, 0, 512, &first, 1));
	stop();
}

/* The step is there again when the pages are private, and not before. */
static void a_population_that_is_asked_for_again_cannot_be_reported_meanwhile(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	convert(SHARED, &first);
	populate(&first);
	serial = send_populate(&first, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL);
	assert_non_null(job());
	answer = step_done(&region, 0, 512, &first, 1);
	expect_refusal(&answer, GM_INVALID, GM_RULE_STEP);
	fake_crew_finish(job());
	take_step(serial);
	step_expect_good(step_done(&region, 0, 512, &first, 1));
	assert_int_equal(pages(GM_PAGE_MEASURED), first.length);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(shared_pages_are_made_private_and_then_measured),
		gm_test(what_they_hold_nobody_can_predict),
		gm_test(a_policy_that_allows_measurements_allows_none_of_it),
		gm_test(a_page_that_is_not_shared_is_refused),
		gm_test(only_normal_pages_are_their_own_source),
		gm_test(the_memory_of_the_region_is_no_source),
		gm_test(a_page_that_is_held_leaves_the_launch_open),
		gm_test(a_launch_whose_pages_nobody_knows_has_failed),
		gm_test(a_launch_that_is_given_up_meanwhile_gets_no_step),
		gm_test(nothing_else_is_populated_meanwhile),
		gm_test(a_population_that_is_asked_for_again_cannot_be_reported_meanwhile),
	};

	return gm_test_run("service populate in place", tests, GM_ARRAY_SIZE(tests));
}
