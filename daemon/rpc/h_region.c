/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "call.h"
#include "gm_check.h"
#include "info.h"
#include "step.h"

#define SAME_STATE(name)                                                                          \
	_Static_assert((int)GM_PAGE_##name == (int)GMEM__PAGE_STATE__PAGE_##name, #name " differ" \
											"s")
SAME_STATE(ABSENT);
SAME_STATE(SHARED);
SAME_STATE(PRIVATE);
SAME_STATE(MEASURED);
SAME_STATE(UNMEASURED);
SAME_STATE(LOST);

static int read_page_size(struct gm_call *call, const struct gm_exec_backend *slot, uint64_t asked,
			  uint64_t *ret_page_size)
{
	uint64_t sizes = slot->probe.page_sizes;

	if (asked == 0)
		asked = sizes & -sizes;
	if (!gm_is_power_of_two(asked) || (asked & sizes) == 0) {
		gm_refuse(&call->refusal, GM_INVALID, GM_RULE_PAGE_SIZE, slot->backend->kind);
		call->refusal.asked = asked;
		return GM_INVALID;
	}
	*ret_page_size = asked;
	return 0;
}

static int refuse_node(struct gm_call *call, uint32_t node)
{
	gm_refuse_text(&call->refusal, GM_INVALID, GM_RULE_NUMA_NODES, "host",
		       "the host has no NUMA node %u with memory", node);
	call->refusal.asked = node;
	return GM_INVALID;
}

/*
 * No wish: wherever the kernel likes, or on those of the tenant's nodes that are on this host. The
 * books know the policy only.
 */
static int default_nodes(struct gm_call *call, uint64_t *ret_nodes)
{
	const struct gm_tenant *tenant = call->session->tenant;
	uint64_t allowed = tenant->policy.numa_nodes & call->exec->numa_nodes;

	if (allowed == 0)
		return gm_refuse_text(&call->refusal, GM_DENIED, GM_RULE_NUMA_NODES,
				      tenant->account.name,
				      "none of the tenant's NUMANodes= is on this host");
	*ret_nodes = allowed == call->exec->numa_nodes ? 0 : allowed;
	return 0;
}

static int read_nodes(struct gm_call *call, const Gmem__RegionCreateRequest *request,
		      uint64_t *ret_nodes)
{
	uint64_t nodes = 0;

	if (request->n_numa_nodes == 0)
		return default_nodes(call, ret_nodes);
	for (size_t i = 0; i < request->n_numa_nodes; i++) {
		uint32_t node = request->numa_nodes[i];

		if (node >= GM_NUMA_NODES_MAX ||
		    (call->exec->numa_nodes & UINT64_C(1) << node) == 0)
			return refuse_node(call, node);
		nodes |= UINT64_C(1) << node;
	}
	*ret_nodes = nodes;
	return 0;
}

/* What the domain had when it was created may be gone: it may come from another daemon's record. */
static int check_kind(struct gm_call *call, const struct gm_domain *domain)
{
	const struct gm_exec_backend *slot = gm_exec_find(call->exec, domain->kind);

	if (slot == NULL)
		return gm_refuse(&call->refusal, GM_WRONG_STATE, GM_RULE_QUARANTINE, "domain");
	if (!slot->probe.usable)
		return gm_refuse_text(&call->refusal, GM_UNSUPPORTED, GM_RULE_PROBE, "host",
				      "%s: %s", domain->kind, slot->probe.reason);
	return 0;
}

static int read_spec(struct gm_call *call, const struct gm_domain *domain, char *name,
		     struct gm_region_spec *spec)
{
	const Gmem__RegionCreateRequest *request = call->request;
	const struct gm_exec_backend *slot = gm_exec_find(call->exec, domain->kind);
	int r;

	if (request->has_name && !gm_name_copy(&request->name, name, GM_NAME_MAX))
		return gm_refuse(&call->refusal, GM_INVALID, GM_RULE_NAME, "region");
	r = read_page_size(call, slot, request->page_size, &spec->page_size);
	if (r == 0)
		r = read_nodes(call, request, &spec->numa_nodes);
	spec->name = name;
	spec->gpa = request->gpa;
	spec->size = request->size;
	return r;
}

/* Charged and booked first, made second: a region whose memory is not to be had leaves no trace. */
static int create(struct gm_call *call, struct gm_domain *domain, const struct gm_region_spec *spec,
		  struct gm_region **ret_region)
{
	struct gm_region_id id;
	struct gm_region *region;
	int r;

	r = gm_service_draw_id(call->service, &id.v);
	if (r != 0)
		return r;
	r = gm_book_create_region(call->book, domain, spec, id, &region, &call->refusal);
	if (r != 0)
		return r;
	r = gm_exec_make_region(call->exec, region, &call->refusal);
	if (r != 0) {
		gm_exec_drop_region(call->exec, region);
		return r;
	}
	*ret_region = region;
	return 0;
}

static void tell(struct gm_call *call, enum gm_news_kind kind, const struct gm_region *region,
		 const char *text)
{
	struct gm_news news = gm_link_news(call->link, kind, text);

	news.domain = region->domain->id.v;
	news.region = region->id.v;
	news.bytes = region->size;
	gm_service_tell(call->service, &news);
}

