/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LIST, STATS and HOST: everything that one may see, page by page, and nothing else.
 */
#include <stdlib.h>
#include <string.h>

#include "gm_version.h"
#include "service_rig.h"

static struct rig rig;
static struct peer peer;
static struct peer admin;

static void start(void)
{
	rig_start(&rig);
	peer_connect(&peer, &rig, rig.acme);
	peer_connect(&admin, &rig, NULL);
}

static void stop(void)
{
	peer_close(&admin);
	peer_close(&peer);
	rig_stop(&rig);
}

static Gmem__ListRequest listing(Gmem__ListWhat what)
{
	Gmem__ListRequest request = GMEM__LIST_REQUEST__INIT;

	request.has_what = 1;
	request.what = what;
	request.has_cursor = 1;
	return request;
}

static struct answer ask(struct peer *who, const Gmem__ListRequest *request)
{
	struct answer answer = peer_ask(who, GM_MSG_LIST, &request->base);

	assert_true(answer.frame.body_length <= GM_BODY_MAX);
	return answer;
}

static const Gmem__ListReply *list(struct peer *who, const Gmem__ListRequest *request)
{
	struct answer answer = ask(who, request);

	return expect_reply(&answer);
}

static void domains_are_listed_in_order_of_creation(void **state)
{
	Gmem__ListRequest request = listing(GMEM__LIST_WHAT__LIST_DOMAINS);
	const Gmem__ListReply *reply;
	uint64_t a;
	uint64_t b;

	(void)state;
	start();
	a = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "a").id;
	b = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "b").id;
	reply = list(&peer, &request);
	assert_int_equal(reply->n_domains, 2);
	assert_int_equal(reply->domains[0]->domain, a);
	assert_int_equal(reply->domains[1]->domain, b);
	assert_false(reply->domains[0]->has_tenant);
	assert_int_equal(reply->cursor, 0);
	stop();
}

