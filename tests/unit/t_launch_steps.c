/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of a launch against a kernel that is told what to say: the bytes of each request, and
 * what follows when one is done in part, interrupted, busy or refused. Layouts are spelt out as
 * words, so that a slip in the structs is seen. What a launch adds up to is shown on the platform
 * model.
 */
#include "launch_steps.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "gm_test.h"
#include "gmem_kinds.h"

#define VM_FD 70
#define DEVICE_FD 71
#define VCPU_FD 72
#define PAGE GM_PAGE_4K
#define ENCRYPT_OP 0xc008aebaUL
#define FOREVER UINT32_MAX

struct envelope {
	uint32_t id;
	uint32_t flags;
	uint64_t data;
	union {
		struct {
			uint32_t error;
			uint32_t device;
		} snp;
		uint64_t tdx;
	};
};

/* What the kernel says, one after the other; when there is no more: done, all of it. */
struct answer {
	int error;
	uint64_t firmware;
	uint64_t pages; /* of a population that go in with it; 0: none */
	uint32_t times; /* 0: once */
};

struct call {
	int fd;
	struct envelope envelope;
	uint8_t data[1024];
};

static struct {
	const struct answer *answers;
	size_t n_answers;
	uint32_t n_repeats;
	unsigned n;
	struct call calls[64]; /* the first */
	bool corrects;
} kernel;

static const struct gm_launch_vm vm = {
	.vm_fd = VM_FD,
	.device_fd = DEVICE_FD,
	.vcpu_fd = VCPU_FD,
};

static _Alignas(4096) uint8_t source[8 * 4096];
static struct gm_launch_fault fault;
static struct gm_launch_progress progress;

static void tell(const struct answer *answers, size_t n_answers)
{
	memset(&kernel, 0, sizeof(kernel));
	kernel.answers = answers;
	kernel.n_answers = n_answers;
}

static struct answer next_answer(void)
{
	static const struct answer done = { .pages = UINT64_MAX };
	struct answer answer;

	if (kernel.n_answers == 0)
		return done;
	answer = kernel.answers[0];
	if (answer.times == FOREVER)
		return answer;
	if (++kernel.n_repeats >= answer.times) {
		kernel.n_repeats = 0;
		kernel.answers++;
		kernel.n_answers--;
	}
	return answer;
}

/* snp: frame, address, bytes, type. */
static void advance_snp(uint64_t *words, uint64_t pages)
{
	uint64_t n = gm_min_u64(pages, words[2] / PAGE);

	words[0] += n;
	words[1] += words[1] != 0 ? n * PAGE : 0;
	words[2] -= n * PAGE;
}

/* tdx: address, gpa, pages. */
static void advance_tdx(uint64_t *words, uint64_t pages)
{
	uint64_t n = gm_min_u64(pages, words[2]);

	words[0] += n * PAGE;
	words[1] += n * PAGE;
	words[2] -= n;
}

static size_t data_size(int fd, const struct envelope *envelope)
{
	if (fd == VCPU_FD)
		return 24;
	switch (envelope->id) {
	case 1:
		return 264 + 40 * *(const uint32_t *)(uintptr_t)(envelope->data + 256);
	case 4:
		return 0;
	case 22:
		return 48;
	case 102:
		return 88;
	default:
		return 64;
	}
}

static int encrypt_op(int fd, struct envelope *envelope)
{
	void *data = (void *)(uintptr_t)envelope->data;
	struct answer answer = next_answer();

	if (kernel.n < GM_ARRAY_SIZE(kernel.calls)) {
		struct call *call = &kernel.calls[kernel.n];

		call->fd = fd;
		call->envelope = *envelope;
		if (data != NULL)
			memcpy(call->data, data, data_size(fd, envelope));
	}
	kernel.n++;
	if (fd == VCPU_FD)
		advance_tdx(data, answer.pages);
	else if (envelope->id == 101)
		advance_snp(data, answer.pages);
	if (fd == VM_FD && envelope->id > 4)
		envelope->snp.error = (uint32_t)answer.firmware;
	else
		envelope->tdx = answer.firmware;
	if (kernel.corrects && answer.error)
		memset((void *)(uintptr_t)((uint64_t *)data)[1], 0xcc, PAGE);
	errno = answer.error;
	return answer.error ? -1 : 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	assert_int_equal(request, ENCRYPT_OP);
	assert_true(fd == VM_FD || fd == VCPU_FD);
	return encrypt_op(fd, arg);
}