int gm_handle_region_create(struct gm_call *call)
{
	const Gmem__RegionCreateRequest *request = call->request;
	Gmem__RegionCreateReply *reply = call->answer;
	char name[GM_NAME_SIZE] = "";
	struct gm_region_spec spec = { 0 };
	struct gm_region *region;
	struct gm_domain *domain;
	int r;

	r = gm_book_find_attached(call->book, call->session,
				  (struct gm_domain_id){ request->domain }, &domain,
				  &call->refusal);
	if (r == 0)
		r = check_kind(call, domain);
	if (r == 0)
		r = read_spec(call, domain, name, &spec);
	if (r == 0)
		r = gm_service_room_for_region(call->service, spec.size, &call->refusal);
	if (r == 0)
		r = create(call, domain, &spec, &region);
	if (r != 0)
		return r;
	/* In place the VMM makes the only file there is. */
	if (region->fd >= 0)
		r = gm_call_add_fd(call, region->fd, "memory", &reply->n_fd_names,
				   &reply->fd_names);
	if (r == 0 && (domain->traits & GM_TRAIT_PRIVATE))
		r = gm_step_order_memory(call, region, &reply->step);
	else if (r == 0 && domain->tenant->policy.preallocate)
		r = gm_call_preallocate(call, region);
	if (r != 0) {
		gm_exec_drop_region(call->exec, region);
		return r;
	}
	if (call->deferred)
		return 0;
	reply->has_region = 1;
	reply->region = region->id.v;
	tell(call, GM_NEWS_GRANT, region, "a region was granted");
	return 0;
}

static int find_region(struct gm_call *call, uint64_t id, bool attached,
		       struct gm_region **ret_region)
{
	if (attached)
		return gm_book_find_attached_region(call->book, call->session,
						    (struct gm_region_id){ id }, ret_region,
						    &call->refusal);
	return gm_book_find_region(call->book, call->session, (struct gm_region_id){ id },
				   ret_region, &call->refusal);
}

static int add_memory(struct gm_call *call, const struct gm_region *region,
		      Gmem__RegionGetReply *reply)
{
	int fd = gm_exec_shared_fd(region);

	if (fd < 0)
		return gm_refuse_text(&call->refusal, GM_WRONG_STATE, GM_RULE_STEP, "region",
				      "the VMM has not made its memory yet");
	return gm_call_add_fd(call, fd, "memory", &reply->n_fd_names, &reply->fd_names);
}

int gm_handle_region_get(struct gm_call *call)
{
	const Gmem__RegionGetRequest *request = call->request;
	Gmem__RegionGetReply *reply = call->answer;
	struct gm_region *region;
	int r;

	r = find_region(call, request->region, request->with_fd, &region);
	if (r != 0)
		return r;
	reply->info = gm_call_alloc(call, sizeof(*reply->info));
	if (reply->info == NULL)
		return -ENOMEM;
	r = gm_info_region(call, region, reply->info);
	if (r == 0 && request->with_fd)
		r = gm_book_check_usable(region, &call->refusal);
	if (r == 0 && request->with_fd)
		r = add_memory(call, region, reply);
	return r;
}

int gm_handle_region_destroy(struct gm_call *call)
{
	const Gmem__RegionDestroyRequest *request = call->request;
	struct gm_region *region;
	int r;

	r = find_region(call, request->region, true, &region);
	if (r == 0)
		r = gm_book_may_destroy_region(region, &call->refusal);
	if (r != 0)
		return r;
	tell(call, GM_NEWS_END, region, "a region was destroyed");
	gm_exec_drop_region(call->exec, region);
	return 0;
}

static int check_map_offset(struct gm_call *call, const struct gm_region *region, uint64_t offset)
{
	char object[GM_OBJECT_MAX];
	enum gm_rule rule = GM_RULE_OFFSET;
	uint64_t limit = GM_PAGE_4K;

	if (gm_is_aligned(offset, GM_PAGE_4K)) {
		if (offset <= region->size)
			return 0;
		rule = GM_RULE_RANGE;
		limit = region->size;
	}
	snprintf(object, sizeof(object), "region %016llx", (unsigned long long)region->id.v);
	gm_refuse_numbers(&call->refusal, GM_INVALID, rule, object, limit, 0, offset);
	call->refusal.offset = offset;
	return GM_INVALID;
}

static void fill_run(const struct gm_page_run *run, Gmem__PageRun *message)
{
	gmem__page_run__init(message);
	message->has_offset = 1;
	message->offset = run->offset;
	message->has_length = 1;
	message->length = run->length;
	message->has_state = 1;
	message->state = (Gmem__PageState)run->state;
}

static int fill_runs(struct gm_call *call, const struct gm_region *region, uint64_t offset,
		     size_t max)
{
	Gmem__RegionMapReply *reply = call->answer;
	Gmem__PageRun *runs = gm_call_alloc(call, max * sizeof(*runs));

	reply->runs = gm_call_alloc(call, max * sizeof(Gmem__PageRun *));
	if (runs == NULL || reply->runs == NULL)
		return -ENOMEM;
	while (offset < region->size && reply->n_runs < max) {
		struct gm_page_run run;

		gm_page_map_run(&region->map, offset, region->size, &run);
		fill_run(&run, &runs[reply->n_runs]);
		reply->runs[reply->n_runs] = &runs[reply->n_runs];
		reply->n_runs++;
		offset = run.offset + run.length;
	}
	reply->has_next_offset = 1;
	reply->next_offset = offset;
	return 0;
}

int gm_handle_region_map(struct gm_call *call)
{
	const Gmem__RegionMapRequest *request = call->request;
	struct gm_region *region;
	size_t max = GM_RUNS_MAX;
	int r;

	r = find_region(call, request->region, false, &region);
	if (r == 0)
		r = check_map_offset(call, region, request->offset);
	if (r != 0)
		return r;
	/* 2048 runs of at most 22 bytes each, with offset and length below 2^52, fit a body. */
	if (request->runs_max != 0)
		max = gm_min_u64(max, request->runs_max);
	return fill_runs(call, region, request->offset, max);
}
