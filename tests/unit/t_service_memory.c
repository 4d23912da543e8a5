/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Out of memory at any point: an answer all the same, nothing lost, books that add up.
 */
#include <string.h>

#include "service_rig.h"

static struct rig rig;
static struct peer peer;
static bool failed; /* something was answered with a failure in this run */

/* The next answer; events are skipped. */
static struct answer next_answer(void)
{
	struct answer answer = peer_take(&peer);

	while (answer.frame.flags == GM_FRAME_EVENT)
		answer = peer_take(&peer);
	if (answer.status != NULL) {
		assert_int_equal(answer.status->code, GMEM__CODE__CODE_FAILED);
		failed = true;
	}
	return answer;
}

static const void *ask(enum gm_msg_type type, const ProtobufCMessage *message)
{
	struct answer answer;

	peer_send(&peer, type, message);
	answer = next_answer();
	answer_close(&answer);
	return answer.reply;
}

static bool connect_and_greet(void)
{
	static const struct gm_peer who = { .pid = 1 };
	Gmem__HelloRequest hello = GMEM__HELLO_REQUEST__INIT;

	memset(&peer, 0, sizeof(peer));
	peer.rig = &rig;
	if (gm_service_open(rig.service, rig.acme, &who, peer_channel_ops(), &peer, &peer.link) !=
	    0) {
		next_answer();
		return false;
	}
	hello.has_min_version = hello.has_max_version = 1;
	hello.min_version = hello.max_version = 1;
	assert_non_null(ask(GM_MSG_HELLO, &hello.base));
	return true;
}

static uint64_t try_domain(void)
{
	Gmem__DomainCreateRequest request = GMEM__DOMAIN_CREATE_REQUEST__INIT;
	const Gmem__DomainCreateReply *reply;

	request.has_kind = 1;
	request.kind = bytes_of("fake");
	request.has_name = 1;
	request.name = bytes_of("vm1");
	reply = ask(GM_MSG_DOMAIN_CREATE, &request.base);
	return reply != NULL ? reply->domain : 0;
}

static uint64_t try_region(uint64_t domain, uint64_t gpa)
{
	Gmem__RegionCreateRequest request = GMEM__REGION_CREATE_REQUEST__INIT;
	const Gmem__RegionCreateReply *reply;

	request.has_domain = request.has_gpa = request.has_size = 1;
	request.domain = domain;
	request.gpa = gpa;
	request.size = 2 * GM_GIB;
	reply = ask(GM_MSG_REGION_CREATE, &request.base);
	return reply != NULL ? reply->region : 0;
}

static void try_allocate(uint64_t region)
{
	uint32_t serial = start_allocate(&peer, region, GM_PAGE_4K, GM_PAGE_4K);
	struct gm_crew_job *job = fake_crew_first(rig.hub);
	struct answer answer;

	if (job != NULL)
		fake_crew_finish(job);
	answer = next_answer();
	assert_int_equal(answer.frame.serial, serial);
}

static void use_the_service(void)
{
	Gmem__ListRequest list = GMEM__LIST_REQUEST__INIT;
	Gmem__StatsRequest stats = GMEM__STATS_REQUEST__INIT;
	uint64_t domain = try_domain();
	uint64_t region;

	if (domain == 0)
		return;
	region = try_region(domain, 0);
	(void)try_region(domain, GM_TIB);
	if (region != 0)
		try_allocate(region);
	(void)ask(GM_MSG_LIST, &list.base);
	(void)ask(GM_MSG_STATS, &stats.base);
}

static void run_with_failure(long nth)
{
	rig_start(&rig);
	failed = false;
	gm_test_fail_allocation(nth);
	if (connect_and_greet()) {
		use_the_service();
		gm_test_fail_allocation(0);
		gm_service_close(peer.link);
	}
	gm_test_fail_allocation(0);
	rig_stop(&rig);
}

static void any_allocation_may_fail_and_the_books_add_up(void **state)
{
	unsigned n_failures = 0;
	unsigned n_quiet = 0;

	(void)state;
	/* One that fails unseen is possible, several in a row mean that the end is passed. */
	for (long nth = 1; n_quiet < 5; nth++) {
		run_with_failure(nth);
		if (failed) {
			n_failures++;
			n_quiet = 0;
		} else {
			n_quiet++;
		}
	}
	assert_true(n_failures >= 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(any_allocation_may_fail_and_the_books_add_up),
	};

	return gm_test_run("service memory", tests, GM_ARRAY_SIZE(tests));
}
