/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps of the VMM, ordered in answers and reported in requests.
 */
#ifndef GM_RPC_STEP_H
#define GM_RPC_STEP_H

#include "call.h"

/* A step that is not reported in this time is lost. */
#define GM_STEP_MS 30000

/* A new step's id, key and deadline. 0 or -errno. */
GM_WARN_UNUSED int gm_step_draw(const struct gm_service *service, struct gm_step_spec *spec);
/* The step under way, as the client is told it. */
void gm_step_fill(const struct gm_region *region, Gmem__Step *step);

/* For a region that has just been created: what the VMM has to make. 0, a verdict or -errno. */
GM_WARN_UNUSED int gm_step_order_memory(struct gm_call *call, struct gm_region *region,
					Gmem__Step **ret_step);

/* Steps whose time is over are lost. */
void gm_step_expire(struct gm_service *service);

#endif
