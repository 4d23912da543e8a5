/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID.1 EAX of a vCPU, which a VMSA holds in RDX after reset. */
#ifndef GM_CPU_MODEL_H
#define GM_CPU_MODEL_H

#include "gm_num.h"

/* -EINVAL: a part that the encoding has no room for. */
int gm_cpu_signature(unsigned family, unsigned model, unsigned stepping,
		     uint32_t *ret_signature) GM_WARN_UNUSED;

/* Of the -cpu model that QEMU knows by @name. -ENOENT: not one of these. */
int gm_cpu_model_find(const char *name, uint32_t *ret_signature) GM_WARN_UNUSED;

/* The @i-th name, NULL after the last: for help and completion. */
const char *gm_cpu_model_name(size_t i);

#endif
