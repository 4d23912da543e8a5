/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Launches in libgmem: what is sent, what is asked of KVM, and what is reported, over deaths of the
 * daemon too. KVM is played by a function of this file; how its requests are repeated is in
 * t_launch_steps.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kvm.h>

#include "client_outage.h"
#include "gm_fd.h"
#include "gm_num.h"
#include "gmem_kinds.h"

#define PAGE 4096
#define STEP 0x5e
#define SOURCE 0x50
#define VM_FD 1000000 /* no real one has this number */
#define ENCRYPT_OP 0xc008aebaU

/* ---- a VM */

static struct {
	unsigned n;	 /* commands */
	uint32_t ids[8]; /* the first */
	uint32_t fail;	 /* of this one, */
	int error;	 /* in this way, */
	uint32_t firmware;
	bool corrects;	 /* or with CPUID values that it would take, once */
	uint64_t pages;	 /* that go in before */
	uint64_t gfn;	 /* of the last population: where it began, */
	uint8_t type;	 /* as what, */
	uint8_t byte;	 /* and from what */
	uint32_t device; /* of the last command */
	bool device_open;
} vm;

struct command {
	uint32_t id;
	uint32_t pad;
	uint64_t data;
	uint32_t error;
	uint32_t device;
};

static void populate(uint64_t *words, uint64_t pages)
{
	uint64_t n = gm_min_u64(pages, words[2] / PAGE);

	vm.gfn = words[0];
	vm.type = (uint8_t)words[3];
	vm.byte = words[1] ? *(const uint8_t *)(uintptr_t)words[1] : 0;
	words[0] += n;
	words[1] += n * PAGE;
	words[2] -= n * PAGE;
}

static int refuse(struct command *command, uint64_t *words)
{
	if (command->id == 101)
		populate(words, vm.pages);
	command->error = vm.firmware;
	if (vm.corrects) {
		vm.fail = 0;
		memset((void *)(uintptr_t)words[1], 0xcc, PAGE);
	}
	errno = vm.error;
	return -1;
}

static int encrypt_op(struct command *command)
{
	uint64_t *words = (uint64_t *)(uintptr_t)command->data;

	if (vm.n < GM_ARRAY_SIZE(vm.ids))
		vm.ids[vm.n] = command->id;
	vm.n++;
	vm.device = command->device;
	vm.device_open = fcntl((int)command->device, F_GETFD) >= 0;
	if (vm.fail == command->id)
		return refuse(command, words);
	if (command->id == 101)
		populate(words, UINT64_MAX);
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (fd == VM_FD && (unsigned)request == ENCRYPT_OP)
		return encrypt_op(arg);
	if (fd == VM_FD && request == KVM_CHECK_EXTENSION)
		return 1;
	errno = ENOTTY;
	return -1;
}

/* ---- pieces of scripts */

static Gmem__Step order(Gmem__StepKind kind)
{
	Gmem__Step step = GMEM__STEP__INIT;

	step.has_step = step.has_kind = true;
	step.step = STEP;
	step.kind = kind;
	return step;
}

static void set_up(struct server *server)
{
	server_grant_domain(server);
	server_grant_region(server, REGION, SIZE);
}

static void answer_start(struct server *server, size_t n_devices)
{
	Gmem__LaunchStartReply reply = GMEM__LAUNCH_START_REPLY__INIT;
	Gmem__Step step = order(GMEM__STEP_KIND__STEP_LAUNCH_START);
	ProtobufCBinaryData name = bytes_of("device");
	int fd = server_memory(PAGE);

	reply.step = &step;
	reply.fd_names = &name;
	reply.n_fd_names = n_devices;
	server_answer(server, &reply.base, &fd, n_devices);
	gm_fd_close(fd);
}

static void order_start(struct server *server)
{
	const Gmem__LaunchStartRequest *request;

	server_expect(server, GM_MSG_LAUNCH_START);
	request = server->request;
	server_check(server, request->domain == 1 && request->parameters.len == 64,
		     "other parameters");
	answer_start(server, 1);
}

