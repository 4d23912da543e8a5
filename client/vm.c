/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers and layouts are those of the kernel's include/uapi/linux/kvm.h; distribution headers may
 * be older than private memory.
 */
#include "vm.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/falloc.h>
#include <linux/kvm.h>

#include "gm_cleanup.h"
#include "gmem.h"

#define CAP_USER_MEMORY2 231
#define CAP_MEMORY_ATTRIBUTES 233
#define ATTRIBUTE_PRIVATE (UINT64_C(1) << 3)
#define SLOT_GUEST_MEMFD (UINT32_C(1) << 2)
#define EXIT_MEMORY_FAULT 39
#define FAULT_PRIVATE (UINT64_C(1) << 3)
#define HC_MAP_GPA_RANGE 12
#define MAP_ENCRYPTED (UINT64_C(1) << 4)

#define ALLOCATE_PIECE (16 * GM_MIB)

struct vm_create_memory {
	uint64_t size;
	uint64_t flags;
	uint64_t reserved[6];
};

struct vm_memory_attributes {
	uint64_t address;
	uint64_t size;
	uint64_t attributes;
	uint64_t flags;
};

struct vm_memory_attributes2 {
	uint64_t offset;
	uint64_t size;
	uint64_t attributes;
	uint64_t flags;
	uint64_t error_offset;
	uint64_t reserved[11];
};

struct vm_memory_region2 {
	uint32_t slot;
	uint32_t flags;
	uint64_t gpa;
	uint64_t size;
	uint64_t address;
	uint64_t guest_memfd_offset;
	uint32_t guest_memfd;
	uint32_t pad1;
	uint64_t pad2[14];
};

struct vm_memory_fault {
	uint64_t flags;
	uint64_t gpa;
	uint64_t size;
};

#define VM_CREATE_MEMORY _IOWR(KVMIO, 0xd4, struct vm_create_memory)
#define VM_SET_ATTRIBUTES _IOW(KVMIO, 0xd2, struct vm_memory_attributes)
#define VM_SET_ATTRIBUTES2 _IOWR(KVMIO, 0xd2, struct vm_memory_attributes2)
#define VM_SET_REGION2 _IOW(KVMIO, 0x49, struct vm_memory_region2)

static_assert(VM_CREATE_MEMORY == 0xc040aed4, "number of the kernel");
static_assert(VM_SET_ATTRIBUTES == 0x4020aed2, "number of the kernel");
static_assert(VM_SET_REGION2 == 0x40a0ae49, "number of the kernel");
static_assert(VM_SET_ATTRIBUTES2 == 0xc080aed2, "number of the kernel");
static_assert(sizeof(struct vm_memory_fault) <= sizeof(((struct kvm_run *)0)->padding),
	      "the exits' details have room for it");

int gm_vm_check(int vm_fd)
{
	/* /dev/kvm, which answers questions about VMs too, knows its version; a VM does not. */
	if (ioctl(vm_fd, KVM_GET_API_VERSION, 0) >= 0)
		return -ENOTTY;
	return ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY) > 0 ? 0 : -ENOTTY;
}

bool gm_vm_has_private(int vm_fd)
{
	int attributes = ioctl(vm_fd, KVM_CHECK_EXTENSION, CAP_MEMORY_ATTRIBUTES);

	return attributes > 0 && attributes & (int)ATTRIBUTE_PRIVATE &&
	       ioctl(vm_fd, KVM_CHECK_EXTENSION, CAP_USER_MEMORY2) > 0;
}

/*
 * By doing what changes nothing. EINVAL: the VM has no private memory; ENOTTY: the kernel does not
 * convert in place, whoever said so.
 */
bool gm_vm_is_in_place(int memory_fd)
{
	const struct vm_memory_attributes2 set = {
		.size = GM_PAGE_4K,
		.attributes = ATTRIBUTE_PRIVATE,
	};

	return ioctl(memory_fd, VM_SET_ATTRIBUTES2, &set) == 0;
}

