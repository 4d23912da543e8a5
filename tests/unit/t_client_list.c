/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking through a daemon: lists in parts, page maps, the host, the probe file.
 */
#include "client_server.h"
#include "gm_msg.h"

struct seen {
	gmem_client *client;
	int n;
	int stop_after;
	int stop_with;
	int inner;
	uint64_t ids[16];
	struct gmem_domain_info domain;
	struct gmem_account_info account;
	struct gmem_page_run runs[8];
};

/* ---- lists */

static void answer_domains(struct server *server, uint64_t first, size_t n, uint64_t cursor)
{
	Gmem__ListReply reply = GMEM__LIST_REPLY__INIT;
	Gmem__DomainInfo infos[4];
	Gmem__DomainInfo *pointers[4];

	for (size_t i = 0; i < n; i++) {
		gmem__domain_info__init(&infos[i]);
		infos[i].has_domain = infos[i].has_name = infos[i].has_kind = true;
		infos[i].domain = first + i;
		infos[i].name = bytes_of("vm\033[31m");
		infos[i].kind = bytes_of("memfd");
		pointers[i] = &infos[i];
	}
	reply.domains = pointers;
	reply.n_domains = n;
	reply.has_cursor = true;
	reply.cursor = cursor;
	server_answer(server, &reply.base, NULL, 0);
}

static void expect_list(struct server *server, uint64_t cursor)
{
	server_expect(server, GM_MSG_LIST);
	server_check(server, ((const Gmem__ListRequest *)server->request)->cursor == cursor,
		     "another cursor");
}

static void serve_two_parts(struct server *server)
{
	const Gmem__PingRequest *ping;

	expect_list(server, 0);
	answer_domains(server, 1, 2, 0xabc);
	expect_list(server, 0xabc);
	answer_domains(server, 3, 1, 0);
	for (int i = 0; i < 3; i++) {
		Gmem__PingReply reply = GMEM__PING_REPLY__INIT;

		server_expect(server, GM_MSG_PING);
		ping = server->request;
		reply.has_payload = true;
		reply.payload = ping->payload;
		server_answer(server, &reply.base, NULL, 0);
	}
}

static int see_domain(void *arg, const struct gmem_domain_info *info)
{
	struct seen *seen = arg;

	seen->ids[seen->n++] = info->id;
	seen->domain = *info;
	seen->inner |= gmem_ping(seen->client);
	return seen->n == seen->stop_after ? seen->stop_with : 0;
}

static void a_list_in_parts_is_one_walk_and_its_function_may_make_calls(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen = { 0 };

	(void)state;
	seen.client = server_client(&server, serve_two_parts);
	assert_int_equal(gmem_list_domains(seen.client, see_domain, &seen), 0);
	assert_int_equal(seen.n, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(seen.ids[i], i + 1);
	assert_int_equal(seen.inner, 0);
	assert_string_equal(seen.domain.name, "vm?[31m");
	assert_int_equal(seen.domain.orphan_ttl_ms, UINT64_MAX);
	gmem_disconnect(seen.client);
	server_stop(&server);
}

static int stop_now(void *arg, const struct gmem_domain_info *info)
{
	const struct seen *seen = arg;

	(void)info;
	return seen->stop_with;
}

static void serve_twice(struct server *server)
{
	expect_list(server, 0);
	answer_domains(server, 1, 2, 0);
	expect_list(server, 0);
	answer_domains(server, 1, 2, 0);
}

static void nonzero_ends_a_walk_and_negative_is_returned(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen = { .stop_with = 1 };

	(void)state;
	seen.client = server_client(&server, serve_twice);
	assert_int_equal(gmem_list_domains(seen.client, stop_now, &seen), 0);
	seen.stop_with = -1234;
	assert_int_equal(gmem_list_domains(seen.client, stop_now, &seen), -1234);
	gmem_disconnect(seen.client);
	server_stop(&server);
}

static void serve_circle(struct server *server)
{
	expect_list(server, 0);
	answer_domains(server, 1, 1, 7);
	expect_list(server, 7);
	answer_domains(server, 1, 1, 7);
}

static int ignore_domain(void *arg, const struct gmem_domain_info *info)
{
	(void)arg;
	(void)info;
	return 0;
}

static void a_list_that_goes_in_circles_breaks_the_protocol(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, serve_circle);

	(void)state;
	assert_int_equal(gmem_list_domains(client, ignore_domain, NULL), -GMEM_PROTOCOL);
	gmem_disconnect(client);
	server_stop(&server);
}