static void take_report(struct server *server, bool of_domain, uint32_t sys_errno,
			uint32_t firmware, uint32_t done)
{
	Gmem__StepDoneReply reply = GMEM__STEP_DONE_REPLY__INIT;
	const Gmem__StepDoneRequest *request;

	server_expect(server, GM_MSG_STEP_DONE);
	request = server->request;
	server_check(server, request->step == STEP, "another step");
	server_check(server, request->has_domain == of_domain && request->has_region != of_domain,
		     "a report of the other kind of object");
	server_check(server, request->sys_errno == sys_errno && request->firmware_error == firmware,
		     "another outcome");
	server_check(server, request->done == done && request->n_ranges == !of_domain,
		     "another progress");
	server_answer(server, &reply.base, NULL, 0);
}

static void start(struct server *server)
{
	set_up(server);
	order_start(server);
	take_report(server, true, 0, 0, 0);
}

static void take_source(struct server *server, uint64_t id, uint64_t size)
{
	Gmem__SourceReply reply = GMEM__SOURCE_REPLY__INIT;
	int seals;

	server_expect_boxed(server, GM_MSG_SOURCE);
	seals = fcntl(gm_fdset_peek(&server->fds, 0), F_GET_SEALS);
	server_check(server, seals > 0 && seals & F_SEAL_WRITE && seals & F_SEAL_SHRINK,
		     "a source without seals");
	reply.has_source = reply.has_size = true;
	reply.source = id;
	reply.size = size;
	server_answer(server, &reply.base, NULL, 0);
}

static void answer_populate(struct server *server)
{
	Gmem__PopulateReply reply = GMEM__POPULATE_REPLY__INIT;
	Gmem__Step step = order(GMEM__STEP_KIND__STEP_POPULATE);

	reply.step = &step;
	server_answer(server, &reply.base, NULL, 0);
}

static void expect_populate(struct server *server, uint64_t source, uint64_t length)
{
	const Gmem__PopulateRequest *request;

	server_expect(server, GM_MSG_POPULATE);
	request = server->request;
	server_check(server, request->region == REGION && request->offset == 2 * PAGE,
		     "another place");
	server_check(server, request->source == source && request->length == length,
		     "another source");
}

static void order_finish(struct server *server)
{
	Gmem__LaunchFinishReply reply = GMEM__LAUNCH_FINISH_REPLY__INIT;
	Gmem__Step step = order(GMEM__STEP_KIND__STEP_LAUNCH_FINISH);

	server_expect(server, GM_MSG_LAUNCH_FINISH);
	reply.step = &step;
	server_answer(server, &reply.base, NULL, 0);
}

/* ---- pieces of programs */

static const struct gmem_snp_start parameters = { .policy = 0x30000 };

static gmem_domain *open_kind(struct server *server, server_script script, struct seen *seen,
			      const char *kind, gmem_region **ret_region)
{
	const struct gmem_domain_spec domain_spec = { .kind = kind };
	const struct gmem_region_spec spec = { .size = SIZE };
	gmem_client *client = outage_client(server, script, seen, 5000);
	gmem_domain *domain;

	memset(&vm, 0, sizeof(vm));
	assert_int_equal(gmem_domain_create(client, &domain_spec, &domain), 0);
	assert_int_equal(gmem_vm_adopt(domain, VM_FD), 0);
	assert_int_equal(gmem_region_create(domain, &spec, ret_region), 0);
	return domain;
}

static gmem_domain *open_snp(struct server *server, server_script script, struct seen *seen,
			     gmem_region **ret_region)
{
	return open_kind(server, script, seen, "snp", ret_region);
}

static gmem_domain *open_started(struct server *server, server_script script, struct seen *seen,
				 gmem_region **ret_region)
{
	gmem_domain *domain = open_snp(server, script, seen, ret_region);

	assert_int_equal(gmem_launch_start(domain, &parameters, sizeof(parameters)), 0);
	vm.n = 0;
	return domain;
}

