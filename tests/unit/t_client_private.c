/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private memory in libgmem: steps are done as ordered and reported, over deaths of the daemon too,
 * and a guest gets its answer.
 */
#include "client_vm.h"

/* ---- the private half */

static void create_and_bind(struct server *server)
{
	set_up(server);
}

static void the_private_half_is_made_on_the_vm_and_sent(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region;

	(void)state;
	region = open_region(open_domain(&server, create_and_bind, &seen), PAGE);
	assert_int_equal(vm.n, 1);
	assert_int_equal(vm.calls[0].request, CREATE_MEMORY);
	assert_int_equal(vm.calls[0].words[0], SIZE);
	assert_int_equal(fcntl(vm.memory, F_GETFD), FD_CLOEXEC);
	assert_int_equal(gmem_region_bind(region, 3), 0);
	outage_end(&server, seen.client);
}

static void grant_preallocated(struct server *server)
{
	Gmem__RegionCreateReply reply = GMEM__REGION_CREATE_REPLY__INIT;
	Gmem__Step step = order(GMEM__STEP_KIND__STEP_CREATE_MEMORY);
	ProtobufCBinaryData name = bytes_of("memory");
	int fd = server_memory(SIZE);

	server_grant_domain(server);
	server_expect(server, GM_MSG_REGION_CREATE);
	step.has_preallocate = step.preallocate = true;
	reply.has_region = true;
	reply.region = REGION;
	reply.fd_names = &name;
	reply.n_fd_names = 1;
	reply.step = &step;
	server_answer(server, &reply.base, &fd, 1);
	gm_fd_close(fd);
	take_memory(server, SIZE);
}

static void the_private_half_is_allocated_where_the_policy_wants_it(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;

	(void)state;
	(void)open_region(open_domain(&server, grant_preallocated, &seen), PAGE);
	assert_int_equal(present(vm.memory), SIZE);
	outage_end(&server, seen.client);
}

static void binding_sets_the_memslot_and_makes_all_of_it_private(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region;
	void *address;

	(void)state;
	region = open_region(open_domain(&server, create_and_bind, &seen), PAGE);
	assert_int_equal(gmem_region_bind(region, 3), 0);
	assert_int_equal(gmem_region_map(region, &address), 0);
	assert_int_equal(vm.n, 3);
	assert_int_equal(vm.calls[1].request, SET_REGION2);
	assert_int_equal(vm.calls[1].words[0], 3 | UINT64_C(4) << 32);
	assert_int_equal(vm.calls[1].words[1], PAGE);
	assert_int_equal(vm.calls[1].words[2], SIZE);
	assert_int_equal(vm.calls[1].words[3], (uintptr_t)address);
	assert_int_equal(vm.calls[1].words[5], vm.memory);
	check_attributes(2, PAGE, SIZE, true);
	outage_end(&server, seen.client);
}

static void fail_to_bind(struct server *server)
{
	server_grant_domain(server);
	grant_first_half(server, REGION, SIZE);
	take_memory(server, SIZE);
	order_bind(server);
	take_report(server, EIO, 0, 0);
}

static void a_memslot_without_its_attributes_is_taken_out_again(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region;

	(void)state;
	region = open_region(open_domain(&server, fail_to_bind, &seen), 0);
	vm.fail_at = 3;
	assert_int_equal(gmem_region_bind(region, 0), -GMEM_SYSTEM);
	assert_int_equal(gmem_error(seen.client)->sys_errno, EIO);
	assert_int_equal(vm.calls[3].request, SET_REGION2);
	assert_int_equal(vm.calls[3].words[2], 0);
	outage_end(&server, seen.client);
}

static void take_region_back(struct server *server)
{
	server_grant_domain(server);
	grant_first_half(server, REGION, SIZE);
	take_report(server, ECANCELED, 0, 0);
	server_expect(server, GM_MSG_REGION_DESTROY);
}

