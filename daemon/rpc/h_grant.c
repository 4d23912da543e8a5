/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MEMLOCK: a client may lock more memory than its own limit says.
 */
#include "call.h"
#include "exec_memlock.h"

int gm_handle_memlock(struct gm_call *call)
{
	const Gmem__MemlockRequest *request = call->request;
	Gmem__MemlockReply *reply = call->answer;
	struct gm_domain *domain;
	struct gm_limits now;
	int r;

	if (call->book->draining)
		return gm_refuse(&call->refusal, GM_SHUTTING_DOWN, GM_RULE_DRAINING, "host");
	r = gm_book_find_attached(call->book, call->session,
				  (struct gm_domain_id){ request->domain }, &domain,
				  &call->refusal);
	/* The next daemon lowers the limit, whether the session can be resumed or not. */
	if (r == 0)
		r = gm_link_hold_process(call->link);
	if (r == 0)
		r = gm_exec_set_memlock(call->exec, domain, request->bytes, &now, &call->refusal);
	if (r != 0)
		return r;
	reply->has_limit = 1;
	reply->limit = now.soft;
	return 0;
}
