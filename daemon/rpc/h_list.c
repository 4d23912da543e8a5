/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LIST, page by page. A page ends when it is full or when the next item might not fit a body; the
 * cursor names the place of its last item, so that objects which come and go between two pages
 * neither repeat nor hide the others.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "call.h"
#include "gm_check.h"
#include "info.h"

#define ITEMS_MAX 256

/* What a body has room for beside the cursor. */
#define PAGE_BYTES (GM_BODY_MAX - 16)

struct page {
	struct gm_call *call;
	const struct gm_tenant *tenant; /* NULL: of every tenant */
	struct gm_cursor from;		/* the place after which the page starts */
	struct gm_cursor last;		/* of the last item so far */
	size_t n;
	size_t bytes;
	bool full; /* there is more, but not on this page */
	void **items;
};

/*
 * Adds an item, or finds that the page is full. False: the walk is over.
 * An item costs its own bytes, a tag, and a length of at most three bytes.
 */
static bool page_add(struct page *page, ProtobufCMessage *item, uint64_t major, uint64_t minor)
{
	size_t bytes = protobuf_c_message_get_packed_size(item) + 4;

	if (page->n >= ITEMS_MAX || page->bytes + bytes > PAGE_BYTES) {
		page->full = true;
		return false;
	}
	page->items[page->n++] = item;
	page->bytes += bytes;
	page->last.major = major;
	page->last.minor = minor;
	return true;
}

static const struct gm_domain *first_domain(const struct page *page)
{
	return page->tenant != NULL ? TAILQ_FIRST(&page->tenant->domains)
				    : gm_book_next_domain(page->call->book, NULL);
}

/* A tenant's listing walks its own objects only: its time does not tell of its neighbours. */
static const struct gm_domain *next_domain(const struct page *page, const struct gm_domain *domain)
{
	return page->tenant != NULL ? TAILQ_NEXT(domain, link)
				    : gm_book_next_domain(page->call->book, domain);
}

static int add_domain(struct page *page, const struct gm_domain *domain, bool *ret_go_on)
{
	Gmem__DomainInfo *info = gm_call_alloc(page->call, sizeof(*info));

	if (info == NULL)
		return -ENOMEM;
	gm_info_domain(page->call, domain, info);
	*ret_go_on = page_add(page, &info->base, domain->sequence, 0);
	return 0;
}

static int list_domains(struct page *page)
{
	const struct gm_domain *domain;
	bool go_on = true;
	int r = 0;

	for (domain = first_domain(page); domain != NULL && go_on && r == 0;
	     domain = next_domain(page, domain)) {
		if (!domain->dying && domain->sequence > page->from.major)
			r = add_domain(page, domain, &go_on);
	}
	return r;
}

static int add_region(struct page *page, const struct gm_region *region, bool *ret_go_on)
{
	Gmem__RegionInfo *info = gm_call_alloc(page->call, sizeof(*info));
	int r;

	if (info == NULL)
		return -ENOMEM;
	r = gm_info_region(page->call, region, info);
	if (r == 0)
		*ret_go_on = page_add(page, &info->base, region->domain->sequence, region->gpa);
	return r;
}

/* Lowest address first, from where the last page stopped. */
static int list_regions_of(struct page *page, const struct gm_domain *domain, bool *ret_go_on)
{
	bool resumed = page->from.id != 0 && domain->sequence == page->from.major;
	int r = 0;

	if (domain->dying || domain->sequence < page->from.major)
		return 0;
	for (uint32_t i = 0; i < domain->n_regions && *ret_go_on && r == 0; i++) {
		if (!resumed || domain->regions[i]->gpa > page->from.minor)
			r = add_region(page, domain->regions[i], ret_go_on);
	}
	return r;
}

static int list_regions(struct page *page, const struct gm_domain *only)
{
	const struct gm_domain *domain;
	bool go_on = true;
	int r = 0;

	if (only != NULL)
		return list_regions_of(page, only, &go_on);
	for (domain = first_domain(page); domain != NULL && go_on && r == 0;
	     domain = next_domain(page, domain))
		r = list_regions_of(page, domain, &go_on);
	return r;
}

static int add_tenant(struct page *page, const struct gm_tenant *tenant, bool *ret_go_on)
{
	Gmem__UsageInfo *info = gm_call_alloc(page->call, sizeof(*info));
	int r;

	if (info == NULL)
		return -ENOMEM;
	r = gm_info_tenant(page->call, tenant, info);
	if (r == 0)
		*ret_go_on = page_add(page, &info->base, tenant->index, 0);
	return r;
}

static int list_tenants(struct page *page)
{
	const struct gm_tenant *tenant;
	bool go_on = true;
	int r = 0;

	TAILQ_FOREACH(tenant, &page->call->book->tenants, link) {
		if (page->tenant != NULL && tenant != page->tenant)
			continue;
		if (page->from.id == 0 || tenant->index > page->from.major)
			r = add_tenant(page, tenant, &go_on);
		if (r != 0 || !go_on)
			break;
	}
	return r;
}

