/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kinds of confidential guests want to know at the start of a launch: the parameters of
 * gmem_launch_start, one struct a kind. Beside gmem.h, which knows no platform.
 *
 * Reserved members are zero. Layouts do not change: a new parameter takes reserved room.
 */
#ifndef GMEM_KINDS_H
#define GMEM_KINDS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Kind "snp", on a VM of type 4 without vCPUs: KVM_SEV_INIT2 and KVM_SEV_SNP_LAUNCH_START. */
struct gmem_snp_start {
	uint64_t policy;	/* of the guest; bit 17 is always set */
	uint64_t vmsa_features; /* SEV_FEATURES of its vCPUs, but those that KVM sets itself */
	uint8_t gosvw[16];
	uint16_t ghcb_version; /* 0: what the kernel thinks best */
	uint8_t reserved[30];
};

/*
 * Kinds "sev" and "sev-es": KVM_SEV_INIT2 and KVM_SEV_LAUNCH_START, on a VM of the daemon's. The
 * owner's certificate and session (KVM_SEV_LAUNCH_START) follow, in this order and of these sizes;
 * 0 where there is none.
 */
struct gmem_sev_start {
	uint32_t policy;       /* of the guest */
	uint16_t ghcb_version; /* "sev-es"; 0: what the kernel thinks best */
	uint16_t reserved0;
	uint64_t vmsa_features;	   /* "sev-es": SEV_FEATURES of its vCPUs */
	uint32_t certificate_size; /* at most 8192 */
	uint32_t session_size;	   /* at most 4096 */
	uint8_t reserved[40];
};

/* One entry of KVM_SET_CPUID2. */
struct gmem_tdx_cpuid {
	uint32_t function;
	uint32_t index;
	uint32_t flags;
	uint32_t eax;
	uint32_t ebx;
	uint32_t ecx;
	uint32_t edx;
	uint32_t reserved[3];
};

#define GMEM_TDX_CPUID_MAX 256

/*
 * Kind "tdx", on a VM of type 5 without vCPUs: KVM_TDX_INIT_VM. @n_cpuid entries follow. The
 * program makes the vCPUs itself, with KVM_TDX_INIT_VCPU, and names the first to
 * gmem_launch_set_vcpu: the kernel takes populations from a vCPU.
 */
struct gmem_tdx_start {
	uint64_t attributes;
	uint64_t xfam;
	uint8_t mrconfigid[48];
	uint8_t mrowner[48];
	uint8_t mrownerconfig[48];
	uint32_t n_cpuid;
	uint32_t reserved;
};

#ifdef __cplusplus
}
#endif

#endif