static uint64_t word(unsigned call, unsigned i)
{
	uint64_t value;

	assert_true(call < kernel.n);
	memcpy(&value, kernel.calls[call].data + (size_t)i * 8, 8);
	return value;
}

static const struct gm_launch_steps *snp(void)
{
	return gm_launch_steps_find("snp");
}

static const struct gm_launch_steps *tdx(void)
{
	return gm_launch_steps_find("tdx");
}

static struct gm_launch_pages pages_of(enum gm_step_page type, uint64_t n)
{
	return (struct gm_launch_pages){ type, 0x100000, n * PAGE, source };
}

/* Populates @n pages of @type while the kernel says @answers. */
static int populate(const struct gm_launch_steps *steps, enum gm_step_page type, uint64_t n,
		    const struct answer *answers, size_t n_answers)
{
	struct gm_launch_pages pages = pages_of(type, n);

	tell(answers, n_answers);
	return steps->populate(&vm, &pages, &progress, &fault);
}

/* ---- snp */

static const struct gmem_snp_start snp_start = {
	.policy = 0x30000,
	.vmsa_features = 0x21,
	.gosvw = { 1, 2, 3 },
	.ghcb_version = 2,
};

static void an_snp_launch_starts_with_its_features_and_its_policy(void **state)
{
	(void)state;
	tell(NULL, 0);
	assert_int_equal(snp()->start(&vm, &snp_start, sizeof(snp_start), &fault), 0);
	assert_int_equal(kernel.n, 2);
	assert_int_equal(kernel.calls[0].envelope.id, 22);
	assert_int_equal(kernel.calls[0].envelope.snp.device, DEVICE_FD);
	assert_int_equal(word(0, 0), 0x21);
	assert_int_equal(word(0, 1), UINT64_C(2) << 32);
	assert_int_equal(kernel.calls[1].envelope.id, 100);
	assert_int_equal(kernel.calls[1].envelope.snp.device, DEVICE_FD);
	assert_int_equal(word(1, 0), 0x30000);
	assert_int_equal(word(1, 1), 0x030201);
}

static void an_snp_launch_without_a_free_id_says_so_and_goes_no_further(void **state)
{
	static const struct answer full = { .error = EBUSY, .firmware = UINT32_MAX };

	(void)state;
	tell(&full, 1);
	assert_int_equal(snp()->start(&vm, &snp_start, sizeof(snp_start), &fault), -EBUSY);
	assert_int_equal(kernel.n, 1);
	assert_string_equal(fault.request, "SEV_INIT2");
	assert_int_equal(fault.firmware, 0);
	assert_true(fault.no_room);
	assert_non_null(strstr(fault.explanation, "address space id"));
}

static void parameters_of_another_size_or_with_reserved_bits_are_no_parameters(void **state)
{
	struct gmem_snp_start odd = snp_start;
	struct gmem_tdx_start few = { .n_cpuid = 2 };

	(void)state;
	tell(NULL, 0);
	odd.reserved[29] = 1;
	assert_int_equal(snp()->start(&vm, &odd, sizeof(odd), &fault), -EINVAL);
	assert_int_equal(snp()->start(&vm, &snp_start, sizeof(snp_start) - 1, &fault), -EINVAL);
	assert_int_equal(tdx()->start(&vm, &few, sizeof(few), &fault), -EINVAL);
	few = (struct gmem_tdx_start){ .reserved = 1 };
	assert_int_equal(tdx()->start(&vm, &few, sizeof(few), &fault), -EINVAL);
	assert_int_equal(tdx()->start(&vm, &few, 8, &fault), -EINVAL);
	assert_null(fault.request);
	assert_int_equal(kernel.n, 0);
}