static void without_a_vm_there_is_no_region_and_nothing_is_left_of_it(void **state)
{
	const struct gmem_region_spec spec = { .size = SIZE };
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region;
	gmem_domain *domain = open_domain(&server, take_region_back, &seen);

	(void)state;
	assert_int_equal(gmem_region_create(domain, &spec, &region), -GMEM_WRONG_STATE);
	assert_non_null(strstr(gmem_error(seen.client)->text, "gmem_vm_adopt"));
	outage_end(&server, seen.client);
}

static void a_vm_without_private_memory_gets_no_region(void **state)
{
	const struct gmem_region_spec spec = { .size = SIZE };
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region;
	gmem_domain *domain = open_domain(&server, take_region_back, &seen);

	(void)state;
	vm.plain = true;
	assert_int_equal(gmem_vm_adopt(domain, VM_FD), 0);
	assert_int_equal(gmem_region_create(domain, &spec, &region), -GMEM_INVALID);
	assert_non_null(strstr(gmem_error(seen.client)->text, "type 1"));
	outage_end(&server, seen.client);
}

static void refuse_memory(struct server *server)
{
	server_grant_domain(server);
	grant_first_half(server, REGION, SIZE);
	await_memory(server, SIZE);
	outage_refuse(server, GMEM__CODE__CODE_INVALID, GMEM__RULE__RULE_FD);
	take_report(server, ECANCELED, 0, 0);
	server_expect(server, GM_MSG_REGION_DESTROY);
}

static void memory_that_the_daemon_does_not_want_makes_no_region(void **state)
{
	const struct gmem_region_spec spec = { .size = SIZE };
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region;
	gmem_domain *domain = open_domain(&server, refuse_memory, &seen);

	(void)state;
	assert_int_equal(gmem_vm_adopt(domain, VM_FD), 0);
	assert_int_equal(gmem_region_create(domain, &spec, &region), -GMEM_INVALID);
	assert_string_equal(gmem_error(seen.client)->rule, "fd");
	outage_end(&server, seen.client);
}

static void only_a_vm_can_be_adopted(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain = open_domain(&server, server_grant_domain, &seen);

	(void)state;
	assert_int_equal(gmem_vm_adopt(domain, KVM_FD), -GMEM_INVALID);
	assert_int_equal(gmem_vm_adopt(domain, -1), -GMEM_INVALID);
	assert_int_equal(gmem_vm_adopt(domain, VM_FD), 0);
	outage_end(&server, seen.client);
}

static void die_with_the_memory(struct server *server)
{
	uint32_t serial;

	server_grant_domain(server);
	grant_first_half(server, REGION, SIZE);
	await_memory(server, SIZE);
	serial = server->frame.serial;
	outage_resume(server);
	/* It has not taken it, and knows no box. */
	server_expect(server, GM_MSG_STEP_MEMORY);
	server_check(server, server->frame.serial == serial, "another serial");
	outage_refuse(server, GMEM__CODE__CODE_NO_SUCH_OBJECT, GMEM__RULE__RULE_BOX);
	take_memory(server, SIZE);
}

static void the_next_daemon_gets_the_memory_again(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;

	(void)state;
	open_region(open_domain(&server, die_with_the_memory, &seen), 0);
	outage_check_resumed(&seen);
	outage_end(&server, seen.client);
}

/* ---- conversions */

static void convert_two(struct server *server)
{
	const Gmem__ConvertRequest *request;

	set_up(server);
	server_expect(server, GM_MSG_CONVERT);
	request = server->request;
	server_check(server, request->to == GMEM__PAGE_STATE__PAGE_SHARED, "to another state");
	server_check(server, request->n_ranges == 2 && request->ranges[0]->offset == PAGE,
		     "ranges in another order");
	answer_convert(server);
	take_report(server, 0, 2, 2);
	order_convert(server);
	take_report(server, 0, 1, 1);
}