static gmem_source *two_pages(gmem_domain *domain)
{
	uint8_t data[PAGE + 1];
	gmem_source *source = NULL;

	memset(data, 0x77, sizeof(data));
	assert_int_equal(gmem_source_create(domain, data, sizeof(data), &source), 0);
	return source;
}

/* ---- start */

static void a_launch_starts_with_the_platforms_device(void **state)
{
	struct server server = SERVER_NULL;
	gmem_region *region;
	struct seen seen;

	(void)state;
	open_started(&server, start, &seen, &region);
	assert_int_equal(vm.ids[0], 22);
	assert_int_equal(vm.ids[1], 100);
	assert_true(vm.device_open);
	outage_end(&server, seen.client);
}

static void fail_to_start(struct server *server)
{
	set_up(server);
	order_start(server);
	take_report(server, true, EBUSY, 0, 0);
}

static void a_host_without_room_is_told_from_a_launch_that_failed(void **state)
{
	struct server server = SERVER_NULL;
	gmem_region *region;
	struct seen seen;
	gmem_domain *domain = open_snp(&server, fail_to_start, &seen, &region);

	(void)state;
	vm.fail = 22;
	vm.error = EBUSY;
	vm.firmware = UINT32_MAX;
	assert_int_equal(gmem_launch_start(domain, &parameters, sizeof(parameters)),
			 -GMEM_NO_RESOURCE);
	assert_string_equal(gmem_error(seen.client)->rule, "firmware");
	assert_int_equal(gmem_error(seen.client)->sys_errno, EBUSY);
	outage_end(&server, seen.client);
}

static void a_kind_without_a_launch_or_a_domain_without_a_vm_asks_nobody(void **state)
{
	const struct gmem_domain_spec spec = { .kind = "snp" };
	struct server server = SERVER_NULL;
	struct server other = SERVER_NULL;
	gmem_client *client;
	gmem_domain *domain;
	gmem_region *region;
	struct seen seen;

	(void)state;
	domain = open_kind(&server, set_up, &seen, "memfd", &region);
	assert_int_equal(gmem_launch_start(domain, &parameters, sizeof(parameters)),
			 -GMEM_UNSUPPORTED);
	assert_int_equal(gmem_launch_finish(domain, NULL), -GMEM_UNSUPPORTED);
	outage_end(&server, seen.client);
	client = server_client(&other, server_grant_domain);
	assert_int_equal(gmem_domain_create(client, &spec, &domain), 0);
	assert_int_equal(gmem_launch_start(domain, &parameters, sizeof(parameters)),
			 -GMEM_WRONG_STATE);
	outage_end(&other, client);
}

static void start_without_device(struct server *server)
{
	set_up(server);
	server_expect(server, GM_MSG_LAUNCH_START);
	answer_start(server, 0);
}

static void a_start_without_the_device_that_it_needs_is_no_answer(void **state)
{
	struct server server = SERVER_NULL;
	gmem_region *region;
	struct seen seen;
	gmem_domain *domain = open_snp(&server, start_without_device, &seen, &region);

	(void)state;
	assert_int_equal(gmem_launch_start(domain, &parameters, sizeof(parameters)),
			 -GMEM_PROTOCOL);
	assert_int_equal(vm.n, 0);
	outage_end(&server, seen.client);
}

/* ---- population */

static void populate_two(struct server *server)
{
	start(server);
	take_source(server, SOURCE, 2 * PAGE);
	expect_populate(server, SOURCE, 2 * PAGE);
	answer_populate(server);
	take_report(server, false, 0, 0, 2);
}

