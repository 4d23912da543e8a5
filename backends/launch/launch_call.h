/* SPDX-License-Identifier: Apache-2.0 */
/* How the kinds speak to KVM. */
#ifndef GM_LAUNCH_CALL_H
#define GM_LAUNCH_CALL_H

#include "launch_steps.h"

/*
 * _IOWR over an unsigned long: the number says 8 bytes, and the kernel copies the 24 of the
 * command's envelope.
 */
#define GM_LAUNCH_ENCRYPT_OP 0xc008aebaUL

/* How often the same request has been tried without getting anywhere. */
struct gm_launch_patience {
	unsigned interrupts;
	unsigned refusals;
};

/* KVM_MEMORY_ENCRYPT_OP, once: 0 or -errno. */
GM_WARN_UNUSED int gm_launch_call(int fd, void *envelope);

/*
 * Whether a request that ended with @error is worth another try; has slept then, where that is of
 * use. @busy: whether EBUSY means that of another request, and not that there is no room.
 */
bool gm_launch_again(struct gm_launch_patience *patience, int error, bool busy);

/* Zeros to populate from, where the kernel wants a source for them too. NULL: errno says why. */
void *gm_launch_zeros_new(size_t size);
void gm_launch_zeros_free(void *zeros, size_t size);

bool gm_launch_is_zero(const void *bytes, size_t size);

/* 0, or -EINVAL for what no request can be made of. */
GM_WARN_UNUSED int gm_launch_check_pages(const struct gm_launch_pages *pages);

extern const struct gm_launch_steps gm_sev_steps;
extern const struct gm_launch_steps gm_sev_es_steps;
extern const struct gm_launch_steps gm_snp_steps;
extern const struct gm_launch_steps gm_tdx_steps;

#endif
