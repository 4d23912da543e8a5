/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STATS: use, limits and counts of accounts, a page of them at a time.
 */
#include <errno.h>
#include <string.h>

#include "call.h"
#include "gm_check.h"
#include "info.h"

/* What a body has room for beside the numbers of the daemon and the bounds of the histograms. */
#define ACCOUNTS_BYTES (GM_BODY_MAX - 256)

/* What is unpacked takes several times the room of what is packed: this many fit the arena. */
#define ACCOUNTS_MAX 48

struct page {
	struct gm_call *call;
	Gmem__StatsReply *reply;
	bool detail;
	size_t bytes;
};

/* Fills an info of one account: the host's when @tenant is NULL. */
static int make_info(struct page *page, const struct gm_tenant *tenant, Gmem__UsageInfo **ret_info)
{
	Gmem__UsageInfo *info = gm_call_alloc(page->call, sizeof(*info));
	int r;

	if (info == NULL)
		return -ENOMEM;
	r = tenant != NULL ? gm_info_tenant(page->call, tenant, info)
			   : gm_info_host(page->call, info);
	if (r == 0 && page->detail)
		r = gm_info_counters(page->call, tenant, info);
	*ret_info = info;
	return r;
}

static bool add_info(struct page *page, Gmem__UsageInfo *info)
{
	Gmem__StatsReply *reply = page->reply;

	page->bytes += protobuf_c_message_get_packed_size(&info->base) + 4;
	if (page->bytes > ACCOUNTS_BYTES || reply->n_accounts == ACCOUNTS_MAX)
		return false;
	reply->accounts[reply->n_accounts++] = info;
	return true;
}

static int add(struct page *page, const struct gm_tenant *tenant, bool *ret_full)
{
	Gmem__UsageInfo *info;
	int r = make_info(page, tenant, &info);

	if (r == 0)
		*ret_full = !add_info(page, info);
	return r;
}

/*
 * The cursor is the index of the first tenant that is still to come: tenants keep theirs, and new
 * ones have higher ones. 0 stands for the beginning, where the host comes first.
 */
static int fill_all(struct page *page, uint64_t cursor)
{
	const struct gm_tenant *tenant;
	bool full = false;
	int r = 0;

	if (cursor == 0)
		r = add(page, NULL, &full);
	TAILQ_FOREACH(tenant, &page->call->book->tenants, link) {
		if (r != 0)
			return r;
		if (tenant->index < cursor)
			continue;
		r = add(page, tenant, &full);
		if (r == 0 && full) {
			page->reply->has_cursor = 1;
			page->reply->cursor = tenant->index;
			return 0;
		}
	}
	return r;
}

/* One account alone: the control groups of its processes are looked at, too. */
static int add_only(struct page *page, const struct gm_tenant *tenant)
{
	Gmem__UsageInfo *info;
	int r = make_info(page, tenant, &info);

	if (r == 0)
		r = gm_info_tenant_observed(page->call, tenant, info);
	if (r == 0)
		(void)add_info(page, info);
	return r;
}

static int fill_named(struct page *page, const ProtobufCBinaryData *name)
{
	struct gm_call *call = page->call;
	const struct gm_tenant *tenant;
	char text[GM_NAME_SIZE];

	if (!gm_name_copy(name, text, GM_NAME_MAX))
		return gm_refuse(&call->refusal, GM_INVALID, GM_RULE_NAME, "tenant");
	tenant = gm_book_find_tenant(call->book, text);
	if (tenant == NULL)
		return gm_refuse(&call->refusal, GM_NO_SUCH_OBJECT, GM_RULE_NONE, "tenant");
	return add_only(page, tenant);
}

static int fill_admin(struct page *page, const Gmem__StatsRequest *request)
{
	struct gm_call *call = page->call;
	Gmem__StatsReply *reply = page->reply;

	reply->has_rss_bytes = 1;
	reply->rss_bytes = call->service->env.rss_bytes();
	reply->has_workers = 1;
	reply->workers = call->exec->hub != NULL ? gm_crew_hub_workers(call->exec->hub) : 0;
	if (request->tenant.len == 0)
		return fill_all(page, request->cursor);
	return fill_named(page, &request->tenant);
}

static int fill_bounds(struct page *page)
{
	size_t size = sizeof(gm_histogram_bounds_us);

	page->reply->bounds_us = gm_call_alloc(page->call, size);
	if (page->reply->bounds_us == NULL)
		return -ENOMEM;
	memcpy(page->reply->bounds_us, gm_histogram_bounds_us, size);
	page->reply->n_bounds_us = GM_HISTOGRAM_BOUNDS;
	return 0;
}

int gm_handle_stats(struct gm_call *call)
{
	const Gmem__StatsRequest *request = call->request;
	const struct gm_tenant *tenant = call->session->tenant;
	struct page page = { .call = call, .reply = call->answer, .detail = request->detail };
	Gmem__StatsReply *reply = call->answer;
	int r = 0;

	reply->has_uptime_ms = 1;
	reply->uptime_ms = gm_service_now(call->service) - call->service->started_ms;
	reply->accounts = gm_call_alloc(call, ACCOUNTS_MAX * sizeof(*reply->accounts));
	if (reply->accounts == NULL)
		return -ENOMEM;
	if (page.detail)
		r = fill_bounds(&page);
	if (r != 0)
		return r;
	if (tenant == NULL)
		return fill_admin(&page, request);
	if (request->tenant.len != 0 || request->cursor != 0)
		return gm_refuse_text(&call->refusal, GM_DENIED, GM_RULE_PERMISSION,
				      tenant->account.name,
				      "only the admin socket asks for other accounts");
	return add_only(&page, tenant);
}
