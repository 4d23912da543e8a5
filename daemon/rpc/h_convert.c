/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CONVERT: the VMM is told to make ranges of a region shared or private, or the daemon does it
 * itself where the kernel converts in place (in_place.c); under ConversionRate= as
 * soon as the tenant's rate lets it. Nothing is booked before that, so that a request which waits
 * can come again after a restart, and has no step whose time runs.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "step.h"

/* A request that waits for the rate. */
struct gm_delayed {
	struct gm_watch *timer;
	enum gm_page_op op;
	size_t n_ranges;
	struct gm_range ranges[];
};

static int read_target(struct gm_call *call, Gmem__PageState to, enum gm_page_op *ret_op)
{
	/* protobuf-c hands over any number in an enum. */
	switch ((int)to) {
	case GMEM__PAGE_STATE__PAGE_SHARED:
		*ret_op = GM_PAGE_OP_TO_SHARED;
		return 0;
	case GMEM__PAGE_STATE__PAGE_PRIVATE:
		*ret_op = GM_PAGE_OP_TO_PRIVATE;
		return 0;
	default:
		return gm_refuse_text(&call->refusal, GM_INVALID, GM_RULE_FLAGS, "request",
				      "pages cannot be converted to the state number %d", (int)to);
	}
}

uint32_t gm_convert_wait_ms(const struct gm_service *service, struct gm_tenant *tenant)
{
	if (tenant->policy.conversion_rate == GM_UNLIMITED)
		return 0;
	return gm_tenant_convert_wait_ms(tenant, gm_service_now(service));
}

static void spend(const struct gm_service *service, struct gm_tenant *tenant, size_t n)
{
	if (tenant->policy.conversion_rate != GM_UNLIMITED)
		gm_tenant_spend_conversions(tenant, n, gm_service_now(service));
}

static bool is_in_place(const struct gm_region *region)
{
	return region->domain->traits & GM_TRAIT_IN_PLACE;
}

static int convert(struct gm_service *service, struct gm_region *region, enum gm_page_op op,
		   struct gm_range *ranges, size_t n, Gmem__ConvertReply *reply,
		   struct gm_refusal *refusal)
{
	unsigned before = region->domain->n_rooms_ended;
	struct gm_step_spec spec;
	int r;

	r = gm_step_draw(service, &spec);
	if (r == 0)
		r = gm_book_begin_convert(region, op, ranges, n, &spec, refusal);
	if (r != 0)
		return r;
	gm_step_fill(region, reply->step);
	reply->has_rooms_end = reply->rooms_end = region->domain->n_rooms_ended != before;
	return 0;
}

/* ---- later ---- */

static void stop_waiting(struct gm_pending *pending)
{
	struct gm_delayed *delayed = pending->delayed;
	const struct gm_loop_ref *loop = &pending->link->service->env.loop;

	loop->ops->watch_free(delayed->timer);
	free(delayed);
	pending->delayed = NULL;
}

void gm_delayed_free(struct gm_pending *pending)
{
	stop_waiting(pending);
	gm_pending_free(pending);
}

/* *ret_later: a worker is at it now. */
static int convert_late(struct gm_pending *pending, Gmem__ConvertReply *reply, Gmem__Step *step,
			bool *ret_later, struct gm_refusal *refusal)
{
	struct gm_link *link = pending->link;
	struct gm_delayed *delayed = pending->delayed;
	struct gm_region *region;
	int r;

	r = gm_book_find_attached_region(link->service->book, link->session,
					 (struct gm_region_id){ pending->region }, &region,
					 refusal);
	if (r != 0)
		return r;
	spend(link->service, region->domain->tenant, delayed->n_ranges);
	*ret_later = is_in_place(region);
	if (*ret_later)
		return gm_in_place_convert_late(pending, region, delayed->op, delayed->ranges,
						delayed->n_ranges, refusal);
	reply->step = step;
	return convert(link->service, region, delayed->op, delayed->ranges, delayed->n_ranges,
		       reply, refusal);
}

static void on_time(void *arg)
{
	struct gm_pending *pending = arg;
	struct gm_link *link = pending->link;
	struct gm_service *service = link->service;
	const struct gm_frame frame = { .type = pending->type,
					.flags = GM_FRAME_ANSWER,
					.serial = pending->serial };
	Gmem__ConvertReply reply = GMEM__CONVERT_REPLY__INIT;
	struct gm_refusal refusal = { 0 };
	uint32_t ms = gm_convert_wait_ms(service, link->session->tenant);
	Gmem__Step step;
	bool later = false;
	int r;

	/* Others of the tenant were before it. */
	if (ms > 0) {
		service->env.loop.ops->timer_set(pending->delayed->timer, ms);
		return;
	}
	r = convert_late(pending, &reply, &step, &later, &refusal);
	if (r == 0 && later) {
		stop_waiting(pending);
		gm_service_settle(service);
		return;
	}
	gm_delayed_free(pending);
	if (r == 0)
		r = gm_link_answer(link, &frame, &reply.base, NULL);
	if (r != 0)
		gm_link_refuse(link, frame.type, frame.serial, r, &refusal);
	gm_service_settle(service);
}

static int delay(struct gm_call *call, const struct gm_region *region, enum gm_page_op op,
		 const struct gm_range *ranges, size_t n, uint32_t ms)
{
	const struct gm_loop_ref *loop = &call->service->env.loop;
	struct gm_delayed *delayed = malloc(sizeof(*delayed) + n * sizeof(*ranges));
	struct gm_pending *pending = gm_pending_new(call);
	int r = -ENOMEM;

	if (delayed != NULL && pending != NULL)
		r = loop->ops->timer_new(loop->loop, on_time, pending, &delayed->timer);
	if (r != 0) {
		free(delayed);
		free(pending);
		return r;
	}
	delayed->op = op;
	delayed->n_ranges = n;
	memcpy(delayed->ranges, ranges, n * sizeof(*ranges));
	pending->delayed = delayed;
	pending->domain = region->domain->id.v;
	pending->region = region->id.v;
	loop->ops->timer_set(delayed->timer, ms);
	gm_pending_enter(call, pending);
	return 0;
}

/* ---- now ---- */

int gm_handle_convert(struct gm_call *call)
{
	const Gmem__ConvertRequest *request = call->request;
	Gmem__ConvertReply *reply = call->answer;
	enum gm_page_op op = GM_PAGE_OP_N_;
	struct gm_region *region;
	struct gm_range *ranges;
	uint32_t ms;
	int r;

	if (gm_link_is_full(call->link))
		return gm_refuse_numbers(&call->refusal, GM_OVER_LIMIT, GM_RULE_REQUESTS, "session",
					 GM_REQUESTS_MAX, call->link->n_pending, 1);
	r = read_target(call, request->to, &op);
	if (r == 0)
		r = gm_book_find_attached_region(call->book, call->session,
						 (struct gm_region_id){ request->region }, &region,
						 &call->refusal);
	if (r == 0)
		r = gm_call_read_ranges(call, request->n_ranges, request->ranges, &ranges);
	if (r != 0)
		return r;
	ms = gm_convert_wait_ms(call->service, call->session->tenant);
	if (ms > 0)
		return delay(call, region, op, ranges, request->n_ranges, ms);
	spend(call->service, call->session->tenant, request->n_ranges);
	if (is_in_place(region))
		return gm_in_place_convert(call, region, op, ranges, request->n_ranges);
	reply->step = gm_call_alloc(call, sizeof(*reply->step));
	if (reply->step == NULL)
		return -ENOMEM;
	return convert(call->service, region, op, ranges, request->n_ranges, reply, &call->refusal);
}
