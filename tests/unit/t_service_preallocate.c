/* SPDX-License-Identifier: Apache-2.0 */
/* Preallocate=: a region is there with all of its memory, or not at all. */
#include <errno.h>

#include "service_rig.h"

static struct rig rig;
static struct peer peer;
static struct made_domain domain;

static void start(void)
{
	rig_start(&rig);
	rig.acme->policy.preallocate = true;
	peer_connect(&peer, &rig, rig.acme);
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
}

static void stop(void)
{
	if (peer.link != NULL)
		peer_close(&peer);
	rig_stop(&rig);
}

static uint32_t ask(void)
{
	Gmem__RegionCreateRequest request = GMEM__REGION_CREATE_REQUEST__INIT;

	request.has_domain = 1;
	request.domain = domain.id;
	request.has_gpa = 1;
	request.has_size = 1;
	request.size = 4 * GM_MIB;
	return peer_send(&peer, GM_MSG_REGION_CREATE, &request.base);
}

static void expect_nothing_left(void)
{
	assert_null(gm_book_next_region(&rig.book, NULL));
	assert_int_equal(rig.acme->account.used[GM_RES_MEMORY], 0);
	assert_int_equal(rig.acme->account.used[GM_RES_JOBS], 0);
	assert_int_equal(gm_service_jobs(rig.service), 0);
}

static void a_region_is_granted_when_all_of_it_is_allocated(void **state)
{
	const Gmem__RegionCreateReply *reply;
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	serial = ask();
	assert_int_equal(peer.n_packets, 0);
	assert_int_equal(fake_crew_order(fake_crew_first(rig.hub))->verb, GM_JOB_ALLOCATE);
	fake_crew_finish(fake_crew_first(rig.hub));
	answer = peer_take(&peer);
	assert_int_equal(answer.frame.serial, serial);
	assert_int_equal(answer.frame.type, GM_MSG_REGION_CREATE);
	reply = expect_reply(&answer);
	assert_int_equal(answer.frame.n_fds, 1);
	assert_true(bytes_equal(reply->fd_names[0], "memory"));
	assert_int_equal(gm_book_next_region(&rig.book, NULL)->id.v, reply->region);
	assert_int_equal(gm_book_next_region(&rig.book, NULL)->allocated_bytes, 4 * GM_MIB);
	assert_false(gm_book_next_region(&rig.book, NULL)->unanswered);
	answer_close(&answer);
	stop();
}

static void without_all_of_it_there_is_none(void **state)
{
	struct answer answer;

	(void)state;
	start();
	(void)ask();
	fake_crew_report(fake_crew_first(rig.hub), 0, 2 * GM_MIB);
	fake_crew_end(fake_crew_first(rig.hub), GM_JOB_ERROR, ENOMEM);
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_NO_RESOURCE, GM_RULE_MEMORY_CGROUP);
	expect_nothing_left();
	stop();
}

static void a_vmm_that_dies_meanwhile_leaves_nothing(void **state)
{
	(void)state;
	start();
	(void)ask();
	peer_close(&peer);
	fake_crew_finish(fake_crew_first(rig.hub));
	expect_nothing_left();
	stop();
}

static void it_can_be_cancelled(void **state)
{
	Gmem__CancelRequest request = GMEM__CANCEL_REQUEST__INIT;
	struct answer answer;

	(void)state;
	start();
	request.has_serial = 1;
	request.serial = ask();
	answer = peer_ask(&peer, GM_MSG_CANCEL, &request.base);
	assert_true(((const Gmem__CancelReply *)expect_reply(&answer))->found);
	fake_crew_finish(fake_crew_first(rig.hub));
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_CANCELLED, GM_RULE_NONE);
	expect_nothing_left();
	stop();
}

static void without_a_place_for_a_job_it_is_refused(void **state)
{
	struct answer answer;

	(void)state;
	start();
	gm_account_set_limit(&rig.acme->account, GM_RES_JOBS, 0);
	(void)ask();
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_OVER_LIMIT, GM_RULE_JOBS_MAX);
	expect_nothing_left();
	stop();
}

/* Its memory is made in two steps, and the private half by the VMM. */
static void private_memory_is_granted_at_once(void **state)
{
	struct answer answer;

	(void)state;
	rig_private = true;
	start();
	(void)ask();
	answer = peer_take(&peer);
	(void)expect_reply(&answer);
	answer_close(&answer);
	stop();
	rig_private = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_region_is_granted_when_all_of_it_is_allocated),
		gm_test(without_all_of_it_there_is_none),
		gm_test(a_vmm_that_dies_meanwhile_leaves_nothing),
		gm_test(it_can_be_cancelled),
		gm_test(without_a_place_for_a_job_it_is_refused),
		gm_test(private_memory_is_granted_at_once),
	};

	return gm_test_run("service preallocate", tests, GM_ARRAY_SIZE(tests));
}
