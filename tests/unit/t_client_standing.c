/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversions under a standing order in libgmem: made at once, reported together, in order, and
 * before anything else that is asked; what the order does not allow is asked for.
 */
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>

#include "client_vm.h"

#define ORDER 0x0d
#define ROOM (16 * PAGE)
#define SHARED GMEM__PAGE_STATE__PAGE_SHARED
#define PRIVATE GMEM__PAGE_STATE__PAGE_PRIVATE

/* The clock stands still while this is not 0: what comes then comes in quick succession. */
static atomic_llong frozen_ns;

int clock_gettime(clockid_t clock, struct timespec *time)
{
	long long ns = atomic_load(&frozen_ns);

	if (clock != CLOCK_MONOTONIC || ns == 0)
		return (int)syscall(SYS_clock_gettime, clock, time);
	*time = (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
	return 0;
}

static void freeze(void)
{
	struct timespec now;

	assert_return_code(clock_gettime(CLOCK_MONOTONIC, &now), errno);
	atomic_store(&frozen_ns, now.tv_sec * 1000000000LL + now.tv_nsec);
}

static void thaw(void)
{
	atomic_store(&frozen_ns, 0);
}

/* ---- a daemon with orders */

static void answer_with_order(struct server *server, uint64_t room, uint32_t reports_max)
{
	Gmem__StepDoneReply reply = GMEM__STEP_DONE_REPLY__INIT;
	Gmem__Order standing = GMEM__ORDER__INIT;

	standing.has_order = standing.has_room = standing.has_granularity = true;
	standing.has_reports_max = standing.has_conversions_max = true;
	standing.order = ORDER;
	standing.room = room;
	standing.granularity = 2 * PAGE;
	standing.reports_max = reports_max;
	standing.conversions_max = 4;
	reply.order = &standing;
	server_answer(server, &reply.base, NULL, 0);
}

/* Domain 1 with REGION, at the address of its second page. */
static void set_up_order(struct server *server, uint32_t reports_max)
{
	server_grant_domain(server);
	grant_first_half(server, REGION, SIZE);
	take_memory(server, SIZE);
	order_bind(server);
	expect_report(server, 0, 0, 0);
	answer_with_order(server, ROOM, reports_max);
}

static uint32_t expect_converted(struct server *server, uint64_t number, size_t n)
{
	const Gmem__ConvertedRequest *request;

	server_expect(server, GM_MSG_CONVERTED);
	request = server->request;
	server_check(server, request->region == REGION && request->order == ORDER,
		     "another region or order");
	server_check(server, request->number == number, "another number");
	server_check(server, request->n_conversions == 2 * n, "another number of conversions");
	return server->frame.serial;
}

static void check_conversion(struct server *server, size_t i, uint64_t page, uint64_t n_pages,
			     Gmem__PageState to)
{
	const Gmem__ConvertedRequest *request = server->request;

	server_check(server,
		     request->conversions[2 * i] == page * PAGE + to &&
			     request->conversions[2 * i + 1] == n_pages * PAGE,
		     "another conversion");
}

static void answer_converted(struct server *server, uint32_t serial, uint64_t room)
{
	Gmem__ConvertedReply reply = GMEM__CONVERTED_REPLY__INIT;

	reply.has_room = true;
	reply.room = room;
	server_answer_message(server, GM_MSG_CONVERTED, serial, &reply.base, NULL, 0);
}

static void take_converted(struct server *server, uint64_t number, size_t n)
{
	answer_converted(server, expect_converted(server, number, n), ROOM);
}

/* ---- the program */

/* Its first page is at an address that the granularity allows. */
static gmem_region *open_ordered(struct server *server, server_script script, struct seen *seen)
{
	gmem_region *region = open_region(open_domain(server, script, seen), 0);

	thaw();
	assert_int_equal(gmem_region_bind(region, 3), 0);
	vm.n = 0;
	return region;
}

static int convert(gmem_region *region, uint64_t page, uint64_t n_pages, int to)
{
	const struct gmem_range range = { page * PAGE, n_pages * PAGE };

	return gmem_region_convert(region, &range, 1, to);
}

static void share(gmem_region *region, uint64_t page)
{
	assert_int_equal(convert(region, page, 2, GMEM_PAGE_SHARED), 0);
}

/* ---- reports */

static void serve_one(struct server *server)
{
	set_up_order(server, 8);
	take_converted(server, 1, 1);
	check_conversion(server, 0, 2, 2, SHARED);
	outage_serve_ping(server);
}

static void a_conversion_is_made_and_then_reported(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_ordered(&server, serve_one, &seen);

	(void)state;
	fill(vm.memory);
	share(region, 2);
	check_attributes(0, 2 * PAGE, 2 * PAGE, false);
	assert_int_equal(present(vm.memory), SIZE - 2 * PAGE);
	assert_int_equal(gmem_ping(seen.client), 0);
	outage_end(&server, seen.client);
}

static void serve_together(struct server *server)
{
	set_up_order(server, 8);
	take_converted(server, 1, 1);
	take_converted(server, 2, 3);
	check_conversion(server, 0, 4, 2, SHARED);
	check_conversion(server, 1, 6, 2, SHARED);
	check_conversion(server, 2, 4, 2, PRIVATE);
	outage_serve_ping(server);
}

/* A page that has not been reported may go to and fro. */
static void those_in_quick_succession_are_reported_together_and_in_order(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_ordered(&server, serve_together, &seen);

	(void)state;
	freeze();
	share(region, 2);
	share(region, 4);
	share(region, 6);
	assert_int_equal(convert(region, 4, 2, GMEM_PAGE_PRIVATE), 0);
	assert_int_equal(vm.n, 4);
	/* Whatever is asked next comes after it. */
	assert_int_equal(gmem_ping(seen.client), 0);
	thaw();
	outage_end(&server, seen.client);
}

static void serve_late(struct server *server)
{
	uint32_t serial;

	set_up_order(server, 8);
	take_converted(server, 1, 1);
	serial = expect_converted(server, 2, 1);
	/* The program may stop looking when it has seen the answer. */
	atomic_store(&server->flag, 1);
	answer_converted(server, serial, ROOM);
	outage_serve_ping(server);
}

static void what_waits_is_reported_when_the_program_looks_after_the_connection(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_ordered(&server, serve_late, &seen);
	struct pollfd fd = { .fd = gmem_client_fd(seen.client), .events = POLLIN };

	(void)state;
	freeze();
	share(region, 2);
	share(region, 4);
	thaw();
	while (atomic_load(&server.flag) == 0) {
		assert_int_equal(poll(&fd, 1, 5000), 1);
		(void)gmem_dispatch(seen.client);
	}
	assert_int_equal(gmem_ping(seen.client), 0);
	outage_end(&server, seen.client);
}

static void serve_parts(struct server *server)
{
	set_up_order(server, 8);
	take_converted(server, 1, 4);
	check_conversion(server, 3, 12, 2, SHARED);
	take_converted(server, 2, 1);
	check_conversion(server, 0, 16, 2, SHARED);
	outage_serve_ping(server);
}

static void a_batch_that_is_too_long_for_a_report_has_several(void **state)
{
	struct gmem_range ranges[5];
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_ordered(&server, serve_parts, &seen);

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(ranges); i++)
		ranges[i] = (struct gmem_range){ 4 * i * PAGE, 2 * PAGE };
	assert_int_equal(gmem_region_convert(region, ranges, 5, GMEM_PAGE_SHARED), 0);
	assert_int_equal(vm.n, 5);
	assert_int_equal(gmem_ping(seen.client), 0);
	outage_end(&server, seen.client);
}

