/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps of the VMM, ordered in answers and reported in requests.
 */
#ifndef GM_RPC_STEP_H
#define GM_RPC_STEP_H

#include "book_order.h"
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

/*
 * What STEP_MEMORY and SOURCE wait for has come: @fd is taken in any case. 0, a verdict or -errno.
 */
GM_WARN_UNUSED int gm_step_memory_came(struct gm_pending *pending, int fd,
				       struct gm_refusal *refusal);
GM_WARN_UNUSED int gm_source_came(struct gm_pending *pending, int fd, Gmem__SourceReply *reply,
				  struct gm_refusal *refusal);

/* STEP_DONE of a launch: of the domain, and of a region that was populated. */
GM_WARN_UNUSED int gm_launch_step_done(struct gm_call *call);
GM_WARN_UNUSED int gm_launch_populated(struct gm_call *call, struct gm_region *region);

/* A launch that has failed or is over needs nothing of what was kept for it. */
void gm_launch_settle(struct gm_service *service, struct gm_domain *domain);

/* Launches whose own step was not reported in time have failed. */
void gm_launch_expire(struct gm_service *service);

/* Pages of the region are lost: the operator is told. */
void gm_step_tell_lost(struct gm_service *service, const struct gm_region *region,
		       const char *text);

/*
 * CONVERT where the daemon does it itself: answered when it is done. @op, @ranges and @n are the
 * request's, which has been counted. The second: of one that has waited; it is answered later still
 * where 0 comes back, else by the caller.
 */
GM_WARN_UNUSED int gm_in_place_convert(struct gm_call *call, struct gm_region *region,
				       enum gm_page_op op, const struct gm_range *ranges, size_t n);
GM_WARN_UNUSED int gm_in_place_convert_late(struct gm_pending *pending, struct gm_region *region,
					    enum gm_page_op op, const struct gm_range *ranges,
					    size_t n, struct gm_refusal *refusal);

/*
 * The answer to a report that was good: the region has a standing order from here on, if it may
 * have one. @order: to be filled. True: it is.
 */
bool gm_order_offer(const struct gm_service *service, struct gm_region *region, Gmem__Order *order);

/* How long until the tenant has conversions left in its rate; without one the clock is left alone.
 */
uint32_t gm_convert_wait_ms(const struct gm_service *service, struct gm_tenant *tenant);

/* The same for POPULATE without a source: the step is ordered when the range is private. */
GM_WARN_UNUSED int gm_in_place_populate(struct gm_call *call, struct gm_region *region,
					const struct gm_range *range);

/* Steps whose time is over are lost. */
void gm_step_expire(struct gm_service *service);

#endif