static void a_source_goes_in_as_far_as_it_reaches(void **state)
{
	struct server server = SERVER_NULL;
	gmem_region *region;
	struct seen seen;
	gmem_domain *domain = open_started(&server, populate_two, &seen, &region);
	const struct gmem_population what = { .offset = 2 * PAGE, .source = two_pages(domain) };

	(void)state;
	assert_int_equal(gmem_region_populate(region, &what), 0);
	assert_int_equal(vm.gfn, 2);
	assert_int_equal(vm.type, 1);
	assert_int_equal(vm.byte, 0x77);
	outage_end(&server, seen.client);
}

static void fail_to_populate(struct server *server)
{
	start(server);
	take_source(server, SOURCE, 2 * PAGE);
	expect_populate(server, SOURCE, 2 * PAGE);
	answer_populate(server);
	take_report(server, false, EIO, 0x1a, 1);
}

static void a_firmware_error_is_reported_with_what_went_in_and_told_by_name(void **state)
{
	struct server server = SERVER_NULL;
	gmem_region *region;
	struct seen seen;
	gmem_domain *domain = open_started(&server, fail_to_populate, &seen, &region);
	const struct gmem_population what = { .offset = 2 * PAGE, .source = two_pages(domain) };

	(void)state;
	vm.fail = 101;
	vm.error = EIO;
	vm.firmware = 0x1a;
	vm.pages = 1;
	assert_int_equal(gmem_region_populate(region, &what), -GMEM_FAILED);
	assert_string_equal(gmem_error(seen.client)->rule, "firmware");
	assert_int_equal(gmem_error(seen.client)->firmware_error, 0x1a);
	assert_non_null(strstr(gmem_error(seen.client)->text, "INVALID_PAGE_STATE"));
	outage_end(&server, seen.client);
}

static void populate_cpuid(struct server *server)
{
	start(server);
	for (int i = 0; i < 2; i++) {
		if (i == 0)
			take_source(server, SOURCE, 2 * PAGE);
		expect_populate(server, SOURCE, PAGE);
		answer_populate(server);
		take_report(server, false, 0, 0, 1);
	}
}

static void corrected_cpuid_values_are_shown_and_the_source_stays_as_it_was(void **state)
{
	struct server server = SERVER_NULL;
	gmem_region *region;
	struct seen seen;
	gmem_domain *domain = open_started(&server, populate_cpuid, &seen, &region);
	uint8_t page[PAGE];
	int corrected = -1;
	const struct gmem_population what = {
		.offset = 2 * PAGE,
		.length = PAGE,
		.type = GMEM_PAGE_TYPE_CPUID,
		.source = two_pages(domain),
		.ret_corrected = &corrected,
		.ret_page = page,
	};

	(void)state;
	vm.fail = 101;
	vm.error = EIO;
	vm.firmware = 0x16;
	vm.corrects = true;
	assert_int_equal(gmem_region_populate(region, &what), 0);
	assert_int_equal(corrected, 1);
	assert_int_equal(page[PAGE - 1], 0xcc);
	assert_int_equal(gmem_region_populate(region, &what), 0);
	assert_int_equal(corrected, 0);
	assert_int_equal(page[PAGE - 1], 0x77);
	outage_end(&server, seen.client);
}

static void take_one_source(struct server *server)
{
	start(server);
	take_source(server, SOURCE, 2 * PAGE);
}

static void what_no_population_can_mean_asks_nobody(void **state)
{
	struct server server = SERVER_NULL;
	gmem_region *region;
	struct seen seen;
	gmem_domain *domain = open_started(&server, take_one_source, &seen, &region);
	gmem_source *source = two_pages(domain);
	const struct gmem_population odd[] = {
		{ .type = (enum gmem_page_type)6, .source = source },
		{ .length = PAGE },
		{ .type = GMEM_PAGE_TYPE_ZERO },
		{ .type = GMEM_PAGE_TYPE_ZERO, .length = PAGE, .source = source },
		{ .type = GMEM_PAGE_TYPE_SECRETS, .length = PAGE + 1 },
		{ .source = source, .length = 3 * PAGE },
		{ .source = source, .source_offset = 2 * PAGE },
		{ .source = source, .source_offset = 1 },
		{ .source = source, .length = 100 },
		{ .source = (gmem_source *)region },
	};

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(odd); i++)
		assert_int_equal(gmem_region_populate(region, &odd[i]), -GMEM_INVALID);
	assert_int_equal(vm.n, 0);
	outage_end(&server, seen.client);
}