static void an_operator_sees_every_tenant_and_whose_it_is(void **state)
{
	Gmem__ListRequest request = listing(GMEM__LIST_WHAT__LIST_DOMAINS);
	const Gmem__ListReply *reply;
	static struct peer neighbour;

	(void)state;
	start();
	peer_connect(&neighbour, &rig, rig.beta);
	make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	make_domain(&neighbour, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	reply = list(&admin, &request);
	assert_int_equal(reply->n_domains, 2);
	assert_true(bytes_equal(reply->domains[0]->tenant, "acme"));
	assert_true(bytes_equal(reply->domains[1]->tenant, "beta"));
	request.has_tenant = 1;
	request.tenant = bytes_of("beta");
	reply = list(&admin, &request);
	assert_int_equal(reply->n_domains, 1);
	assert_true(bytes_equal(reply->domains[0]->tenant, "beta"));
	peer_close(&neighbour);
	stop();
}

static void regions_of_one_domain_are_listed_lowest_address_first(void **state)
{
	Gmem__ListRequest request = listing(GMEM__LIST_WHAT__LIST_REGIONS);
	const Gmem__ListReply *reply;
	uint64_t one;
	uint64_t two;

	(void)state;
	start();
	one = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id;
	two = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id;
	make_region(&peer, one, GM_GIB, GM_MIB);
	make_region(&peer, two, 0, GM_MIB);
	make_region(&peer, one, 0, GM_MIB);
	request.has_domain = 1;
	request.domain = one;
	reply = list(&peer, &request);
	assert_int_equal(reply->n_regions, 2);
	assert_int_equal(reply->regions[0]->gpa, 0);
	assert_int_equal(reply->regions[1]->gpa, GM_GIB);
	request.has_domain = 0;
	assert_int_equal(list(&peer, &request)->n_regions, 3);
	stop();
}

static void tenants_are_for_the_operator(void **state)
{
	Gmem__ListRequest request = listing(GMEM__LIST_WHAT__LIST_TENANTS);
	const Gmem__ListReply *reply;
	struct answer answer;

	(void)state;
	start();
	answer = ask(&peer, &request);
	expect_refusal(&answer, GM_DENIED, GM_RULE_PERMISSION);
	reply = list(&admin, &request);
	assert_int_equal(reply->n_tenants, 2);
	assert_true(bytes_equal(reply->tenants[0]->account, "acme"));
	request.what = GMEM__LIST_WHAT__LIST_DOMAINS;
	request.has_tenant = 1;
	request.tenant = bytes_of("beta");
	answer = ask(&peer, &request);
	expect_refusal(&answer, GM_DENIED, GM_RULE_PERMISSION);
	request.tenant = bytes_of("nobody");
	answer = ask(&admin, &request);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	stop();
}

static void sessions_are_listed_with_who_they_are(void **state)
{
	Gmem__ListRequest request = listing(GMEM__LIST_WHAT__LIST_SESSIONS);
	const Gmem__ListReply *reply;

	(void)state;
	start();
	make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	reply = list(&peer, &request);
	assert_int_equal(reply->n_sessions, 1);
	assert_int_equal(reply->sessions[0]->session, gm_link_session(peer.link)->id.v);
	assert_int_equal(reply->sessions[0]->pid, 4711);
	assert_int_equal(reply->sessions[0]->domains, 1);
	reply = list(&admin, &request);
	assert_int_equal(reply->n_sessions, 2);
	assert_true(bytes_equal(reply->sessions[0]->tenant, "acme"));
	assert_false(reply->sessions[1]->has_tenant);
	stop();
}

static void an_unknown_what_or_a_domain_where_none_belongs_is_refused(void **state)
{
	Gmem__ListRequest request = listing((Gmem__ListWhat)17);
	struct answer answer;

	(void)state;
	start();
	answer = ask(&peer, &request);
	expect_refusal(&answer, GM_INVALID, GM_RULE_FLAGS);
	request = listing(GMEM__LIST_WHAT__LIST_SESSIONS);
	request.has_domain = 1;
	request.domain = 1;
	answer = ask(&peer, &request);
	expect_refusal(&answer, GM_INVALID, GM_RULE_FLAGS);
	request.what = GMEM__LIST_WHAT__LIST_REGIONS;
	answer = ask(&peer, &request);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	stop();
}

/* ---- paging ---- */

#define MANY 10000

static int compare_ids(const void *a, const void *b)
{
	const uint64_t *x = a;
	const uint64_t *y = b;

	return (*x > *y) - (*x < *y);
}

/* Every id exactly once. */
static void expect_set(uint64_t *listed, uint64_t *made, size_t n)
{
	qsort(listed, n, sizeof(*listed), compare_ids);
	qsort(made, n, sizeof(*made), compare_ids);
	assert_memory_equal(listed, made, n * sizeof(*made));
}

static size_t list_all_regions(struct peer *who, uint64_t *ids)
{
	Gmem__ListRequest request = listing(GMEM__LIST_WHAT__LIST_REGIONS);
	size_t n = 0;

	do {
		const Gmem__ListReply *reply = list(who, &request);

		assert_in_range(reply->n_regions, 1, 256);
		for (size_t i = 0; i < reply->n_regions; i++) {
			assert_true(n < MANY);
			ids[n++] = reply->regions[i]->region;
		}
		request.cursor = reply->cursor;
	} while (request.cursor != 0);
	return n;
}

static void ten_thousand_regions_are_listed_once_each(void **state)
{
	static uint64_t made[MANY];
	static uint64_t listed[MANY];

	(void)state;
	start();
	for (unsigned d = 0; d < 100; d++) {
		uint64_t domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id;

		for (unsigned r = 0; r < MANY / 100; r++)
			made[d * (MANY / 100) + r] = make_region(&peer, domain, r * GM_MIB, 4096);
	}
	assert_int_equal(list_all_regions(&peer, listed), MANY);
	expect_set(listed, made, MANY);
	assert_int_equal(list_all_regions(&admin, listed), MANY);
	expect_set(listed, made, MANY);
	stop();
}

static void domains_with_the_longest_names_fit_their_pages(void **state)
{
	Gmem__ListRequest request = listing(GMEM__LIST_WHAT__LIST_DOMAINS);
	char name[GM_NAME_MAX + 1];
	size_t n = 0;

	(void)state;
	start();
	for (unsigned i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "%064u", i);
		make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, name);
	}
	do {
		const Gmem__ListReply *reply = list(&admin, &request);

		for (size_t i = 0; i < reply->n_domains; i++, n++) {
			snprintf(name, sizeof(name), "%064zu", n);
			assert_true(bytes_equal(reply->domains[i]->name, name));
		}
		request.cursor = reply->cursor;
	} while (request.cursor != 0);
	assert_int_equal(n, 600);
	stop();
}