static void each_range_is_converted_in_order_and_the_other_half_freed(void **state)
{
	const struct gmem_range two[] = { { 8 * PAGE, PAGE }, { PAGE, 2 * PAGE } };
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_bound(&server, convert_two, &seen);

	(void)state;
	fill(vm.memory);
	fill(gmem_region_fd(region));
	assert_int_equal(gmem_region_convert(region, two, 2, GMEM_PAGE_SHARED), 0);
	assert_int_equal(vm.n, 2);
	check_attributes(0, 2 * PAGE, 2 * PAGE, false);
	check_attributes(1, 9 * PAGE, PAGE, false);
	assert_int_equal(present(vm.memory), SIZE - 3 * PAGE);
	assert_int_equal(present(gmem_region_fd(region)), SIZE);
	assert_int_equal(gmem_region_convert(region, NULL, 0, GMEM_PAGE_PRIVATE), 0);
	check_attributes(2, PAGE, SIZE, true);
	assert_int_equal(present(gmem_region_fd(region)), 0);
	outage_end(&server, seen.client);
}

static void fail_to_convert(struct server *server)
{
	set_up(server);
	order_convert(server);
	take_report(server, EIO, 3, 1);
}

static void what_was_converted_before_a_failure_is_reported(void **state)
{
	const struct gmem_range three[] = { { 0, PAGE }, { 2 * PAGE, PAGE }, { 4 * PAGE, PAGE } };
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_bound(&server, fail_to_convert, &seen);

	(void)state;
	vm.fail_at = 2;
	fill(vm.memory);
	assert_int_equal(gmem_region_convert(region, three, 3, GMEM_PAGE_SHARED), -GMEM_SYSTEM);
	assert_int_equal(gmem_error(seen.client)->sys_errno, EIO);
	assert_int_equal(vm.n, 2);
	assert_int_equal(present(vm.memory), SIZE - PAGE);
	outage_end(&server, seen.client);
}

static void answer_reports_late(struct server *server)
{
	uint32_t serial;

	set_up(server);
	order_convert(server);
	expect_report(server, 0, 1, 1);
	serial = server->frame.serial;
	server_wait_flag(server, 1);
	order_convert(server);
	answer_report(server, serial);
	expect_report(server, 0, 17, 17);
	outage_nap_ms(50);
	atomic_store(&server->flag, 2);
	answer_report(server, server->frame.serial);
}

static void a_small_batch_does_not_wait_for_its_report_and_a_big_one_does(void **state)
{
	struct gmem_range many[17];
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_bound(&server, answer_reports_late, &seen);

	(void)state;
	for (size_t i = 0; i < 17; i++)
		many[i] = (struct gmem_range){ 2 * i * PAGE, PAGE };
	assert_int_equal(gmem_region_convert(region, many, 1, GMEM_PAGE_SHARED), 0);
	atomic_store(&server.flag, 1);
	assert_int_equal(gmem_region_convert(region, many, 17, GMEM_PAGE_SHARED), 0);
	assert_int_equal(atomic_load(&server.flag), 2);
	outage_end(&server, seen.client);
}

static void be_busy_with_the_last(struct server *server)
{
	uint32_t serial;

	set_up(server);
	order_convert(server);
	expect_report(server, 0, 1, 1);
	serial = server->frame.serial;
	server_expect(server, GM_MSG_CONVERT);
	outage_refuse(server, GMEM__CODE__CODE_BUSY, GMEM__RULE__RULE_STEP_UNDER_WAY);
	answer_report(server, serial);
	order_convert(server);
	take_report(server, 0, 1, 1);
}

static void a_conversion_waits_for_the_end_of_the_one_before(void **state)
{
	const struct gmem_range one = { 0, PAGE };
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_bound(&server, be_busy_with_the_last, &seen);

	(void)state;
	assert_int_equal(gmem_region_convert(region, &one, 1, GMEM_PAGE_SHARED), 0);
	assert_int_equal(gmem_region_convert(region, &one, 1, GMEM_PAGE_PRIVATE), 0);
	assert_int_equal(vm.n, 2);
	outage_end(&server, seen.client);
}

/* Refuses the first request of @type, because a worker still frees what a conversion has left. */
static void be_busy_freeing(struct server *server, enum gm_msg_type type, Gmem__Rule rule)
{
	uint32_t serial;

	set_up(server);
	order_convert(server);
	expect_report(server, 0, 1, 1);
	serial = server->frame.serial;
	server_expect(server, type);
	outage_refuse(server, GMEM__CODE__CODE_BUSY, rule);
	answer_report(server, serial);
	server_expect(server, type);
}

