/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kinds have in common whose pages the platform measures: two halves (halves.h) and a
 * launch.
 */
#ifndef GM_MEASURED_H
#define GM_MEASURED_H

#include "backend.h"

struct gm_measured_platform {
	const char *name;   /* "SEV-SNP" */
	const char *wanted; /* what a host has to have */
	unsigned long vm_type;
	uint64_t caps; /* enum gm_backend_cap bits besides those of all such kinds */
	/* Does its device answer? NULL: it has none. As gm_kvm_device_open(). */
	int (*open_device)(int *ret_fd, char *ret_reason, size_t reason_size);
};

/* As gm_backend::open. */
GM_WARN_UNUSED int gm_measured_open(const struct gm_measured_platform *platform,
				    struct gm_backend_state **ret_state,
				    struct gm_probe *ret_probe);

#endif
