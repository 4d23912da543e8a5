/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of KVM for SEV, SEV-ES and SEV-SNP launches that are theirs in common, and those of the
 * first two (arch/x86/include/uapi/asm/kvm.h of 6.11), under names of our own: the headers that
 * this is built with may be older.
 */
#ifndef GM_SEV_ABI_H
#define GM_SEV_ABI_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* The kernel copies all of it back, whatever came of the command (sev_mem_enc_ioctl). */
struct gm_sev_cmd {
	uint32_t id;
	uint32_t pad0;
	uint64_t data;
	uint32_t error;
	uint32_t sev_fd;
};
static_assert(sizeof(struct gm_sev_cmd) == 24, "layout of the kernel");
static_assert(offsetof(struct gm_sev_cmd, data) == 8, "layout of the kernel");
static_assert(offsetof(struct gm_sev_cmd, error) == 16, "layout of the kernel");
static_assert(offsetof(struct gm_sev_cmd, sev_fd) == 20, "layout of the kernel");

enum gm_sev_id {
	GM_SEV_LAUNCH_START = 2,
	GM_SEV_LAUNCH_UPDATE_DATA = 3,
	GM_SEV_LAUNCH_UPDATE_VMSA = 4,
	GM_SEV_LAUNCH_MEASURE = 6,
	GM_SEV_LAUNCH_FINISH = 7,
	GM_SEV_GET_ATTESTATION_REPORT = 20,
	GM_SEV_INIT2 = 22,
	GM_SNP_LAUNCH_START = 100,
	GM_SNP_LAUNCH_UPDATE = 101,
	GM_SNP_LAUNCH_FINISH = 102,
};

struct gm_sev_init2 {
	uint64_t vmsa_features;
	uint32_t flags;
	uint16_t ghcb_version;
	uint16_t pad1;
	uint32_t pad2[8];
};
static_assert(sizeof(struct gm_sev_init2) == 48, "layout of the kernel");
static_assert(offsetof(struct gm_sev_init2, ghcb_version) == 12, "layout of the kernel");

struct gm_sev_launch_start {
	uint32_t handle;
	uint32_t policy;
	uint64_t dh_uaddr;
	uint32_t dh_len;
	uint32_t pad0;
	uint64_t session_uaddr;
	uint32_t session_len;
	uint32_t pad1;
};
static_assert(sizeof(struct gm_sev_launch_start) == 40, "layout of the kernel");
static_assert(offsetof(struct gm_sev_launch_start, session_uaddr) == 24, "layout of the kernel");

/* LAUNCH_UPDATE_DATA and LAUNCH_MEASURE. */
struct gm_sev_blob {
	uint64_t uaddr;
	uint32_t len;
	uint32_t pad0;
};
static_assert(sizeof(struct gm_sev_blob) == 16, "layout of the kernel");

struct gm_sev_get_report {
	uint8_t mnonce[16];
	uint64_t uaddr;
	uint32_t len;
	uint32_t pad0;
};
static_assert(sizeof(struct gm_sev_get_report) == 32, "layout of the kernel");

/* MEASURE and MNONCE ("LAUNCH_MEASURE" of the SEV API). */
#define GM_SEV_MEASURE_SIZE 48
/* ATTESTATION of the SEV API: the digest stands in it as it is. */
#define GM_SEV_REPORT_MAX 4096
#define GM_SEV_REPORT_DIGEST_AT 16
#define GM_SEV_DIGEST_SIZE 32

/* kvm_sev_cmd.error: include/uapi/linux/psp-sev.h. */
#define GM_SEV_NO_FIRMWARE_CALL UINT32_C(0xffffffff)
#define GM_SEV_INVALID_PARAM 0x16
#define GM_SEV_RESOURCE_LIMIT 0x17

#endif