static void serve_failed(struct server *server)
{
	set_up_order(server, 8);
	take_converted(server, 1, 1);
	check_conversion(server, 0, 0, 2, SHARED);
	outage_serve_ping(server);
}

static void what_was_converted_before_a_failure_is_reported(void **state)
{
	const struct gmem_range two[] = { { 0, 2 * PAGE }, { 4 * PAGE, 2 * PAGE } };
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_ordered(&server, serve_failed, &seen);

	(void)state;
	vm.fail_at = 2;
	assert_int_equal(gmem_region_convert(region, two, 2, GMEM_PAGE_SHARED), -GMEM_SYSTEM);
	assert_int_equal(gmem_error(seen.client)->sys_errno, EIO);
	assert_int_equal(gmem_ping(seen.client), 0);
	outage_end(&server, seen.client);
}

/* ---- waiting for answers */

static void serve_slowly(struct server *server)
{
	uint32_t serial;

	set_up_order(server, 8);
	serial = expect_converted(server, 1, 1);
	/* Another page is converted meanwhile. */
	server_wait_flag(server, 1);
	outage_nap_ms(50);
	server_check(server, vm.n == 2,
		     "a page was converted again before its report was answered");
	answer_converted(server, serial, ROOM);
	take_converted(server, 2, 1);
	take_converted(server, 3, 1);
	outage_serve_ping(server);
}

