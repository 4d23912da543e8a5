/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EVICT.
 */
#include "call.h"

int gm_handle_evict(struct gm_call *call)
{
	const Gmem__EvictRequest *request = call->request;
	Gmem__EvictReply *reply = call->answer;
	struct gm_session *owner;
	struct gm_domain *domain;
	int r;

	r = gm_book_find_domain(call->book, call->session, (struct gm_domain_id){ request->domain },
				&domain, &call->refusal);
	if (r != 0)
		return r;
	owner = domain->session;
	gm_link_tell_domain(call->service, call->link, GM_NEWS_EVICT, domain,
			    "a domain was evicted by the operator");
	reply->has_bytes = 1;
	reply->bytes = domain->reserved_bytes;
	reply->has_jobs_cancelled = 1;
	reply->jobs_cancelled = gm_exec_end_domain(call->exec, domain);
	if (owner != NULL)
		gm_call_takes_from(call, owner, (struct gm_domain_id){ request->domain },
				   GMEM__FAREWELL__FAREWELL_EVICTED);
	return 0;
}
