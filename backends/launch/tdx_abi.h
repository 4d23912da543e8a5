/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of KVM for TDX launches (arch/x86/include/uapi/asm/kvm.h of 6.16), under names of our
 * own: the headers that this is built with may be older.
 */
#ifndef GM_TDX_ABI_H
#define GM_TDX_ABI_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

struct gm_tdx_cmd {
	uint32_t id;
	uint32_t flags;
	uint64_t data;
	uint64_t hw_error; /* in: 0; out: what the SEAMCALL said */
};
static_assert(sizeof(struct gm_tdx_cmd) == 24, "layout of the kernel");
static_assert(offsetof(struct gm_tdx_cmd, data) == 8, "layout of the kernel");
static_assert(offsetof(struct gm_tdx_cmd, hw_error) == 16, "layout of the kernel");

enum gm_tdx_id {
	GM_TDX_INIT_VM = 1,
	GM_TDX_INIT_MEM_REGION = 3,
	GM_TDX_FINALIZE_VM = 4,
};

struct gm_tdx_init_vm {
	uint64_t attributes;
	uint64_t xfam;
	uint8_t mrconfigid[48];
	uint8_t mrowner[48];
	uint8_t mrownerconfig[48];
	uint64_t reserved[12];
	/* struct kvm_cpuid2 */
	uint32_t n_cpuid;
	uint32_t padding;
};
static_assert(sizeof(struct gm_tdx_init_vm) == 264, "layout of the kernel");
static_assert(offsetof(struct gm_tdx_init_vm, mrconfigid) == 16, "layout of the kernel");
static_assert(offsetof(struct gm_tdx_init_vm, mrownerconfig) == 112, "layout of the kernel");
static_assert(offsetof(struct gm_tdx_init_vm, reserved) == 160, "layout of the kernel");
static_assert(offsetof(struct gm_tdx_init_vm, n_cpuid) == 256, "layout of the kernel");

/* struct kvm_cpuid_entry2 */
#define GM_TDX_CPUID_SIZE 40

#define GM_TDX_MEASURE_MEMORY_REGION 1U

struct gm_tdx_init_mem_region {
	uint64_t source_addr;
	uint64_t gpa;
	uint64_t nr_pages;
};
static_assert(sizeof(struct gm_tdx_init_mem_region) == 24, "layout of the kernel");

#endif
