/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions: granted with an fd or refused with the numbers, and nothing allocated in between.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "service_rig.h"

static struct rig rig;
static struct peer peer;
static struct peer other;
static uint64_t domain;

static void start(void)
{
	rig_start(&rig);
	/* One node, as far as this service knows: the tests are the same on every host. */
	rig.exec.numa_nodes = 1;
	peer_connect(&peer, &rig, rig.acme);
	peer_connect(&other, &rig, rig.acme);
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id;
}

static void stop(void)
{
	peer_close(&other);
	peer_close(&peer);
	rig_stop(&rig);
}

static Gmem__RegionCreateRequest wanted(uint64_t gpa, uint64_t size)
{
	Gmem__RegionCreateRequest request = GMEM__REGION_CREATE_REQUEST__INIT;

	request.has_domain = 1;
	request.domain = domain;
	request.has_gpa = 1;
	request.gpa = gpa;
	request.has_size = 1;
	request.size = size;
	return request;
}

static struct answer create(const Gmem__RegionCreateRequest *request)
{
	return peer_ask(&peer, GM_MSG_REGION_CREATE, &request->base);
}

static struct answer expect_refused(const Gmem__RegionCreateRequest *request,
				    enum gm_verdict verdict, enum gm_rule rule)
{
	uint64_t memory = rig.acme->account.used[GM_RES_MEMORY];
	uint32_t regions = rig.book.n_regions;
	struct answer answer = create(request);

	expect_refusal(&answer, verdict, rule);
	assert_int_equal(rig.book.n_regions, regions);
	assert_int_equal(rig.acme->account.used[GM_RES_MEMORY], memory);
	return answer;
}

static void a_region_comes_with_an_fd_of_its_size(void **state)
{
	Gmem__RegionCreateRequest request;
	const Gmem__RegionCreateReply *reply;
	struct answer answer;
	struct stat st;

	(void)state;
	start();
	request = wanted(GM_GIB, 3 * GM_MIB);
	answer = create(&request);
	reply = expect_reply(&answer);
	assert_int_not_equal(reply->region, 0);
	assert_int_equal(reply->n_fd_names, 1);
	assert_true(bytes_equal(reply->fd_names[0], "memory"));
	assert_int_equal(answer.frame.n_fds, 1);
	assert_int_equal(fstat(answer.fds[0], &st), 0);
	assert_int_equal(st.st_size, 3 * GM_MIB);
	assert_int_equal(st.st_blocks, 0);
	assert_int_equal(rig.acme->account.used[GM_RES_MEMORY], 3 * GM_MIB);
	answer_close(&answer);
	stop();
}

static void get_describes_a_region(void **state)
{
	Gmem__RegionCreateRequest request;
	const Gmem__RegionInfo *info;
	struct answer answer;
	uint32_t node = 0;
	uint64_t region;

	(void)state;
	start();
	request = wanted(GM_GIB, 4 * GM_MIB);
	request.has_name = 1;
	request.name = bytes_of("ram0");
	request.has_page_size = 1;
	request.page_size = GM_PAGE_2M;
	request.n_numa_nodes = 1;
	request.numa_nodes = &node;
	answer = create(&request);
	region = ((const Gmem__RegionCreateReply *)expect_reply(&answer))->region;
	answer_close(&answer);
	answer = ask_region_get(&other, region, false);
	info = ((const Gmem__RegionGetReply *)expect_reply(&answer))->info;
	assert_int_equal(info->region, region);
	assert_int_equal(info->domain, domain);
	assert_true(bytes_equal(info->name, "ram0"));
	assert_int_equal(info->gpa, GM_GIB);
	assert_int_equal(info->size, 4 * GM_MIB);
	assert_int_equal(info->page_size, GM_PAGE_2M);
	assert_int_equal(info->allocated_bytes, 0);
	assert_int_equal(info->jobs, 0);
	assert_int_equal(info->n_numa_nodes, 1);
	assert_int_equal(info->numa_nodes[0], 0);
	assert_int_equal(answer.frame.n_fds, 0);
	stop();
}

