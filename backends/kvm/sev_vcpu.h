/* SPDX-License-Identifier: Apache-2.0 */
/* What the first vCPU of a guest begins with, by what its VMM is said to be. */
#ifndef GM_SEV_VCPU_H
#define GM_SEV_VCPU_H

#include "gm_vmsa.h"
#include "launch_rules.h"

/* 0, or GM_INVALID: no such VMM, or an entry beyond 4 GiB. */
GM_WARN_UNUSED int gm_sev_first_vcpu(const struct gm_launch_vcpus *vcpus,
				     struct gm_vmsa_spec *ret_spec, struct gm_refusal *refusal);

#endif