static void be_busy_for_a_destroy(struct server *server)
{
	Gmem__RegionDestroyReply reply = GMEM__REGION_DESTROY_REPLY__INIT;

	be_busy_freeing(server, GM_MSG_REGION_DESTROY, GMEM__RULE__RULE_STEP_UNDER_WAY);
	server_answer(server, &reply.base, NULL, 0);
}

static void be_busy_for_an_end(struct server *server)
{
	Gmem__DomainDestroyReply reply = GMEM__DOMAIN_DESTROY_REPLY__INIT;

	be_busy_freeing(server, GM_MSG_DOMAIN_DESTROY, GMEM__RULE__RULE_JOBS_UNDER_WAY);
	server_answer(server, &reply.base, NULL, 0);
}

static void be_busy_for_a_job(struct server *server)
{
	Gmem__DiscardReply reply = GMEM__DISCARD_REPLY__INIT;

	be_busy_freeing(server, GM_MSG_DISCARD, GMEM__RULE__RULE_STEP_UNDER_WAY);
	server_answer(server, &reply.base, NULL, 0);
}

/* Else the daemon would have them until the program ends, without a handle to end them by. */
static void a_region_and_a_domain_end_once_what_a_conversion_has_left_is_free(void **state)
{
	const struct gmem_range one = { 0, PAGE };
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_bound(&server, be_busy_for_a_destroy, &seen);
	gmem_domain *domain;

	(void)state;
	assert_int_equal(gmem_region_convert(region, &one, 1, GMEM_PAGE_SHARED), 0);
	assert_int_equal(gmem_region_destroy(region), 0);
	outage_end(&server, seen.client);

	server = SERVER_NULL;
	domain = open_domain(&server, be_busy_for_an_end, &seen);
	region = open_region(domain, PAGE);
	assert_int_equal(gmem_region_bind(region, 3), 0);
	assert_int_equal(gmem_region_convert(region, &one, 1, GMEM_PAGE_SHARED), 0);
	assert_int_equal(gmem_domain_destroy(domain), 0);
	outage_end(&server, seen.client);
}

/* An event comes while a conversion is asked for, and the program ends the region in it. */
static void be_asked_to_destroy_in_between(struct server *server)
{
	Gmem__RegionDestroyReply reply = GMEM__REGION_DESTROY_REPLY__INIT;
	Gmem__ShutdownEvent event = GMEM__SHUTDOWN_EVENT__INIT;
	struct gm_frame convert;

	set_up(server);
	server_expect(server, GM_MSG_CONVERT);
	convert = server->frame;
	server_event(server, GM_EVENT_SHUTDOWN, &event.base);
	server_expect(server, GM_MSG_REGION_DESTROY);
	outage_refuse(server, GMEM__CODE__CODE_BUSY, GMEM__RULE__RULE_STEP_UNDER_WAY);
	server->frame = convert;
	answer_convert(server);
	take_report(server, ECANCELED, 1, 0);
	server_expect(server, GM_MSG_REGION_DESTROY);
	server_answer(server, &reply.base, NULL, 0);
}

static gmem_region *to_destroy;

static void destroy_it(void *arg, int type, gmem_domain *domain, uint64_t value)
{
	(void)arg;
	(void)domain;
	(void)value;
	if (type == GMEM_EVENT_SHUTDOWN)
		assert_int_equal(gmem_region_destroy(to_destroy), -GMEM_BUSY);
}

static void a_region_that_ends_while_its_conversion_is_asked_for_does_not_stay(void **state)
{
	const struct gmem_range one = { 0, PAGE };
	struct server server = SERVER_NULL;
	struct seen seen;

	(void)state;
	to_destroy = open_bound(&server, be_asked_to_destroy_in_between, &seen);
	gmem_client_on_event(seen.client, destroy_it, NULL);
	assert_int_equal(gmem_region_convert(to_destroy, &one, 1, GMEM_PAGE_SHARED),
			 -GMEM_NO_SUCH_OBJECT);
	outage_end(&server, seen.client);
}

