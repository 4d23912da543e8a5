/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of a launch on the platform model, on every version of the kernel: what they add up to
 * is what is predicted, whatever the kernel does in parts; and what breaks a rule of the kernel or
 * of the firmware has the same answer on all of them.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "gm_launch_digest.h"
#include "gm_num.h"
#include "gmem_kinds.h"
#include "launch_steps.h"
#include "machine.h"

#define PAGE GM_PAGE_4K

static struct gm_launch_fault fault;
static struct gm_launch_progress progress;

/* ---- a guest whose launch is done by the steps */

struct launch {
	const struct gm_launch_steps *steps;
	struct gm_launch_vm vm;
	int gmem;
	uint8_t *bytes; /* 64 pages */
};

#define N_PAGES 64

static bool is_tdx(const struct launch *launch)
{
	return launch->steps->has_vcpu;
}

static int start(struct launch *launch)
{
	static const struct gmem_snp_start snp = { .policy = 0x30000, .ghcb_version = 2 };
	static const struct gmem_tdx_start tdx = { .xfam = 3 };

	if (is_tdx(launch))
		return launch->steps->start(&launch->vm, &tdx, sizeof(tdx), &fault);
	return launch->steps->start(&launch->vm, &snp, sizeof(snp), &fault);
}

static void open_vm(struct launch *launch, const char *kind)
{
	bool tdx = strcmp(kind, "tdx") == 0;

	*launch = (struct launch){ .steps = gm_launch_steps_find(kind),
				   .vm = { -1, -1, -1 },
				   .gmem = -1,
				   .bytes = pages_new(N_PAGES) };
	launch->vm.vm_fd = vm_create(tdx ? GP_VM_TDX : GP_VM_SNP);
	assert_true(launch->vm.vm_fd >= 0);
	if (launch->steps->has_device)
		launch->vm.device_fd = open("/dev/sev", O_RDONLY | O_CLOEXEC);
}

static void add_memory(struct launch *launch)
{
	launch->gmem = gmem_create(launch->vm.vm_fd, N_PAGES * PAGE, 0);
	assert_true(launch->gmem >= 0);
	assert_int_equal(slot_set(launch->vm.vm_fd, 0, 0, N_PAGES * PAGE, launch->gmem, 0), 0);
	assert_int_equal(attributes_set(launch->vm.vm_fd, 0, N_PAGES * PAGE, true), 0);
}

static void add_vcpu(struct launch *launch)
{
	launch->vm.vcpu_fd = ioctl(launch->vm.vm_fd, KVM_CREATE_VCPU, 0UL);
	assert_true(launch->vm.vcpu_fd >= 0);
	if (is_tdx(launch))
		assert_int_equal(tdx_command(launch->vm.vcpu_fd, GP_TDX_INIT_VCPU, 0, NULL), 0);
}

static void open_started(struct launch *launch, const char *kind)
{
	open_vm(launch, kind);
	assert_int_equal(start(launch), 0);
	add_memory(launch);
	if (is_tdx(launch))
		add_vcpu(launch);
}

