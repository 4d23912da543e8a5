/* SPDX-License-Identifier: Apache-2.0 */
/* A whole guest as a VMM launches it: firmware, what its metadata wants, kernel hashes, vCPUs. */
#ifndef GM_GUEST_H
#define GM_GUEST_H

#include "gm_firmware.h"
#include "gm_manifest.h"

#define GM_GUEST_VCPUS_MAX 4096

struct gm_guest {
	enum gm_launch_kind kind;
	struct gm_bytes firmware; /* for TDX the TDVF, and nothing below is looked at */
	struct gm_kernel kernel;  /* kernel.bytes NULL: none is measured */
	enum gm_vmm vmm;
	unsigned vcpus; /* 0: the digest before the vCPUs are put in */
	bool has_signature;
	uint32_t signature;	 /* CPUID.1 EAX */
	const uint64_t *rdx;	 /* instead of what VMM and signature give; NULL: not */
	uint64_t guest_features; /* SEV_FEATURES of the VMSAs; SNP's bit is required there */
	enum gm_fpu fpu;
	unsigned gpa_bits;	 /* of the guest's processor; 0: 48 */
	const uint8_t *seed;	 /* SNP: the digest after the firmware, instead of its pages */
	bool firmware_only;	 /* SNP: stop there */
	struct gm_bytes svsm;	 /* SNP: launched in place of the firmware; bytes NULL: none */
	uint64_t svsm_vars_size; /* of the variables' flash between SVSM and firmware */
};

/*
 * 0, GM_INVALID (what is wrong with which input), GM_UNSUPPORTED ("unpredictable: ...") or -ENOMEM.
 * @manifest: NULL, or zeroed; it is filled also when the result is not 0.
 */
int gm_guest_measure(const struct gm_guest *guest, unsigned n_threads, struct gm_manifest *manifest,
		     uint8_t ret_digest[GM_DIGEST_MAX], struct gm_refusal *refusal) GM_WARN_UNUSED;

#endif
