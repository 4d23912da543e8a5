/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs, guest_memfd, memslots and attributes: each rule of the kernel that the model keeps, on every
 * version. The function that has the rule is named with it.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "machine.h"

#define MIB 0x100000UL

/* kvm_vm_ioctl_check_extension_generic, KVM_CAP_VM_TYPES. */
static void types(int version)
{
	int td = version >= V6_16;

	for (unsigned long type = GP_VM_SW_PROTECTED; type <= GP_VM_TDX + 1; type++) {
		bool known = type < GP_VM_TDX || (type == GP_VM_TDX && td);
		int vm = vm_create(type);

		if (!known)
			assert_int_equal(vm, -EINVAL);
		else
			assert_int_equal(close(vm), 0);
	}
	set("sev-asids=0");
	assert_int_equal(vm_create(GP_VM_SEV), -EINVAL);
}

static void a_vm_type_is_there_when_version_and_ids_are(void **state)
{
	(void)state;
	on_each_version(V6_11, types);
}

static int ask_in_child(int vm)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(attributes_set(vm, 0, GP_PAGE_SIZE, true) == -EIO ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* kvm_vm_ioctl: kvm->mm != current->mm. */
static void strangers(int version)
{
	int vm = vm_create(GP_VM_SNP);
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0UL);

	(void)version;
	assert_int_equal(ask_in_child(vm), 0);
	assert_int_equal(attributes_set(vm, 0, GP_PAGE_SIZE, true), 0);
	assert_int_equal(close(vcpu), 0);
	assert_int_equal(close(vm), 0);
}

static void another_address_space_gets_eio(void **state)
{
	(void)state;
	on_each_version(V6_11, strangers);
}

/* kvm_gmem_create; kvm_gmem_get_valid_flags. */
static void creation(int version)
{
	bool flags = version >= V6_18;
	int vm = vm_create(GP_VM_SNP);
	int gmem;

	assert_int_equal(gmem_create(vm, 0, 0), -EINVAL);
	assert_int_equal(gmem_create(vm, 4095, 0), -EINVAL);
	assert_int_equal(gmem_create(vm, GP_PAGE_SIZE, GP_GMEM_INIT_SHARED), -EINVAL);
	assert_int_equal(gmem_create(vm, GP_PAGE_SIZE, 4), -EINVAL);
	gmem = gmem_create(vm, GP_PAGE_SIZE, GP_GMEM_MMAP);
	if (!flags)
		assert_int_equal(gmem, -EINVAL);
	else
		assert_int_equal(close(gmem), 0);
	gmem = gmem_create(vm, GP_PAGE_SIZE, 0);
	assert_int_equal(fcntl(gmem, F_GETFD), 0);
	assert_int_equal(close(gmem), 0);
	assert_int_equal(close(vm), 0);
}

static void a_guest_memfd_is_refused_with_the_flags_of_later_versions(void **state)
{
	(void)state;
	on_each_version(V6_11, creation);
}

/* kvm_gmem_bind; kvm_set_memory_region. */
static void binding(int version)
{
	int overlap = version >= V7_2 ? -EEXIST : -EINVAL;
	int vm = vm_create(GP_VM_SNP), other = vm_create(GP_VM_SNP);
	int gmem = gmem_create(vm, 2 * MIB, 0);

	assert_int_equal(slot_set(other, 0, 0, MIB, gmem, 0), -EINVAL);
	assert_int_equal(slot_set(vm, 0, 0, MIB, vm, 0), -EINVAL);
	assert_int_equal(slot_set(vm, 0, 0, MIB, 1000, 0), -EBADF);
	assert_int_equal(slot_set(vm, 0, 0, MIB, gmem, 1), -EINVAL);
	assert_int_equal(slot_set(vm, 0, 0, 2 * MIB, gmem, MIB), -EINVAL);
	assert_int_equal(slot_set(vm, 0, 0, MIB, gmem, 0), 0);
	assert_int_equal(slot_set(vm, 1, MIB / 2, MIB, gmem, MIB), -EEXIST);
	assert_int_equal(slot_set(vm, 1, 4 * MIB, MIB, gmem, 0), overlap);
	assert_int_equal(slot_set(vm, 1, 4 * MIB, MIB, gmem, MIB), 0);
	/* Bound, it does not change: it can only go. */
	assert_int_equal(slot_set(vm, 1, 8 * MIB, MIB, gmem, MIB), -EINVAL);
	assert_int_equal(slot_set(vm, 1, 4 * MIB, 0, gmem, MIB), 0);
	assert_int_equal(slot_set(vm, 1, 8 * MIB, MIB, gmem, MIB), 0);
	assert_int_equal(close(gmem), 0);
	assert_int_equal(close(other), 0);
	assert_int_equal(close(vm), 0);
}

static void a_range_is_bound_once_and_to_its_own_vm(void **state)
{
	(void)state;
	on_each_version(V6_11, binding);
}

