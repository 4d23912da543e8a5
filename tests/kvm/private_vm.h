/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small VM with private memory and a guest that does as it is told: what the probes of private
 * memory share. Bare ioctls, as in kvm_probe.h. The VM is a software-protected one, the only type
 * that needs no special processor; x86-64 only.
 *
 * Its memory is one memslot from 0 on with two halves: shared pages are in a mapping, private ones
 * in a guest_memfd. All of it starts out shared.
 */
#ifndef PRIVATE_VM_H
#define PRIVATE_VM_H

#include "kvm_probe.h"

/* Numbers that <linux/kvm.h> of Linux 6.1 lacks; the layouts are fixed by the requests' numbers. */
#define CAP_MEMORY_ATTRIBUTES 233
#define ATTRIBUTE_PRIVATE (UINT64_C(1) << 3)
#define EXIT_MEMORY_FAULT 39
#define MEMORY_FAULT_PRIVATE (UINT64_C(1) << 3)

struct memory_attributes {
	uint64_t address;
	uint64_t size;
	uint64_t attributes;
	uint64_t flags;
};

struct memory_fault {
	uint64_t flags;
	uint64_t gpa;
	uint64_t size;
};

#define SET_MEMORY_ATTRIBUTES _IOW(KVMIO, 0xd2, struct memory_attributes)

static_assert(SET_MEMORY_ATTRIBUTES == 0x4020aed2, "number of the kernel");

struct private_vm {
	uint64_t size;
	int kvm;
	int vm;
	int vcpu;
	unsigned long vcpu_id;
	int gmem;
	unsigned char *shared; /* the shared half, as the host sees it */
	struct kvm_run *run;
	size_t run_size;
};

/* Ends the program with 77 unless this kernel has such VMs. */
void private_vm_needed(void);

/*
 * A VM without memory; and a vCPU with the guest's code, once the VM has memory: size and shared
 * are filled in, and the first 8 KiB are shared.
 */
void private_vm_create(struct private_vm *vm);
void private_vm_boot(struct private_vm *vm);

/* Both, with memory. Closed by private_vm_close(); a field that the test has closed itself is -1.
 */
void private_vm_open(struct private_vm *vm, uint64_t size);
void private_vm_close(struct private_vm *vm);

/* The bare ioctls: 0 or the errno. */
int private_vm_set_slot(const struct private_vm *vm, const struct memory_region2 *slot);
int private_vm_set_attributes(const struct private_vm *vm, const struct memory_attributes *set);

/* The slot that private_vm_open() sets. */
struct memory_region2 private_vm_slot(const struct private_vm *vm);

/* Sets the attribute; the case fails if the kernel refuses. */
void private_vm_convert(const struct private_vm *vm, uint64_t gpa, uint64_t size, bool to_private);

/* Frees the private half of a range. */
void private_vm_punch(const struct private_vm *vm, uint64_t offset, uint64_t size);

/* The guest writes or reads a byte, or asks for a conversion. Returns the exit reason: HLT when it
 * is through. */
unsigned private_vm_write(struct private_vm *vm, uint64_t gpa, unsigned char value);
unsigned private_vm_read(struct private_vm *vm, uint64_t gpa, unsigned char *ret_value);
unsigned private_vm_call(struct private_vm *vm, uint64_t gpa, uint64_t n_pages, bool to_private);

/* Enters the guest again where it left. */
unsigned private_vm_go_on(struct private_vm *vm);

/* What the guest got from its last call. */
uint64_t private_vm_call_result(const struct private_vm *vm);

/* After an exit with EXIT_MEMORY_FAULT. */
struct memory_fault private_vm_fault(const struct private_vm *vm);

#endif
