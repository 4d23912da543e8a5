/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Launches that the daemon carries out itself, on the platform model and on every version of the
 * kernel: what the firmware has measured is what is predicted, or there is no guest; and only a VM
 * that fits takes over what was launched.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "backend.h"
#include "gm_launch_digest.h"
#include "gm_num.h"
#include "gm_vmsa.h"
#include "gmem_kinds.h"
#include "launch_plan.h"
#include "launch_steps.h"
#include "machine.h"

#define N_PAGES 64
#define SIZE (N_PAGES * GM_PAGE_4K)
#define FIRST 8 /* page of the region where the source goes, less the first */
#define N_VCPUS 3

/* A guest of one region, into which all of one source but its first page goes. */
struct launch {
	const struct gm_launch_rules *rules;
	bool es;
	struct gmem_sev_start start;
	struct gm_plan_region region;
	struct gm_plan_put put;
	uint8_t *source;
	uint8_t *memory;
	uint8_t pages[N_VCPUS][GM_PAGE_4K];
	uint8_t digest[GM_DIGEST_MAX];
	struct gm_launch_plan plan;
	struct gm_launch_outcome outcome;
};

static int new_file(uint64_t size, uint8_t **ret_map)
{
	int fd = memfd_create("t", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	*ret_map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(*ret_map, MAP_FAILED);
	return fd;
}

static void fill_vcpus(struct launch *launch)
{
	for (unsigned i = 0; i < N_VCPUS; i++)
		gm_vmsa_build(&(struct gm_vmsa_spec){ .vmm = GM_VMM_QEMU,
						      .boot = i == 0,
						      .eip = i == 0 ? GM_VMSA_RESET_EIP : 0x80b004,
						      .rdx = 0x800f12 },
			      launch->pages[i]);
	launch->plan.vcpus = (struct gm_plan_vcpus){ .count = N_VCPUS,
						     .n_pages = N_VCPUS,
						     .pages = launch->pages[0] };
}

static void predict(struct launch *launch)
{
	struct gm_launch_digest digest;

	assert_int_equal(gm_launch_digest_start(
				 &digest,
				 &(struct gm_launch_start){ .kind = launch->es ? GM_LAUNCH_SEV_ES
									       : GM_LAUNCH_SEV },
				 NULL),
			 0);
	assert_int_equal(gm_launch_digest_update(
				 &digest,
				 &(struct gm_launch_range){ .type = GM_LAUNCH_NORMAL,
							    .length = launch->put.length,
							    .bytes = launch->source + GM_PAGE_4K,
							    .n_bytes = launch->put.length },
				 1, NULL),
			 0);
	for (uint32_t i = 0; i < launch->plan.vcpus.count; i++)
		assert_int_equal(gm_launch_digest_update(
					 &digest,
					 &(struct gm_launch_range){ .type = GM_LAUNCH_VMSA,
								    .length = GM_PAGE_4K,
								    .bytes = launch->pages[i],
								    .n_bytes = GM_PAGE_4K },
					 1, NULL),
				 0);
	assert_int_equal(gm_launch_digest_finish(&digest, launch->digest, NULL), 0);
	launch->plan.digest = launch->digest;
	launch->plan.digest_size = gm_launch_digest_size(digest.kind);
}

static void open_launch(struct launch *launch, const char *kind)
{
	memset(launch, 0, sizeof(*launch));
	launch->rules = gm_backend_find(kind)->launch;
	launch->es = strcmp(kind, "sev-es") == 0;
	launch->start.policy = launch->es ? 5 : 1;
	launch->region = (struct gm_plan_region){ new_file(SIZE, &launch->memory), SIZE };
	launch->put = (struct gm_plan_put){ .offset = FIRST * GM_PAGE_4K,
					    .length = 16 * GM_PAGE_4K,
					    .source_offset = GM_PAGE_4K };
	launch->put.source = new_file(17 * GM_PAGE_4K, &launch->source);
	for (size_t i = 0; i < 17 * GM_PAGE_4K; i++)
		launch->source[i] = (uint8_t)(i / GM_PAGE_4K + i);
	launch->plan = (struct gm_launch_plan){ .kvm_fd = kvm_open(),
						.device_fd = open("/dev/sev", O_RDONLY | O_CLOEXEC),
						.parameters = &launch->start,
						.parameters_size = sizeof(launch->start),
						.regions = &launch->region,
						.n_regions = 1,
						.puts = &launch->put,
						.n_puts = 1 };
	if (launch->es)
		fill_vcpus(launch);
	predict(launch);
}

static int carry_out(struct launch *launch)
{
	return launch->rules->carry_out(&launch->plan, &launch->outcome);
}

static void close_launch(struct launch *launch)
{
	if (launch->outcome.vm_fd > 0)
		(void)close(launch->outcome.vm_fd);
	(void)munmap(launch->memory, SIZE);
	(void)munmap(launch->source, 17 * GM_PAGE_4K);
	(void)close(launch->region.fd);
	(void)close(launch->put.source);
	(void)close(launch->plan.kvm_fd);
	(void)close(launch->plan.device_fd);
}

/* ---- what comes of it */

static void assert_digest(const struct launch *launch, int vm)
{
	uint8_t digest[GM_PLATFORM_DIGEST_MAX];

	assert_int_equal(gm_platform_digest(vm, digest), launch->plan.digest_size);
	assert_memory_equal(digest, launch->digest, launch->plan.digest_size);
}

static void launch_one(const char *kind)
{
	struct launch launch;

	open_launch(&launch, kind);
	assert_int_equal(carry_out(&launch), 0);
	assert_true(launch.outcome.digest_was_compared);
	assert_digest(&launch, launch.outcome.vm_fd);
	/* It is encrypted where it lies, and nothing around it is. */
	assert_memory_not_equal(launch.memory + launch.put.offset, launch.source + GM_PAGE_4K,
				GM_PAGE_4K);
	assert_int_equal(launch.memory[launch.put.offset - 1], 0);
	assert_int_equal(launch.memory[launch.put.offset + launch.put.length], 0);
	close_launch(&launch);
}

static void launches(int version)
{
	(void)version;
	launch_one("sev");
	launch_one("sev-es");
}

static void a_launch_has_the_digest_that_is_predicted(void **state)
{
	(void)state;
	on_each_version(V6_11, launches);
}

/* ---- a VMM that writes into the memory */

static struct launch *disturbed;
static unsigned n_asked;

/* The one place that is asked between the copy and the command that encrypts it. */
static bool write_meanwhile(void *arg)
{
	(void)arg;
	n_asked++;
	if (disturbed->memory[disturbed->put.offset] == disturbed->source[GM_PAGE_4K])
		disturbed->memory[disturbed->put.offset] ^= 0xff;
	return false;
}

static void disturb(const char *kind)
{
	struct launch launch;

	open_launch(&launch, kind);
	disturbed = &launch;
	launch.plan.is_stopped = write_meanwhile;
	assert_int_equal(carry_out(&launch), -EBADMSG);
	assert_int_equal(launch.outcome.vm_fd, -1);
	assert_string_equal(launch.outcome.request, "GET_ATTESTATION_REPORT");
	assert_int_equal(use().n_vms, 0);
	close_launch(&launch);
}

static void disturbances(int version)
{
	(void)version;
	disturb("sev");
	disturb("sev-es");
}

static void memory_that_is_written_to_meanwhile_makes_no_guest(void **state)
{
	(void)state;
	on_each_version(V6_11, disturbances);
}

/* ---- failures */

static void fail_with(const char *setting, int error, const char *request)
{
	struct launch launch;

	open_launch(&launch, "sev-es");
	set(setting);
	assert_int_equal(carry_out(&launch), error);
	assert_string_equal(launch.outcome.request, request);
	assert_int_equal(launch.outcome.vm_fd, -1);
	assert_int_equal(use().n_vms, 0);
	close_launch(&launch);
}

static void failures(int version)
{
	struct launch launch;

	(void)version;
	fail_with("full=1", -EBUSY, "SEV_INIT2");
	set("full=0");
	fail_with("firmware-error=7", -EIO, "LAUNCH_START");
	open_launch(&launch, "sev-es");
	launch.start.vmsa_features = 1;
	assert_int_equal(carry_out(&launch), -EINVAL);
	assert_string_equal(launch.outcome.request, "SEV_INIT2");
	close_launch(&launch);
}

static void a_launch_that_fails_says_where_and_leaves_nothing(void **state)
{
	(void)state;
	on_each_version(V6_11, failures);
}

static bool stop_at_once(void *arg)
{
	unsigned *left = arg;

	return (*left)-- == 0;
}

static void stops(int version)
{
	(void)version;
	for (unsigned at = 0; at < 8; at++) {
		struct launch launch;
		unsigned left = at;

		open_launch(&launch, "sev-es");
		launch.plan.is_stopped = stop_at_once;
		launch.plan.arg = &left;
		assert_int_equal(carry_out(&launch), -ECANCELED);
		assert_int_equal(use().n_vms, 0);
		close_launch(&launch);
	}
}

static void a_launch_is_stopped_anywhere(void **state)
{
	(void)state;
	on_each_version(V7_2, stops);
}

/* ---- registers */

/* Offsets of general registers in the page; each gets a value of its own. */
static const unsigned general[] = { 0x178, 0x1d8, 0x1f8, 0x308, 0x310, 0x318, 0x328,
				    0x330, 0x338, 0x340, 0x348, 0x350, 0x358, 0x360,
				    0x368, 0x370, 0x378, 0x150, 0x240 };

static void registers(int version)
{
	struct launch launch;

	(void)version;
	open_launch(&launch, "sev-es");
	for (unsigned i = 0; i < GM_ARRAY_SIZE(general); i++)
		launch.pages[1][general[i]] = (uint8_t)(0x10 * (i + 1));
	predict(&launch);
	assert_int_equal(carry_out(&launch), 0);
	assert_digest(&launch, launch.outcome.vm_fd);
	close_launch(&launch);
}

static void every_register_of_a_page_is_set(void **state)
{
	(void)state;
	on_each_version(V7_2, registers);
}

/* G_PAT, XCR0, MXCSR, bytes that are no register, what KVM sets itself. */
static const unsigned unsettable[] = { 0x268, 0x3e8, 0x408, 0x6f0, 0x160, 0x3b0, 0x0d1, 0xfff };

static void odd_pages(int version)
{
	(void)version;
	for (unsigned i = 0; i < GM_ARRAY_SIZE(unsettable); i++) {
		struct launch launch;

		open_launch(&launch, "sev-es");
		launch.pages[2][unsettable[i]] ^= 0x10;
		assert_int_equal(carry_out(&launch), -EINVAL);
		assert_string_equal(launch.outcome.request, "vCPU");
		close_launch(&launch);
	}
}

static void a_page_that_kvm_would_not_build_makes_no_vcpu(void **state)
{
	(void)state;
	on_each_version(V7_2, odd_pages);
}

/* ---- taking over */

static struct gm_launch_fault fault;

static int take_over(int to, int from)
{
	const struct gm_launch_vm vm = { to, -1, -1 };

	fault = (struct gm_launch_fault){ 0 };
	return gm_launch_steps_find("sev-es")->take_over(&vm, from, &fault);
}

static int vm_with_vcpus(unsigned long type, unsigned n)
{
	int vm = vm_create(type);

	assert_true(vm >= 0);
	while (n-- > 0) {
		int vcpu = ioctl(vm, KVM_CREATE_VCPU, (unsigned long)n);

		assert_true(vcpu >= 0);
		(void)close(vcpu);
	}
	return vm;
}

static void refuse_to(unsigned long type, unsigned n_vcpus, int from)
{
	int vm = vm_with_vcpus(type, n_vcpus);

	assert_int_equal(take_over(vm, from), -EINVAL);
	assert_string_equal(fault.request, "KVM_CAP_VM_MOVE_ENC_CONTEXT_FROM");
	assert_non_null(fault.explanation);
	(void)close(vm);
}

static void take_overs(int version)
{
	struct launch launch;
	int vm;

	(void)version;
	open_launch(&launch, "sev-es");
	assert_int_equal(carry_out(&launch), 0);
	refuse_to(GP_VM_SEV, N_VCPUS, launch.outcome.vm_fd);
	refuse_to(GP_VM_SNP, N_VCPUS, launch.outcome.vm_fd);
	refuse_to(GP_VM_SEV_ES, N_VCPUS - 1, launch.outcome.vm_fd);
	vm = vm_with_vcpus(GP_VM_SEV_ES, N_VCPUS);
	set("busy=3");
	assert_int_equal(take_over(vm, launch.outcome.vm_fd), 0);
	assert_digest(&launch, vm);
	/* Its slot has gone over with it; there is nothing to take over a second time. */
	assert_int_equal(use().sev_es_used, 1);
	refuse_to(GP_VM_SEV_ES, N_VCPUS, launch.outcome.vm_fd);
	(void)close(vm);
	close_launch(&launch);
}

static void only_a_vm_that_fits_takes_over_what_was_launched(void **state)
{
	(void)state;
	on_each_version(V6_11, take_overs);
}

/* In another process: what the daemon takes for a VM is one of somebody else's. */
static int look_from_elsewhere(const struct launch *launch)
{
	int other = vm_create(GP_VM_SEV_ES);

	if (!launch->rules->is_vm(launch->outcome.vm_fd))
		return 1;
	if (launch->rules->is_vm(launch->plan.kvm_fd) || launch->rules->is_vm(launch->region.fd) ||
	    launch->rules->is_vm(other) || launch->rules->is_vm(-1))
		return 2;
	return 0;
}

static void foreign_vms(int version)
{
	struct launch launch;
	int status;
	pid_t pid;

	(void)version;
	open_launch(&launch, "sev-es");
	assert_int_equal(carry_out(&launch), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(look_from_elsewhere(&launch));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close_launch(&launch);
}

static void a_vm_of_another_process_is_told_from_anything_else(void **state)
{
	(void)state;
	on_each_version(V7_2, foreign_vms);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		gm_test(a_launch_has_the_digest_that_is_predicted),
		gm_test(memory_that_is_written_to_meanwhile_makes_no_guest),
		gm_test(a_launch_that_fails_says_where_and_leaves_nothing),
		gm_test(a_launch_is_stopped_anywhere),
		gm_test(every_register_of_a_page_is_set),
		gm_test(a_page_that_kvm_would_not_build_makes_no_vcpu),
		gm_test(only_a_vm_that_fits_takes_over_what_was_launched),
		gm_test(a_vm_of_another_process_is_told_from_anything_else),
	};

	return gm_test_run("own_launch_model", tests, GM_ARRAY_SIZE(tests));
}
