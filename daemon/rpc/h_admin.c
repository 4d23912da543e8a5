/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STATS and EVICT.
 */
#include <errno.h>

#include "call.h"
#include "gm_check.h"
#include "info.h"

/* What a body has room for beside the numbers of the daemon. */
#define ACCOUNTS_BYTES (GM_BODY_MAX - 64)

static bool add_account(Gmem__StatsReply *reply, Gmem__UsageInfo *info, size_t *bytes)
{
	*bytes += protobuf_c_message_get_packed_size(&info->base) + 4;
	if (*bytes > ACCOUNTS_BYTES)
		return false;
	reply->accounts[reply->n_accounts++] = info;
	return true;
}

static Gmem__UsageInfo *new_info(struct gm_call *call)
{
	return gm_call_alloc(call, sizeof(Gmem__UsageInfo));
}

static size_t count_tenants(const struct gm_book *book)
{
	const struct gm_tenant *tenant;
	size_t n = 0;

	TAILQ_FOREACH(tenant, &book->tenants, link)
		n++;
	return n;
}

/* The host, then as many tenants as fit one answer: LIST has all of them, page by page. */
static int fill_all(struct gm_call *call, Gmem__StatsReply *reply)
{
	const struct gm_tenant *tenant;
	Gmem__UsageInfo *info = new_info(call);
	size_t bytes = 0;
	int r;

	reply->accounts =
		gm_call_alloc(call, (1 + count_tenants(call->book)) * sizeof(*reply->accounts));
	if (info == NULL || reply->accounts == NULL)
		return -ENOMEM;
	r = gm_info_host(call, info);
	if (r != 0)
		return r;
	(void)add_account(reply, info, &bytes);
	TAILQ_FOREACH(tenant, &call->book->tenants, link) {
		info = new_info(call);
		if (info == NULL)
			return -ENOMEM;
		r = gm_info_tenant(call, tenant, info);
		if (r != 0)
			return r;
		if (!add_account(reply, info, &bytes))
			break;
	}
	return 0;
}

static int fill_one(struct gm_call *call, const struct gm_tenant *tenant, Gmem__StatsReply *reply)
{
	Gmem__UsageInfo *info = new_info(call);
	size_t bytes = 0;
	int r;

	reply->accounts = gm_call_alloc(call, sizeof(*reply->accounts));
	if (info == NULL || reply->accounts == NULL)
		return -ENOMEM;
	r = gm_info_tenant(call, tenant, info);
	if (r == 0)
		(void)add_account(reply, info, &bytes);
	return r;
}

static int fill_admin(struct gm_call *call, const Gmem__StatsRequest *request,
		      Gmem__StatsReply *reply)
{
	char name[GM_NAME_SIZE];
	const struct gm_tenant *tenant;

	reply->has_rss_bytes = 1;
	reply->rss_bytes = call->service->env.rss_bytes();
	reply->has_workers = 1;
	reply->workers = call->exec->hub != NULL ? gm_crew_hub_workers(call->exec->hub) : 0;
	if (request->tenant.len == 0)
		return fill_all(call, reply);
	if (!gm_name_copy(&request->tenant, name, GM_NAME_MAX))
		return gm_refuse(&call->refusal, GM_INVALID, GM_RULE_NAME, "tenant");
	tenant = gm_book_find_tenant(call->book, name);
	if (tenant == NULL)
		return gm_refuse(&call->refusal, GM_NO_SUCH_OBJECT, GM_RULE_NONE, "tenant");
	return fill_one(call, tenant, reply);
}

int gm_handle_stats(struct gm_call *call)
{
	const Gmem__StatsRequest *request = call->request;
	const struct gm_tenant *tenant = call->session->tenant;
	Gmem__StatsReply *reply = call->answer;

	reply->has_uptime_ms = 1;
	reply->uptime_ms = gm_service_now(call->service) - call->service->started_ms;
	if (tenant == NULL)
		return fill_admin(call, request, reply);
	if (request->tenant.len != 0)
		return gm_refuse_text(&call->refusal, GM_DENIED, GM_RULE_PERMISSION,
				      tenant->account.name,
				      "only the admin socket asks for a tenant by name");
	return fill_one(call, tenant, reply);
}

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
	call->service->env.log_event(call->session, domain, "evicted");
	reply->has_bytes = 1;
	reply->bytes = domain->reserved_bytes;
	reply->has_jobs_cancelled = 1;
	reply->jobs_cancelled = gm_exec_end_domain(call->exec, domain);
	if (owner != NULL)
		gm_call_takes_from(call, owner, (struct gm_domain_id){ request->domain },
				   GMEM__FAREWELL__FAREWELL_EVICTED);
	return 0;
}