static void a_job_begins_once_what_a_conversion_has_left_is_free(void **state)
{
	const struct gmem_range one = { 0, PAGE };
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_bound(&server, be_busy_for_a_job, &seen);

	(void)state;
	assert_int_equal(gmem_region_convert(region, &one, 1, GMEM_PAGE_SHARED), 0);
	assert_int_equal(gmem_region_discard(region, &one, 1, NULL, NULL), 0);
	outage_end(&server, seen.client);
}

static void convert_in_place(struct server *server)
{
	Gmem__ConvertReply reply = GMEM__CONVERT_REPLY__INIT;

	set_up(server);
	server_expect(server, GM_MSG_CONVERT);
	server_answer(server, &reply.base, NULL, 0);
}

static void what_the_daemon_converts_itself_is_no_step(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_bound(&server, convert_in_place, &seen);

	(void)state;
	assert_int_equal(gmem_region_convert(region, NULL, 0, GMEM_PAGE_SHARED), 0);
	assert_int_equal(vm.n, 0);
	outage_end(&server, seen.client);
}

static void pages_are_made_shared_or_private_and_nothing_else(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_bound(&server, create_and_bind, &seen);

	(void)state;
	assert_int_equal(gmem_region_convert(region, NULL, 0, GMEM_PAGE_LOST), -GMEM_INVALID);
	outage_end(&server, seen.client);
}

/* ---- a daemon that dies */

static void die_before_the_order(struct server *server)
{
	uint32_t serial;

	set_up(server);
	server_expect(server, GM_MSG_CONVERT);
	serial = server->frame.serial;
	outage_resume(server);
	order_convert(server);
	server_check(server, server->frame.serial == serial, "another serial");
	take_report(server, 0, 1, 1);
}

static void an_order_that_was_not_heard_is_asked_for_again_and_done_once(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_bound(&server, die_before_the_order, &seen);

	(void)state;
	assert_int_equal(gmem_region_convert(region, NULL, 0, GMEM_PAGE_SHARED), 0);
	assert_int_equal(vm.n, 1);
	outage_check_resumed(&seen);
	outage_end(&server, seen.client);
}

static void die_with_the_report(struct server *server)
{
	uint32_t serial;

	set_up(server);
	order_convert(server);
	expect_report(server, 0, 1, 1);
	serial = server->frame.serial;
	outage_resume(server);
	expect_report(server, 0, 1, 1);
	server_check(server, server->frame.serial == serial, "another serial");
	answer_report(server, serial);
	outage_serve_ping(server);
}

static void a_report_without_an_answer_is_repeated(void **state)
{
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_region *region = open_bound(&server, die_with_the_report, &seen);

	(void)state;
	assert_int_equal(gmem_region_convert(region, NULL, 0, GMEM_PAGE_SHARED), 0);
	assert_int_equal(gmem_ping(seen.client), 0);
	assert_int_equal(vm.n, 1);
	outage_check_resumed(&seen);
	outage_end(&server, seen.client);
}

static void order_too_late(struct server *server)
{
	uint32_t serial;

	set_up(server);
	server_expect(server, GM_MSG_CONVERT);
	serial = server->frame.serial;
	server_expect(server, GM_MSG_PING);
	server->frame.serial = serial;
	server->frame.type = GM_MSG_CONVERT;
	answer_convert(server);
	take_report(server, ECANCELED, 1, 0);
	atomic_store(&server->flag, 1);
}

static void an_order_that_nobody_waits_for_any_more_is_reported_as_not_done(void **state)
{
	const struct gmem_region_spec spec = { .size = SIZE };
	struct server server = SERVER_NULL;
	gmem_client *client;
	gmem_region *region;
	gmem_domain *domain;

	(void)state;
	memset(&vm, 0, sizeof(vm));
	client = server_client_with(&server, order_too_late, 300);
	assert_int_equal(gmem_domain_create(client, NULL, &domain), 0);
	assert_int_equal(gmem_vm_adopt(domain, VM_FD), 0);
	assert_int_equal(gmem_region_create(domain, &spec, &region), 0);
	assert_int_equal(gmem_region_bind(region, 0), 0);
	vm.n = 0;
	assert_int_equal(gmem_region_convert(region, NULL, 0, GMEM_PAGE_SHARED), -GMEM_TIMED_OUT);
	assert_int_equal(gmem_ping(client), -GMEM_TIMED_OUT);
	assert_int_equal(vm.n, 0);
	server_wait_flag(&server, 1);
	outage_end(&server, client);
}