static void only_sealed_whole_pages_are_a_source(void **state)
{
	struct server server = SERVER_NULL;
	gmem_region *region;
	struct seen seen;
	gmem_domain *domain = open_started(&server, take_one_source, &seen, &region);
	int fd = memfd_create("source", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	gmem_source *source;

	(void)state;
	assert_return_code(ftruncate(fd, 2 * PAGE), errno);
	assert_int_equal(gmem_source_from_fd(domain, fd, &source), -GMEM_INVALID);
	assert_return_code(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW), errno);
	assert_int_equal(gmem_source_from_fd(domain, fd, &source), -GMEM_INVALID);
	assert_return_code(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), errno);
	assert_int_equal(gmem_source_from_fd(domain, fd, &source), 0);
	gm_fd_close(fd);
	assert_int_equal(gmem_source_from_fd(domain, -1, &source), -GMEM_INVALID);
	assert_int_equal(gmem_source_create(domain, "", 0, &source), -GMEM_INVALID);
	outage_end(&server, seen.client);
}

static void forget_the_source(struct server *server)
{
	take_one_source(server);
	outage_serve_ping(server);
	outage_resume(server);
	expect_populate(server, SOURCE, 2 * PAGE);
	outage_refuse(server, GMEM__CODE__CODE_NO_SUCH_OBJECT, GMEM__RULE__RULE_SOURCE);
	take_source(server, SOURCE + 1, 2 * PAGE);
	expect_populate(server, SOURCE + 1, 2 * PAGE);
	answer_populate(server);
	take_report(server, false, 0, 0, 2);
}

static void a_daemon_that_has_forgotten_the_source_gets_it_again(void **state)
{
	struct server server = SERVER_NULL;
	gmem_region *region;
	struct seen seen;
	gmem_domain *domain = open_started(&server, forget_the_source, &seen, &region);
	const struct gmem_population what = { .offset = 2 * PAGE, .source = two_pages(domain) };

	(void)state;
	assert_int_equal(gmem_ping(seen.client), 0);
	assert_int_equal(gmem_region_populate(region, &what), 0);
	assert_int_equal(vm.n, 1);
	outage_end(&server, seen.client);
}

static void die_with_the_report(struct server *server)
{
	uint32_t serial;

	take_one_source(server);
	expect_populate(server, SOURCE, 2 * PAGE);
	answer_populate(server);
	server_expect(server, GM_MSG_STEP_DONE);
	serial = server->frame.serial;
	outage_resume(server);
	take_report(server, false, 0, 0, 2);
	server_check(server, server->frame.serial == serial, "another serial");
	outage_serve_ping(server);
}

/* The report is not waited for: whoever speaks next finds the daemon gone. */
static void pages_go_in_once_though_their_report_goes_twice(void **state)
{
	struct server server = SERVER_NULL;
	gmem_region *region;
	struct seen seen;
	gmem_domain *domain = open_started(&server, die_with_the_report, &seen, &region);
	const struct gmem_population what = { .offset = 2 * PAGE, .source = two_pages(domain) };

	(void)state;
	assert_int_equal(gmem_region_populate(region, &what), 0);
	assert_int_equal(gmem_ping(seen.client), 0);
	assert_int_equal(vm.n, 1);
	outage_check_resumed(&seen);
	outage_end(&server, seen.client);
}

