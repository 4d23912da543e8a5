/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private and shared pages of one guest: who sees what, and what a conversion does. The rules of
 * the kernel's own private_mem_conversions_test and private_mem_kvm_exits_test, and
 * kvm_vm_ioctl_set_mem_attributes, Linux 6.12.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm_para.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "private_vm.h"

#define SIZE (8 * GM_MIB)
#define PAGE GM_PAGE_4K
#define DATA (4 * GM_MIB) /* aligned to 2 MiB, away from the guest's code */
#define SECRET 0x5e
#define PUBLIC 0xb1

static void assert_guest_writes(struct private_vm *vm, uint64_t gpa, unsigned char value)
{
	assert_int_equal(private_vm_write(vm, gpa, value), KVM_EXIT_HLT);
}

static void assert_guest_reads(struct private_vm *vm, uint64_t gpa, unsigned char value)
{
	unsigned char got = (unsigned char)~value;

	assert_int_equal(private_vm_read(vm, gpa, &got), KVM_EXIT_HLT);
	assert_int_equal(got, value);
}

static void the_one_attribute_of_such_a_vm_is_private(void **state)
{
	struct private_vm vm;

	(void)state;
	private_vm_open(&vm, SIZE);
	assert_int_equal(ioctl(vm.vm, KVM_CHECK_EXTENSION, CAP_MEMORY_ATTRIBUTES),
			 ATTRIBUTE_PRIVATE);
	private_vm_close(&vm);
}

static void all_pages_start_out_shared(void **state)
{
	struct private_vm vm;

	(void)state;
	private_vm_open(&vm, SIZE);
	assert_guest_writes(&vm, DATA, PUBLIC);
	assert_int_equal(vm.shared[DATA], PUBLIC);
	vm.shared[DATA + 1] = PUBLIC + 1;
	assert_guest_reads(&vm, DATA + 1, PUBLIC + 1);
	private_vm_close(&vm);
}

static void what_the_guest_writes_to_a_private_page_the_host_does_not_see(void **state)
{
	struct private_vm vm;

	(void)state;
	private_vm_open(&vm, SIZE);
	vm.shared[DATA] = PUBLIC;
	private_vm_convert(&vm, DATA, PAGE, true);
	assert_guest_writes(&vm, DATA, SECRET);
	assert_int_equal(vm.shared[DATA], PUBLIC);
	assert_guest_reads(&vm, DATA, SECRET);
	private_vm_close(&vm);
}

static void what_the_host_writes_to_the_shared_half_a_private_page_does_not_show(void **state)
{
	struct private_vm vm;

	(void)state;
	private_vm_open(&vm, SIZE);
	private_vm_convert(&vm, DATA, PAGE, true);
	assert_guest_writes(&vm, DATA, SECRET);
	vm.shared[DATA] = PUBLIC;
	assert_guest_reads(&vm, DATA, SECRET);
	private_vm_close(&vm);
}

static void a_new_private_page_is_zero_whatever_the_shared_half_held(void **state)
{
	struct private_vm vm;

	(void)state;
	private_vm_open(&vm, SIZE);
	assert_guest_writes(&vm, DATA, PUBLIC);
	private_vm_convert(&vm, DATA, PAGE, true);
	assert_guest_reads(&vm, DATA, 0);
	private_vm_close(&vm);
}

/* So whoever converts has to free the half that is no longer seen: the kernel does not. */
static void both_halves_keep_what_they_held_over_conversions(void **state)
{
	struct private_vm vm;

	(void)state;
	private_vm_open(&vm, SIZE);
	assert_guest_writes(&vm, DATA, PUBLIC);
	private_vm_convert(&vm, DATA, PAGE, true);
	assert_guest_writes(&vm, DATA, SECRET);
	private_vm_convert(&vm, DATA, PAGE, false);
	assert_guest_reads(&vm, DATA, PUBLIC);
	private_vm_convert(&vm, DATA, PAGE, true);
	assert_guest_reads(&vm, DATA, SECRET);
	private_vm_close(&vm);
}