static void serve_accounts(struct server *server)
{
	Gmem__StatsReply stats = GMEM__STATS_REPLY__INIT;
	Gmem__ListReply list = GMEM__LIST_REPLY__INIT;
	Gmem__UsageInfo info = GMEM__USAGE_INFO__INIT;
	Gmem__UsageInfo *infos[1] = { &info };
	Gmem__Usage usage = GMEM__USAGE__INIT;
	Gmem__Usage *usages[GMEM_USAGE_MAX + 1];

	for (size_t i = 0; i < GM_ARRAY_SIZE(usages); i++)
		usages[i] = &usage;
	usage.has_resource = usage.has_used = true;
	usage.resource = bytes_of("memory");
	usage.used = 5;
	info.has_account = true;
	info.account = bytes_of("host");
	info.usage = usages;
	info.n_usage = GM_ARRAY_SIZE(usages);
	stats.accounts = infos;
	stats.n_accounts = 1;
	server_expect(server, GM_MSG_STATS);
	server_answer(server, &stats.base, NULL, 0);
	if (!server->admin)
		return;
	expect_list(server, 0);
	server_check(server,
		     ((const Gmem__ListRequest *)server->request)->what ==
			     GMEM__LIST_WHAT__LIST_TENANTS,
		     "not the tenants");
	info.account = bytes_of("acme");
	list.tenants = infos;
	list.n_tenants = 1;
	server_answer(server, &list.base, NULL, 0);
}

static int see_account(void *arg, const struct gmem_account_info *info)
{
	struct seen *seen = arg;

	seen->account = *info;
	seen->n++;
	return 0;
}

static void an_operator_sees_the_host_and_every_tenant_a_tenant_itself(void **state)
{
	(void)state;
	for (int admin = 0; admin < 2; admin++) {
		struct server server = SERVER_NULL;
		struct seen seen = { 0 };
		gmem_client *client;

		server.admin = admin;
		client = server_client(&server, serve_accounts);
		assert_int_equal(gmem_list_accounts(client, see_account, &seen), 0);
		assert_int_equal(seen.n, 1 + admin);
		assert_string_equal(seen.account.name, admin ? "acme" : "host");
		assert_int_equal(seen.account.n_usage, GMEM_USAGE_MAX);
		assert_int_equal(seen.account.usage[0].used, 5);
		assert_int_equal(seen.account.usage[0].limit, UINT64_MAX);
		gmem_disconnect(client);
		server_stop(&server);
	}
}

/* ---- page maps */

struct part_run {
	uint64_t offset;
	uint64_t length;
	int state;
};

static void answer_region_size(struct server *server, uint64_t size)
{
	Gmem__RegionGetReply reply = GMEM__REGION_GET_REPLY__INIT;
	Gmem__RegionInfo info = GMEM__REGION_INFO__INIT;

	server_expect(server, GM_MSG_REGION_GET);
	server_check(server, !((const Gmem__RegionGetRequest *)server->request)->with_fd, "an fd");
	info.has_region = info.has_size = true;
	info.region = 0x55;
	info.size = size;
	reply.info = &info;
	server_answer(server, &reply.base, NULL, 0);
}

static void answer_map(struct server *server, uint64_t from, const struct part_run *runs, size_t n,
		       uint64_t next)
{
	Gmem__RegionMapReply reply = GMEM__REGION_MAP_REPLY__INIT;
	Gmem__PageRun *pointers[4];
	Gmem__PageRun list[4];

	server_expect(server, GM_MSG_REGION_MAP);
	server_check(server, ((const Gmem__RegionMapRequest *)server->request)->offset == from,
		     "another offset");
	for (size_t i = 0; i < n; i++) {
		gmem__page_run__init(&list[i]);
		list[i].has_offset = list[i].has_length = list[i].has_state = true;
		list[i].offset = runs[i].offset;
		list[i].length = runs[i].length;
		list[i].state = (Gmem__PageState)runs[i].state;
		pointers[i] = &list[i];
	}
	reply.runs = pointers;
	reply.n_runs = n;
	reply.has_next_offset = true;
	reply.next_offset = next;
	server_answer(server, &reply.base, NULL, 0);
}