static void a_kind_that_populates_by_a_vcpu_wants_one_first(void **state)
{
	const struct gmem_population what = { .type = GMEM_PAGE_TYPE_ZERO, .length = PAGE };
	struct server server = SERVER_NULL;
	gmem_region *region;
	struct seen seen;
	gmem_domain *domain = open_kind(&server, set_up, &seen, "tdx", &region);

	(void)state;
	assert_int_equal(gmem_region_populate(region, &what), -GMEM_WRONG_STATE);
	assert_int_equal(gmem_launch_set_vcpu(domain, 0, VM_FD), -GMEM_INVALID);
	outage_end(&server, seen.client);
}

/* ---- end */

static void finish(struct server *server)
{
	take_one_source(server);
	order_finish(server);
	take_report(server, true, 0, 0, 0);
}

static void after_the_end_the_device_is_closed_and_sources_are_gone(void **state)
{
	struct server server = SERVER_NULL;
	gmem_region *region;
	struct seen seen;
	gmem_domain *domain = open_started(&server, finish, &seen, &region);
	const struct gmem_population what = { .source = two_pages(domain) };

	(void)state;
	assert_int_equal(gmem_launch_finish(domain, NULL), 0);
	assert_int_equal(vm.ids[0], 102);
	assert_true(vm.device_open);
	assert_int_equal(fcntl((int)vm.device, F_GETFD), -1);
	assert_int_equal(gmem_region_populate(region, &what), -GMEM_INVALID);
	outage_end(&server, seen.client);
}

static void tell_the_vcpus(struct server *server)
{
	const Gmem__LaunchFinishRequest *request;

	take_one_source(server);
	order_finish(server);
	request = server->request;
	server_check(server,
		     request->vcpus && request->vcpus->how == GMEM__VCPUS_HOW__VCPUS_PAGES &&
			     request->vcpus->source == SOURCE && request->vcpus->count == 2,
		     "other vCPUs");
	server_check(server, request->id_block.len == 96 && request->id_auth.len == 4096,
		     "another ID block");
	server_check(server, request->host_data.len == 32, "other host data");
	take_report(server, true, EIO, 0xb, 0);
}

static void the_end_says_what_identifies_the_guest(void **state)
{
	static const uint8_t block[GMEM_ID_BLOCK_SIZE], auth[GMEM_ID_AUTH_SIZE];
	static const uint8_t host_data[GMEM_HOST_DATA_SIZE];
	struct server server = SERVER_NULL;
	gmem_region *region;
	struct seen seen;
	gmem_domain *domain = open_started(&server, tell_the_vcpus, &seen, &region);
	struct gmem_launch_end end = {
		.vcpus = { .how = GMEM_VCPUS_PAGES, .count = 3, .source = two_pages(domain) },
		.id_block = block,
		.host_data = host_data,
	};

	(void)state;
	assert_int_equal(gmem_launch_finish(domain, &end), -GMEM_INVALID);
	end.id_auth = auth;
	assert_int_equal(gmem_launch_finish(domain, &end), -GMEM_INVALID);
	end.vcpus.count = 2;
	vm.fail = 102;
	vm.error = EIO;
	vm.firmware = 0xb;
	assert_int_equal(gmem_launch_finish(domain, &end), -GMEM_FAILED);
	assert_non_null(strstr(gmem_error(seen.client)->text, "BAD_MEASUREMENT"));
	outage_end(&server, seen.client);
}

static void refuse_to_finish(struct server *server)
{
	take_one_source(server);
	server_expect(server, GM_MSG_LAUNCH_FINISH);
	outage_refuse(server, GMEM__CODE__CODE_DENIED, GMEM__RULE__RULE_MEASUREMENT_ALLOW);
}

static void a_digest_that_is_not_allowed_asks_no_firmware(void **state)
{
	struct server server = SERVER_NULL;
	gmem_region *region;
	struct seen seen;
	gmem_domain *domain = open_started(&server, refuse_to_finish, &seen, &region);

	(void)state;
	(void)two_pages(domain);
	assert_int_equal(gmem_launch_finish(domain, NULL), -GMEM_DENIED);
	assert_string_equal(gmem_error(seen.client)->rule, "MeasurementAllow");
	assert_int_equal(vm.n, 0);
	outage_end(&server, seen.client);
}

