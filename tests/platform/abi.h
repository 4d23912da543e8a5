/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers and layouts of the kernel's user interface that the model takes, each held against the
 * kernel's own size and offsets. Written out here, not shared with backends/ or the library: a
 * slip there must not be repeated here. What <linux/kvm.h> of Linux 6.1 has is taken from it.
 */
#ifndef PLATFORM_ABI_H
#define PLATFORM_ABI_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/kvm.h>

#define GP_PAGE_SIZE 4096UL
#define GP_PAGE_SHIFT 12

enum gp_vm_type {
	GP_VM_DEFAULT = 0,
	GP_VM_SW_PROTECTED = 1,
	GP_VM_SEV = 2,
	GP_VM_SEV_ES = 3,
	GP_VM_SNP = 4,
	GP_VM_TDX = 5,
};

enum gp_capability {
	GP_CAP_NR_VCPUS = 9,
	GP_CAP_NR_MEMSLOTS = 10,
	GP_CAP_SYNC_MMU = 16,
	GP_CAP_MAX_VCPUS = 66,
	GP_CAP_COPY_ENC_CONTEXT = 197,
	GP_CAP_EXIT_HYPERCALL = 201,
	GP_CAP_MOVE_ENC_CONTEXT = 206,
	GP_CAP_USER_MEMORY2 = 231,
	GP_CAP_MEMORY_FAULT_INFO = 232,
	GP_CAP_MEMORY_ATTRIBUTES = 233,
	GP_CAP_GUEST_MEMFD = 234,
	GP_CAP_VM_TYPES = 235,
	GP_CAP_PRE_FAULT_MEMORY = 236,
	GP_CAP_GUEST_MEMFD_FLAGS = 244,
	GP_CAP_GUEST_MEMFD_ATTRIBUTES = 250, /* of the postings since v8: not settled */
};

#define GP_MEM_LOG_DIRTY (1U << 0)
#define GP_MEM_READONLY (1U << 1)
#define GP_MEM_GUEST_MEMFD (1U << 2)
#define GP_ATTRIBUTE_PRIVATE (UINT64_C(1) << 3)
#define GP_GMEM_MMAP (UINT64_C(1) << 0)
#define GP_GMEM_INIT_SHARED (UINT64_C(1) << 1)

#define GP_LAYOUT(type, field, offset) \
	static_assert(offsetof(type, field) == (offset), "layout of the kernel")
#define GP_SIZE(type, size) static_assert(sizeof(type) == (size), "layout of the kernel")

struct gp_create_gmem {
	uint64_t size;
	uint64_t flags;
	uint64_t reserved[6];
};
GP_SIZE(struct gp_create_gmem, 64);
GP_LAYOUT(struct gp_create_gmem, reserved, 16);

