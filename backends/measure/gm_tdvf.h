/* SPDX-License-Identifier: Apache-2.0 */
/* The sections of a TDX virtual firmware: what of it is added to the guest, where, and measured. */
#ifndef GM_TDVF_H
#define GM_TDVF_H

#include "gm_firmware.h"

#define GM_TDVF_SECTIONS_MAX 64

/* OvmfPkg/ResetVector/X64/IntelTdxMetadata.asm; td-shim has more, of which PERM_MEM is taken. */
enum gm_tdvf_type {
	GM_TDVF_BFV = 0,
	GM_TDVF_CFV = 1,
	GM_TDVF_TD_HOB = 2,
	GM_TDVF_TEMP_MEM = 3,
	GM_TDVF_PERM_MEM = 4,
};

struct gm_tdvf_section {
	enum gm_tdvf_type type;
	bool extend;   /* MR.EXTEND: its contents are in MRTD */
	bool page_aug; /* not part of the build: in no digest */
	uint64_t gpa;
	uint64_t size;
	struct gm_bytes contents; /* zeros follow; none for memory that starts empty */
};

struct gm_tdvf {
	size_t n_sections;
	struct gm_tdvf_section sections[GM_TDVF_SECTIONS_MAX];
};

/* 0 or GM_INVALID. Contents are references into @image. */
int gm_tdvf_parse(struct gm_bytes image, struct gm_tdvf *ret_tdvf,
		  struct gm_refusal *refusal) GM_WARN_UNUSED;

#endif