static void be_aborted(struct server *server)
{
	Gmem__LaunchAbortReply reply = GMEM__LAUNCH_ABORT_REPLY__INIT;

	start(server);
	server_expect(server, GM_MSG_LAUNCH_ABORT);
	server_answer(server, &reply.base, NULL, 0);
}

static void a_launch_that_is_given_up_gives_its_device_back(void **state)
{
	struct server server = SERVER_NULL;
	gmem_region *region;
	struct seen seen;
	gmem_domain *domain = open_started(&server, be_aborted, &seen, &region);

	(void)state;
	assert_int_equal(fcntl((int)vm.device, F_GETFD), FD_CLOEXEC);
	assert_int_equal(gmem_launch_abort(domain), 0);
	assert_int_equal(fcntl((int)vm.device, F_GETFD), -1);
	assert_int_equal(vm.n, 0);
	outage_end(&server, seen.client);
}

static void order_too_late(struct server *server)
{
	uint32_t serial;

	set_up(server);
	server_expect(server, GM_MSG_LAUNCH_START);
	serial = server->frame.serial;
	server_expect(server, GM_MSG_PING);
	server->frame.serial = serial;
	server->frame.type = GM_MSG_LAUNCH_START;
	answer_start(server, 1);
	take_report(server, true, ECANCELED, 0, 0);
	atomic_store(&server->flag, 1);
}

static void an_order_that_nobody_waits_for_any_more_is_reported_as_not_done(void **state)
{
	const struct gmem_domain_spec domain_spec = { .kind = "snp" };
	const struct gmem_region_spec spec = { .size = SIZE };
	struct server server = SERVER_NULL;
	gmem_client *client = server_client_with(&server, order_too_late, 300);
	gmem_region *region;
	gmem_domain *domain;

	(void)state;
	memset(&vm, 0, sizeof(vm));
	assert_int_equal(gmem_domain_create(client, &domain_spec, &domain), 0);
	assert_int_equal(gmem_vm_adopt(domain, VM_FD), 0);
	assert_int_equal(gmem_region_create(domain, &spec, &region), 0);
	assert_int_equal(gmem_launch_start(domain, &parameters, sizeof(parameters)),
			 -GMEM_TIMED_OUT);
	assert_int_equal(gmem_ping(client), -GMEM_TIMED_OUT);
	assert_int_equal(vm.n, 0);
	server_wait_flag(&server, 1);
	outage_end(&server, client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_launch_starts_with_the_platforms_device),
		gm_test(a_host_without_room_is_told_from_a_launch_that_failed),
		gm_test(a_kind_without_a_launch_or_a_domain_without_a_vm_asks_nobody),
		gm_test(a_start_without_the_device_that_it_needs_is_no_answer),
		gm_test(a_source_goes_in_as_far_as_it_reaches),
		gm_test(a_firmware_error_is_reported_with_what_went_in_and_told_by_name),
		gm_test(corrected_cpuid_values_are_shown_and_the_source_stays_as_it_was),
		gm_test(what_no_population_can_mean_asks_nobody),
		gm_test(only_sealed_whole_pages_are_a_source),
		gm_test(a_daemon_that_has_forgotten_the_source_gets_it_again),
		gm_test(pages_go_in_once_though_their_report_goes_twice),
		gm_test(a_kind_that_populates_by_a_vcpu_wants_one_first),
		gm_test(after_the_end_the_device_is_closed_and_sources_are_gone),
		gm_test(the_end_says_what_identifies_the_guest),
		gm_test(a_digest_that_is_not_allowed_asks_no_firmware),
		gm_test(a_launch_that_is_given_up_gives_its_device_back),
		gm_test(an_order_that_nobody_waits_for_any_more_is_reported_as_not_done),
	};

	return gm_test_run("launches in libgmem", tests, GM_ARRAY_SIZE(tests));
}