static void each_type_of_page_has_the_number_that_the_firmware_gives_it(void **state)
{
	static const struct {
		enum gm_step_page type;
		uint8_t number;
	} types[] = {
		{ GM_STEP_PAGE_NORMAL, 1 },	{ GM_STEP_PAGE_ZERO, 3 },
		{ GM_STEP_PAGE_UNMEASURED, 4 }, { GM_STEP_PAGE_SECRETS, 5 },
		{ GM_STEP_PAGE_CPUID, 6 },
	};

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(types); i++) {
		assert_int_equal(populate(snp(), types[i].type, 1, NULL, 0), 0);
		assert_int_equal(kernel.n, 1);
		assert_int_equal(kernel.calls[0].envelope.id, 101);
		assert_int_equal(word(0, 0), 0x100);
		assert_int_equal(word(0, 1), (uintptr_t)source);
		assert_int_equal(word(0, 2), PAGE);
		assert_int_equal(word(0, 3), types[i].number);
	}
}

static void a_secrets_page_has_a_source_though_nobody_gave_one(void **state)
{
	struct gm_launch_pages pages = pages_of(GM_STEP_PAGE_SECRETS, 1);

	(void)state;
	pages.source = NULL;
	tell(NULL, 0);
	assert_int_equal(snp()->populate(&vm, &pages, &progress, &fault), 0);
	assert_true(word(0, 1) != 0);
}

static void what_goes_in_in_parts_goes_on_where_it_stopped(void **state)
{
	static const struct answer parts[] = {
		{ .pages = 3 }, { .error = EINTR }, { .error = EAGAIN },
		{ .pages = 1 }, { .error = EBUSY },
	};

	(void)state;
	assert_int_equal(populate(snp(), GM_STEP_PAGE_NORMAL, 8, parts, GM_ARRAY_SIZE(parts)), 0);
	assert_int_equal(kernel.n, 6);
	assert_int_equal(word(1, 0), 0x103);
	assert_int_equal(word(1, 1), (uintptr_t)source + 3 * PAGE);
	assert_int_equal(word(1, 2), 5 * PAGE);
	assert_int_equal(word(4, 0), 0x104);
	assert_int_equal(word(5, 2), 4 * PAGE);
	assert_int_equal(progress.bytes, 8 * PAGE);
	assert_false(progress.corrected);
	assert_int_equal(populate(tdx(), GM_STEP_PAGE_NORMAL, 8, parts, GM_ARRAY_SIZE(parts)), 0);
	assert_int_equal(kernel.n, 6);
	assert_int_equal(word(1, 0), (uintptr_t)source + 3 * PAGE);
	assert_int_equal(word(1, 1), 0x103000);
	assert_int_equal(word(5, 2), 4);
	assert_int_equal(progress.bytes, 8 * PAGE);
}

static void a_kernel_that_gets_nowhere_is_left_after_a_while(void **state)
{
	static const struct answer never[] = { { .pages = 2 },
					       { .error = EAGAIN, .times = FOREVER } };
	static const struct answer nothing = { .times = FOREVER };

	(void)state;
	assert_int_equal(populate(snp(), GM_STEP_PAGE_NORMAL, 8, never, 2), -EAGAIN);
	assert_int_equal(progress.bytes, 2 * PAGE);
	assert_int_equal(populate(tdx(), GM_STEP_PAGE_NORMAL, 8, &nothing, 1), -EAGAIN);
	assert_int_equal(progress.bytes, 0);
}

static void a_failure_without_a_firmware_code_may_have_been_a_signal(void **state)
{
	static const struct answer once[] = { { .pages = 1 }, { .error = EIO } };
	static const struct answer ever = { .error = EIO, .times = FOREVER };

	(void)state;
	assert_int_equal(populate(snp(), GM_STEP_PAGE_NORMAL, 4, once, 2), 0);
	assert_int_equal(kernel.n, 3);
	assert_int_equal(populate(snp(), GM_STEP_PAGE_NORMAL, 4, &ever, 1), -EIO);
	assert_true(kernel.n > 1 && kernel.n < 32);
	assert_int_equal(fault.firmware, 0);
	assert_non_null(strstr(fault.explanation, "in already"));
}

static void a_populated_page_is_explained_alike_by_every_kernel(void **state)
{
	static const struct answer old = { .error = EEXIST, .times = FOREVER };
	static const struct answer new = { .error = EIO, .times = FOREVER };
	const char *text;

	(void)state;
	assert_int_equal(populate(snp(), GM_STEP_PAGE_NORMAL, 1, &old, 1), -EEXIST);
	text = fault.explanation;
	assert_int_equal(populate(snp(), GM_STEP_PAGE_NORMAL, 1, &new, 1), -EIO);
	assert_string_equal(fault.explanation, text);
	assert_int_equal(populate(tdx(), GM_STEP_PAGE_NORMAL, 1, &old, 1), -EEXIST);
	text = fault.explanation;
	assert_int_equal(populate(tdx(), GM_STEP_PAGE_NORMAL, 1, &new, 1), -EIO);
	assert_string_equal(fault.explanation, text);
}