/* ---- guests */

static void convert_three_times(struct server *server)
{
	server_grant_domain(server);
	grant_first_half(server, REGION, SIZE);
	take_memory(server, SIZE);
	grant_first_half(server, REGION + 1, SIZE);
	take_memory(server, SIZE);
	for (int i = 0; i < 3; i++) {
		order_convert(server);
		take_report(server, 0, 1, 1);
	}
}

static struct kvm_run hypercall(uint64_t gpa, uint64_t n_pages, bool to_private)
{
	struct kvm_run run = { .exit_reason = KVM_EXIT_HYPERCALL };

	run.hypercall.nr = 12;
	run.hypercall.args[0] = gpa;
	run.hypercall.args[1] = n_pages;
	run.hypercall.args[2] = to_private ? 1 << 4 : 0;
	run.hypercall.ret = 77;
	return run;
}

static struct kvm_run memory_fault(uint64_t gpa, bool is_private)
{
	const uint64_t words[3] = { is_private ? 8 : 0, gpa, PAGE };
	struct kvm_run run = { .exit_reason = EXIT_MEMORY_FAULT };

	memcpy(run.padding, words, sizeof(words));
	return run;
}

static void a_guests_request_is_carried_out_in_all_regions_that_it_touches(void **state)
{
	struct kvm_run call = hypercall(SIZE - PAGE, 3, false);
	struct kvm_run fault = memory_fault(SIZE + PAGE, true);
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain = open_domain(&server, convert_three_times, &seen);
	const struct gmem_region_spec second = { .gpa = SIZE, .size = SIZE };
	gmem_region *region;

	(void)state;
	open_region(domain, 0);
	assert_int_equal(gmem_region_create(domain, &second, &region), 0);
	vm.n = 0;
	assert_int_equal(gmem_handle_map_gpa_range(domain, &call), 0);
	assert_int_equal(call.hypercall.ret, 0);
	check_attributes(0, SIZE - PAGE, PAGE, false);
	check_attributes(1, SIZE, 2 * PAGE, false);
	assert_int_equal(gmem_handle_memory_fault(domain, &fault), 0);
	check_attributes(2, SIZE + PAGE, PAGE, true);
	outage_end(&server, seen.client);
}

static void refuse_conversion(struct server *server)
{
	set_up(server);
	server_expect(server, GM_MSG_CONVERT);
	outage_refuse(server, GMEM__CODE__CODE_OVER_LIMIT, GMEM__RULE__RULE_SHARED_MAX);
	outage_serve_ping(server);
}

static void a_refused_conversion_is_an_error_for_the_guest_alone(void **state)
{
	struct kvm_run call = hypercall(PAGE, 1, false);
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain = open_domain(&server, refuse_conversion, &seen);

	(void)state;
	assert_int_equal(gmem_region_bind(open_region(domain, 0), 0), 0);
	assert_int_equal(gmem_handle_map_gpa_range(domain, &call), -GMEM_OVER_LIMIT);
	assert_int_equal(call.hypercall.ret, (uint64_t)-EPERM);
	assert_int_equal(gmem_ping(seen.client), 0);
	outage_end(&server, seen.client);
}

