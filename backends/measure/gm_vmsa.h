/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page that holds a vCPU's registers when the firmware measures it (AMD64 APM volume 2, table
 * B-4), as each VMM and KVM leave it after reset.
 */
#ifndef GM_VMSA_H
#define GM_VMSA_H

#include "gm_num.h"

#define GM_VMSA_SIZE 4096
#define GM_VMSA_RESET_EIP UINT32_C(0xfffffff0)

/* SEV_FEATURES. */
#define GM_SEV_FEATURE_SNP (UINT64_C(1) << 0)

enum gm_vmm {
	GM_VMM_QEMU,
	GM_VMM_EC2,
	GM_VMM_GCE,
	GM_VMM_KVM, /* KVM's reset, and nobody has set a register since */
	GM_VMM_N_
};

enum gm_fpu {
	GM_FPU_OF_VMM, /* as the VMM's current hosts have it */
	/* sev_es_sync_vmsa() copies no x87 and SSE state for VMs of KVM_X86_DEFAULT_VM. */
	GM_FPU_ZERO,
	GM_FPU_RESET,
};

struct gm_vmsa_spec {
	enum gm_vmm vmm;
	bool svsm; /* runs an SVSM: flat protected mode, @vmm is not looked at */
	bool boot; /* vCPU 0 */
	uint32_t eip;
	uint64_t rdx;
	uint64_t sev_features;
	enum gm_fpu fpu;
};

/* -ENOENT: no such VMM. */
int gm_vmm_find(const char *name, enum gm_vmm *ret_vmm) GM_WARN_UNUSED;
const char *gm_vmm_name(enum gm_vmm vmm);

/* RDX after reset, where @signature counts; *ret_rdx for VMMs that always have the same. */
bool gm_vmm_has_fixed_rdx(enum gm_vmm vmm, uint64_t *ret_rdx);

void gm_vmsa_build(const struct gm_vmsa_spec *spec, uint8_t ret_page[GM_VMSA_SIZE]);

/* ---- gm_vmsa_registers.c: names, so that a difference can be told ---- */

struct gm_vmsa_register {
	const char *name; /* "cs.attrib", "sev_features"; "" for bytes that are no register */
	uint16_t offset;
	uint16_t size;
};

/* The register that the byte at @offset belongs to; where there is none, those 8 bytes. */
struct gm_vmsa_register gm_vmsa_register_at(size_t offset);

/* "cs.attrib", or "0x3f0" for bytes that are no register. @buffer of at least 16 bytes. */
const char *gm_vmsa_register_name(const struct gm_vmsa_register *reg, char *buffer, size_t size);

#endif