static void only_the_attached_session_gets_the_fd_again(void **state)
{
	struct answer answer;
	uint64_t region;

	(void)state;
	start();
	region = make_region(&peer, domain, 0, GM_MIB);
	answer = ask_region_get(&other, region, true);
	expect_refusal(&answer, GM_BUSY, GM_RULE_ATTACHED);
	answer = ask_region_get(&peer, region, true);
	expect_reply(&answer);
	assert_int_equal(answer.frame.n_fds, 1);
	answer_close(&answer);
	stop();
}

static void only_the_attached_session_creates_and_destroys(void **state)
{
	Gmem__RegionCreateRequest request;
	struct answer answer;
	uint64_t region;

	(void)state;
	start();
	request = wanted(0, GM_MIB);
	answer = peer_ask(&other, GM_MSG_REGION_CREATE, &request.base);
	expect_refusal(&answer, GM_BUSY, GM_RULE_ATTACHED);
	region = make_region(&peer, domain, 0, GM_MIB);
	answer = ask_region_destroy(&other, region);
	expect_refusal(&answer, GM_BUSY, GM_RULE_ATTACHED);
	answer = ask_region_destroy(&peer, region);
	expect_reply(&answer);
	answer = ask_region_get(&peer, region, false);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	assert_int_equal(rig.acme->account.used[GM_RES_MEMORY], 0);
	stop();
}

static void page_size_0_is_the_smallest_of_the_kind(void **state)
{
	const Gmem__RegionInfo *info;
	struct answer answer;

	(void)state;
	start();
	answer = ask_region_get(&peer, make_region(&peer, domain, 0, GM_MIB), false);
	info = ((const Gmem__RegionGetReply *)expect_reply(&answer))->info;
	assert_int_equal(info->page_size, GM_PAGE_4K);
	stop();
}

/* ---- refusals ---- */

static void sizes_that_are_no_pages_are_refused_with_the_page_size(void **state)
{
	Gmem__RegionCreateRequest request;
	struct answer answer;

	(void)state;
	start();
	request = wanted(0, 0);
	expect_refused(&request, GM_INVALID, GM_RULE_SIZE);
	request = wanted(0, 4095);
	answer = expect_refused(&request, GM_INVALID, GM_RULE_SIZE);
	expect_numbers(&answer, 4096, 0, 4095);
	request = wanted(1, 4096);
	expect_refused(&request, GM_INVALID, GM_RULE_OFFSET);
	stop();
}

static void addresses_past_2_to_the_52_are_refused(void **state)
{
	Gmem__RegionCreateRequest request;

	(void)state;
	start();
	request = wanted(GM_ADDRESS_END - 4096, 8192);
	expect_refused(&request, GM_INVALID, GM_RULE_OVERFLOW);
	request = wanted(UINT64_MAX - 4095, 8192);
	expect_refused(&request, GM_INVALID, GM_RULE_OVERFLOW);
	stop();
}

static void addresses_that_are_taken_are_refused(void **state)
{
	Gmem__RegionCreateRequest request;

	(void)state;
	start();
	make_region(&peer, domain, GM_GIB, GM_MIB);
	request = wanted(GM_GIB + GM_MIB - 4096, GM_MIB);
	expect_refused(&request, GM_EXISTS, GM_RULE_ADDRESS);
	stop();
}

static void a_page_size_that_the_kind_has_not_got_is_refused(void **state)
{
	static const uint64_t sizes[] = { 1, 2048, 8192, GM_PAGE_4K | GM_PAGE_2M, UINT64_MAX };
	Gmem__RegionCreateRequest request;
	struct answer answer;

	(void)state;
	start();
	request = wanted(0, GM_GIB);
	request.has_page_size = 1;
	for (size_t i = 0; i < GM_ARRAY_SIZE(sizes); i++) {
		request.page_size = sizes[i];
		answer = expect_refused(&request, GM_INVALID, GM_RULE_PAGE_SIZE);
		expect_numbers(&answer, 0, 0, sizes[i]);
	}
	stop();
}

