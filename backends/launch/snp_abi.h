/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of KVM for SEV-SNP launches (arch/x86/include/uapi/asm/kvm.h of 6.11).
 */
#ifndef GM_SNP_ABI_H
#define GM_SNP_ABI_H

#include "sev_abi.h"

struct gm_snp_launch_start {
	uint64_t policy;
	uint8_t gosvw[16];
	uint16_t flags;
	uint8_t pad0[6];
	uint64_t pad1[4];
};
static_assert(sizeof(struct gm_snp_launch_start) == 64, "layout of the kernel");
static_assert(offsetof(struct gm_snp_launch_start, gosvw) == 8, "layout of the kernel");
static_assert(offsetof(struct gm_snp_launch_start, flags) == 24, "layout of the kernel");

struct gm_snp_launch_update {
	uint64_t gfn_start; /* a frame's number; the other two are bytes */
	uint64_t uaddr;
	uint64_t len;
	uint8_t type;
	uint8_t pad0;
	uint16_t flags;
	uint32_t pad1;
	uint64_t pad2[4];
};
static_assert(sizeof(struct gm_snp_launch_update) == 64, "layout of the kernel");
static_assert(offsetof(struct gm_snp_launch_update, type) == 24, "layout of the kernel");
static_assert(offsetof(struct gm_snp_launch_update, flags) == 26, "layout of the kernel");

enum gm_snp_page_type {
	GM_SNP_PAGE_NORMAL = 1,
	GM_SNP_PAGE_ZERO = 3,
	GM_SNP_PAGE_UNMEASURED = 4,
	GM_SNP_PAGE_SECRETS = 5,
	GM_SNP_PAGE_CPUID = 6,
};

struct gm_snp_launch_finish {
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
static_assert(sizeof(struct gm_snp_launch_finish) == 88, "layout of the kernel");
static_assert(offsetof(struct gm_snp_launch_finish, host_data) == 19, "layout of the kernel");
static_assert(offsetof(struct gm_snp_launch_finish, flags) == 54, "layout of the kernel");

/* In the ID authentication page ("ID Authentication Information Structure" of the SNP ABI). */
#define GM_SNP_AUTH_KEY_ALGORITHM 4

#endif
