/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What <linux/kvm.h> of Linux 6.1 lacks: numbers and layouts of the kernel's user interface, under
 * names of our own so that a newer header does not collide. Where the header knows them too, the
 * compiler compares.
 */
#ifndef GM_KVM_UAPI_H
#define GM_KVM_UAPI_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/kvm.h>

#define GM_KVM_API_VERSION 12

/* x86: no protection of any kind. The only type whose guest_memfd starts out shared (6.18). */
#define GM_KVM_VM_TYPE_DEFAULT 0UL

/* x86: private memory without protection, for development (CONFIG_KVM_SW_PROTECTED_VM, 6.8). */
#define GM_KVM_VM_TYPE_SW_PROTECTED 1UL

/* x86: SEV and SEV-ES (6.10), SEV-SNP (6.11) and TDX (6.16). */
#define GM_KVM_VM_TYPE_SEV 2UL
#define GM_KVM_VM_TYPE_SEV_ES 3UL
#define GM_KVM_VM_TYPE_SNP 4UL
#define GM_KVM_VM_TYPE_TDX 5UL

#define GM_KVM_CAP_VM_TYPES 235
#define GM_KVM_CAP_MEMORY_ATTRIBUTES 233
#define GM_KVM_CAP_GUEST_MEMFD 234
#define GM_KVM_CAP_GUEST_MEMFD_FLAGS 244

#define GM_KVM_GUEST_MEMFD_MMAP (UINT64_C(1) << 0)
#define GM_KVM_GUEST_MEMFD_INIT_SHARED (UINT64_C(1) << 1)

struct gm_kvm_create_guest_memfd {
	uint64_t size;
	uint64_t flags;
	uint64_t reserved[6]; /* 6.18 does not look at it; a later kernel may */
};

static_assert(sizeof(struct gm_kvm_create_guest_memfd) == 64, "layout of the kernel");
static_assert(offsetof(struct gm_kvm_create_guest_memfd, flags) == 8, "layout of the kernel");
static_assert(offsetof(struct gm_kvm_create_guest_memfd, reserved) == 16, "layout of the kernel");

/* _IOWR, though nothing is copied back. */
#define GM_KVM_CREATE_GUEST_MEMFD _IOWR(KVMIO, 0xd4, struct gm_kvm_create_guest_memfd)

static_assert(GM_KVM_CREATE_GUEST_MEMFD == 0xc040aed4, "number of the kernel");

#define GM_KVM_MEMORY_ATTRIBUTE_PRIVATE (UINT64_C(1) << 3)

struct gm_kvm_memory_attributes {
	uint64_t address;
	uint64_t size;
	uint64_t attributes;
	uint64_t flags; /* 0 */
};

static_assert(sizeof(struct gm_kvm_memory_attributes) == 32, "layout of the kernel");

#define GM_KVM_SET_MEMORY_ATTRIBUTES _IOW(KVMIO, 0xd2, struct gm_kvm_memory_attributes)

static_assert(GM_KVM_SET_MEMORY_ATTRIBUTES == 0x4020aed2, "number of the kernel");

/*
 * On a guest_memfd, by whoever holds it (series for in-place conversion, version 13). Only where
 * kvm.gmem_in_place_conversion is on, and the request above then is not there: the two exclude
 * each other on a host. The capability's number has changed between postings: it is tried, not
 * asked for. Copied back on errors only.
 */
struct gm_kvm_memory_attributes2 {
	uint64_t offset;
	uint64_t size;
	uint64_t attributes;
	uint64_t flags; /* 0 */
	uint64_t error_offset;
	uint64_t reserved[11]; /* zeros: anything else is EINVAL */
};

static_assert(sizeof(struct gm_kvm_memory_attributes2) == 128, "layout of the kernel");
static_assert(offsetof(struct gm_kvm_memory_attributes2, error_offset) == 32,
	      "layout of the kernel");
static_assert(offsetof(struct gm_kvm_memory_attributes2, reserved) == 40, "layout of the kernel");

#define GM_KVM_SET_MEMORY_ATTRIBUTES2 _IOWR(KVMIO, 0xd2, struct gm_kvm_memory_attributes2)

static_assert(GM_KVM_SET_MEMORY_ATTRIBUTES2 == 0xc080aed2, "number of the kernel");

/*
 * statfs f_type of a guest_memfd: that of all anonymous inodes up to 6.18, its own since 6.19
 * ("KVM: guest_memfd: Use guest mem inodes instead of anonymous inodes").
 */
#define GM_ANON_INODE_FS_MAGIC 0x09041934
#define GM_GUEST_MEMFD_MAGIC 0x474d454d

/* In the text of /proc/PID/fd/N, on every version. */
#define GM_GUEST_MEMFD_LINK "[kvm-gmem]"

static_assert(KVM_GET_API_VERSION == 0xae00, "number of the kernel");
static_assert(KVM_CREATE_VM == 0xae01, "number of the kernel");
static_assert(KVM_CHECK_EXTENSION == 0xae03, "number of the kernel");
#ifdef KVM_CREATE_GUEST_MEMFD
static_assert(KVM_CREATE_GUEST_MEMFD == GM_KVM_CREATE_GUEST_MEMFD, "number of the header");
static_assert(sizeof(struct kvm_create_guest_memfd) == sizeof(struct gm_kvm_create_guest_memfd),
	      "layout of the header");
#endif
#ifdef KVM_CAP_GUEST_MEMFD
static_assert(KVM_CAP_GUEST_MEMFD == GM_KVM_CAP_GUEST_MEMFD, "number of the header");
#endif
#ifdef KVM_CAP_GUEST_MEMFD_FLAGS
static_assert(KVM_CAP_GUEST_MEMFD_FLAGS == GM_KVM_CAP_GUEST_MEMFD_FLAGS, "number of the header");
#endif
#ifdef GUEST_MEMFD_FLAG_MMAP
static_assert(GUEST_MEMFD_FLAG_MMAP == GM_KVM_GUEST_MEMFD_MMAP, "number of the header");
#endif
#ifdef GUEST_MEMFD_FLAG_INIT_SHARED
static_assert(GUEST_MEMFD_FLAG_INIT_SHARED == GM_KVM_GUEST_MEMFD_INIT_SHARED,
	      "number of the header");
#endif

#endif
