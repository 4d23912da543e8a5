/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversions that the daemon does itself, on the file: no step for the VMM. A worker is at it; the
 * request is answered when it has ended, and what was converted is booked as it goes.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "book_in_place.h"
#include "exec_launch.h"
#include "step.h"

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct gm_pending *pending = arg;
	struct gm_region *region = gm_pending_region(pending);

	/* Its patience begins with a restart. */
	if (region != NULL && region->step != NULL)
		gm_book_extend_step(region, gm_service_now(pending->link->service) + GM_STEP_MS);
	gm_pending_progress(pending, done, total);
}

static uint64_t lost_pages(const struct gm_region *region)
{
	return region->map.pages[GM_PAGE_LOST];
}

static void answer(const struct gm_pending *pending, const ProtobufCMessage *reply)
{
	int r = gm_link_answer(pending->link,
			       &(struct gm_frame){ .type = pending->type,
						   .flags = GM_FRAME_ANSWER,
						   .serial = pending->serial },
			       reply, NULL);

	/* Cannot fail: some numbers always fit. */
	assert(r == 0);
	gm_counters_answer(gm_link_counters(pending->link), 0, GM_RULE_NONE);
}

static void answer_converted(const struct gm_pending *pending, uint64_t bytes)
{
	Gmem__ConvertReply reply = GMEM__CONVERT_REPLY__INIT;

	reply.has_bytes = 1;
	reply.bytes = bytes;
	answer(pending, &reply.base);
}

/* All of it is private: the VMM may populate. Its time begins now. */
static int order_population(const struct gm_pending *pending, struct gm_region *region,
			    struct gm_refusal *refusal)
{
	Gmem__PopulateReply reply = GMEM__POPULATE_REPLY__INIT;
	Gmem__Step step;

	if (region == NULL || region->step == NULL)
		return gm_refuse_text(refusal, GM_WRONG_STATE, GM_RULE_LAUNCH_STATE, "domain",
				      "the launch has been given up meanwhile");
	gm_book_extend_step(region, gm_service_now(pending->link->service) + GM_STEP_MS);
	gm_step_fill(region, &step);
	reply.step = &step;
	answer(pending, &reply.base);
	return 0;
}

static void on_end(void *arg, int result, const struct gm_refusal *refusal, uint64_t bytes)
{
	struct gm_pending *pending = arg;
	struct gm_service *service = pending->link->service;
	struct gm_region *region = gm_pending_region(pending);
	struct gm_refusal why = *refusal;
	bool loses = region != NULL && lost_pages(region) > pending->lost_pages;

	if (result == 0 && pending->type == GM_MSG_POPULATE)
		result = order_population(pending, region, &why);
	else if (result == 0)
		answer_converted(pending, bytes);
	if (loses)
		gm_step_tell_lost(service, region,
				  "workers died in a conversion: its pages are lost");
	if (region != NULL)
		gm_launch_settle(service, region->domain);
	gm_pending_end(pending, result, &why);
}

static const struct gm_exec_job_ops job_ops = { .progress = on_progress, .end = on_end };

int gm_in_place_convert_late(struct gm_pending *pending, struct gm_region *region,
			     enum gm_page_op op, const struct gm_range *ranges, size_t n,
			     struct gm_refusal *refusal)
{
	struct gm_link *link = pending->link;
	struct gm_step_spec spec;
	int r;

	pending->lost_pages = lost_pages(region);
	r = gm_step_draw(link->service, &spec);
	if (r == 0)
		r = gm_exec_start_convert(link->service->exec, link->session, gm_link_pidfd(link),
					  region, op, ranges, n, &spec, &job_ops, pending,
					  &pending->job, refusal);
	return r;
}

int gm_in_place_populate(struct gm_call *call, struct gm_region *region,
			 const struct gm_range *range)
{
	struct gm_pending *pending = gm_pending_new(call);
	struct gm_step_spec spec;
	int r = -ENOMEM;

	if (pending != NULL) {
		pending->domain = region->domain->id.v;
		pending->region = region->id.v;
		pending->lost_pages = lost_pages(region);
		r = gm_step_draw(call->service, &spec);
	}
	if (r == 0)
		r = gm_exec_start_populate_in_place(
			call->exec, call->session, gm_link_pidfd(call->link), region, range, &spec,
			&job_ops, pending, &pending->job, &call->refusal);
	if (r != 0) {
		free(pending);
		return r;
	}
	gm_pending_enter(call, pending);
	return 0;
}

int gm_in_place_convert(struct gm_call *call, struct gm_region *region, enum gm_page_op op,
			const struct gm_range *ranges, size_t n)
{
	struct gm_pending *pending = gm_pending_new(call);
	int r;

	if (pending == NULL)
		return -ENOMEM;
	pending->domain = region->domain->id.v;
	pending->region = region->id.v;
	r = gm_in_place_convert_late(pending, region, op, ranges, n, &call->refusal);
	if (r != 0) {
		free(pending);
		return r;
	}
	gm_pending_enter(call, pending);
	return 0;
}