static void a_page_of_a_report_without_an_answer_is_not_converted_again(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_ordered(&server, serve_slowly, &seen);

	(void)state;
	share(region, 2);
	freeze();
	share(region, 4);
	thaw();
	atomic_store(&server.flag, 1);
	assert_int_equal(convert(region, 2, 2, GMEM_PAGE_PRIVATE), 0);
	assert_int_equal(vm.n, 3);
	assert_int_equal(gmem_ping(seen.client), 0);
	outage_end(&server, seen.client);
}

static void serve_with_patience(struct server *server)
{
	uint32_t serials[2];

	set_up_order(server, 2);
	serials[0] = expect_converted(server, 1, 4);
	serials[1] = expect_converted(server, 2, 4);
	outage_nap_ms(50);
	server_check(server, vm.n == 8, "more was converted than may be unanswered");
	answer_converted(server, serials[0], 100 * PAGE);
	answer_converted(server, serials[1], 100 * PAGE);
	take_converted(server, 3, 1);
	outage_serve_ping(server);
}

static void no_more_reports_are_unanswered_than_may_be(void **state)
{
	struct gmem_range ranges[9];
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_ordered(&server, serve_with_patience, &seen);

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(ranges); i++)
		ranges[i] = (struct gmem_range){ 4 * i * PAGE, 2 * PAGE };
	assert_int_equal(gmem_region_convert(region, ranges, 9, GMEM_PAGE_PRIVATE), 0);
	assert_int_equal(gmem_ping(seen.client), 0);
	outage_end(&server, seen.client);
}

static void die_with_reports(struct server *server)
{
	uint32_t first, second;

	set_up_order(server, 8);
	first = expect_converted(server, 1, 1);
	second = expect_converted(server, 2, 4);
	outage_resume(server);
	take_converted(server, 1, 1);
	server_check(server, server->frame.serial == first, "another serial");
	take_converted(server, 2, 4);
	server_check(server, server->frame.serial == second, "another serial");
	take_converted(server, 3, 1);
	outage_serve_ping(server);
}

static void the_next_daemon_gets_the_reports_again_in_their_order(void **state)
{
	struct gmem_range four[4];
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_ordered(&server, die_with_reports, &seen);

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(four); i++)
		four[i] = (struct gmem_range){ (40 + 4 * i) * PAGE, 2 * PAGE };
	share(region, 2);
	freeze();
	assert_int_equal(gmem_region_convert(region, four, 4, GMEM_PAGE_PRIVATE), 0);
	assert_int_equal(convert(region, 80, 2, GMEM_PAGE_PRIVATE), 0);
	thaw();
	assert_int_equal(gmem_ping(seen.client), 0);
	outage_check_resumed(&seen);
	outage_end(&server, seen.client);
}

/* ---- what is asked for */

static void ask_then_order(struct server *server)
{
	set_up_order(server, 8);
	order_convert(server);
	expect_report(server, 0, 1, 1);
	answer_with_order(server, ROOM, 8);
	outage_serve_ping(server);
	take_converted(server, 1, 1);
	outage_serve_ping(server);
}

static void what_is_more_than_the_room_is_asked_for(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_ordered(&server, ask_then_order, &seen);

	(void)state;
	assert_int_equal(convert(region, 0, 18, GMEM_PAGE_SHARED), 0);
	assert_int_equal(gmem_ping(seen.client), 0);
	/* The order is still there. */
	share(region, 20);
	assert_int_equal(gmem_ping(seen.client), 0);
	outage_end(&server, seen.client);
}

static void what_is_finer_than_the_order_allows_is_asked_for(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_ordered(&server, ask_then_order, &seen);

	(void)state;
	assert_int_equal(convert(region, 1, 2, GMEM_PAGE_PRIVATE), 0);
	assert_int_equal(gmem_ping(seen.client), 0);
	share(region, 20);
	assert_int_equal(gmem_ping(seen.client), 0);
	outage_end(&server, seen.client);
}

static void use_up_room(struct server *server)
{
	set_up_order(server, 8);
	take_converted(server, 1, 1);
	outage_serve_ping(server);
	order_convert(server);
	expect_report(server, 0, 1, 1);
	answer_with_order(server, 2 * ROOM, 8);
	outage_serve_ping(server);
	take_converted(server, 2, 1);
	outage_serve_ping(server);
}

static void room_is_used_up_by_all_that_was_ever_shared(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_ordered(&server, use_up_room, &seen);

	(void)state;
	assert_int_equal(convert(region, 0, 16, GMEM_PAGE_SHARED), 0);
	assert_int_equal(gmem_ping(seen.client), 0);
	assert_int_equal(convert(region, 20, 2, GMEM_PAGE_SHARED), 0);
	assert_int_equal(gmem_ping(seen.client), 0);
	assert_int_equal(convert(region, 20, 16, GMEM_PAGE_SHARED), 0);
	assert_int_equal(gmem_ping(seen.client), 0);
	outage_end(&server, seen.client);
}