int gm_vm_create_memory(int vm_fd, uint64_t size, uint64_t flags, int *ret_fd)
{
	struct vm_create_memory args = { .size = size, .flags = flags };
	_gm_close_ int fd = ioctl(vm_fd, VM_CREATE_MEMORY, &args);

	if (fd < 0)
		return -errno;
	/* kvm_gmem_create makes it without O_CLOEXEC. */
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	*ret_fd = gm_take_fd(&fd);
	return 0;
}

int gm_vm_set_private(int vm_fd, uint64_t gpa, uint64_t size, bool is_private)
{
	const struct vm_memory_attributes set = {
		.address = gpa,
		.size = size,
		.attributes = is_private ? ATTRIBUTE_PRIVATE : 0,
	};

	return ioctl(vm_fd, VM_SET_ATTRIBUTES, &set) < 0 ? -errno : 0;
}

static int set_slot(int vm_fd, const struct gm_vm_slot *slot, uint64_t size)
{
	const struct vm_memory_region2 region = {
		.slot = slot->slot,
		.flags = SLOT_GUEST_MEMFD,
		.gpa = slot->gpa,
		.size = size,
		.address = (uintptr_t)slot->address,
		.guest_memfd = (uint32_t)slot->private_fd,
	};

	return ioctl(vm_fd, VM_SET_REGION2, &region) < 0 ? -errno : 0;
}

int gm_vm_bind(int vm_fd, const struct gm_vm_slot *slot)
{
	int r;

	r = set_slot(vm_fd, slot, slot->size);
	/* The VM has no attributes there (KVM_SET_MEMORY_ATTRIBUTES is ENOTTY). */
	if (r < 0 || slot->in_place)
		return r;
	r = gm_vm_set_private(vm_fd, slot->gpa, slot->size, true);
	if (r < 0)
		(void)set_slot(vm_fd, slot, 0);
	return r;
}

void gm_vm_unbind(int vm_fd, const struct gm_vm_slot *slot)
{
	(void)set_slot(vm_fd, slot, 0);
	if (!slot->in_place)
		(void)gm_vm_set_private(vm_fd, slot->gpa, slot->size, false);
}

int gm_vm_allocate(int fd, uint64_t size)
{
	uint64_t at = 0;

	/* In pieces: a signal ends the call (kvm_gmem_allocate), and what is there stays. */
	while (at < size) {
		uint64_t piece = gm_min_u64(ALLOCATE_PIECE, size - at);

		if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)piece) == 0)
			at += piece;
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

void gm_vm_punch(int fd, uint64_t offset, uint64_t length)
{
	int r;

	do {
		r = fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, (off_t)offset,
			      (off_t)length);
	} while (r < 0 && errno == EINTR);
}

bool gm_vm_read_fault(const struct kvm_run *run, uint64_t *ret_gpa, uint64_t *ret_size,
		      bool *ret_private)
{
	struct vm_memory_fault fault;

	if (run->exit_reason != EXIT_MEMORY_FAULT)
		return false;
	/* Every member of the union of struct kvm_run starts at the same place. */
	memcpy(&fault, run->padding, sizeof(fault));
	*ret_gpa = fault.gpa;
	*ret_size = fault.size;
	*ret_private = fault.flags & FAULT_PRIVATE;
	return true;
}

bool gm_vm_read_map(const struct kvm_run *run, struct gm_vm_map *ret_map)
{
	if (run->exit_reason != KVM_EXIT_HYPERCALL || run->hypercall.nr != HC_MAP_GPA_RANGE)
		return false;
	*ret_map = (struct gm_vm_map){
		.gpa = run->hypercall.args[0],
		.n_pages = run->hypercall.args[1],
		.to_private = run->hypercall.args[2] & MAP_ENCRYPTED,
	};
	return true;
}

void gm_vm_answer_map(struct kvm_run *run, int status)
{
	/* The errors that hypercalls have are those of linux/kvm_para.h: the same numbers. */
	switch (status < 0 ? -status : status) {
	case GMEM_OK:
		run->hypercall.ret = 0;
		break;
	case GMEM_INVALID:
		run->hypercall.ret = (uint64_t)-EINVAL;
		break;
	case GMEM_UNSUPPORTED:
		run->hypercall.ret = (uint64_t)-EOPNOTSUPP;
		break;
	default:
		run->hypercall.ret = (uint64_t)-EPERM;
		break;
	}
}
