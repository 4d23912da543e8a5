/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a firmware image says of itself: the table of GUIDs at its end (OvmfPkg/ResetVector), and
 * the SEV metadata to which that leads. The image is untrusted: nothing outside it is read, and
 * what contradicts itself is refused.
 */
#ifndef GM_FIRMWARE_H
#define GM_FIRMWARE_H

#include "gm_kernel_hashes.h"
#include "gm_verdict.h"

#define GM_FIRMWARE_TOP (UINT64_C(4) * GM_GIB) /* an x86 reset vector is just below */
#define GM_FIRMWARE_SIZE_MAX (64 * GM_MIB)
#define GM_FIRMWARE_SECTIONS_MAX 64

/* OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm. */
enum gm_section_type {
	GM_SECTION_SEC_MEM = 1,
	GM_SECTION_SECRETS = 2,
	GM_SECTION_CPUID = 3,
	GM_SECTION_SVSM_CAA = 4,
	GM_SECTION_KERNEL_HASHES = 0x10,
};

struct gm_section {
	enum gm_section_type type;
	uint32_t gpa;
	uint32_t size;
};

struct gm_firmware {
	struct gm_bytes image;
	uint64_t gpa;
	bool has_reset_eip;
	uint32_t reset_eip; /* of vCPUs that are not the first */
	bool has_hashes;
	uint32_t hashes_gpa;
	bool has_svsm;
	uint32_t svsm_offset; /* of the entry point, from the image's start */
	bool has_tdvf;
	uint32_t tdvf_offset; /* of the descriptor, from the image's start */
	bool has_sev;
	uint32_t sev_offset; /* of the metadata, from the image's start */
	size_t n_sections;   /* once they were read */
	struct gm_section sections[GM_FIRMWARE_SECTIONS_MAX];
};

/*
 * @image is loaded so that it ends at @top; it is kept by reference. 0, or GM_INVALID: the text
 * tells which part is wrong. An image without a table is not wrong: it just has nothing.
 */
int gm_firmware_parse(struct gm_bytes image, uint64_t top, struct gm_firmware *ret_firmware,
		      struct gm_refusal *refusal) GM_WARN_UNUSED;

/* The SEV metadata: fills sections. 0, or GM_INVALID; an image that has none is refused too. */
int gm_firmware_read_sections(struct gm_firmware *firmware,
			      struct gm_refusal *refusal) GM_WARN_UNUSED;

bool gm_firmware_has_section(const struct gm_firmware *firmware, enum gm_section_type type);

#endif