static void a_firmware_error_ends_it_and_is_told_by_name(void **state)
{
	static const struct answer refused = { .error = EIO, .firmware = 0x1a };
	static const struct answer module = { .error = EIO,
					      .firmware = UINT64_C(0xc0000b0d00000007) };

	(void)state;
	assert_int_equal(populate(snp(), GM_STEP_PAGE_NORMAL, 4, &refused, 1), -EIO);
	assert_int_equal(kernel.n, 1);
	assert_string_equal(snp()->firmware_name(fault.firmware), "INVALID_PAGE_STATE");
	assert_int_equal(populate(tdx(), GM_STEP_PAGE_NORMAL, 4, &module, 1), -EIO);
	assert_int_equal(kernel.n, 1);
	assert_string_equal(tdx()->firmware_name(fault.firmware), "EPT_ENTRY_STATE_INCORRECT");
	assert_string_equal(snp()->firmware_name(0x999), "unknown");
	assert_string_equal(tdx()->firmware_name(0x999), "unknown");
}

static void corrected_cpuid_values_are_taken_once_and_told(void **state)
{
	static const struct answer once = { .error = EIO, .firmware = 0x16 };
	static const struct answer ever = { .error = EIO, .firmware = 0x16, .times = FOREVER };
	struct gm_launch_pages pages = pages_of(GM_STEP_PAGE_CPUID, 1);

	(void)state;
	memset(source, 0, sizeof(source));
	tell(&once, 1);
	kernel.corrects = true;
	assert_int_equal(snp()->populate(&vm, &pages, &progress, &fault), 0);
	assert_int_equal(kernel.n, 2);
	assert_true(progress.corrected);
	assert_int_equal(source[0], 0xcc);
	assert_int_equal(populate(snp(), GM_STEP_PAGE_CPUID, 1, &ever, 1), -EIO);
	assert_int_equal(kernel.n, 2);
	assert_int_equal(populate(snp(), GM_STEP_PAGE_NORMAL, 1, &ever, 1), -EIO);
	assert_int_equal(kernel.n, 1);
	assert_false(progress.corrected);
}

static void an_snp_launch_is_finished_once_whatever_comes_of_it(void **state)
{
	static const struct answer busy = { .error = EAGAIN, .times = FOREVER };
	static uint8_t block[GM_LAUNCH_ID_BLOCK_SIZE], auth[GM_LAUNCH_ID_AUTH_SIZE];
	static const uint8_t host_data[GM_LAUNCH_HOST_DATA_SIZE] = { 1, [31] = 2 };
	const struct gm_launch_end none = { 0 };
	const struct gm_launch_end all = { block, auth, host_data };

	(void)state;
	tell(NULL, 0);
	assert_int_equal(snp()->finish(&vm, &none, &fault), 0);
	assert_int_equal(kernel.calls[0].envelope.id, 102);
	assert_int_equal(word(0, 0), 0);
	assert_int_equal(word(0, 2), 0);
	tell(&busy, 1);
	assert_int_equal(snp()->finish(&vm, &all, &fault), -EAGAIN);
	assert_int_equal(kernel.n, 1);
	assert_int_equal(word(0, 0), (uintptr_t)block);
	assert_int_equal(word(0, 1), (uintptr_t)auth);
	assert_int_equal(kernel.calls[0].data[16], 1);
	assert_int_equal(kernel.calls[0].data[17], 0);
	assert_memory_equal(kernel.calls[0].data + 19, host_data, 32);
	auth[4] = 1;
	tell(NULL, 0);
	assert_int_equal(snp()->finish(&vm, &all, &fault), 0);
	assert_int_equal(kernel.calls[0].data[17], 1);
}

/* ---- tdx */