struct gp_region2 {
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
GP_SIZE(struct gp_region2, 160);
GP_LAYOUT(struct gp_region2, guest_memfd_offset, 32);
GP_LAYOUT(struct gp_region2, guest_memfd, 40);
GP_LAYOUT(struct gp_region2, pad2, 48);

struct gp_attributes {
	uint64_t address;
	uint64_t size;
	uint64_t attributes;
	uint64_t flags;
};
GP_SIZE(struct gp_attributes, 32);

/* On a guest_memfd; in-place conversion series, version 12. */
struct gp_attributes2 {
	uint64_t offset;
	uint64_t size;
	uint64_t attributes;
	uint64_t flags;
	uint64_t error_offset;
	uint64_t reserved[11];
};
GP_SIZE(struct gp_attributes2, 128);
GP_LAYOUT(struct gp_attributes2, error_offset, 32);

struct gp_pre_fault {
	uint64_t gpa;
	uint64_t size;
	uint64_t flags;
	uint64_t padding[5];
};
GP_SIZE(struct gp_pre_fault, 64);

struct gp_sev_cmd {
	uint32_t id;
	uint32_t pad0;
	uint64_t data;
	uint32_t error;
	uint32_t sev_fd;
};
GP_SIZE(struct gp_sev_cmd, 24);
GP_LAYOUT(struct gp_sev_cmd, data, 8);
GP_LAYOUT(struct gp_sev_cmd, error, 16);
GP_LAYOUT(struct gp_sev_cmd, sev_fd, 20);

enum gp_sev_id {
	GP_SEV_INIT = 0,
	GP_SEV_ES_INIT = 1,
	GP_SEV_LAUNCH_START = 2,
	GP_SEV_LAUNCH_UPDATE_DATA = 3,
	GP_SEV_LAUNCH_UPDATE_VMSA = 4,
	GP_SEV_LAUNCH_SECRET = 5,
	GP_SEV_LAUNCH_MEASURE = 6,
	GP_SEV_LAUNCH_FINISH = 7,
	GP_SEV_GUEST_STATUS = 16,
	GP_SEV_DBG_DECRYPT = 17,
	GP_SEV_DBG_ENCRYPT = 18,
	GP_SEV_GET_ATTESTATION_REPORT = 20,
	GP_SEV_INIT2 = 22,
	GP_SNP_LAUNCH_START = 100,
	GP_SNP_LAUNCH_UPDATE = 101,
	GP_SNP_LAUNCH_FINISH = 102,
	GP_SNP_ENABLE_REQ_CERTS = 103,
};

struct gp_sev_init {
	uint64_t vmsa_features;
	uint32_t flags;
	uint16_t ghcb_version;
	uint16_t pad1;
	uint32_t pad2[8];
};
GP_SIZE(struct gp_sev_init, 48);

struct gp_sev_start {
	uint32_t handle;
	uint32_t policy;
	uint64_t dh_uaddr;
	uint32_t dh_len;
	uint32_t pad0;
	uint64_t session_uaddr;
	uint32_t session_len;
	uint32_t pad1;
};
GP_SIZE(struct gp_sev_start, 40);

struct gp_sev_blob { /* LAUNCH_UPDATE_DATA and LAUNCH_MEASURE */
	uint64_t uaddr;
	uint32_t len;
	uint32_t pad0;
};
GP_SIZE(struct gp_sev_blob, 16);

struct gp_sev_secret {
	uint64_t hdr_uaddr;
	uint32_t hdr_len;
	uint32_t pad0;
	uint64_t guest_uaddr;
	uint32_t guest_len;
	uint32_t pad1;
	uint64_t trans_uaddr;
	uint32_t trans_len;
	uint32_t pad2;
};
GP_SIZE(struct gp_sev_secret, 48);

struct gp_sev_get_report {
	uint8_t mnonce[16];
	uint64_t uaddr;
	uint32_t len;
	uint32_t pad0;
};
GP_SIZE(struct gp_sev_get_report, 32);
GP_LAYOUT(struct gp_sev_get_report, uaddr, 16);

struct gp_sev_status {
	uint32_t handle;
	uint32_t policy;
	uint32_t state;
};
GP_SIZE(struct gp_sev_status, 12);

struct gp_snp_start {
	uint64_t policy;
	uint8_t gosvw[16];
	uint16_t flags;
	uint8_t pad0[6];
	uint64_t pad1[4];
};
GP_SIZE(struct gp_snp_start, 64);

struct gp_snp_update {
	uint64_t gfn_start;
	uint64_t uaddr;
	uint64_t len;
	uint8_t type;
	uint8_t pad0;
	uint16_t flags;
	uint32_t pad1;
	uint64_t pad2[4];
};
GP_SIZE(struct gp_snp_update, 64);
GP_LAYOUT(struct gp_snp_update, type, 24);

struct gp_snp_finish {
	uint64_t id_block_uaddr;
	uint64_t id_auth_uaddr;
	uint8_t id_block_en;
	uint8_t auth_key_en;
	uint8_t vcek_disabled;
	uint8_t host_data[32];
	uint8_t pad0[3];
	uint16_t flags;
	uint64_t pad1[4];
};
GP_SIZE(struct gp_snp_finish, 88);
GP_LAYOUT(struct gp_snp_finish, flags, 54);

#define GP_ID_BLOCK_SIZE 96 /* its first 48 bytes are the digest that is allowed */
#define GP_ID_AUTH_SIZE 4096

enum gp_snp_page {
	GP_SNP_NORMAL = 1,
	GP_SNP_VMSA = 2,
	GP_SNP_ZERO = 3,
	GP_SNP_UNMEASURED = 4,
	GP_SNP_SECRETS = 5,
	GP_SNP_CPUID = 6,
};

struct gp_tdx_cmd {
	uint32_t id;
	uint32_t flags;
	uint64_t data;
	uint64_t hw_error;
};
GP_SIZE(struct gp_tdx_cmd, 24);

enum gp_tdx_id {
	GP_TDX_CAPABILITIES = 0,
	GP_TDX_INIT_VM = 1,
	GP_TDX_INIT_VCPU = 2,
	GP_TDX_INIT_MEM_REGION = 3,
	GP_TDX_FINALIZE_VM = 4,
	GP_TDX_GET_CPUID = 5,
};

#define GP_TDX_MEASURE 1U

/* Each is followed by struct kvm_cpuid2. */
struct gp_tdx_capabilities {
	uint64_t supported_attrs;
	uint64_t supported_xfam;
	uint64_t reserved[254];
};
GP_SIZE(struct gp_tdx_capabilities, 2048);

struct gp_tdx_init_vm {
	uint64_t attributes;
	uint64_t xfam;
	uint64_t mrconfigid[6];
	uint64_t mrowner[6];
	uint64_t mrownerconfig[6];
	uint64_t reserved[12];
};
GP_SIZE(struct gp_tdx_init_vm, 256);

struct gp_tdx_region {
	uint64_t source_addr;
	uint64_t gpa;
	uint64_t nr_pages;
};
GP_SIZE(struct gp_tdx_region, 24);

#define GP_CREATE_GUEST_MEMFD _IOWR(KVMIO, 0xd4, struct gp_create_gmem)
#define GP_SET_REGION2 _IOW(KVMIO, 0x49, struct gp_region2)
#define GP_SET_ATTRIBUTES _IOW(KVMIO, 0xd2, struct gp_attributes)
#define GP_SET_ATTRIBUTES2 _IOWR(KVMIO, 0xd2, struct gp_attributes2)
#define GP_PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, struct gp_pre_fault)
/* What the kernel checks: the number says 8 bytes, the struct has 24. */
#define GP_ENCRYPT_OP _IOWR(KVMIO, 0xba, unsigned long)

static_assert(GP_CREATE_GUEST_MEMFD == 0xc040aed4, "number of the kernel");
static_assert(GP_SET_REGION2 == 0x40a0ae49, "number of the kernel");
static_assert(GP_SET_ATTRIBUTES == 0x4020aed2, "number of the kernel");
static_assert(GP_SET_ATTRIBUTES2 == 0xc080aed2, "number of the kernel");
static_assert(GP_PRE_FAULT_MEMORY == 0xc040aed5, "number of the kernel");
static_assert(GP_ENCRYPT_OP == 0xc008aeba, "number of the kernel");
static_assert(KVM_MEMORY_ENCRYPT_REG_REGION == 0x8010aebb, "number of the kernel");
static_assert(KVM_MEMORY_ENCRYPT_UNREG_REGION == 0x8010aebc, "number of the kernel");
static_assert(KVM_ENABLE_CAP == 0x4068aea3, "number of the kernel");
static_assert(KVM_SET_USER_MEMORY_REGION == 0x4020ae46, "number of the kernel");
static_assert(KVM_CREATE_VM == 0xae01, "number of the kernel");
static_assert(KVM_CREATE_VCPU == 0xae41, "number of the kernel");

/* kvm_sev_cmd.error: what the firmware says. */
enum gp_firmware {
	GP_FW_SUCCESS = 0,
	GP_FW_INVALID_GUEST_STATE = 2,
	GP_FW_INVALID_LEN = 4,
	GP_FW_POLICY_FAILURE = 7,
	GP_FW_BAD_SIGNATURE = 0x0a,
	GP_FW_BAD_MEASUREMENT = 0x0b,
	GP_FW_INVALID_ADDRESS = 9,
	GP_FW_INVALID_PARAM = 0x16,
	GP_FW_RESOURCE_LIMIT = 0x17,
};

/* INITIAL_VMSA_GPA of arch/x86/kvm/svm/sev.c. */
#define GP_VMSA_GPA UINT64_C(0x0000fffffffff000)

#endif
