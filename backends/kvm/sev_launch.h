/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launch of a SEV or SEV-ES guest on a VM of this process's own, from KVM_CREATE_VM to
 * LAUNCH_FINISH: gm_launch_rules::carry_out of these kinds.
 */
#ifndef GM_SEV_LAUNCH_H
#define GM_SEV_LAUNCH_H

#include "launch_plan.h"

/* @vm_type: of the kind. */
GM_WARN_UNUSED int gm_sev_launch(const struct gm_launch_plan *plan, unsigned long vm_type,
				 struct gm_launch_outcome *ret_outcome);

#endif
