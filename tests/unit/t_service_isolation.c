/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is not there, what is another tenant's and what has been guessed are one and the same.
 */
#include <string.h>

#include "service_rig.h"

static struct rig rig;
static struct peer peer;
static struct peer neighbour;
static struct made_domain foreign;
static struct made_domain destroyed;
static uint64_t foreign_region;
static uint64_t destroyed_region;

static void start(void)
{
	struct answer answer;

	rig_start(&rig);
	peer_connect(&peer, &rig, rig.acme);
	peer_connect(&neighbour, &rig, rig.beta);
	foreign = make_domain(&neighbour, GMEM__LIFETIME__LIFETIME_PERSISTENT, "secret");
	foreign_region = make_region(&neighbour, foreign.id, 0, GM_MIB);
	destroyed = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	destroyed_region = make_region(&peer, destroyed.id, 0, GM_MIB);
	answer = ask_domain_destroy(&peer, destroyed.id, NULL);
	expect_reply(&answer);
}

static void stop(void)
{
	peer_close(&neighbour);
	peer_close(&peer);
	rig_stop(&rig);
}

/* The bytes of the one packet that the peer has got, which is left there. */
static size_t packet_bytes(const struct peer *who, const uint8_t **ret_body)
{
	assert_int_equal(who->n_packets, 1);
	assert_int_equal(who->packets[0].frame.flags, GM_FRAME_ANSWER | GM_FRAME_REFUSED);
	assert_int_equal(who->packets[0].frame.n_fds, 0);
	*ret_body = who->packets[0].body;
	return who->packets[0].frame.body_length;
}

static void expect_same(enum gm_msg_type type, const ProtobufCMessage *const *requests, size_t n)
{
	const uint8_t *first = NULL;
	size_t first_length = 0;

	for (size_t i = 0; i < n; i++) {
		const uint8_t *body;
		struct answer answer;
		size_t length;

		peer_send(&peer, type, requests[i]);
		length = packet_bytes(&peer, &body);
		if (i == 0) {
			first = body;
			first_length = length;
		}
		assert_int_equal(length, first_length);
		assert_memory_equal(body, first, length);
		answer = peer_take(&peer);
		expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	}
}

static void domains_that_are_not_ours_are_not_there(void **state)
{
	Gmem__DomainGetRequest get[4];
	Gmem__DomainDestroyRequest destroy[4];
	Gmem__RegionCreateRequest create[4];
	const ProtobufCMessage *requests[3][4];

	(void)state;
	start();
	for (size_t i = 0; i < 4; i++) {
		const uint64_t ids[] = { foreign.id, destroyed.id, 0x0123456789abcdef, 0 };

		gmem__domain_get_request__init(&get[i]);
		gmem__domain_destroy_request__init(&destroy[i]);
		gmem__region_create_request__init(&create[i]);
		get[i].has_domain = destroy[i].has_domain = create[i].has_domain = 1;
		get[i].domain = destroy[i].domain = create[i].domain = ids[i];
		requests[0][i] = &get[i].base;
		requests[1][i] = &destroy[i].base;
		requests[2][i] = &create[i].base;
	}
	expect_same(GM_MSG_DOMAIN_GET, requests[0], 4);
	expect_same(GM_MSG_DOMAIN_DESTROY, requests[1], 4);
	expect_same(GM_MSG_REGION_CREATE, requests[2], 4);
	stop();
}

