/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session is: its greeting, what cuts it off, what it may not do, how it ends.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "gm_fd.h"
#include "gm_version.h"
#include "service_rig.h"

static struct rig rig;
static struct peer peer;

static void start(void)
{
	rig_start(&rig);
	peer_connect(&peer, &rig, rig.acme);
}

static void stop(void)
{
	peer_close(&peer);
	rig_stop(&rig);
}

static struct answer hello(uint32_t min, uint32_t max, const char *client)
{
	Gmem__HelloRequest request = GMEM__HELLO_REQUEST__INIT;

	request.has_min_version = 1;
	request.min_version = min;
	request.has_max_version = 1;
	request.max_version = max;
	request.has_client = client != NULL;
	if (client != NULL)
		request.client = bytes_of(client);
	request.has_features = 1;
	request.features = UINT64_MAX;
	return peer_ask(&peer, GM_MSG_HELLO, &request.base);
}

static void hello_tells_version_tenant_and_limits(void **state)
{
	const Gmem__HelloReply *reply;
	struct answer answer;

	(void)state;
	rig_start(&rig);
	peer_open(&peer, &rig, rig.acme);
	assert_false(gm_link_is_open(peer.link));
	answer = hello(1, 7, "test/1.0");
	reply = expect_reply(&answer);
	assert_true(gm_link_is_open(peer.link));
	assert_int_equal(reply->version, 1);
	assert_true(bytes_equal(reply->tenant, "acme"));
	assert_false(reply->admin);
	assert_int_equal(reply->features, 0);
	assert_int_equal(reply->body_max, GM_BODY_MAX);
	assert_int_equal(reply->fds_max, GM_FDSET_MAX);
	assert_int_equal(reply->ranges_max, GM_RANGES_MAX);
	assert_int_equal(reply->requests_max, GM_REQUESTS_MAX);
	assert_string_equal(gm_link_session(peer.link)->client, "test/1.0");
	stop();
}

static void hello_on_the_admin_socket_names_no_tenant(void **state)
{
	const Gmem__HelloReply *reply;
	struct answer answer;

	(void)state;
	rig_start(&rig);
	peer_open(&peer, &rig, NULL);
	answer = hello(1, 1, NULL);
	reply = expect_reply(&answer);
	assert_true(reply->admin);
	assert_int_equal(reply->tenant.len, 0);
	stop();
}

static void hello_without_a_common_version_is_refused_and_may_be_repeated(void **state)
{
	struct answer answer;

	(void)state;
	rig_start(&rig);
	peer_open(&peer, &rig, rig.acme);
	answer = hello(2, 5, NULL);
	expect_refusal(&answer, GM_UNSUPPORTED, GM_RULE_NONE);
	expect_text(&answer, "version 1, the client 2 to 5");
	assert_false(gm_link_is_open(peer.link));
	answer = hello(1, 5, NULL);
	expect_reply(&answer);
	stop();
}

static void hello_with_an_ill_formed_client_name_is_refused(void **state)
{
	struct answer answer;

	(void)state;
	rig_start(&rig);
	peer_open(&peer, &rig, rig.acme);
	answer = hello(1, 1, "two words");
	expect_refusal(&answer, GM_INVALID, GM_RULE_NAME);
	answer = hello(1, 1, "");
	expect_refusal(&answer, GM_INVALID, GM_RULE_NAME);
	assert_false(gm_link_is_open(peer.link));
	stop();
}

static void ping_gives_the_payload_back(void **state)
{
	const Gmem__PingReply *reply;
	struct answer answer;

	(void)state;
	start();
	answer = ask_ping(&peer);
	reply = expect_reply(&answer);
	assert_true(bytes_equal(reply->payload, "are you there"));
	stop();
}

/* ---- violations ---- */

static struct gm_frame good_ping(void)
{
	return (struct gm_frame){ .version = 1, .type = GM_MSG_PING, .serial = 77 };
}

static void expect_violation(const struct gm_frame *frame, const void *body, const char *fault)
{
	uint64_t before = rig.acme->counters.violations;

	assert_int_equal(peer_raw(&peer, frame, body, NULL), -EPROTO);
	assert_string_equal(peer.fault, fault);
	assert_int_equal(rig.acme->counters.violations, before + 1);
	assert_int_equal(peer.n_packets, 0);
}

static void flags_in_a_request_are_a_violation(void **state)
{
	struct gm_frame frame = good_ping();

	(void)state;
	start();
	frame.flags = GM_FRAME_ANSWER;
	expect_violation(&frame, NULL, "flags in a request");
	stop();
}