static void a_tdx_launch_starts_with_its_identity_and_its_cpuid_values(void **state)
{
	struct {
		struct gmem_tdx_start start;
		struct gmem_tdx_cpuid cpuid[2];
	} want = {
		.start = { .attributes = 0x10000000,
			   .xfam = 0xe7,
			   .mrconfigid = { 7 },
			   .mrowner = { 8 },
			   .mrownerconfig = { 9 },
			   .n_cpuid = 2 },
		.cpuid = { { .function = 1 }, { .function = 7, .edx = 5 } },
	};

	(void)state;
	tell(NULL, 0);
	assert_int_equal(tdx()->start(&vm, &want, sizeof(want), &fault), 0);
	assert_int_equal(kernel.n, 1);
	assert_int_equal(kernel.calls[0].fd, VM_FD);
	assert_int_equal(kernel.calls[0].envelope.id, 1);
	assert_int_equal(kernel.calls[0].envelope.tdx, 0);
	assert_int_equal(word(0, 0), 0x10000000);
	assert_int_equal(word(0, 1), 0xe7);
	assert_int_equal(word(0, 2), 7);
	assert_int_equal(word(0, 8), 8);
	assert_int_equal(word(0, 14), 9);
	assert_int_equal(word(0, 20), 0);
	assert_int_equal(word(0, 32), 2);
	assert_memory_equal(kernel.calls[0].data + 264, want.cpuid, sizeof(want.cpuid));
}

static void a_tdx_launch_waits_for_entropy_and_not_for_a_key(void **state)
{
	static const struct answer entropy = { .error = EAGAIN };
	static const struct answer full = { .error = EBUSY };
	const struct gmem_tdx_start want = { 0 };

	(void)state;
	tell(&entropy, 1);
	assert_int_equal(tdx()->start(&vm, &want, sizeof(want), &fault), 0);
	assert_int_equal(kernel.n, 2);
	tell(&full, 1);
	assert_int_equal(tdx()->start(&vm, &want, sizeof(want), &fault), -EBUSY);
	assert_int_equal(kernel.n, 1);
	assert_true(fault.no_room);
	assert_non_null(strstr(fault.explanation, "key id"));
}

static void tdx_pages_are_added_by_a_vcpu_and_measured_unless_told_not_to(void **state)
{
	(void)state;
	assert_int_equal(populate(tdx(), GM_STEP_PAGE_NORMAL, 2, NULL, 0), 0);
	assert_int_equal(kernel.calls[0].fd, VCPU_FD);
	assert_int_equal(kernel.calls[0].envelope.id, 3);
	assert_int_equal(kernel.calls[0].envelope.flags, 1);
	assert_int_equal(word(0, 0), (uintptr_t)source);
	assert_int_equal(word(0, 1), 0x100000);
	assert_int_equal(word(0, 2), 2);
	assert_int_equal(populate(tdx(), GM_STEP_PAGE_UNMEASURED, 2, NULL, 0), 0);
	assert_int_equal(kernel.calls[0].envelope.flags, 0);
}

static void tdx_zeros_are_added_from_zeros_and_measured(void **state)
{
	struct gm_launch_pages pages = pages_of(GM_STEP_PAGE_ZERO, 1024 + 3);

	(void)state;
	pages.source = NULL;
	tell(NULL, 0);
	assert_int_equal(tdx()->populate(&vm, &pages, &progress, &fault), 0);
	assert_int_equal(kernel.n, 3);
	assert_int_equal(kernel.calls[2].envelope.flags, 1);
	assert_true(word(2, 0) != 0);
	assert_int_equal(word(2, 1), 0x100000 + 1024 * PAGE);
	assert_int_equal(word(2, 2), 3);
	assert_int_equal(progress.bytes, pages.length);
}

static void progress_counts_what_went_in_before_a_failure(void **state)
{
	static const struct answer fails[] = { { .pages = 2 }, { .error = EFAULT, .pages = 1 } };
	static const struct answer late[] = { { .pages = 512 }, { .error = ENOMEM, .pages = 1 } };
	struct gm_launch_pages pages = pages_of(GM_STEP_PAGE_ZERO, 1024);

	(void)state;
	assert_int_equal(populate(tdx(), GM_STEP_PAGE_NORMAL, 8, fails, 2), -EFAULT);
	assert_int_equal(progress.bytes, 3 * PAGE);
	assert_int_equal(populate(snp(), GM_STEP_PAGE_NORMAL, 8, fails, 2), -EFAULT);
	assert_int_equal(progress.bytes, 3 * PAGE);
	tell(late, 2);
	assert_int_equal(tdx()->populate(&vm, &pages, &progress, &fault), -ENOMEM);
	assert_int_equal(progress.bytes, 513 * PAGE);
}