static void hugepages_need_the_policys_leave(void **state)
{
	Gmem__RegionCreateRequest request;

	(void)state;
	start();
	request = wanted(0, GM_GIB);
	request.has_page_size = 1;
	request.page_size = GM_PAGE_1G;
	expect_refused(&request, GM_DENIED, GM_RULE_HUGE_PAGES);
	stop();
}

static void hugepages_that_the_host_has_not_got_leave_no_charge(void **state)
{
	Gmem__RegionCreateRequest request;

	(void)state;
	start();
	atomic_store(&rig.fake->missing_page_sizes, GM_PAGE_2M);
	request = wanted(0, 4 * GM_MIB);
	request.has_page_size = 1;
	request.page_size = GM_PAGE_2M;
	expect_refused(&request, GM_NO_RESOURCE, GM_RULE_HUGE_PAGES_FREE);
	assert_int_equal(rig.acme->account.used[GM_RES_HUGE_2M], 0);
	stop();
}

static void a_failing_backend_is_a_failure_with_its_errno(void **state)
{
	Gmem__RegionCreateRequest request;
	struct answer answer;

	(void)state;
	start();
	gm_fake_fail(&rig.fake->create, 1, -EMFILE);
	request = wanted(0, GM_MIB);
	answer = create(&request);
	assert_non_null(answer.status);
	assert_int_equal(answer.status->code, GMEM__CODE__CODE_FAILED);
	assert_int_equal(answer.status->sys_errno, EMFILE);
	expect_text(&answer, "REGION_CREATE");
	assert_int_equal(rig.book.n_regions, 0);
	stop();
}

static void memory_max_is_refused_with_limit_use_and_request(void **state)
{
	Gmem__RegionCreateRequest request;
	struct answer answer;

	(void)state;
	start();
	make_region(&peer, domain, 0, 8 * GM_GIB);
	make_region(&peer, domain, 8 * GM_GIB, 8 * GM_GIB - 512 * GM_MIB);
	request = wanted(16 * GM_GIB, GM_GIB);
	answer = expect_refused(&request, GM_OVER_LIMIT, GM_RULE_MEMORY_MAX);
	expect_object(&answer, "tenant acme");
	expect_numbers(&answer, 16 * GM_GIB, 16 * GM_GIB - 512 * GM_MIB, GM_GIB);
	expect_text(&answer, "MemoryMax of tenant acme: limit 16.0G, used 15.5G, asked 1.0G");
	stop();
}

static void region_max_and_regions_max_are_refused_with_the_numbers(void **state)
{
	Gmem__RegionCreateRequest request;
	struct answer answer;

	(void)state;
	start();
	request = wanted(0, 8 * GM_GIB + 4096);
	answer = expect_refused(&request, GM_OVER_LIMIT, GM_RULE_REGION_MAX);
	expect_numbers(&answer, 8 * GM_GIB, 0, 8 * GM_GIB + 4096);
	gm_account_set_limit(&rig.acme->account, GM_RES_REGIONS, 1);
	make_region(&peer, domain, 0, GM_MIB);
	request = wanted(GM_GIB, GM_MIB);
	answer = expect_refused(&request, GM_OVER_LIMIT, GM_RULE_REGIONS_MAX);
	expect_numbers(&answer, 1, 1, 1);
	stop();
}

static void a_node_that_is_not_there_or_not_allowed_is_refused(void **state)
{
	Gmem__RegionCreateRequest request;
	uint32_t node = 1;
	struct answer answer;

	(void)state;
	start();
	request = wanted(0, GM_MIB);
	request.n_numa_nodes = 1;
	request.numa_nodes = &node;
	answer = expect_refused(&request, GM_INVALID, GM_RULE_NUMA_NODES);
	expect_numbers(&answer, 0, 0, 1);
	node = 64;
	expect_refused(&request, GM_INVALID, GM_RULE_NUMA_NODES);
	rig.exec.numa_nodes = 3;
	rig.acme->policy.numa_nodes = 1;
	node = 1;
	expect_refused(&request, GM_DENIED, GM_RULE_NUMA_NODES);
	stop();
}