static void serial_0_is_a_violation(void **state)
{
	struct gm_frame frame = good_ping();

	(void)state;
	start();
	frame.serial = 0;
	expect_violation(&frame, NULL, "serial 0 in a request");
	stop();
}

static void every_type_that_is_no_request_is_a_violation(void **state)
{
	struct gm_frame frame = good_ping();

	(void)state;
	start();
	for (unsigned type = 0; type <= UINT16_MAX; type++) {
		frame.type = (uint16_t)type;
		if (type == 0 || type >= GM_MSG_REQUEST_N_)
			expect_violation(&frame, NULL, "an unknown type");
	}
	stop();
}

static void anything_before_hello_is_a_violation(void **state)
{
	struct gm_frame frame = good_ping();

	(void)state;
	rig_start(&rig);
	peer_open(&peer, &rig, rig.acme);
	for (unsigned type = GM_MSG_HELLO + 1; type < GM_MSG_REQUEST_N_; type++) {
		frame.type = (uint16_t)type;
		expect_violation(&frame, NULL, "a message before HELLO");
	}
	stop();
}

static void a_second_hello_is_a_violation(void **state)
{
	struct gm_frame frame = good_ping();

	(void)state;
	start();
	frame.type = GM_MSG_HELLO;
	expect_violation(&frame, NULL, "a second HELLO");
	stop();
}

static void fds_with_a_request_are_a_violation_and_closed(void **state)
{
	struct gm_frame frame = good_ping();
	struct gm_fdset fds = GM_FDSET_NULL;

	(void)state;
	start();
	for (unsigned type = GM_MSG_PING; type < GM_MSG_REQUEST_N_; type++) {
		frame.type = (uint16_t)type;
		frame.n_fds = 2;
		for (unsigned i = 0; i < frame.n_fds; i++)
			assert_int_equal(gm_fdset_add(&fds, gm_fd_dup(1)), 0);
		assert_int_equal(peer_raw(&peer, &frame, NULL, &fds), -EPROTO);
		assert_string_equal(peer.fault, "file descriptors in a request");
		assert_int_equal(fds.n_fds, 0);
	}
	stop();
}

static void a_ping_of_256_bytes_passes_and_one_of_257_is_a_violation(void **state)
{
	Gmem__PingRequest request = GMEM__PING_REQUEST__INIT;
	static uint8_t payload[GM_PING_MAX + 1];
	static uint8_t body[GM_BODY_MAX];
	struct gm_frame frame = good_ping();
	struct answer answer;
	size_t length;

	(void)state;
	start();
	request.has_payload = 1;
	request.payload.data = payload;
	request.payload.len = GM_PING_MAX;
	answer = peer_ask(&peer, GM_MSG_PING, &request.base);
	expect_reply(&answer);
	request.payload.len = GM_PING_MAX + 1;
	assert_int_equal(gm_msg_pack(&request.base, body, &length), 0);
	frame.body_length = (uint32_t)length;
	expect_violation(&frame, body, "a body longer than the request can need");
	stop();
}

static void a_body_that_cannot_be_decoded_is_a_violation(void **state)
{
	static const uint8_t cut_short[] = { 0x0a, 0x20, 'x' };
	static const uint8_t unknown_field[] = { 0x78, 0x01 };
	struct gm_frame frame = good_ping();

	(void)state;
	start();
	frame.body_length = sizeof(cut_short);
	expect_violation(&frame, cut_short, "undecodable body");
	frame.body_length = sizeof(unknown_field);
	expect_violation(&frame, unknown_field, "unknown fields in the body");
	stop();
}

static void too_many_elements_are_a_violation(void **state)
{
	/* devices = KVM, five times */
	static const uint8_t body[] = { 0x20, 1, 0x20, 1, 0x20, 1, 0x20, 1, 0x20, 1 };
	struct gm_frame frame = good_ping();

	(void)state;
	start();
	frame.type = GM_MSG_DOMAIN_CREATE;
	frame.body_length = sizeof(body);
	expect_violation(&frame, body, "too many elements in a field of the body");
	stop();
}

static void the_serial_of_an_unanswered_job_is_taken(void **state)
{
	struct gm_frame frame = good_ping();
	uint64_t domain;
	uint64_t region;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id;
	region = make_region(&peer, domain, 0, GM_MIB);
	frame.serial = start_allocate(&peer, region, 0, GM_MIB);
	expect_violation(&frame, NULL, "a serial that is still unanswered");
	fake_crew_finish(fake_crew_first(rig.hub));
	peer_take(&peer);
	peer_take(&peer);
	assert_int_equal(peer_raw(&peer, &frame, NULL, NULL), 0);
	stop();
}