static void a_tdx_launch_is_finished_when_nobody_else_is_at_it(void **state)
{
	static const struct answer busy = { .error = EBUSY, .times = 3 };
	static const uint8_t host_data[GM_LAUNCH_HOST_DATA_SIZE];
	const struct gm_launch_end none = { 0 };
	const struct gm_launch_end odd = { .host_data = host_data };

	(void)state;
	tell(&busy, 1);
	assert_int_equal(tdx()->finish(&vm, &none, &fault), 0);
	assert_int_equal(kernel.n, 4);
	assert_int_equal(kernel.calls[3].envelope.id, 4);
	tell(NULL, 0);
	assert_int_equal(tdx()->finish(&vm, &odd, &fault), -EINVAL);
	assert_int_equal(kernel.n, 0);
}

/* ---- both */

static void pages_that_no_request_can_name_are_refused_here(void **state)
{
	static const struct gm_launch_pages odd[] = {
		{ GM_STEP_PAGE_NORMAL, 0, 0, source },
		{ GM_STEP_PAGE_NORMAL, 0, 100, source },
		{ GM_STEP_PAGE_NORMAL, 8, 4096, source },
		{ GM_STEP_PAGE_NORMAL, 0, 4096, source + 1 },
		{ (enum gm_step_page)6, 0, 0, source },
	};

	(void)state;
	tell(NULL, 0);
	for (size_t i = 0; i < GM_ARRAY_SIZE(odd); i++) {
		assert_int_equal(snp()->populate(&vm, &odd[i], &progress, &fault), -EINVAL);
		assert_int_equal(tdx()->populate(&vm, &odd[i], &progress, &fault), -EINVAL);
	}
	assert_int_equal(kernel.n, 0);
	assert_int_equal(populate(tdx(), GM_STEP_PAGE_SECRETS, 1, NULL, 0), -EINVAL);
	assert_int_equal(populate(tdx(), GM_STEP_PAGE_CPUID, 1, NULL, 0), -EINVAL);
	assert_int_equal(kernel.n, 0);
}

static void a_kind_without_a_launch_has_no_steps(void **state)
{
	(void)state;
	assert_null(gm_launch_steps_find("memfd"));
	assert_null(gm_launch_steps_find(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(an_snp_launch_starts_with_its_features_and_its_policy),
		gm_test(an_snp_launch_without_a_free_id_says_so_and_goes_no_further),
		gm_test(parameters_of_another_size_or_with_reserved_bits_are_no_parameters),
		gm_test(each_type_of_page_has_the_number_that_the_firmware_gives_it),
		gm_test(a_secrets_page_has_a_source_though_nobody_gave_one),
		gm_test(what_goes_in_in_parts_goes_on_where_it_stopped),
		gm_test(a_kernel_that_gets_nowhere_is_left_after_a_while),
		gm_test(a_failure_without_a_firmware_code_may_have_been_a_signal),
		gm_test(a_populated_page_is_explained_alike_by_every_kernel),
		gm_test(a_firmware_error_ends_it_and_is_told_by_name),
		gm_test(corrected_cpuid_values_are_taken_once_and_told),
		gm_test(an_snp_launch_is_finished_once_whatever_comes_of_it),
		gm_test(a_tdx_launch_starts_with_its_identity_and_its_cpuid_values),
		gm_test(a_tdx_launch_waits_for_entropy_and_not_for_a_key),
		gm_test(tdx_pages_are_added_by_a_vcpu_and_measured_unless_told_not_to),
		gm_test(tdx_zeros_are_added_from_zeros_and_measured),
		gm_test(progress_counts_what_went_in_before_a_failure),
		gm_test(a_tdx_launch_is_finished_when_nobody_else_is_at_it),
		gm_test(pages_that_no_request_can_name_are_refused_here),
		gm_test(a_kind_without_a_launch_has_no_steps),
	};

	return gm_test_run("steps of a launch", tests, GM_ARRAY_SIZE(tests));
}
