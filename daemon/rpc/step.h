/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps of the VMM, ordered in answers and reported in requests.
 */
#ifndef GM_RPC_STEP_H
#define GM_RPC_STEP_H

#include "book_step.h"
#include "call.h"

/* A step that is not reported in this time is lost. */
#define GM_STEP_MS 30000

/* A new step's id, key and deadline. 0 or -errno. */
GM_WARN_UNUSED int gm_step_draw(const struct gm_service *service, struct gm_step_spec *spec);
/* The step under way, as the client is told it. */
void gm_step_fill(const struct gm_region *region, Gmem__Step *step);
/* One that is not a region's, or not yet. */
void gm_step_write(Gmem__Step *step, uint64_t id, enum gm_step_kind kind);

/* For a region that has just been created: what the VMM has to make. 0, a verdict or -errno. */
GM_WARN_UNUSED int gm_step_order_memory(struct gm_call *call, struct gm_region *region,
					Gmem__Step **ret_step);

/* STEP_DONE of a launch: of the domain, and of a region that was populated. */
GM_WARN_UNUSED int gm_launch_step_done(struct gm_call *call);
GM_WARN_UNUSED int gm_launch_populated(struct gm_call *call, struct gm_region *region);

/* A launch that has failed or is over needs nothing of what was kept for it. */
void gm_launch_settle(struct gm_service *service, struct gm_domain *domain);

/* Launches whose own step was not reported in time have failed. */
void gm_launch_expire(struct gm_service *service);

/* Steps whose time is over are lost. */
void gm_step_expire(struct gm_service *service);

#endif