static void take_rooms(struct server *server)
{
	set_up_order(server, 8);
	server_expect(server, GM_MSG_CONVERT);
	outage_refuse(server, GMEM__CODE__CODE_OVER_LIMIT, GMEM__RULE__RULE_SHARED_MAX);
	server_expect(server, GM_MSG_CONVERT);
	outage_refuse(server, GMEM__CODE__CODE_OVER_LIMIT, GMEM__RULE__RULE_SHARED_MAX);
	take_converted(server, 1, 1);
	check_conversion(server, 0, 2, 2, PRIVATE);
	outage_serve_ping(server);
}

static void when_shared_memory_is_refused_no_order_has_room_any_more(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_ordered(&server, take_rooms, &seen);

	(void)state;
	assert_int_equal(convert(region, 0, 18, GMEM_PAGE_SHARED), -GMEM_OVER_LIMIT);
	assert_int_equal(convert(region, 0, 2, GMEM_PAGE_SHARED), -GMEM_OVER_LIMIT);
	assert_int_equal(vm.n, 0);
	assert_int_equal(convert(region, 2, 2, GMEM_PAGE_PRIVATE), 0);
	assert_int_equal(gmem_ping(seen.client), 0);
	outage_end(&server, seen.client);
}

static void refuse_report(struct server *server)
{
	set_up_order(server, 8);
	(void)expect_converted(server, 1, 1);
	outage_refuse(server, GMEM__CODE__CODE_INVALID, GMEM__RULE__RULE_ORDER);
	outage_serve_ping(server);
	server_expect(server, GM_MSG_CONVERT);
	outage_refuse(server, GMEM__CODE__CODE_WRONG_STATE, GMEM__RULE__RULE_PAGE_STATE);
}

static void after_a_report_was_refused_all_is_asked_for(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_ordered(&server, refuse_report, &seen);

	(void)state;
	share(region, 2);
	assert_int_equal(gmem_ping(seen.client), 0);
	assert_int_equal(convert(region, 2, 2, GMEM_PAGE_PRIVATE), -GMEM_WRONG_STATE);
	assert_int_equal(vm.n, 1);
	outage_end(&server, seen.client);
}

static void refuse_beside_job(struct server *server)
{
	uint32_t serial;

	set_up_order(server, 8);
	server_expect(server, GM_MSG_ALLOCATE);
	serial = server->frame.serial;
	server_expect(server, GM_MSG_CONVERT);
	outage_refuse(server, GMEM__CODE__CODE_BUSY, GMEM__RULE__RULE_JOBS_UNDER_WAY);
	outage_answer_allocate(server, serial);
	outage_serve_ping(server);
}

static void during_a_job_of_the_region_all_is_asked_for(void **state)
{
	const struct gmem_job_callbacks nothing = { .done = NULL };
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_ordered(&server, refuse_beside_job, &seen);

	(void)state;
	assert_int_equal(gmem_region_allocate_start(region, NULL, 0, &nothing), 0);
	assert_int_equal(convert(region, 2, 2, GMEM_PAGE_SHARED), -GMEM_BUSY);
	assert_int_equal(vm.n, 0);
	assert_int_equal(gmem_ping(seen.client), 0);
	outage_end(&server, seen.client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_conversion_is_made_and_then_reported),
		gm_test(those_in_quick_succession_are_reported_together_and_in_order),
		gm_test(what_waits_is_reported_when_the_program_looks_after_the_connection),
		gm_test(a_batch_that_is_too_long_for_a_report_has_several),
		gm_test(what_was_converted_before_a_failure_is_reported),
		gm_test(a_page_of_a_report_without_an_answer_is_not_converted_again),
		gm_test(no_more_reports_are_unanswered_than_may_be),
		gm_test(the_next_daemon_gets_the_reports_again_in_their_order),
		gm_test(what_is_more_than_the_room_is_asked_for),
		gm_test(what_is_finer_than_the_order_allows_is_asked_for),
		gm_test(room_is_used_up_by_all_that_was_ever_shared),
		gm_test(when_shared_memory_is_refused_no_order_has_room_any_more),
		gm_test(after_a_report_was_refused_all_is_asked_for),
		gm_test(during_a_job_of_the_region_all_is_asked_for),
	};

	return gm_test_run("client standing orders", tests, GM_ARRAY_SIZE(tests));
}
