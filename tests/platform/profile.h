/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between the kernels that the model can be: data, looked at where the rule is. */
#ifndef PLATFORM_PROFILE_H
#define PLATFORM_PROFILE_H

#include <stdbool.h>

struct gp_profile {
	const char *version;
	bool tdx;	    /* KVM_X86_TDX_VM: 6.16 */
	bool gmem_flags;    /* MMAP, INIT_SHARED, any VM type: 6.18 */
	bool populate_pins; /* kvm_gmem_populate pins a page-aligned source, knows no uptodate: 7.0
			     */
	bool certificates;  /* KVM_SEV_SNP_ENABLE_REQ_CERTS: 7.0 */
	bool bind_eexist;   /* kvm_gmem_bind on an overlap: 7.2, EINVAL before */
	bool cpuid_for_write; /* the CPUID page's source is pinned for write: 7.2 */
	bool snp_policy_more; /* KVM_SNP_POLICY_MASK_VALID has bits 21 to 25: 6.19 */
};

extern const struct gp_profile gp_profiles[];

#endif
