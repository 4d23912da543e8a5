/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's only ioctl calls: KVM requests with -errno for an answer.
 *
 * A VM fd takes requests only from the address space that created it (kvm_vm_ioctl compares
 * kvm->mm with current->mm and answers EIO): never across a fork.
 */
#ifndef GM_KVM_IOCTL_H
#define GM_KVM_IOCTL_H

#include "gm_kvm_uapi.h"
#include "gm_num.h"

GM_WARN_UNUSED int gm_kvm_api_version(int kvm_fd);

/* The value of the capability, 0 when the kernel does not know it; @fd: /dev/kvm or a VM. */
GM_WARN_UNUSED int gm_kvm_check_extension(int fd, unsigned capability);

/* A fd that the caller owns, close-on-exec and at least 3; or -errno. */
GM_WARN_UNUSED int gm_kvm_create_vm(int kvm_fd, unsigned long type);
GM_WARN_UNUSED int gm_kvm_create_guest_memfd(int vm_fd, uint64_t size, uint64_t flags);

/* Addresses need no memslot: the attributes are the VM's (kvm_vm_set_mem_attributes, 6.8). */
GM_WARN_UNUSED int gm_kvm_set_attributes(int vm_fd, uint64_t address, uint64_t size,
					 uint64_t attributes);

/*
 * In place: by any process, on the file itself. It unmaps the range in all processes and waits for
 * whoever is at it. -EAGAIN: pages from *ret_offset on, which is inside the range, are held by
 * somebody (a pin, an I/O under way). Whether those before it have been converted the kernel does
 * not say (kvm_gmem_set_attributes looks at all of them first). -ENOTTY: it has no such request.
 */
GM_WARN_UNUSED int gm_kvm_convert(int memory_fd, uint64_t offset, uint64_t size,
				  uint64_t attributes, uint64_t *ret_offset);

/* KVM_MEMORY_ENCRYPT_OP, once. */
GM_WARN_UNUSED int gm_kvm_encrypt_op(int vm_fd, void *envelope);
/* KVM_MEMORY_ENCRYPT_REG_REGION: pins what is mapped at @at. */
GM_WARN_UNUSED int gm_kvm_pin(int vm_fd, const void *at, uint64_t size);

/* A fd as above. */
GM_WARN_UNUSED int gm_kvm_create_vcpu(int vm_fd, unsigned long id);
GM_WARN_UNUSED int gm_kvm_get_sregs(int vcpu_fd, struct kvm_sregs *ret_sregs);
GM_WARN_UNUSED int gm_kvm_set_sregs(int vcpu_fd, const struct kvm_sregs *sregs);
GM_WARN_UNUSED int gm_kvm_set_regs(int vcpu_fd, const struct kvm_regs *regs);

/* Is @error, a -errno, a shortage of this process or host, and not what the kernel can or cannot?
 */
bool gm_kvm_is_shortage(int error);

#endif