/* ---- permission ---- */

static void verbs_of_tenants_are_refused_on_the_admin_socket(void **state)
{
	static const enum gm_msg_type verbs[] = {
		GM_MSG_DOMAIN_CREATE, GM_MSG_DOMAIN_ATTACH,  GM_MSG_DOMAIN_DESTROY,
		GM_MSG_REGION_CREATE, GM_MSG_REGION_DESTROY, GM_MSG_ALLOCATE,
		GM_MSG_DISCARD,	      GM_MSG_CANCEL,
	};
	Gmem__PingRequest empty = GMEM__PING_REQUEST__INIT;

	(void)state;
	rig_start(&rig);
	peer_connect(&peer, &rig, NULL);
	for (size_t i = 0; i < GM_ARRAY_SIZE(verbs); i++) {
		struct answer answer = peer_ask(&peer, verbs[i], &empty.base);

		expect_refusal(&answer, GM_DENIED, GM_RULE_PERMISSION);
		expect_text(&answer, "is for tenants only");
	}
	assert_int_equal(rig.book.counters.refusals, GM_ARRAY_SIZE(verbs));
	stop();
}

static void evict_is_refused_on_a_tenants_socket(void **state)
{
	Gmem__EvictRequest request = GMEM__EVICT_REQUEST__INIT;
	struct answer answer;

	(void)state;
	start();
	answer = peer_ask(&peer, GM_MSG_EVICT, &request.base);
	expect_refusal(&answer, GM_DENIED, GM_RULE_PERMISSION);
	expect_object(&answer, "tenant acme");
	expect_text(&answer, "is for the admin socket only");
	stop();
}

/* ---- opening and ending ---- */

static void refused_session(struct peer *unwelcome, int verdict, enum gm_rule rule)
{
	static const struct gm_peer who = { .pid = 1 };
	struct gm_link *link;
	struct answer answer;

	assert_int_equal(
		gm_service_open(rig.service, rig.acme, &who, peer_channel_ops(), unwelcome, &link),
		verdict);
	answer = peer_take(unwelcome);
	assert_int_equal(answer.frame.type, GM_MSG_HELLO);
	assert_int_equal(answer.frame.serial, 0);
	expect_refusal(&answer, (enum gm_verdict)verdict, rule);
	if (rule == GM_RULE_SESSIONS_MAX)
		expect_numbers(&answer, 4, 4, 1);
}

static void a_tenant_over_its_rate_of_requests_waits_and_its_neighbour_does_not(void **state)
{
	struct gm_policy policy;
	struct peer peers[3] = { 0 };

	(void)state;
	rig_start(&rig);
	policy = rig.acme->policy;
	policy.requests_rate = 10;
	gm_book_set_policy(rig.acme, &policy);
	/* Two HELLOs, and eight more. */
	peer_connect(&peers[0], &rig, rig.acme);
	peer_connect(&peers[1], &rig, rig.acme);
	peer_connect(&peers[2], &rig, rig.beta);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(gm_link_wait_ms(peers[0].link), 0);
		(void)ask_ping(&peers[i % 2]);
	}
	assert_int_equal(gm_link_wait_ms(peers[0].link), 100);
	assert_int_equal(gm_link_wait_ms(peers[1].link), 100);
	assert_int_equal(gm_link_wait_ms(peers[2].link), 0);
	rig.now_ms += 100;
	assert_int_equal(gm_link_wait_ms(peers[0].link), 0);
	policy.requests_rate = GM_UNLIMITED;
	gm_book_set_policy(rig.acme, &policy);
	rig.now_ms -= 100;
	assert_int_equal(gm_link_wait_ms(peers[0].link), 0);
	for (unsigned i = 0; i < 3; i++)
		peer_close(&peers[i]);
	rig_stop(&rig);
}

static void who_has_not_said_hello_does_not_wait_for_his_neighbours(void **state)
{
	struct gm_policy policy;
	struct peer greeted = { 0 }, late = { 0 };

	(void)state;
	rig_start(&rig);
	policy = rig.acme->policy;
	policy.requests_rate = 1;
	gm_book_set_policy(rig.acme, &policy);
	peer_connect(&greeted, &rig, rig.acme);
	peer_open(&late, &rig, rig.acme);
	assert_int_not_equal(gm_link_wait_ms(greeted.link), 0);
	assert_int_equal(gm_link_wait_ms(late.link), 0);
	peer_close(&late);
	peer_close(&greeted);
	rig_stop(&rig);
}