static void what_a_guest_cannot_mean_is_invalid(void **state)
{
	static const struct {
		uint64_t gpa;
		uint64_t n_pages;
	} odd[] = {
		{ PAGE, 0 },	       { PAGE + 1, 1 }, { SIZE, 2 }, { UINT64_MAX - PAGE + 1, 2 },
		{ 0, UINT64_MAX / 8 },
	};
	struct kvm_run other = { .exit_reason = KVM_EXIT_HLT };
	struct server server = SERVER_NULL;
	struct seen seen;
	gmem_domain *domain = open_domain(&server, create_and_bind, &seen);

	(void)state;
	assert_int_equal(gmem_region_bind(open_region(domain, PAGE), 3), 0);
	vm.n = 0;
	for (size_t i = 0; i < GM_ARRAY_SIZE(odd); i++) {
		struct kvm_run call = hypercall(odd[i].gpa, odd[i].n_pages, false);

		assert_int_equal(gmem_handle_map_gpa_range(domain, &call), -GMEM_INVALID);
		assert_int_equal(call.hypercall.ret, (uint64_t)-EINVAL);
	}
	assert_int_equal(gmem_handle_map_gpa_range(domain, &other), -GMEM_UNSUPPORTED);
	assert_int_equal(gmem_handle_memory_fault(domain, &other), -GMEM_UNSUPPORTED);
	assert_int_equal(vm.n, 0);
	outage_end(&server, seen.client);
}

static void without_a_daemon_there_is_no_private_memory(void **state)
{
	const struct gmem_region_spec spec = { .size = SIZE };
	struct kvm_run call = hypercall(0, 1, false);
	gmem_client *client;
	gmem_region *region;
	gmem_domain *domain;

	(void)state;
	assert_int_equal(gmem_connect("builtin:", NULL, &client), 0);
	assert_int_equal(gmem_domain_create(client, NULL, &domain), 0);
	assert_int_equal(gmem_region_create(domain, &spec, &region), 0);
	assert_int_equal(gmem_region_bind(region, 0), -GMEM_UNSUPPORTED);
	assert_int_equal(gmem_region_convert(region, NULL, 0, GMEM_PAGE_SHARED), -GMEM_UNSUPPORTED);
	assert_int_equal(gmem_handle_map_gpa_range(domain, &call), -GMEM_UNSUPPORTED);
	assert_int_equal(call.hypercall.ret, (uint64_t)-EOPNOTSUPP);
	gmem_disconnect(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(the_private_half_is_made_on_the_vm_and_sent),
		gm_test(the_private_half_is_allocated_where_the_policy_wants_it),
		gm_test(binding_sets_the_memslot_and_makes_all_of_it_private),
		gm_test(a_memslot_without_its_attributes_is_taken_out_again),
		gm_test(without_a_vm_there_is_no_region_and_nothing_is_left_of_it),
		gm_test(a_vm_without_private_memory_gets_no_region),
		gm_test(memory_that_the_daemon_does_not_want_makes_no_region),
		gm_test(only_a_vm_can_be_adopted),
		gm_test(the_next_daemon_gets_the_memory_again),
		gm_test(each_range_is_converted_in_order_and_the_other_half_freed),
		gm_test(what_was_converted_before_a_failure_is_reported),
		gm_test(a_small_batch_does_not_wait_for_its_report_and_a_big_one_does),
		gm_test(a_conversion_waits_for_the_end_of_the_one_before),
		gm_test(a_region_and_a_domain_end_once_what_a_conversion_has_left_is_free),
		gm_test(a_region_that_ends_while_its_conversion_is_asked_for_does_not_stay),
		gm_test(a_job_begins_once_what_a_conversion_has_left_is_free),
		gm_test(what_the_daemon_converts_itself_is_no_step),
		gm_test(pages_are_made_shared_or_private_and_nothing_else),
		gm_test(an_order_that_was_not_heard_is_asked_for_again_and_done_once),
		gm_test(a_report_without_an_answer_is_repeated),
		gm_test(an_order_that_nobody_waits_for_any_more_is_reported_as_not_done),
		gm_test(a_guests_request_is_carried_out_in_all_regions_that_it_touches),
		gm_test(a_refused_conversion_is_an_error_for_the_guest_alone),
		gm_test(what_a_guest_cannot_mean_is_invalid),
		gm_test(without_a_daemon_there_is_no_private_memory),
	};

	return gm_test_run("private memory in libgmem", tests, GM_ARRAY_SIZE(tests));
}