/* check_memory_region_flags; kvm_vm_ioctl for version 1 of the request. */
static void slot_flags(int version)
{
	int vm = vm_create(GP_VM_SNP), gmem = gmem_create(vm, MIB, 0);
	struct gp_region2 region = { .flags = GP_MEM_GUEST_MEMFD | GP_MEM_LOG_DIRTY,
				     .memory_size = MIB,
				     .guest_memfd = (uint32_t)gmem };

	(void)version;
	assert_int_equal(request(vm, GP_SET_REGION2, &region), -EINVAL);
	region.flags = GP_MEM_GUEST_MEMFD | GP_MEM_READONLY;
	assert_int_equal(request(vm, GP_SET_REGION2, &region), -EINVAL);
	region.flags = GP_MEM_GUEST_MEMFD;
	assert_int_equal(request(vm, KVM_SET_USER_MEMORY_REGION, &region), -EINVAL);
	region.slot = 32;
	region.userspace_addr = 1;
	assert_int_equal(request(vm, GP_SET_REGION2, &region), -EINVAL);
	assert_int_equal(close(gmem), 0);
	assert_int_equal(close(vm), 0);
}

static void a_slot_with_a_guest_memfd_takes_no_other_flag(void **state)
{
	(void)state;
	on_each_version(V6_11, slot_flags);
}

/* kvm_vm_ioctl_set_mem_attributes. */
static void attributes(int version)
{
	struct gp_attributes set = { .size = GP_PAGE_SIZE, .attributes = GP_ATTRIBUTE_PRIVATE };
	int vm = vm_create(GP_VM_SNP), plain = vm_create(GP_VM_SEV);

	(void)version;
	assert_int_equal(attributes_set(vm, 0, 0, true), -EINVAL);
	assert_int_equal(attributes_set(vm, 1, GP_PAGE_SIZE, true), -EINVAL);
	assert_int_equal(attributes_set(vm, UINT64_MAX - 4095, 2 * GP_PAGE_SIZE, true), -EINVAL);
	set.flags = 1;
	assert_int_equal(request(vm, GP_SET_ATTRIBUTES, &set), -EINVAL);
	set.flags = 0;
	set.attributes = 1;
	assert_int_equal(request(vm, GP_SET_ATTRIBUTES, &set), -EINVAL);
	/* Also where no slot is. */
	assert_int_equal(attributes_set(vm, UINT64_C(1) << 40, GP_PAGE_SIZE, true), 0);
	assert_int_equal(attributes_set(plain, 0, GP_PAGE_SIZE, true), -EINVAL);
	assert_int_equal(close(plain), 0);
	assert_int_equal(close(vm), 0);
}

static void attributes_are_checked_and_need_no_slot(void **state)
{
	(void)state;
	on_each_version(V6_11, attributes);
}

/* kvm_gmem_ioctl of the series for in-place conversion; the two models exclude each other. */
static void in_place(int version)
{
	struct gp_attributes2 set2 = { .size = GP_PAGE_SIZE };
	int vm = vm_create(GP_VM_SNP), gmem = gmem_create(vm, MIB, 0);

	(void)version;
	assert_int_equal(request(gmem, GP_SET_ATTRIBUTES2, &set2), -ENOTTY);
	set("in-place=1");
	assert_int_equal(request(gmem, GP_SET_ATTRIBUTES2, &set2), 0);
	assert_int_equal(attributes_set(vm, 0, GP_PAGE_SIZE, true), -ENOTTY);
	set2.offset = MIB;
	assert_int_equal(request(gmem, GP_SET_ATTRIBUTES2, &set2), -EINVAL);
	/* A page that somebody still holds: the offset comes back, on this error only. */
	set2.offset = 2 * GP_PAGE_SIZE;
	set2.attributes = GP_ATTRIBUTE_PRIVATE;
	set("busy=1");
	assert_int_equal(request(gmem, GP_SET_ATTRIBUTES2, &set2), -EAGAIN);
	assert_int_equal(set2.error_offset, 2 * GP_PAGE_SIZE);
	assert_int_equal(request(gmem, GP_SET_ATTRIBUTES2, &set2), 0);
	assert_int_equal(close(gmem), 0);
	assert_int_equal(close(vm), 0);
}

static void in_place_conversion_is_asked_of_the_file(void **state)
{
	(void)state;
	on_each_version(V7_2, in_place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_vm_type_is_there_when_version_and_ids_are),
		gm_test(another_address_space_gets_eio),
		gm_test(a_guest_memfd_is_refused_with_the_flags_of_later_versions),
		gm_test(a_range_is_bound_once_and_to_its_own_vm),
		gm_test(a_slot_with_a_guest_memfd_takes_no_other_flag),
		gm_test(attributes_are_checked_and_need_no_slot),
		gm_test(in_place_conversion_is_asked_of_the_file),
	};

	return gm_test_run("model_memory", tests, sizeof(tests) / sizeof(*tests));
}
