/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page of a vCPU's registers, as the firmware measures it, taken apart into what KVM is told,
 * from which it builds that page again (sev_es_sync_vmsa).
 */
#ifndef GM_BACKENDS_VMSA_REGISTERS_H
#define GM_BACKENDS_VMSA_REGISTERS_H

#include "gm_kvm_uapi.h"
#include "gm_num.h"
#include "gm_vmsa.h"

/*
 * *sregs: of a vCPU after reset; what the page says is put in. 0, or -EINVAL: KVM would not build
 * this page of any registers, because something that is not set here is not as after reset.
 */
GM_WARN_UNUSED int gm_vmsa_to_registers(const uint8_t page[GM_VMSA_SIZE], uint64_t features,
					struct kvm_sregs *sregs, struct kvm_regs *ret_regs);

#endif
