/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversion in place as the backends see it, against the model of the kernel's own request: found
 * by trying it, on every kind with private memory, and told with the reason where it is not there.
 */
#include "backend.h"
#include "machine.h"

static const char *const kinds[] = { "sw-protected", "snp", "tdx" };

static struct gm_probe probe_kind(const char *kind)
{
	const struct gm_backend *backend = gm_backend_find(kind);
	struct gm_backend_state *state;
	struct gm_probe probe;

	assert_non_null(backend);
	assert_int_equal(backend->open(&state, &probe), 0);
	backend->close(state);
	assert_true(probe.usable);
	print_message("  %s: %s\n", kind, probe.reason);
	return probe;
}

static void probes(int version)
{
	(void)version;
	for (size_t i = 0; i < GM_ARRAY_SIZE(kinds); i++) {
		struct gm_probe probe;

		set("in-place=0");
		probe = probe_kind(kinds[i]);
		assert_false(probe.caps & GM_CAP_IN_PLACE_CONVERSION);
		assert_non_null(strstr(probe.reason, "has no KVM_SET_MEMORY_ATTRIBUTES2"));
		/* The request of the VM is not there then: in place or not at all. */
		set("in-place=1");
		probe = probe_kind(kinds[i]);
		assert_true(probe.caps & GM_CAP_IN_PLACE_CONVERSION);
		assert_non_null(strstr(probe.reason, "converted in place"));
	}
}

static void a_kind_is_converted_in_place_where_trying_it_works(void **state)
{
	(void)state;
	on_each_version(V7_2, probes);
}

static void old_probes(int version)
{
	struct gm_probe probe;

	if (version >= V6_18)
		return;
	probe = probe_kind("snp");
	assert_false(probe.caps & GM_CAP_IN_PLACE_CONVERSION);
	assert_non_null(strstr(probe.reason, "has no guest_memfd to map"));
}

static void without_memory_to_map_there_are_two_halves(void **state)
{
	(void)state;
	on_each_version(V6_11, old_probes);
}

static int convert(int fd, uint64_t offset, uint64_t length, bool to_private, uint64_t *ret_held)
{
	return gm_backend_find("guest-memfd")->convert(fd, offset, length, to_private, ret_held);
}

static void requests(int version)
{
	const uint64_t size = 4 * GM_MIB;
	int vm = vm_create(GP_VM_SNP), gmem;
	uint64_t held = 0;

	(void)version;
	set("in-place=1");
	gmem = gmem_create(vm, size, GP_GMEM_MMAP);
	assert_true(gmem >= 0);
	assert_int_equal(convert(gmem, 0, size, false, &held), 0);
	set("busy=1");
	assert_int_equal(convert(gmem, GM_MIB, GM_MIB, true, &held), -EAGAIN);
	assert_int_equal(held, GM_MIB);
	assert_int_equal(convert(gmem, GM_MIB, GM_MIB, true, &held), 0);
	/* kvm_gmem_ioctl: beyond the file, not of pages, nothing. */
	assert_int_equal(convert(gmem, size, GM_PAGE_4K, true, &held), -EINVAL);
	assert_int_equal(convert(gmem, 1, GM_PAGE_4K, true, &held), -EINVAL);
	assert_int_equal(convert(gmem, 0, 0, true, &held), -EINVAL);
	set("in-place=0");
	assert_int_equal(convert(gmem, 0, size, true, &held), -ENOTTY);
	assert_int_equal(close(gmem), 0);
	assert_int_equal(close(vm), 0);
}

static void the_kernels_answers_come_back_as_they_are(void **state)
{
	(void)state;
	on_each_version(V7_2, requests);
}

static void verifies(int version)
{
	const struct gm_private_half *half = gm_backend_find("snp")->private_half;
	int vm = vm_create(GP_VM_SNP);
	int mapped, unmapped;

	(void)version;
	set("in-place=1");
	mapped = gmem_create(vm, GM_MIB, half->in_place_flags);
	unmapped = gmem_create(vm, GM_MIB, half->memory_flags);
	assert_true(mapped >= 0 && unmapped >= 0);
	/* Where the host has no KVM the model's files are no guest_memfds. */
	if (half->verify(unmapped, GM_MIB) == 0) {
		assert_int_equal(half->verify_in_place(mapped, GM_MIB), 0);
		assert_int_equal(half->verify_in_place(mapped, 2 * GM_MIB), -EBADF);
		assert_int_equal(half->verify_in_place(unmapped, GM_MIB), -EBADF);
		assert_int_equal(half->verify(mapped, GM_MIB), -EBADF);
	}
	assert_int_equal(close(mapped), 0);
	assert_int_equal(close(unmapped), 0);
	assert_int_equal(close(vm), 0);
}

static void memory_that_is_converted_in_place_can_be_mapped(void **state)
{
	(void)state;
	on_each_version(V7_2, verifies);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_kind_is_converted_in_place_where_trying_it_works),
		gm_test(without_memory_to_map_there_are_two_halves),
		gm_test(the_kernels_answers_come_back_as_they_are),
		gm_test(memory_that_is_converted_in_place_can_be_mapped),
	};

	return gm_test_run("in place on the model", tests, sizeof(tests) / sizeof(*tests));
}
