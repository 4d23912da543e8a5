/* SPDX-License-Identifier: Apache-2.0 */
#include "sev_vcpu.h"

int gm_sev_first_vcpu(const struct gm_launch_vcpus *vcpus, struct gm_vmsa_spec *ret_spec,
		      struct gm_refusal *refusal)
{
	struct gm_vmsa_spec spec = { .boot = true,
				     .eip = GM_VMSA_RESET_EIP,
				     .sev_features = vcpus->features };

	if (gm_vmm_find(vcpus->vmm, &spec.vmm) != 0)
		return gm_refuse_text(refusal, GM_INVALID, GM_RULE_FLAGS, "request",
				      "no VMM is known by the name \"%s\"", vcpus->vmm);
	if (vcpus->entry > UINT32_MAX)
		return gm_refuse_numbers(refusal, GM_INVALID, GM_RULE_FLAGS, "request", UINT32_MAX,
					 0, vcpus->entry);
	/* It gives a default also where the processor's signature counts. */
	if (!gm_vmm_has_fixed_rdx(spec.vmm, &spec.rdx))
		spec.rdx = vcpus->signature;
	*ret_spec = spec;
	return 0;
}
