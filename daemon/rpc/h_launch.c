/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LAUNCH_START, SOURCE, POPULATE, LAUNCH_FINISH and LAUNCH_ABORT: the launch of a guest whose
 * memory the platform measures.
 */
#include "call.h"
#include "launch.h"

/* 0, or why the launch of the domain cannot go on like that now. */
static int check_event(struct gm_call *call, enum gm_launch_event event)
{
	enum gm_launch_intent intent;
	enum gm_launch_state next;

	return gm_launch_after(GM_LAUNCH_NONE, event, &next, &intent, &call->refusal);
}

static int handle(struct gm_call *call, uint64_t domain_id, enum gm_launch_event event)
{
	struct gm_domain *domain;
	int r;

	r = gm_book_find_attached(call->book, call->session, (struct gm_domain_id){ domain_id },
				  &domain, &call->refusal);
	if (r == 0)
		r = check_event(call, event);
	return r;
}

int gm_handle_launch_start(struct gm_call *call)
{
	const Gmem__LaunchStartRequest *request = call->request;

	return handle(call, request->domain, GM_LAUNCH_START);
}

int gm_handle_source(struct gm_call *call)
{
	const Gmem__SourceRequest *request = call->request;

	return handle(call, request->domain, GM_LAUNCH_POPULATE);
}

int gm_handle_populate(struct gm_call *call)
{
	const Gmem__PopulateRequest *request = call->request;
	struct gm_region *region;
	int r;

	r = gm_book_find_attached_region(call->book, call->session,
					 (struct gm_region_id){ request->region }, &region,
					 &call->refusal);
	if (r == 0)
		r = check_event(call, GM_LAUNCH_POPULATE);
	return r;
}

int gm_handle_launch_finish(struct gm_call *call)
{
	const Gmem__LaunchFinishRequest *request = call->request;

	return handle(call, request->domain, GM_LAUNCH_FINISH);
}

int gm_handle_launch_abort(struct gm_call *call)
{
	const Gmem__LaunchAbortRequest *request = call->request;

	return handle(call, request->domain, GM_LAUNCH_ABORT);
}