static void a_tenant_that_is_kept_to_some_nodes_gets_no_others_by_silence(void **state)
{
	const Gmem__RegionInfo *info;
	struct answer answer;
	Gmem__RegionCreateRequest request;

	(void)state;
	start();
	rig.exec.numa_nodes = 3;
	rig.acme->policy.numa_nodes = 5;
	answer = ask_region_get(&peer, make_region(&peer, domain, 0, GM_MIB), false);
	info = ((const Gmem__RegionGetReply *)expect_reply(&answer))->info;
	assert_int_equal(info->n_numa_nodes, 1);
	assert_int_equal(info->numa_nodes[0], 0);
	rig.acme->policy.numa_nodes = 4;
	request = wanted(GM_GIB, GM_MIB);
	expect_refused(&request, GM_DENIED, GM_RULE_NUMA_NODES);
	stop();
}

static void an_ill_formed_region_name_is_refused(void **state)
{
	Gmem__RegionCreateRequest request;

	(void)state;
	start();
	request = wanted(0, GM_MIB);
	request.has_name = 1;
	request.name = bytes_of("ram 0");
	expect_refused(&request, GM_INVALID, GM_RULE_NAME);
	stop();
}

/* ---- page map ---- */

static struct answer ask_map(uint64_t region, uint64_t offset, uint32_t runs_max)
{
	Gmem__RegionMapRequest request = GMEM__REGION_MAP_REQUEST__INIT;

	request.has_region = 1;
	request.region = region;
	request.has_offset = 1;
	request.offset = offset;
	request.has_runs_max = 1;
	request.runs_max = runs_max;
	return peer_ask(&other, GM_MSG_REGION_MAP, &request.base);
}

static void allocate_every_second_page(uint64_t region, unsigned n_pages)
{
	for (unsigned i = 0; i < n_pages; i++) {
		start_allocate(&peer, region, i * 2 * GM_PAGE_4K, GM_PAGE_4K);
		fake_crew_finish(fake_crew_first(rig.hub));
		while (peer.n_packets > 0)
			peer_take(&peer);
	}
}

static void the_map_of_a_new_region_is_one_absent_run(void **state)
{
	const Gmem__RegionMapReply *map;
	struct answer answer;

	(void)state;
	start();
	answer = ask_map(make_region(&peer, domain, 0, 8 * GM_GIB), 0, 0);
	map = expect_reply(&answer);
	assert_int_equal(map->n_runs, 1);
	assert_int_equal(map->runs[0]->offset, 0);
	assert_int_equal(map->runs[0]->length, 8 * GM_GIB);
	assert_int_equal(map->runs[0]->state, GMEM__PAGE_STATE__PAGE_ABSENT);
	assert_int_equal(map->next_offset, 8 * GM_GIB);
	stop();
}

static void a_map_is_read_in_pieces_without_gaps(void **state)
{
	const Gmem__RegionMapReply *map;
	uint64_t offset = 0;
	unsigned n_runs = 0;
	uint64_t region;
	struct answer answer;

	(void)state;
	start();
	region = make_region(&peer, domain, 0, GM_MIB);
	allocate_every_second_page(region, 10);
	while (offset < GM_MIB) {
		answer = ask_map(region, offset, 3);
		map = expect_reply(&answer);
		assert_in_range(map->n_runs, 1, 3);
		for (size_t i = 0; i < map->n_runs; i++) {
			assert_int_equal(map->runs[i]->offset, offset);
			assert_int_equal(map->runs[i]->state,
					 n_runs % 2 == 0 ? GMEM__PAGE_STATE__PAGE_SHARED
							 : GMEM__PAGE_STATE__PAGE_ABSENT);
			offset += map->runs[i]->length;
			n_runs++;
		}
		assert_int_equal(map->next_offset, offset);
	}
	assert_int_equal(n_runs, 20);
	stop();
}