static void regions_with_the_longest_lists_fit_their_pages(void **state)
{
	Gmem__RegionCreateRequest create = GMEM__REGION_CREATE_REQUEST__INIT;
	Gmem__ListRequest request = listing(GMEM__LIST_WHAT__LIST_REGIONS);
	uint32_t nodes[GM_NUMA_NODES_MAX];
	char name[GM_NAME_MAX + 1];
	static struct peer long_named;
	struct gm_tenant *tenant;
	size_t n = 0;

	(void)state;
	start();
	snprintf(name, sizeof(name), "%064u", 0);
	assert_int_equal(gm_book_add_tenant(&rig.book, name, &rig.acme->policy, &tenant, NULL), 0);
	peer_connect(&long_named, &rig, tenant);
	rig.exec.numa_nodes = UINT64_MAX;
	for (uint32_t node = 0; node < GM_NUMA_NODES_MAX; node++)
		nodes[node] = node;
	create.has_domain = create.has_gpa = create.has_size = create.has_name = 1;
	create.domain = make_domain(&long_named, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id;
	create.size = GM_MIB;
	create.n_numa_nodes = GM_NUMA_NODES_MAX;
	create.numa_nodes = nodes;
	for (unsigned i = 0; i < 300; i++) {
		struct answer answer;

		snprintf(name, sizeof(name), "%064u", i);
		create.name = bytes_of(name);
		create.gpa = GM_ADDRESS_END - (300 - i) * GM_MIB;
		answer = peer_ask(&long_named, GM_MSG_REGION_CREATE, &create.base);
		expect_reply(&answer);
		answer_close(&answer);
	}
	do {
		const Gmem__ListReply *reply = list(&admin, &request);

		for (size_t i = 0; i < reply->n_regions; i++, n++) {
			assert_int_equal(reply->regions[i]->n_numa_nodes, GM_NUMA_NODES_MAX);
			assert_int_equal(reply->regions[i]->gpa,
					 GM_ADDRESS_END - (300 - n) * GM_MIB);
		}
		request.cursor = reply->cursor;
	} while (request.cursor != 0);
	assert_int_equal(n, 300);
	peer_close(&long_named);
	stop();
}

static void what_ends_between_two_pages_hides_nothing_else(void **state)
{
	Gmem__ListRequest request = listing(GMEM__LIST_WHAT__LIST_REGIONS);
	static uint64_t made[600];
	const Gmem__ListReply *reply;
	uint64_t domain;
	struct answer answer;
	size_t first;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id;
	for (unsigned i = 0; i < 600; i++)
		made[i] = make_region(&peer, domain, i * GM_MIB, 4096);
	reply = list(&peer, &request);
	first = reply->n_regions;
	request.cursor = reply->cursor;
	answer = ask_region_destroy(&peer, made[first - 1]);
	expect_reply(&answer);
	answer = ask_region_destroy(&peer, made[first]);
	expect_reply(&answer);
	reply = list(&peer, &request);
	assert_int_equal(reply->regions[0]->region, made[first + 1]);
	stop();
}

static void a_cursor_is_good_for_its_own_listing_only(void **state)
{
	Gmem__ListRequest request = listing(GMEM__LIST_WHAT__LIST_REGIONS);
	struct answer answer;
	uint64_t domain;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id;
	for (unsigned i = 0; i < 300; i++)
		make_region(&peer, domain, i * GM_MIB, 4096);
	request.cursor = 12345;
	answer = ask(&peer, &request);
	expect_refusal(&answer, GM_INVALID, GM_RULE_CURSOR);
	request.cursor = 0;
	request.cursor = list(&peer, &request)->cursor;
	assert_int_not_equal(request.cursor, 0);
	answer = ask(&admin, &request);
	expect_refusal(&answer, GM_INVALID, GM_RULE_CURSOR);
	request.what = GMEM__LIST_WHAT__LIST_DOMAINS;
	answer = ask(&peer, &request);
	expect_refusal(&answer, GM_INVALID, GM_RULE_CURSOR);
	request.what = GMEM__LIST_WHAT__LIST_REGIONS;
	assert_int_equal(list(&peer, &request)->n_regions, 300 - 256);
	stop();
}

/* A cursor that counted the host's objects would count the neighbours' too. */
static void a_cursor_does_not_tell_how_busy_the_neighbours_are(void **state)
{
	Gmem__ListRequest request = listing(GMEM__LIST_WHAT__LIST_REGIONS);
	static struct peer neighbour;
	uint64_t domain;

	(void)state;
	start();
	peer_connect(&neighbour, &rig, rig.beta);
	for (unsigned i = 0; i < 50; i++)
		make_domain(&neighbour, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id;
	for (unsigned i = 0; i < 300; i++)
		make_region(&peer, domain, i * GM_MIB, 4096);
	assert_int_equal(list(&peer, &request)->cursor, 1);
	peer_close(&neighbour);
	stop();
}

/* ---- statistics and host ---- */

static const Gmem__StatsReply *stats(struct peer *who, const char *tenant)
{
	Gmem__StatsRequest request = GMEM__STATS_REQUEST__INIT;
	struct answer answer;

	request.has_tenant = tenant != NULL;
	if (tenant != NULL)
		request.tenant = bytes_of(tenant);
	answer = peer_ask(who, GM_MSG_STATS, &request.base);
	return expect_reply(&answer);
}

static const Gmem__Usage *usage(const Gmem__UsageInfo *account, enum gm_resource resource)
{
	assert_int_equal(account->n_usage, GM_RESOURCE_N_);
	assert_true(bytes_equal(account->usage[resource]->resource, gm_resource_name(resource)));
	return account->usage[resource];
}

static void a_tenant_sees_its_own_account(void **state)
{
	const Gmem__StatsReply *reply;
	uint64_t domain;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id;
	make_region(&peer, domain, 0, GM_GIB);
	rig.now_ms += 5000;
	reply = stats(&peer, NULL);
	assert_int_equal(reply->uptime_ms, 5000);
	assert_false(reply->has_rss_bytes);
	assert_int_equal(reply->n_accounts, 1);
	assert_true(bytes_equal(reply->accounts[0]->account, "acme"));
	assert_int_equal(usage(reply->accounts[0], GM_RES_MEMORY)->used, GM_GIB);
	assert_int_equal(usage(reply->accounts[0], GM_RES_MEMORY)->limit, 16 * GM_GIB);
	assert_int_equal(usage(reply->accounts[0], GM_RES_DOMAINS)->used, 1);
	assert_int_equal(reply->accounts[0]->requests, 4);
	stop();
}

static void an_operator_sees_the_host_and_every_tenant(void **state)
{
	const Gmem__StatsReply *reply;
	uint64_t domain;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id;
	make_region(&peer, domain, 0, GM_GIB);
	reply = stats(&admin, NULL);
	assert_int_equal(reply->rss_bytes, 4321);
	assert_int_equal(reply->workers, 0);
	assert_int_equal(reply->n_accounts, 3);
	assert_true(bytes_equal(reply->accounts[0]->account, "host"));
	assert_int_equal(usage(reply->accounts[0], GM_RES_MEMORY)->used, GM_GIB);
	assert_int_equal(reply->accounts[0]->requests, 3 + 2);
	assert_true(bytes_equal(reply->accounts[2]->account, "beta"));
	reply = stats(&admin, "beta");
	assert_int_equal(reply->n_accounts, 1);
	assert_int_equal(usage(reply->accounts[0], GM_RES_MEMORY)->used, 0);
	stop();
}

static void statistics_by_name_are_for_the_operator(void **state)
{
	Gmem__StatsRequest request = GMEM__STATS_REQUEST__INIT;
	struct answer answer;

	(void)state;
	start();
	request.has_tenant = 1;
	request.tenant = bytes_of("acme");
	answer = peer_ask(&peer, GM_MSG_STATS, &request.base);
	expect_refusal(&answer, GM_DENIED, GM_RULE_PERMISSION);
	request.tenant = bytes_of("nobody");
	answer = peer_ask(&admin, GM_MSG_STATS, &request.base);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	stop();
}

static int known_memory(uint64_t *ret_total, uint64_t *ret_available)
{
	*ret_total = 64 * GM_GIB;
	*ret_available = 48 * GM_GIB;
	return 0;
}

static const Gmem__BackendInfo *find_backend(const Gmem__HostReply *reply, const char *kind)
{
	for (size_t i = 0; i < reply->n_backends; i++) {
		if (bytes_equal(reply->backends[i]->kind, kind))
			return reply->backends[i];
	}
	fail_msg("no backend %s", kind);
	return NULL;
}

static void host_tells_what_each_backend_can_do(void **state)
{
	Gmem__HostRequest request = GMEM__HOST_REQUEST__INIT;
	const Gmem__BackendInfo *fake;
	const Gmem__HostReply *reply;
	struct answer answer;

	(void)state;
	start();
	rig.exec.host_memory = known_memory;
	rig.exec.numa_nodes = 5;
	answer = peer_ask(&peer, GM_MSG_HOST, &request.base);
	reply = expect_reply(&answer);
	fake = find_backend(reply, "fake");
	assert_true(fake->usable);
	assert_int_equal(fake->n_page_sizes, 3);
	assert_int_equal(fake->page_sizes[0], GM_PAGE_4K);
	assert_true(fake->reason.len > 0);
	assert_true(fake->n_capabilities > 0);
	find_backend(reply, "memfd");
	assert_int_equal(reply->memory_total, 64 * GM_GIB);
	assert_int_equal(reply->memory_available, 48 * GM_GIB);
	assert_int_equal(reply->n_numa_nodes, 2);
	assert_int_equal(reply->numa_nodes[1], 2);
	assert_true(reply->kernel.len > 0);
	assert_int_equal(reply->kvm, rig.exec.kvm_fd >= 0);
	stop();
}

static void the_probe_packs_the_same_host_without_a_session(void **state)
{
	static uint8_t body[GM_BODY_MAX];
	Gmem__HostRequest request = GMEM__HOST_REQUEST__INIT;
	struct answer answer;
	size_t length;

	(void)state;
	start();
	answer = peer_ask(&peer, GM_MSG_HOST, &request.base);
	expect_reply(&answer);
	assert_int_equal(gm_service_pack_host(&rig.exec, body, &length), 0);
	assert_int_equal(length, answer.frame.body_length);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(domains_are_listed_in_order_of_creation),
		gm_test(an_operator_sees_every_tenant_and_whose_it_is),
		gm_test(regions_of_one_domain_are_listed_lowest_address_first),
		gm_test(tenants_are_for_the_operator),
		gm_test(sessions_are_listed_with_who_they_are),
		gm_test(an_unknown_what_or_a_domain_where_none_belongs_is_refused),
		gm_test(ten_thousand_regions_are_listed_once_each),
		gm_test(domains_with_the_longest_names_fit_their_pages),
		gm_test(regions_with_the_longest_lists_fit_their_pages),
		gm_test(what_ends_between_two_pages_hides_nothing_else),
		gm_test(a_cursor_is_good_for_its_own_listing_only),
		gm_test(a_cursor_does_not_tell_how_busy_the_neighbours_are),
		gm_test(a_tenant_sees_its_own_account),
		gm_test(an_operator_sees_the_host_and_every_tenant),
		gm_test(statistics_by_name_are_for_the_operator),
		gm_test(host_tells_what_each_backend_can_do),
		gm_test(the_probe_packs_the_same_host_without_a_session),
	};

	return gm_test_run("service listings", tests, GM_ARRAY_SIZE(tests));
}