static void close_launch(struct launch *launch)
{
	const int fds[] = { launch->vm.vcpu_fd, launch->gmem, launch->vm.device_fd,
			    launch->vm.vm_fd };

	for (size_t i = 0; i < GM_ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			assert_int_equal(close(fds[i]), 0);
	pages_free(launch->bytes, N_PAGES);
}

/* From page @first on, from the same pages of `bytes`. */
static int put(struct launch *launch, enum gm_step_page type, uint64_t first, uint64_t n)
{
	bool has_source = type != GM_STEP_PAGE_ZERO && type != GM_STEP_PAGE_SECRETS;
	const struct gm_launch_pages pages = {
		.type = type,
		.gpa = first * PAGE,
		.length = n * PAGE,
		.source = has_source ? launch->bytes + first * PAGE : NULL,
	};

	return launch->steps->populate(&launch->vm, &pages, &progress, &fault);
}

static int finish(struct launch *launch)
{
	static const struct gm_launch_end none;

	return launch->steps->finish(&launch->vm, &none, &fault);
}

/* ---- digests */

static void book(struct gm_launch_digest *digest, enum gm_launch_page type, uint64_t first,
		 uint64_t n, const uint8_t *bytes)
{
	const struct gm_launch_range range = { .type = type,
					       .gpa = first * PAGE,
					       .length = n * PAGE,
					       .bytes = bytes ? bytes + first * PAGE : NULL,
					       .n_bytes = bytes ? n * PAGE : 0 };
	struct gm_refusal refusal = { 0 };

	assert_int_equal(gm_launch_digest_update(digest, &range, 1, &refusal), 0);
}

static void assert_same(const struct launch *launch, struct gm_launch_digest *digest)
{
	uint8_t ours[GM_DIGEST_MAX], models[GM_PLATFORM_DIGEST_MAX];
	struct gm_refusal refusal = { 0 };
	int size = gm_platform_digest(launch->vm.vm_fd, models);

	assert_int_equal(gm_launch_digest_finish(digest, ours, &refusal), 0);
	assert_int_equal(size, gm_launch_digest_size(digest->kind));
	assert_memory_equal(ours, models, (size_t)size);
}

/* Every type of page that the kind has, in this order. */
static void put_all(struct launch *launch)
{
	assert_int_equal(put(launch, GM_STEP_PAGE_NORMAL, 0, 40), 0);
	assert_int_equal(put(launch, GM_STEP_PAGE_ZERO, 40, 4), 0);
	assert_int_equal(put(launch, GM_STEP_PAGE_UNMEASURED, 44, 3), 0);
	if (is_tdx(launch))
		return;
	assert_int_equal(put(launch, GM_STEP_PAGE_SECRETS, 47, 1), 0);
	assert_int_equal(put(launch, GM_STEP_PAGE_CPUID, 48, 1), 0);
}

/* What the library would have to come to; no vCPU is in it. */
static void predict(const struct launch *launch, struct gm_launch_digest *digest)
{
	const struct gm_launch_start begin = { .kind = is_tdx(launch) ? GM_LAUNCH_TDX
								      : GM_LAUNCH_SNP };
	struct gm_refusal refusal = { 0 };

	assert_int_equal(gm_launch_digest_start(digest, &begin, &refusal), 0);
	book(digest, GM_LAUNCH_NORMAL, 0, 40, launch->bytes);
	/* The module has no pages of zeros: they are some that are added. */
	if (is_tdx(launch))
		book(digest, GM_LAUNCH_NORMAL, 40, 4, NULL);
	else
		book(digest, GM_LAUNCH_ZERO, 40, 4, NULL);
	book(digest, GM_LAUNCH_UNMEASURED, 44, 3, NULL);
	if (is_tdx(launch))
		return;
	book(digest, GM_LAUNCH_SECRETS, 47, 1, NULL);
	book(digest, GM_LAUNCH_CPUID, 48, 1, NULL);
}

/* @fault: a setting of the model, or NULL. */
static void launch_with(const char *kind, const char *setting)
{
	struct gm_launch_digest digest;
	struct launch launch;

	open_started(&launch, kind);
	if (setting)
		set(setting);
	put_all(&launch);
	assert_int_equal(finish(&launch), 0);
	predict(&launch, &digest);
	assert_same(&launch, &digest);
	close_launch(&launch);
	set("short=0");
	set("interrupt=0");
	set("busy=0");
}

static void launches_in_parts(int version)
{
	static const char *const settings[] = { NULL,	       "short=1",     "short=7",
						"interrupt=1", "interrupt=9", "busy=3" };

	for (size_t i = 0; i < GM_ARRAY_SIZE(settings); i++) {
		launch_with("snp", settings[i]);
		if (version >= V6_16)
			launch_with("tdx", settings[i]);
	}
}

/* Memory that is converted in place, with @bytes in its pages before they are private. */
static void add_filled_memory(struct launch *launch)
{
	struct gp_attributes2 set2 = { .size = N_PAGES * PAGE };
	void *map;

	launch->gmem = gmem_create(launch->vm.vm_fd, N_PAGES * PAGE, GP_GMEM_MMAP);
	assert_true(launch->gmem >= 0);
	assert_int_equal(slot_set(launch->vm.vm_fd, 0, 0, N_PAGES * PAGE, launch->gmem, 0), 0);
	assert_int_equal(request(launch->gmem, GP_SET_ATTRIBUTES2, &set2), 0);
	map = mmap(NULL, N_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, launch->gmem, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	memcpy(map, launch->bytes, N_PAGES * PAGE);
	assert_int_equal(munmap(map, N_PAGES * PAGE), 0);
	set2.attributes = GP_ATTRIBUTE_PRIVATE;
	assert_int_equal(request(launch->gmem, GP_SET_ATTRIBUTES2, &set2), 0);
}

static void launch_in_place(const char *kind, const char *setting)
{
	const struct gm_launch_pages pages = { GM_STEP_PAGE_NORMAL, 0, 40 * PAGE, NULL };
	struct gm_launch_start begin = { .kind = strcmp(kind, "tdx") == 0 ? GM_LAUNCH_TDX
									  : GM_LAUNCH_SNP };
	struct gm_launch_digest digest;
	struct launch launch;

	open_vm(&launch, kind);
	assert_int_equal(start(&launch), 0);
	add_filled_memory(&launch);
	if (is_tdx(&launch))
		add_vcpu(&launch);
	if (setting)
		set(setting);
	assert_int_equal(launch.steps->populate(&launch.vm, &pages, &progress, &fault), 0);
	assert_int_equal(progress.bytes, 40 * PAGE);
	assert_int_equal(finish(&launch), 0);
	assert_int_equal(gm_launch_digest_start(&digest, &begin, NULL), 0);
	book(&digest, GM_LAUNCH_NORMAL, 0, 40, launch.bytes);
	assert_same(&launch, &digest);
	close_launch(&launch);
	set("short=0");
	set("interrupt=0");
}

static void launches_in_place(int version)
{
	static const char *const settings[] = { NULL, "short=7", "interrupt=9" };

	(void)version;
	set("in-place=1");
	for (size_t i = 0; i < GM_ARRAY_SIZE(settings); i++) {
		launch_in_place("snp", settings[i]);
		launch_in_place("tdx", settings[i]);
	}
}

static void without_a_source_the_pages_themselves_are_measured(void **state)
{
	(void)state;
	on_each_version(V7_2, launches_in_place);
}

static void a_launch_has_the_digest_that_is_predicted_in_however_many_parts(void **state)
{
	(void)state;
	on_each_version(V6_11, launches_in_parts);
}

static void corrected_cpuid(int version)
{
	struct gm_launch_digest digest;
	struct launch launch;
	uint8_t before;

	(void)version;
	open_started(&launch, "snp");
	before = launch.bytes[48 * PAGE + 52];
	set("correct-cpuid=1");
	put_all(&launch);
	assert_true(progress.corrected);
	assert_int_not_equal(launch.bytes[48 * PAGE + 52], before);
	assert_int_equal(finish(&launch), 0);
	predict(&launch, &digest);
	assert_same(&launch, &digest);
	close_launch(&launch);
}

static void corrected_cpuid_values_do_not_change_the_digest(void **state)
{
	(void)state;
	on_each_version(V6_11, corrected_cpuid);
}

/* ---- rules, broken */

static int start_twice(struct launch *launch)
{
	return start(launch);
}

static int finish_twice(struct launch *launch)
{
	assert_int_equal(finish(launch), 0);
	return finish(launch);
}

static int populate_after_the_end(struct launch *launch)
{
	assert_int_equal(finish(launch), 0);
	return put(launch, GM_STEP_PAGE_NORMAL, 0, 1);
}

static int populate_twice(struct launch *launch)
{
	assert_int_equal(put(launch, GM_STEP_PAGE_NORMAL, 0, 4), 0);
	return put(launch, GM_STEP_PAGE_NORMAL, 3, 1);
}

static int populate_shared(struct launch *launch)
{
	assert_int_equal(attributes_set(launch->vm.vm_fd, 4 * PAGE, PAGE, false), 0);
	return put(launch, GM_STEP_PAGE_NORMAL, 4, 1);
}

static int populate_without_a_memslot(struct launch *launch)
{
	return put(launch, GM_STEP_PAGE_ZERO, N_PAGES, 1);
}

/* kvm_gmem_release: the slot stays, without a file. gmemd's own copy of the fd is not here. */
static int populate_without_memory(struct launch *launch)
{
	assert_int_equal(close(launch->gmem), 0);
	launch->gmem = -1;
	(void)use();
	return put(launch, GM_STEP_PAGE_NORMAL, 0, 1);
}

static int populate_from_nowhere(struct launch *launch)
{
	const struct gm_launch_pages pages = { .type = GM_STEP_PAGE_NORMAL,
					       .length = PAGE,
					       .source = (void *)(uintptr_t)0x1000 };

	return launch->steps->populate(&launch->vm, &pages, &progress, &fault);
}

static int without_its_device(struct launch *launch)
{
	assert_int_equal(close(launch->vm.device_fd), 0);
	launch->vm.device_fd = -1;
	return put(launch, GM_STEP_PAGE_NORMAL, 0, 1);
}

static int by_a_vcpu_that_is_none(struct launch *launch)
{
	struct launch other = *launch;

	other.vm.vcpu_fd = launch->vm.vm_fd;
	return put(&other, GM_STEP_PAGE_NORMAL, 0, 1);
}

static int with_another_digest(struct launch *launch)
{
	static const uint8_t block[GM_LAUNCH_ID_BLOCK_SIZE], auth[GM_LAUNCH_ID_AUTH_SIZE];
	static const struct gm_launch_end end = { .id_block = block, .id_auth = auth };

	assert_int_equal(put(launch, GM_STEP_PAGE_NORMAL, 0, 1), 0);
	return launch->steps->finish(&launch->vm, &end, &fault);
}

static const struct {
	const char *what;
	int (*commit)(struct launch *launch);
	bool snp, tdx;
} breaches[] = {
	{ "started twice", start_twice, true, true },
	{ "finished twice", finish_twice, true, true },
	{ "populated after the end", populate_after_the_end, true, true },
	{ "populated twice", populate_twice, true, true },
	{ "populated where it is shared", populate_shared, true, true },
	{ "populated without a memslot", populate_without_a_memslot, true, true },
	{ "populated without its memory", populate_without_memory, true, true },
	{ "populated from nowhere", populate_from_nowhere, true, true },
	{ "without its device", without_its_device, true, false },
	{ "populated by a vCPU that is none", by_a_vcpu_that_is_none, false, true },
	{ "finished with another digest", with_another_digest, true, false },
};

/* What the first kernel said, for the others to say too. */
static struct gm_launch_fault said[GM_ARRAY_SIZE(breaches)][2];

static void check_said(size_t i, bool tdx)
{
	struct gm_launch_fault *first = &said[i][tdx];

	if (!first->request)
		*first = fault;
	assert_string_equal(fault.request, first->request);
	assert_int_equal(fault.firmware, first->firmware);
	assert_string_equal(fault.explanation ? fault.explanation : "",
			    first->explanation ? first->explanation : "");
}

static void commit(size_t i, const char *kind)
{
	struct launch launch;
	int r;

	open_started(&launch, kind);
	r = breaches[i].commit(&launch);
	print_message("    %s, %s: %s: %s\n", kind, breaches[i].what, fault.request,
		      fault.explanation ? fault.explanation
					: launch.steps->firmware_name(fault.firmware));
	assert_true(r < 0);
	assert_true(fault.firmware || fault.explanation);
	assert_false(fault.no_room);
	check_said(i, is_tdx(&launch));
	close_launch(&launch);
}

static void commit_all(int version)
{
	for (size_t i = 0; i < GM_ARRAY_SIZE(breaches); i++) {
		if (breaches[i].snp)
			commit(i, "snp");
		if (breaches[i].tdx && version >= V6_16)
			commit(i, "tdx");
	}
}

static void a_broken_rule_has_the_same_answer_on_every_kernel(void **state)
{
	(void)state;
	on_each_version(V6_11, commit_all);
}

/* ---- room */

static void fill(const char *kind)
{
	struct launch launch;

	set("full=1");
	open_vm(&launch, kind);
	assert_true(start(&launch) < 0);
	assert_true(fault.no_room);
	set("full=0");
	assert_int_equal(start(&launch), 0);
	close_launch(&launch);
}

static void fill_up(int version)
{
	fill("snp");
	if (version >= V6_16)
		fill("tdx");
}

static void a_host_without_room_says_so_and_the_same_vm_may_try_again(void **state)
{
	(void)state;
	on_each_version(V6_11, fill_up);
}

/* ---- the firmware's say */

static void refuse_by_firmware(int version)
{
	struct launch launch;

	(void)version;
	open_started(&launch, "snp");
	assert_int_equal(put(&launch, GM_STEP_PAGE_NORMAL, 0, 2), 0);
	set("firmware-error=26");
	assert_int_equal(put(&launch, GM_STEP_PAGE_NORMAL, 2, 2), -EIO);
	assert_int_equal(progress.bytes, 0);
	assert_string_equal(launch.steps->firmware_name(fault.firmware), "INVALID_PAGE_STATE");
	close_launch(&launch);
}

static void a_firmware_error_comes_back_by_its_name(void **state)
{
	(void)state;
	on_each_version(V6_11, refuse_by_firmware);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_launch_has_the_digest_that_is_predicted_in_however_many_parts),
		gm_test(without_a_source_the_pages_themselves_are_measured),
		gm_test(corrected_cpuid_values_do_not_change_the_digest),
		gm_test(a_broken_rule_has_the_same_answer_on_every_kernel),
		gm_test(a_host_without_room_says_so_and_the_same_vm_may_try_again),
		gm_test(a_firmware_error_comes_back_by_its_name),
	};

	return gm_test_run("steps of a launch, on the model", tests, GM_ARRAY_SIZE(tests));
}