static void the_largest_answer_of_a_map_fits_a_body(void **state)
{
	const Gmem__RegionMapReply *map;
	struct gm_region *book_region = NULL;
	uint64_t base = 7 * GM_GIB;
	uint64_t region;
	struct answer answer;

	(void)state;
	start();
	region = make_region(&peer, domain, 0, 8 * GM_GIB);
	assert_int_equal(gm_book_find_region(&rig.book, gm_link_session(peer.link),
					     (struct gm_region_id){ region }, &book_region, NULL),
			 0);
	for (uint64_t i = 0; i < 4096; i += 2)
		assert_int_equal(gm_page_map_set(&book_region->map, base + i * GM_PAGE_4K,
						 GM_PAGE_4K, GM_PAGE_PRIVATE, NULL),
				 0);
	answer = ask_map(region, base, UINT32_MAX);
	map = expect_reply(&answer);
	assert_int_equal(map->n_runs, 2048);
	assert_int_equal(map->next_offset, base + 2048 * GM_PAGE_4K);
	assert_int_equal(gm_page_map_set(&book_region->map, 0, 8 * GM_GIB, GM_PAGE_ABSENT, NULL),
			 0);
	stop();
}

static void a_map_offset_must_be_a_page_inside(void **state)
{
	const Gmem__RegionMapReply *map;
	struct answer answer;
	uint64_t region;

	(void)state;
	start();
	region = make_region(&peer, domain, 0, GM_MIB);
	answer = ask_map(region, 1, 0);
	expect_refusal(&answer, GM_INVALID, GM_RULE_OFFSET);
	expect_numbers(&answer, 4096, 0, 1);
	answer = ask_map(region, GM_MIB + 4096, 0);
	expect_refusal(&answer, GM_INVALID, GM_RULE_RANGE);
	expect_numbers(&answer, GM_MIB, 0, GM_MIB + 4096);
	answer = ask_map(region, GM_MIB, 0);
	map = expect_reply(&answer);
	assert_int_equal(map->n_runs, 0);
	assert_int_equal(map->next_offset, GM_MIB);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_region_comes_with_an_fd_of_its_size),
		gm_test(get_describes_a_region),
		gm_test(only_the_attached_session_gets_the_fd_again),
		gm_test(only_the_attached_session_creates_and_destroys),
		gm_test(page_size_0_is_the_smallest_of_the_kind),
		gm_test(sizes_that_are_no_pages_are_refused_with_the_page_size),
		gm_test(addresses_past_2_to_the_52_are_refused),
		gm_test(addresses_that_are_taken_are_refused),
		gm_test(a_page_size_that_the_kind_has_not_got_is_refused),
		gm_test(hugepages_need_the_policys_leave),
		gm_test(hugepages_that_the_host_has_not_got_leave_no_charge),
		gm_test(a_failing_backend_is_a_failure_with_its_errno),
		gm_test(memory_max_is_refused_with_limit_use_and_request),
		gm_test(region_max_and_regions_max_are_refused_with_the_numbers),
		gm_test(a_node_that_is_not_there_or_not_allowed_is_refused),
		gm_test(a_tenant_that_is_kept_to_some_nodes_gets_no_others_by_silence),
		gm_test(an_ill_formed_region_name_is_refused),
		gm_test(the_map_of_a_new_region_is_one_absent_run),
		gm_test(a_map_is_read_in_pieces_without_gaps),
		gm_test(the_largest_answer_of_a_map_fits_a_body),
		gm_test(a_map_offset_must_be_a_page_inside),
	};

	return gm_test_run("service regions", tests, GM_ARRAY_SIZE(tests));
}