static void serve_map_in_parts(struct server *server)
{
	static const struct part_run first[] = { { 0, 4096, 1 }, { 4096, 8192, 0 } };
	static const struct part_run second[] = { { 12288, 4096, 0 }, { 16384, 4096, 5 } };

	answer_region_size(server, 20480);
	answer_map(server, 0, first, 2, 12288);
	answer_map(server, 12288, second, 2, 20480);
}

static int see_run(void *arg, const struct gmem_page_run *run)
{
	struct seen *seen = arg;

	seen->runs[seen->n++] = *run;
	return 0;
}

static void a_page_map_in_parts_has_no_seam(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, serve_map_in_parts);
	struct seen seen = { 0 };

	(void)state;
	assert_int_equal(gmem_get_page_map(client, 0x55, see_run, &seen), 0);
	assert_int_equal(seen.n, 3);
	assert_int_equal(seen.runs[0].state, GMEM_PAGE_SHARED);
	assert_int_equal(seen.runs[1].offset, 4096);
	assert_int_equal(seen.runs[1].length, 12288);
	assert_int_equal(seen.runs[1].state, GMEM_PAGE_ABSENT);
	assert_int_equal(seen.runs[2].offset, 16384);
	assert_int_equal(seen.runs[2].state, GMEM_PAGE_LOST);
	gmem_disconnect(client);
	server_stop(&server);
}

static void serve_gap(struct server *server)
{
	static const struct part_run runs[] = { { 0, 4096, 1 }, { 8192, 4096, 0 } };

	answer_region_size(server, 12288);
	answer_map(server, 0, runs, 2, 12288);
}

static void serve_past_the_end(struct server *server)
{
	static const struct part_run runs[] = { { 0, 16384, 1 } };

	answer_region_size(server, 12288);
	answer_map(server, 0, runs, 1, 16384);
}

static void serve_standstill(struct server *server)
{
	answer_region_size(server, 12288);
	answer_map(server, 0, NULL, 0, 0);
}

static void a_page_map_with_gaps_or_without_progress_breaks_the_protocol(void **state)
{
	static const server_script scripts[] = { serve_gap, serve_past_the_end, serve_standstill };

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(scripts); i++) {
		struct server server = SERVER_NULL;
		gmem_client *client = server_client(&server, scripts[i]);
		struct seen seen = { 0 };

		assert_int_equal(gmem_get_page_map(client, 0x55, see_run, &seen), -GMEM_PROTOCOL);
		gmem_disconnect(client);
		server_stop(&server);
	}
}

/* ---- the host */

static void fill_host(Gmem__HostReply *host, Gmem__BackendInfo *backend, Gmem__HugePagePool *pool)
{
	static Gmem__BackendInfo *backends[GMEM_BACKENDS_MAX + 3];
	static Gmem__HugePagePool *pools[1];
	static ProtobufCBinaryData capabilities[60];
	static uint64_t sizes[2] = { 4096, 2 << 20 };
	static uint32_t nodes[3] = { 0, 63, 64 };

	for (size_t i = 0; i < GM_ARRAY_SIZE(backends); i++)
		backends[i] = backend;
	for (size_t i = 0; i < GM_ARRAY_SIZE(capabilities); i++)
		capabilities[i] = bytes_of("mappable");
	pools[0] = pool;
	gmem__host_reply__init(host);
	gmem__backend_info__init(backend);
	gmem__huge_page_pool__init(pool);
	backend->has_kind = backend->has_usable = backend->has_reason = true;
	backend->kind = bytes_of("memfd");
	backend->usable = true;
	backend->reason = bytes_of("works");
	backend->page_sizes = sizes;
	backend->n_page_sizes = 2;
	backend->capabilities = capabilities;
	backend->n_capabilities = GM_ARRAY_SIZE(capabilities);
	pool->has_page_size = pool->has_free = true;
	pool->page_size = 2 << 20;
	pool->free = 9;
	host->backends = backends;
	host->n_backends = GM_ARRAY_SIZE(backends);
	host->pools = pools;
	host->n_pools = 1;
	host->numa_nodes = nodes;
	host->n_numa_nodes = 3;
	host->has_kvm = true;
	host->kvm = true;
}

