/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "builtin.h"
#include "gm_verdict.h"

static int fail_no_object(struct gmem_client *client)
{
	return gm_fail(client, GMEM_NO_SUCH_OBJECT, 0, "This client has no such object.");
}

static void fill_domain(const struct gmem_domain *domain, struct gmem_domain_info *info)
{
	*info = (struct gmem_domain_info){
		.id = domain->id,
		.attached = 1,
		.owner_pid = (uint32_t)getpid(),
		.owner_uid = (uint32_t)getuid(),
		.orphan_ttl_ms = UINT64_MAX,
		.observed_limit = UINT64_MAX,
		.age_ms = gm_now_ms() - domain->created_ms,
	};
	memcpy(info->name, domain->name, sizeof(info->name));
	memcpy(info->kind, domain->kind, sizeof(info->kind));
	for (const struct gmem_region *region = domain->regions; region; region = region->next) {
		info->regions++;
		info->reserved_bytes += region->size;
		info->allocated_bytes += gm_extents_bytes(region->builtin);
	}
	info->shared_bytes = info->allocated_bytes;
}

static void fill_region(const struct gmem_region *region, struct gmem_region_info *info)
{
	const struct gm_builtin_memory *memory = region->builtin;

	*info = (struct gmem_region_info){
		.id = region->id,
		.domain = region->domain->id,
		.gpa = region->gpa,
		.size = region->size,
		.page_size = region->page_size,
		.allocated_bytes = gm_extents_bytes(memory),
		.shared_bytes = gm_extents_bytes(memory),
		.page_map_bytes = memory->room * sizeof(struct gm_extent),
		.jobs = gm_builtin_count_jobs(region->domain->client, region->id),
		.numa_nodes = memory->numa_nodes,
	};
	memcpy(info->name, memory->name, sizeof(info->name));
}

/* The walks go by id, because the program may destroy or make handles meanwhile. */
int gm_builtin_list_domains(struct gmem_client *client, gm_domain_info_fn fn, void *arg)
{
	uint64_t seen = 0;
	int r = 0;

	while (r == 0) {
		const struct gmem_domain *domain = client->domains;
		struct gmem_domain_info info;

		while (domain && domain->id <= seen)
			domain = domain->next;
		if (!domain)
			return 0;
		seen = domain->id;
		fill_domain(domain, &info);
		r = fn(arg, &info);
	}
	return r < 0 ? r : 0;
}

static const struct gmem_region *region_after(const struct gmem_domain *domain, uint64_t gpa,
					      bool first)
{
	const struct gmem_region *region = domain->regions;

	while (region && !first && region->gpa <= gpa)
		region = region->next;
	return region;
}

static int list_domain_regions(struct gmem_client *client, uint64_t id, gm_region_info_fn fn,
			       void *arg)
{
	uint64_t gpa = 0;
	bool first = true;
	int r = 0;

	while (r == 0) {
		const struct gmem_domain *domain = gm_client_find_domain(client, id);
		const struct gmem_region *region;
		struct gmem_region_info info;

		region = domain ? region_after(domain, gpa, first) : NULL;
		if (!region)
			return 0;
		gpa = region->gpa;
		first = false;
		fill_region(region, &info);
		r = fn(arg, &info);
	}
	return r;
}

int gm_builtin_list_regions(struct gmem_client *client, uint64_t domain, gm_region_info_fn fn,
			    void *arg)
{
	uint64_t seen = 0;
	int r = 0;

	if (domain) {
		if (!gm_client_find_domain(client, domain))
			return fail_no_object(client);
		r = list_domain_regions(client, domain, fn, arg);
		return r < 0 ? r : 0;
	}
	while (r == 0) {
		const struct gmem_domain *next = client->domains;

		while (next && next->id <= seen)
			next = next->next;
		if (!next)
			return 0;
		seen = next->id;
		r = list_domain_regions(client, seen, fn, arg);
	}
	return r < 0 ? r : 0;
}

static uint32_t count_domains(const struct gmem_client *client)
{
	uint32_t n = 0;

	for (const struct gmem_domain *domain = client->domains; domain; domain = domain->next)
		n++;
	return n;
}