static void regions_that_are_not_ours_are_not_there(void **state)
{
	Gmem__RegionGetRequest get[3];
	Gmem__RegionDestroyRequest destroy[3];
	Gmem__RegionMapRequest map[3];
	Gmem__AllocateRequest allocate[3];
	const ProtobufCMessage *requests[4][3];

	(void)state;
	start();
	for (size_t i = 0; i < 3; i++) {
		const uint64_t ids[] = { foreign_region, destroyed_region, 4 };

		gmem__region_get_request__init(&get[i]);
		gmem__region_destroy_request__init(&destroy[i]);
		gmem__region_map_request__init(&map[i]);
		gmem__allocate_request__init(&allocate[i]);
		get[i].has_with_fd = get[i].with_fd = 1;
		get[i].has_region = destroy[i].has_region = 1;
		map[i].has_region = allocate[i].has_region = 1;
		get[i].region = destroy[i].region = map[i].region = allocate[i].region = ids[i];
		requests[0][i] = &get[i].base;
		requests[1][i] = &destroy[i].base;
		requests[2][i] = &map[i].base;
		requests[3][i] = &allocate[i].base;
	}
	expect_same(GM_MSG_REGION_GET, requests[0], 3);
	expect_same(GM_MSG_REGION_DESTROY, requests[1], 3);
	expect_same(GM_MSG_REGION_MAP, requests[2], 3);
	expect_same(GM_MSG_ALLOCATE, requests[3], 3);
	stop();
}

static void tokens_that_are_stolen_stale_or_guessed_open_nothing(void **state)
{
	Gmem__DomainAttachRequest attach[5];
	Gmem__DomainDestroyRequest destroy[5];
	const ProtobufCMessage *requests[2][5];
	struct made_domain own;
	uint8_t guess[GM_TOKEN_SIZE] = { 0 };
	uint8_t nearly[GM_TOKEN_SIZE];

	(void)state;
	start();
	own = make_domain(&peer, GMEM__LIFETIME__LIFETIME_PERSISTENT, NULL);
	memcpy(nearly, own.token, sizeof(nearly));
	nearly[GM_TOKEN_SIZE - 1] ^= 1;
	for (size_t i = 0; i < 5; i++) {
		const uint64_t ids[] = { foreign.id, destroyed.id, own.id, 99, own.id };
		uint8_t *const tokens[] = { foreign.token, destroyed.token, guess, guess, nearly };

		gmem__domain_attach_request__init(&attach[i]);
		gmem__domain_destroy_request__init(&destroy[i]);
		attach[i].has_domain = destroy[i].has_domain = 1;
		attach[i].domain = destroy[i].domain = ids[i];
		attach[i].has_take_over = attach[i].take_over = 1;
		attach[i].has_token = destroy[i].has_token = 1;
		attach[i].token.len = destroy[i].token.len = GM_TOKEN_SIZE;
		attach[i].token.data = destroy[i].token.data = tokens[i];
		requests[0][i] = &attach[i].base;
		requests[1][i] = &destroy[i].base;
	}
	expect_same(GM_MSG_DOMAIN_ATTACH, requests[0], 5);
	expect_same(GM_MSG_DOMAIN_DESTROY, requests[1], 5);
	assert_int_equal(neighbour.n_packets, 0);
	stop();
}

static void listings_show_nothing_of_a_neighbour(void **state)
{
	Gmem__ListRequest request = GMEM__LIST_REQUEST__INIT;
	const Gmem__ListReply *reply;
	struct answer answer;

	(void)state;
	start();
	request.has_what = 1;
	request.what = GMEM__LIST_WHAT__LIST_DOMAINS;
	answer = peer_ask(&peer, GM_MSG_LIST, &request.base);
	reply = expect_reply(&answer);
	assert_int_equal(reply->n_domains, 0);
	request.what = GMEM__LIST_WHAT__LIST_REGIONS;
	answer = peer_ask(&peer, GM_MSG_LIST, &request.base);
	reply = expect_reply(&answer);
	assert_int_equal(reply->n_regions, 0);
	request.what = GMEM__LIST_WHAT__LIST_SESSIONS;
	answer = peer_ask(&peer, GM_MSG_LIST, &request.base);
	reply = expect_reply(&answer);
	assert_int_equal(reply->n_sessions, 1);
	stop();
}

static void two_tenants_may_use_one_name(void **state)
{
	(void)state;
	start();
	make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "secret");
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(domains_that_are_not_ours_are_not_there),
		gm_test(regions_that_are_not_ours_are_not_there),
		gm_test(tokens_that_are_stolen_stale_or_guessed_open_nothing),
		gm_test(listings_show_nothing_of_a_neighbour),
		gm_test(two_tenants_may_use_one_name),
	};

	return gm_test_run("service isolation", tests, GM_ARRAY_SIZE(tests));
}
