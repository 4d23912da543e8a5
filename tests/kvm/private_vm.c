/* SPDX-License-Identifier: Apache-2.0 */
#include "private_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kvm_para.h>

/* The guest's code is in a page of its own that is never converted. */
#define CODE_AT 0x1000

/* 16-bit code with the data segment's limit lifted: it reaches 4 GiB. */
extern const unsigned char guest_code[], guest_write[], guest_read[], guest_call[], guest_end[];

__asm__(".pushsection .rodata\n"
	".code16\n"
	"guest_code:\n"
	"guest_write:\n"
	"	movb %al, (%edi)\n"
	"	hlt\n"
	"guest_read:\n"
	"	movb (%edi), %al\n"
	"	hlt\n"
	"guest_call:\n"
	"	vmmcall\n"
	"	hlt\n"
	"guest_end:\n"
	".code64\n"
	".popsection\n");

void private_vm_needed(void)
{
	char why[128];
	int kvm = open("/dev/kvm", O_RDONLY | O_CLOEXEC);
	int types;

	if (kvm < 0) {
		(void)snprintf(why, sizeof(why), "/dev/kvm: %s", strerror(errno));
		gm_test_skip_all(why);
	}
	types = ioctl(kvm, KVM_CHECK_EXTENSION, CAP_VM_TYPES);
	(void)close(kvm);
	if (types < 0 || !(types & (1 << SW_PROTECTED_VM)))
		gm_test_skip_all("KVM here has no software-protected VMs: the test machine has");
}

struct memory_region2 private_vm_slot(const struct private_vm *vm)
{
	return (struct memory_region2){
		.flags = MEM_GUEST_MEMFD,
		.memory_size = vm->size,
		.userspace_addr = (uintptr_t)vm->shared,
		.guest_memfd = (uint32_t)vm->gmem,
	};
}

int private_vm_set_slot(const struct private_vm *vm, const struct memory_region2 *slot)
{
	return ioctl(vm->vm, SET_USER_MEMORY_REGION2, slot) < 0 ? errno : 0;
}

int private_vm_set_attributes(const struct private_vm *vm, const struct memory_attributes *set)
{
	return ioctl(vm->vm, SET_MEMORY_ATTRIBUTES, set) < 0 ? errno : 0;
}

static void lift_segment_limits(int vcpu)
{
	struct kvm_sregs sregs;

	assert_return_code(ioctl(vcpu, KVM_GET_SREGS, &sregs), errno);
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	sregs.ds.base = 0;
	sregs.ds.selector = 0;
	sregs.ds.limit = UINT32_MAX;
	sregs.ds.g = 1;
	assert_return_code(ioctl(vcpu, KVM_SET_SREGS, &sregs), errno);
}

void private_vm_create(struct private_vm *vm)
{
	struct kvm_enable_cap calls = {
		.cap = KVM_CAP_EXIT_HYPERCALL,
		.args = { 1 << KVM_HC_MAP_GPA_RANGE },
	};

	*vm = (struct private_vm){ .gmem = -1, .vcpu = -1 };
	vm->kvm = probe_open_kvm();
	vm->vm = ioctl(vm->kvm, KVM_CREATE_VM, SW_PROTECTED_VM);
	assert_return_code(vm->vm, errno);
	assert_return_code(ioctl(vm->vm, KVM_ENABLE_CAP, &calls), errno);
}

void private_vm_boot(struct private_vm *vm)
{
	vm->vcpu = ioctl(vm->vm, KVM_CREATE_VCPU, vm->vcpu_id);
	assert_return_code(vm->vcpu, errno);
	vm->run_size = (size_t)ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);
	assert_ptr_not_equal(vm->run, MAP_FAILED);
	lift_segment_limits(vm->vcpu);
	memcpy(vm->shared + CODE_AT, guest_code, (size_t)(guest_end - guest_code));
}