int gm_builtin_list_sessions(struct gmem_client *client, gm_session_info_fn fn, void *arg)
{
	struct gmem_session_info info = {
		.id = 1,
		.pid = (uint32_t)getpid(),
		.uid = (uint32_t)getuid(),
		.domains = count_domains(client),
		.jobs = gm_builtin_count_jobs(client, 0),
	};
	int r;

	(void)snprintf(info.client, sizeof(info.client), "%s", program_invocation_short_name);
	r = fn(arg, &info);
	return r < 0 ? r : 0;
}

static struct gmem_usage *add_usage(struct gmem_account_info *info, const char *resource)
{
	struct gmem_usage *usage = &info->usage[info->n_usage++];

	(void)snprintf(usage->resource, sizeof(usage->resource), "%s", resource);
	usage->limit = UINT64_MAX;
	return usage;
}

int gm_builtin_list_accounts(struct gmem_client *client, gm_account_info_fn fn, void *arg)
{
	struct gmem_account_info info = { .name = "builtin" };
	struct gmem_usage *memory = add_usage(&info, "memory");
	struct gmem_usage *regions = add_usage(&info, "regions");
	struct gmem_usage *domains = add_usage(&info, "domains");
	struct gmem_domain_info one;
	int r;

	domains->used = count_domains(client);
	for (const struct gmem_domain *domain = client->domains; domain; domain = domain->next) {
		fill_domain(domain, &one);
		memory->used += one.reserved_bytes;
		regions->used += one.regions;
		info.allocated_bytes += one.allocated_bytes;
		info.shared_bytes += one.shared_bytes;
	}
	r = fn(arg, &info);
	return r < 0 ? r : 0;
}

struct metrics_walk {
	gm_metrics_fn fn;
	void *arg;
};

/* Nothing is counted here: there is nobody to refuse anything. */
static int show_metrics(void *arg, const struct gmem_account_info *info)
{
	const struct metrics_walk *walk = arg;
	const struct gmem_metrics metrics = { .account = *info };

	return walk->fn(walk->arg, &metrics);
}

int gm_builtin_list_metrics(struct gmem_client *client, const char *tenant, gm_metrics_fn fn,
			    void *arg)
{
	struct metrics_walk walk = { .fn = fn, .arg = arg };

	if (tenant)
		return gm_fail(client, GMEM_DENIED, GM_RULE_PERMISSION,
			       "There are no tenants without a daemon.");
	return gm_builtin_list_accounts(client, show_metrics, &walk);
}

int gm_builtin_get_domain(struct gmem_client *client, uint64_t id,
			  struct gmem_domain_info *ret_info)
{
	const struct gmem_domain *domain = gm_client_find_domain(client, id);

	if (!domain)
		return fail_no_object(client);
	fill_domain(domain, ret_info);
	return 0;
}

int gm_builtin_get_region(struct gmem_client *client, uint64_t id,
			  struct gmem_region_info *ret_info)
{
	const struct gmem_region *region = gm_client_find_region(client, id);

	if (!region)
		return fail_no_object(client);
	fill_region(region, ret_info);
	return 0;
}

int gm_builtin_get_daemon(struct gmem_client *client, struct gmem_daemon_info *ret_info)
{
	*ret_info = (struct gmem_daemon_info){
		.uptime_ms = gm_now_ms() - client->builtin->opened_ms,
	};
	return 0;
}

/* The run that begins at @offset. The record is looked up each time: the program may change it. */
static struct gmem_page_run run_at(const struct gmem_region *region, uint64_t offset)
{
	const struct gm_builtin_memory *memory = region->builtin;
	struct gmem_page_run run = { .offset = offset, .length = region->size - offset };
	size_t i = 0;

	while (i < memory->n_extents &&
	       memory->extents[i].offset + memory->extents[i].length <= offset)
		i++;
	if (i == memory->n_extents)
		return run;
	if (memory->extents[i].offset > offset) {
		run.length = memory->extents[i].offset - offset;
	} else {
		run.length = memory->extents[i].offset + memory->extents[i].length - offset;
		run.state = GMEM_PAGE_SHARED;
	}
	return run;
}

int gm_builtin_get_page_map(struct gmem_client *client, uint64_t region, gm_page_run_fn fn,
			    void *arg)
{
	uint64_t offset = 0;
	int r = 0;

	while (r == 0) {
		const struct gmem_region *handle = gm_client_find_region(client, region);
		struct gmem_page_run run;

		if (!handle)
			return fail_no_object(client);
		if (offset == handle->size)
			return 0;
		run = run_at(handle, offset);
		offset += run.length;
		r = fn(arg, &run);
	}
	return r < 0 ? r : 0;
}