static void a_session_over_sessions_max_is_told_the_numbers_unasked(void **state)
{
	static struct peer others[3];
	static struct peer unwelcome;

	(void)state;
	start();
	for (size_t i = 0; i < GM_ARRAY_SIZE(others); i++)
		peer_open(&others[i], &rig, rig.acme);
	unwelcome.rig = &rig;
	unwelcome.n_packets = 0;
	refused_session(&unwelcome, GM_OVER_LIMIT, GM_RULE_SESSIONS_MAX);
	for (size_t i = 0; i < GM_ARRAY_SIZE(others); i++)
		peer_close(&others[i]);
	stop();
}

static void a_session_during_a_drain_is_told_so_unasked(void **state)
{
	static struct peer unwelcome;

	(void)state;
	start();
	gm_service_drain(rig.service, 5000);
	unwelcome.rig = &rig;
	unwelcome.n_packets = 0;
	refused_session(&unwelcome, GM_SHUTTING_DOWN, GM_RULE_DRAINING);
	stop();
}

static void a_drain_is_told_to_greeted_sessions_and_refuses_new_objects(void **state)
{
	const Gmem__ShutdownEvent *event;
	Gmem__DomainCreateRequest request = GMEM__DOMAIN_CREATE_REQUEST__INIT;
	struct made_domain domain;
	struct answer answer;
	static struct peer silent;

	(void)state;
	start();
	peer_open(&silent, &rig, rig.acme);
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_PERSISTENT, NULL);
	gm_service_drain(rig.service, 5000);
	answer = peer_take(&peer);
	assert_int_equal(answer.frame.type, GM_EVENT_SHUTDOWN);
	assert_int_equal(answer.frame.flags, GM_FRAME_EVENT);
	assert_int_equal(answer.frame.serial, 0);
	event = answer.reply;
	assert_int_equal(event->drain_ms, 5000);
	assert_int_equal(silent.n_packets, 0);

	request.has_kind = 1;
	request.kind = bytes_of("fake");
	answer = peer_ask(&peer, GM_MSG_DOMAIN_CREATE, &request.base);
	expect_refusal(&answer, GM_SHUTTING_DOWN, GM_RULE_DRAINING);
	answer = ask_attach(&peer, domain.id, domain.token, false);
	expect_refusal(&answer, GM_SHUTTING_DOWN, GM_RULE_DRAINING);
	answer = ask_ping(&peer);
	expect_reply(&answer);
	peer_close(&silent);
	stop();
}

static void requests_refusals_and_violations_are_counted(void **state)
{
	struct gm_frame frame = good_ping();
	struct answer answer;

	(void)state;
	start();
	answer = ask_ping(&peer);
	expect_reply(&answer);
	answer = ask_domain_get(&peer, 1);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	frame.serial = 0;
	expect_violation(&frame, NULL, "serial 0 in a request");
	assert_int_equal(rig.acme->counters.requests, 3);
	assert_int_equal(rig.acme->counters.refusals, 1);
	assert_int_equal(rig.beta->counters.requests, 0);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(hello_tells_version_tenant_and_limits),
		gm_test(hello_on_the_admin_socket_names_no_tenant),
		gm_test(hello_without_a_common_version_is_refused_and_may_be_repeated),
		gm_test(hello_with_an_ill_formed_client_name_is_refused),
		gm_test(ping_gives_the_payload_back),
		gm_test(flags_in_a_request_are_a_violation),
		gm_test(serial_0_is_a_violation),
		gm_test(every_type_that_is_no_request_is_a_violation),
		gm_test(anything_before_hello_is_a_violation),
		gm_test(a_second_hello_is_a_violation),
		gm_test(fds_with_a_request_are_a_violation_and_closed),
		gm_test(a_ping_of_256_bytes_passes_and_one_of_257_is_a_violation),
		gm_test(a_body_that_cannot_be_decoded_is_a_violation),
		gm_test(too_many_elements_are_a_violation),
		gm_test(the_serial_of_an_unanswered_job_is_taken),
		gm_test(verbs_of_tenants_are_refused_on_the_admin_socket),
		gm_test(evict_is_refused_on_a_tenants_socket),
		gm_test(a_tenant_over_its_rate_of_requests_waits_and_its_neighbour_does_not),
		gm_test(who_has_not_said_hello_does_not_wait_for_his_neighbours),
		gm_test(a_session_over_sessions_max_is_told_the_numbers_unasked),
		gm_test(a_session_during_a_drain_is_told_so_unasked),
		gm_test(a_drain_is_told_to_greeted_sessions_and_refuses_new_objects),
		gm_test(requests_refusals_and_violations_are_counted),
	};

	return gm_test_run("service sessions", tests, GM_ARRAY_SIZE(tests));
}
