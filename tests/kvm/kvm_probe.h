/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the platform probes share. They speak to the kernel as bare as can be: a probe that goes
 * through the code it vouches for would prove nothing.
 */
#ifndef KVM_PROBE_H
#define KVM_PROBE_H

#include "gm_kvm_uapi.h"
#include "gm_num.h"
#include "gm_test.h"

#define MAPPED_SHARED (GM_KVM_GUEST_MEMFD_MMAP | GM_KVM_GUEST_MEMFD_INIT_SHARED)

/*
 * Numbers that <linux/kvm.h> of Linux 6.1 lacks; the layout is fixed by the number of the request.
 */
#define CAP_VM_TYPES 235
#define SW_PROTECTED_VM 1UL
#define MEM_GUEST_MEMFD (1U << 2)

struct memory_region2 {
	uint32_t slot;
	uint32_t flags;
	uint64_t guest_phys_addr;
	uint64_t memory_size;
	uint64_t userspace_addr;
	uint64_t guest_memfd_offset;
	uint32_t guest_memfd;
	uint32_t pad1;
	uint64_t pad2[14];
};

#define SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, struct memory_region2)

static_assert(SET_USER_MEMORY_REGION2 == 0x40a0ae49, "number of the kernel");

/* Ends the program with 77 unless this kernel has mappable guest_memfd and /dev/kvm opens. */
void probe_needs_guest_memfd(void);

/* /dev/kvm O_RDONLY and a VM of the default type; the case fails without. */
int probe_open_kvm(void);
int probe_create_vm(void);

/* The bare ioctl: fd as the kernel made it, or -errno. */
int probe_create_gmem(int vm, uint64_t size, uint64_t flags);

/* A mapped and shared one of @n_pages, its VM closed. */
int probe_gmem(uint64_t n_pages);

/* Runs @fn in a child, as @uid if we are root. Its exit status, or minus what killed it. */
int probe_child(unsigned uid, int (*fn)(void *arg), void *arg);

#endif