void private_vm_open(struct private_vm *vm, uint64_t size)
{
	struct memory_region2 slot;

	private_vm_create(vm);
	vm->size = size;
	vm->gmem = probe_create_gmem(vm->vm, size, 0);
	assert_true(vm->gmem >= 0);
	vm->shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(vm->shared, MAP_FAILED);
	slot = private_vm_slot(vm);
	assert_int_equal(private_vm_set_slot(vm, &slot), 0);
	private_vm_boot(vm);
}

static void close_if_open(int *fd)
{
	if (*fd >= 0)
		assert_int_equal(close(*fd), 0);
	*fd = -1;
}

void private_vm_close(struct private_vm *vm)
{
	assert_int_equal(munmap(vm->run, vm->run_size), 0);
	if (vm->shared)
		assert_int_equal(munmap(vm->shared, vm->size), 0);
	close_if_open(&vm->vcpu);
	close_if_open(&vm->gmem);
	close_if_open(&vm->vm);
	close_if_open(&vm->kvm);
}

void private_vm_convert(const struct private_vm *vm, uint64_t gpa, uint64_t size, bool to_private)
{
	const struct memory_attributes set = {
		.address = gpa,
		.size = size,
		.attributes = to_private ? ATTRIBUTE_PRIVATE : 0,
	};

	assert_int_equal(private_vm_set_attributes(vm, &set), 0);
}

void private_vm_punch(const struct private_vm *vm, uint64_t offset, uint64_t size)
{
	assert_return_code(fallocate(vm->gmem, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
				     (off_t)offset, (off_t)size),
			   errno);
}

unsigned private_vm_go_on(struct private_vm *vm)
{
	int r;

	do
		r = ioctl(vm->vcpu, KVM_RUN, 0);
	while (r < 0 && errno == EINTR);
	/* This exit alone comes with an error. */
	if (r < 0) {
		assert_int_equal(errno, EFAULT);
		assert_int_equal(vm->run->exit_reason, EXIT_MEMORY_FAULT);
	}
	return vm->run->exit_reason;
}

static struct kvm_regs registers(const struct private_vm *vm)
{
	struct kvm_regs regs;

	assert_return_code(ioctl(vm->vcpu, KVM_GET_REGS, &regs), errno);
	return regs;
}

static unsigned enter(struct private_vm *vm, const unsigned char *routine, struct kvm_regs regs)
{
	regs.rip = CODE_AT + (uint64_t)(routine - guest_code);
	regs.rflags = 2;
	assert_return_code(ioctl(vm->vcpu, KVM_SET_REGS, &regs), errno);
	return private_vm_go_on(vm);
}

unsigned private_vm_write(struct private_vm *vm, uint64_t gpa, unsigned char value)
{
	return enter(vm, guest_write, (struct kvm_regs){ .rdi = gpa, .rax = value });
}

unsigned private_vm_read(struct private_vm *vm, uint64_t gpa, unsigned char *ret_value)
{
	unsigned reason = enter(vm, guest_read, (struct kvm_regs){ .rdi = gpa });

	if (reason == KVM_EXIT_HLT)
		*ret_value = (unsigned char)registers(vm).rax;
	return reason;
}

unsigned private_vm_call(struct private_vm *vm, uint64_t gpa, uint64_t n_pages, bool to_private)
{
	return enter(vm, guest_call,
		     (struct kvm_regs){
			     .rax = KVM_HC_MAP_GPA_RANGE,
			     .rbx = gpa,
			     .rcx = n_pages,
			     .rdx = to_private ? KVM_MAP_GPA_RANGE_ENCRYPTED
					       : KVM_MAP_GPA_RANGE_DECRYPTED,
		     });
}

uint64_t private_vm_call_result(const struct private_vm *vm)
{
	return registers(vm).rax;
}

struct memory_fault private_vm_fault(const struct private_vm *vm)
{
	struct memory_fault fault;

	/* Every member of the union of struct kvm_run starts at the same place. */
	memcpy(&fault, &vm->run->hw, sizeof(fault));
	return fault;
}