static void a_punched_private_page_reads_as_zero_when_it_is_private_again(void **state)
{
	struct private_vm vm;

	(void)state;
	private_vm_open(&vm, SIZE);
	private_vm_convert(&vm, DATA, PAGE, true);
	assert_guest_writes(&vm, DATA, SECRET);
	private_vm_convert(&vm, DATA, PAGE, false);
	private_vm_punch(&vm, DATA, PAGE);
	private_vm_convert(&vm, DATA, PAGE, true);
	assert_guest_reads(&vm, DATA, 0);
	private_vm_close(&vm);
}

static void a_conversion_leaves_the_pages_beside_it_alone(void **state)
{
	struct private_vm vm;

	(void)state;
	private_vm_open(&vm, SIZE);
	private_vm_convert(&vm, DATA, 2 * GM_MIB, true);
	assert_guest_writes(&vm, DATA, SECRET);
	assert_guest_writes(&vm, DATA + 2 * GM_MIB - 1, SECRET + 1);
	assert_guest_writes(&vm, DATA - 1, PUBLIC);
	assert_guest_writes(&vm, DATA + 2 * GM_MIB, PUBLIC + 1);

	private_vm_convert(&vm, DATA + PAGE, PAGE, false);
	assert_guest_reads(&vm, DATA, SECRET);
	assert_guest_reads(&vm, DATA + 2 * GM_MIB - 1, SECRET + 1);
	assert_int_equal(vm.shared[DATA - 1], PUBLIC);
	assert_int_equal(vm.shared[DATA + 2 * GM_MIB], PUBLIC + 1);
	assert_guest_writes(&vm, DATA + PAGE, PUBLIC + 2);
	assert_int_equal(vm.shared[DATA + PAGE], PUBLIC + 2);
	private_vm_close(&vm);
}

static void attributes_that_make_no_sense_are_einval(void **state)
{
	static const struct memory_attributes bad[] = {
		{ .address = DATA, .size = 0, .attributes = ATTRIBUTE_PRIVATE },
		{ .address = DATA, .size = PAGE, .attributes = ATTRIBUTE_PRIVATE, .flags = 1 },
		{ .address = DATA, .size = PAGE, .attributes = 1 },
		{ .address = DATA, .size = PAGE, .attributes = ATTRIBUTE_PRIVATE << 1 },
		{ .address = DATA + 1, .size = PAGE, .attributes = ATTRIBUTE_PRIVATE },
		{ .address = DATA, .size = PAGE - 1, .attributes = ATTRIBUTE_PRIVATE },
		{ .address = 0 - PAGE, .size = 2 * PAGE, .attributes = ATTRIBUTE_PRIVATE },
	};
	struct private_vm vm;

	(void)state;
	private_vm_open(&vm, SIZE);
	for (size_t i = 0; i < GM_ARRAY_SIZE(bad); i++)
		assert_int_equal(private_vm_set_attributes(&vm, &bad[i]), EINVAL);
	private_vm_close(&vm);
}

static void pages_without_a_memslot_may_be_made_private(void **state)
{
	struct private_vm vm;

	(void)state;
	private_vm_open(&vm, SIZE);
	private_vm_convert(&vm, 64 * GM_GIB, PAGE, true);
	private_vm_close(&vm);
}

static void assert_private_fault(struct private_vm *vm, uint64_t gpa)
{
	struct memory_fault fault;

	assert_int_equal(private_vm_write(vm, gpa, SECRET), EXIT_MEMORY_FAULT);
	fault = private_vm_fault(vm);
	assert_int_equal(fault.flags, MEMORY_FAULT_PRIVATE);
	assert_int_equal(fault.gpa, gpa);
	assert_int_equal(fault.size, PAGE);
}

static void a_private_page_without_a_memslot_is_a_memory_fault(void **state)
{
	struct private_vm vm;

	(void)state;
	private_vm_open(&vm, SIZE);
	private_vm_convert(&vm, SIZE, PAGE, true);
	assert_private_fault(&vm, SIZE);
	private_vm_close(&vm);
}