static void check_host(const struct gmem_host_info *info)
{
	assert_int_equal(info->n_backends, GMEM_BACKENDS_MAX);
	assert_string_equal(info->backends[7].kind, "memfd");
	assert_true(info->backends[0].usable);
	assert_int_equal(info->backends[0].page_sizes, 4096 | 2 << 20);
	assert_memory_equal(info->backends[0].capabilities, "mappable mappable", 17);
	/* Whole names only: 28 of them with blanks between fill 251 of 255 bytes. */
	assert_int_equal(strlen(info->backends[0].capabilities), 28 * 9 - 1);
	assert_int_equal(info->n_pools, 1);
	assert_int_equal(info->pools[0].free, 9);
	assert_int_equal(info->numa_nodes, UINT64_C(1) | UINT64_C(1) << 63);
	assert_true(info->kvm);
}

static void serve_host(struct server *server)
{
	Gmem__BackendInfo backend;
	Gmem__HugePagePool pool;
	Gmem__HostReply host;

	fill_host(&host, &backend, &pool);
	server_expect(server, GM_MSG_HOST);
	server_answer(server, &host.base, NULL, 0);
}

static void what_the_host_has_is_cut_to_the_room_there_is(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, serve_host);
	struct gmem_host_info info;

	(void)state;
	assert_int_equal(gmem_get_host(client, &info), 0);
	check_host(&info);
	gmem_disconnect(client);
	server_stop(&server);
}

static void a_probe_file_is_read_without_a_daemon(void **state)
{
	static uint8_t body[GM_BODY_MAX];
	struct gmem_host_info info;
	Gmem__BackendInfo backend;
	Gmem__HugePagePool pool;
	Gmem__HostReply host;
	size_t length;

	(void)state;
	fill_host(&host, &backend, &pool);
	assert_int_equal(gm_msg_pack(&host.base, body, &length), 0);
	assert_int_equal(gmem_parse_probe(body, length, &info), 0);
	check_host(&info);
	assert_int_equal(gmem_parse_probe(body, length - 1, &info), -GMEM_PROTOCOL);
	gm_test_fail_allocation(1);
	assert_int_equal(gmem_parse_probe(body, length, &info), -GMEM_SYSTEM);
	gm_test_fail_allocation(0);
}

static void serve_evict(struct server *server)
{
	Gmem__EvictReply reply = GMEM__EVICT_REPLY__INIT;

	server_expect(server, GM_MSG_EVICT);
	server_check(server, ((const Gmem__EvictRequest *)server->request)->domain == 8, "domain");
	reply.has_bytes = true;
	reply.bytes = 4096;
	server_answer(server, &reply.base, NULL, 0);
}

static void evicting_tells_what_was_given_back(void **state)
{
	struct server server = SERVER_NULL;
	gmem_client *client = server_client(&server, serve_evict);
	uint64_t bytes = 0;

	(void)state;
	assert_int_equal(gmem_evict(client, 8, &bytes), 0);
	assert_int_equal(bytes, 4096);
	gmem_disconnect(client);
	server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_list_in_parts_is_one_walk_and_its_function_may_make_calls),
		gm_test(nonzero_ends_a_walk_and_negative_is_returned),
		gm_test(a_list_that_goes_in_circles_breaks_the_protocol),
		gm_test(an_operator_sees_the_host_and_every_tenant_a_tenant_itself),
		gm_test(a_page_map_in_parts_has_no_seam),
		gm_test(a_page_map_with_gaps_or_without_progress_breaks_the_protocol),
		gm_test(what_the_host_has_is_cut_to_the_room_there_is),
		gm_test(a_probe_file_is_read_without_a_daemon),
		gm_test(evicting_tells_what_was_given_back),
	};

	return gm_test_run("client_list", tests, GM_ARRAY_SIZE(tests));
}
