/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One VM with one vCPU: memory slot 0 is the region from gmemd, the serial port is emulated here.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"
#include "tinyvmm.h"

extern const uint8_t guest_image[];
extern const uint32_t guest_image_size;

#define CR0_PE 1u
#define UART_LSR_EMPTY 0x60 /* transmitter and holding register */

struct vm {
	int vm_fd;
	int vcpu_fd;
	struct kvm_run *run;
	size_t run_size;
};

static void vm_done(struct vm *vm)
{
	if (vm->run)
		munmap(vm->run, vm->run_size);
	if (vm->vcpu_fd >= 0)
		close(vm->vcpu_fd);
	if (vm->vm_fd >= 0)
		close(vm->vm_fd);
}

static int vm_create(struct vm *vm, const struct machine *machine, int kvm_fd)
{
	vm->vm_fd = machine->vm_fd;
	if (vm->vm_fd < 0)
		vm->vm_fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
	return vm->vm_fd < 0 ? -errno : 0;
}

static int vm_add_memory(const struct vm *vm, const struct machine *machine)
{
	struct kvm_userspace_memory_region slot = {
		.slot = 0,
		.guest_phys_addr = 0,
		.memory_size = machine->ram_size,
		.userspace_addr = (uintptr_t)machine->ram,
	};

	/* Private memory is bound already. */
	if (machine->is_private)
		return 0;
	return ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0 ? -errno : 0;
}

/* Flat 32-bit protected mode: what a boot loader would have set up. */
static int vm_reset_vcpu(const struct vm *vm, const struct machine *machine)
{
	struct kvm_segment code = {
		.limit = UINT32_MAX,
		.selector = 8,
		.type = 0xb,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
	struct kvm_regs regs = {
		.rip = GUEST_CODE,
		.rflags = 2,
		.rcx = machine->ram_size,
		.rdx = machine->is_private,
	};
	struct kvm_segment data = code;
	struct kvm_sregs sregs;

	if (ioctl(vm->vcpu_fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	data.selector = 16;
	data.type = 3;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 |= CR0_PE;
	if (ioctl(vm->vcpu_fd, KVM_SET_SREGS, &sregs) < 0)
		return -errno;
	return ioctl(vm->vcpu_fd, KVM_SET_REGS, &regs) < 0 ? -errno : 0;
}

static int vm_init(struct vm *vm, const struct machine *machine, int kvm_fd)
{
	int size, r;

	*vm = (struct vm){ .vm_fd = -1, .vcpu_fd = -1 };
	r = vm_create(vm, machine, kvm_fd);
	if (r == 0)
		r = vm_add_memory(vm, machine);
	if (r < 0)
		return r;
	/* Hosts without unrestricted guest need room for a TSS: three pages below the BIOS. */
	if (ioctl(vm->vm_fd, KVM_SET_TSS_ADDR, 0xfffbd000UL) < 0)
		return -errno;
	vm->vcpu_fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, 0);
	if (vm->vcpu_fd < 0)
		return -errno;
	size = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < 0)
		return -errno;
	vm->run_size = (size_t)size;
	vm->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu_fd, 0);
	if (vm->run == MAP_FAILED) {
		vm->run = NULL;
		return -errno;
	}
	return vm_reset_vcpu(vm, machine);
}

static void serial_in(struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	memset(data, run->io.port == GUEST_SERIAL_PORT + 5 ? UART_LSR_EMPTY : 0xff,
	       (size_t)run->io.size * run->io.count);
}

/* Returns the guest's exit status, or -1 to go on. */
static int port_out(const struct machine *machine, const struct kvm_run *run)
{
	const uint8_t *data = (const uint8_t *)run + run->io.data_offset;
	uint32_t address;

	if (run->io.port == GUEST_LOOK_PORT && run->io.size == sizeof(address)) {
		memcpy(&address, data, sizeof(address));
		private_look(machine, address);
	}
	if (run->io.port == GUEST_SERIAL_PORT)
		(void)fwrite(data, run->io.size, run->io.count, stdout);
	return run->io.port == GUEST_EXIT_PORT ? data[0] : -1;
}

static int vm_loop(struct vm *vm, struct machine *machine)
{
	uint64_t ticks = 0;
	int status;

	assert(vm->run);
	for (;;) {
		if (ioctl(vm->vcpu_fd, KVM_RUN, 0) < 0) {
			if (errno == EINTR)
				continue;
			/* It touched a page the other way than it is. */
			if (errno == EFAULT &&
			    gmem_handle_memory_fault(machine->domain, vm->run) == 0)
				continue;
			return -EFAULT;
		}
		switch (vm->run->exit_reason) {
		case KVM_EXIT_IO:
			if (vm->run->io.direction == KVM_EXIT_IO_IN) {
				serial_in(vm->run);
				break;
			}
			status = port_out(machine, vm->run);
			if (status >= 0)
				return status;
			break;
		case KVM_EXIT_HLT:
			(void)fflush(stdout);
			if (machine->ticks != 0 && ++ticks == machine->ticks)
				return 0;
			if (!machine_pause(machine))
				return 1;
			break;
		case KVM_EXIT_HYPERCALL:
			/* The guest has its answer in any case. */
			(void)gmem_handle_map_gpa_range(machine->domain, vm->run);
			break;
		default:
			fprintf(stderr, "tinyvmm: the guest left with KVM exit reason %u\n",
				vm->run->exit_reason);
			return -EIO;
		}
	}
}

int vm_run(struct machine *machine, int kvm_fd)
{
	struct vm vm;
	int r;

	/* The same image over what an earlier VMM left: the state page is not touched by it. */
	memcpy((uint8_t *)machine->ram + GUEST_CODE, guest_image, guest_image_size);
	r = vm_init(&vm, machine, kvm_fd);
	if (r == 0)
		r = vm_loop(&vm, machine);
	vm_done(&vm);
	(void)fflush(stdout);
	return r;
}