static int list_sessions(struct page *page)
{
	const struct gm_link *link;

	TAILQ_FOREACH(link, &page->call->service->links, entry) {
		Gmem__SessionInfo *info;

		if (link->ops == NULL || link->sequence <= page->from.major ||
		    (page->tenant != NULL && link->session->tenant != page->tenant))
			continue;
		info = gm_call_alloc(page->call, sizeof(*info));
		if (info == NULL)
			return -ENOMEM;
		gm_info_session(page->call, link, info);
		if (!page_add(page, &info->base, link->sequence, 0))
			break;
	}
	return 0;
}

/* What the session may see: a tenant its own, an admin all or one. */
static int choose_tenant(struct page *page, const Gmem__ListRequest *request)
{
	struct gm_call *call = page->call;
	char name[GM_NAME_SIZE];

	page->tenant = call->session->tenant;
	if (request->tenant.len == 0)
		return 0;
	if (page->tenant != NULL)
		return gm_refuse_text(&call->refusal, GM_DENIED, GM_RULE_PERMISSION,
				      page->tenant->account.name,
				      "only the admin socket lists by tenant");
	if (!gm_name_copy(&request->tenant, name, GM_NAME_MAX))
		return gm_refuse(&call->refusal, GM_INVALID, GM_RULE_NAME, "tenant");
	page->tenant = gm_book_find_tenant(call->book, name);
	if (page->tenant == NULL)
		return gm_refuse(&call->refusal, GM_NO_SUCH_OBJECT, GM_RULE_NONE, "tenant");
	return 0;
}

static int find_cursor(struct page *page, const Gmem__ListRequest *request)
{
	const struct gm_link *link = page->call->link;

	if (request->cursor == 0)
		return 0;
	for (size_t i = 0; i < GM_LINK_CURSORS; i++) {
		if (link->cursors[i].id == request->cursor &&
		    link->cursors[i].what == (unsigned)request->what) {
			page->from = link->cursors[i];
			return 0;
		}
	}
	return gm_refuse(&page->call->refusal, GM_INVALID, GM_RULE_CURSOR, "session");
}

/* The oldest cursor makes room. A cursor that was used stays good: an answer may be asked again. */
static void give_cursor(struct page *page, const Gmem__ListRequest *request, Gmem__ListReply *reply)
{
	struct gm_link *link = page->call->link;
	uint64_t id;

	reply->has_cursor = 1;
	if (!page->full)
		return;
	id = ++link->last_cursor;
	page->last.id = id;
	page->last.what = (unsigned)request->what;
	link->cursors[id % GM_LINK_CURSORS] = page->last;
	reply->cursor = id;
}

static int find_domain(struct gm_call *call, const Gmem__ListRequest *request,
		       struct gm_domain **ret_domain)
{
	*ret_domain = NULL;
	if (!request->has_domain || request->domain == 0)
		return 0;
	if (request->what != GMEM__LIST_WHAT__LIST_REGIONS)
		return gm_refuse_text(&call->refusal, GM_INVALID, GM_RULE_FLAGS, "request",
				      "only regions are listed by domain");
	return gm_book_find_domain(call->book, call->session,
				   (struct gm_domain_id){ request->domain }, ret_domain,
				   &call->refusal);
}

/* The items are of the type that goes into the field. */
static int walk(struct page *page, const Gmem__ListRequest *request, Gmem__ListReply *reply,
		const struct gm_domain *domain)
{
	struct gm_call *call = page->call;
	int r;

	switch ((int)request->what) {
	case GMEM__LIST_WHAT__LIST_DOMAINS:
		r = list_domains(page);
		reply->n_domains = page->n;
		reply->domains = (Gmem__DomainInfo **)page->items;
		return r;
	case GMEM__LIST_WHAT__LIST_REGIONS:
		r = list_regions(page, domain);
		reply->n_regions = page->n;
		reply->regions = (Gmem__RegionInfo **)page->items;
		return r;
	case GMEM__LIST_WHAT__LIST_TENANTS:
		if (call->session->tenant != NULL)
			return gm_refuse_text(&call->refusal, GM_DENIED, GM_RULE_PERMISSION,
					      page->tenant->account.name,
					      "only the admin socket lists tenants");
		r = list_tenants(page);
		reply->n_tenants = page->n;
		reply->tenants = (Gmem__UsageInfo **)page->items;
		return r;
	case GMEM__LIST_WHAT__LIST_SESSIONS:
		r = list_sessions(page);
		reply->n_sessions = page->n;
		reply->sessions = (Gmem__SessionInfo **)page->items;
		return r;
	default:
		return gm_refuse_text(&call->refusal, GM_INVALID, GM_RULE_FLAGS, "request",
				      "nothing to list has the number %d", (int)request->what);
	}
}

int gm_handle_list(struct gm_call *call)
{
	const Gmem__ListRequest *request = call->request;
	struct page page = { .call = call };
	struct gm_domain *domain;
	int r;

	page.items = gm_call_alloc(call, ITEMS_MAX * sizeof(*page.items));
	if (page.items == NULL)
		return -ENOMEM;
	r = choose_tenant(&page, request);
	if (r == 0)
		r = find_domain(call, request, &domain);
	if (r == 0)
		r = find_cursor(&page, request);
	if (r == 0)
		r = walk(&page, request, call->answer, domain);
	if (r == 0)
		give_cursor(&page, request, call->answer);
	return r;
}