static void a_private_page_of_a_memslot_without_guest_memfd_is_a_memory_fault(void **state)
{
	struct private_vm vm;
	struct memory_region2 plain;

	(void)state;
	private_vm_open(&vm, SIZE);
	plain = private_vm_slot(&vm);
	plain.slot = 1;
	plain.flags = 0;
	plain.guest_phys_addr = SIZE;
	assert_int_equal(private_vm_set_slot(&vm, &plain), 0);
	private_vm_convert(&vm, SIZE + PAGE, PAGE, true);
	assert_private_fault(&vm, SIZE + PAGE);

	/* The answer to such a fault: convert, and enter the guest where it left. */
	private_vm_convert(&vm, SIZE + PAGE, PAGE, false);
	assert_int_equal(private_vm_go_on(&vm), KVM_EXIT_HLT);
	assert_int_equal(vm.shared[PAGE], SECRET);
	private_vm_close(&vm);
}

/* The slot does not hold the file. */
static void a_private_page_whose_guest_memfd_is_closed_is_a_memory_fault(void **state)
{
	struct private_vm vm;

	(void)state;
	private_vm_open(&vm, SIZE);
	private_vm_convert(&vm, DATA, PAGE, true);
	assert_guest_writes(&vm, DATA, SECRET);
	assert_int_equal(close(vm.gmem), 0);
	vm.gmem = -1;
	assert_private_fault(&vm, DATA);
	private_vm_close(&vm);
}

static void a_guests_call_to_convert_arrives_with_its_range_and_takes_the_answer(void **state)
{
	struct private_vm vm;

	(void)state;
	private_vm_open(&vm, SIZE);
	assert_int_equal(private_vm_call(&vm, DATA, 3, true), KVM_EXIT_HYPERCALL);
	assert_int_equal(vm.run->hypercall.nr, KVM_HC_MAP_GPA_RANGE);
	assert_int_equal(vm.run->hypercall.args[0], DATA);
	assert_int_equal(vm.run->hypercall.args[1], 3);
	assert_int_equal(vm.run->hypercall.args[2], KVM_MAP_GPA_RANGE_ENCRYPTED);
	/* What comes with the exit is up to the VMM: nothing has been converted yet. */
	vm.run->hypercall.ret = 42;
	assert_int_equal(private_vm_go_on(&vm), KVM_EXIT_HLT);
	assert_int_equal(private_vm_call_result(&vm), 42);
	assert_guest_writes(&vm, DATA, PUBLIC);
	assert_int_equal(vm.shared[DATA], PUBLIC);
	private_vm_close(&vm);
}

static void a_call_to_convert_what_is_no_range_of_pages_does_not_reach_the_vmm(void **state)
{
	struct private_vm vm;

	(void)state;
	private_vm_open(&vm, SIZE);
	assert_int_equal(private_vm_call(&vm, DATA + 1, 1, true), KVM_EXIT_HLT);
	assert_int_equal((int32_t)private_vm_call_result(&vm), -EINVAL);
	assert_int_equal(private_vm_call(&vm, DATA, 0, true), KVM_EXIT_HLT);
	assert_int_equal((int32_t)private_vm_call_result(&vm), -EINVAL);
	private_vm_close(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(the_one_attribute_of_such_a_vm_is_private),
		gm_test(all_pages_start_out_shared),
		gm_test(what_the_guest_writes_to_a_private_page_the_host_does_not_see),
		gm_test(what_the_host_writes_to_the_shared_half_a_private_page_does_not_show),
		gm_test(a_new_private_page_is_zero_whatever_the_shared_half_held),
		gm_test(both_halves_keep_what_they_held_over_conversions),
		gm_test(a_punched_private_page_reads_as_zero_when_it_is_private_again),
		gm_test(a_conversion_leaves_the_pages_beside_it_alone),
		gm_test(attributes_that_make_no_sense_are_einval),
		gm_test(pages_without_a_memslot_may_be_made_private),
		gm_test(a_private_page_without_a_memslot_is_a_memory_fault),
		gm_test(a_private_page_of_a_memslot_without_guest_memfd_is_a_memory_fault),
		gm_test(a_private_page_whose_guest_memfd_is_closed_is_a_memory_fault),
		gm_test(a_guests_call_to_convert_arrives_with_its_range_and_takes_the_answer),
		gm_test(a_call_to_convert_what_is_no_range_of_pages_does_not_reach_the_vmm),
	};

	private_vm_needed();
	return gm_test_run("private and shared pages", tests, GM_ARRAY_SIZE(tests));
}
