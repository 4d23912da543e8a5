/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the handlers of launches share: steps of the VMM in h_launch.c, and in h_own_launch.c what
 * the daemon does itself where the kind is launched by it.
 */
#ifndef GM_RPC_H_LAUNCH_H
#define GM_RPC_H_LAUNCH_H

#include "exec_launch.h"
#include "step.h"

/* The fd of an answer to LAUNCH_FINISH: what is to be taken over. */
#define GM_LAUNCHED_FD "vm"

/* LAUNCH_START of a domain that may be started: no step. 0, a verdict or -errno. */
GM_WARN_UNUSED int gm_own_launch_start(struct gm_call *call, struct gm_domain *domain);

/* POPULATE, once it is hashed. @digest: with it. */
GM_WARN_UNUSED int gm_own_launch_populate(struct gm_region *region,
					  const struct gm_population *population,
					  const uint8_t *digest, struct gm_refusal *refusal);

/*
 * LAUNCH_FINISH: @pending is answered, and freed, when the launch has ended. @digest, the launch's
 * so far, is changed. @population: of the pages of vCPUs. 0, or a verdict or -errno: then nothing
 * has begun.
 */
GM_WARN_UNUSED int gm_own_launch_finish(struct gm_pending *pending, struct gm_domain *domain,
					const struct gm_launch_end *end,
					const struct gm_population *population, uint8_t *digest,
					struct gm_refusal *refusal);

#endif
