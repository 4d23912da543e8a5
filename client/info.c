/* SPDX-License-Identifier: Apache-2.0 */
#include "info.h"

#include <stdio.h>
#include <string.h>

#include "failure.h"
#include "gm_num.h"
#include "gm_verdict.h"

static void copy_text(char *to, size_t size, const ProtobufCBinaryData *from)
{
	gm_copy_printable(to, size, from->data, from->len);
}

static uint64_t node_mask(const uint32_t *nodes, size_t n)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < n; i++)
		if (nodes[i] < 64)
			mask |= UINT64_C(1) << nodes[i];
	return mask;
}

static const char *launch_text(Gmem__LaunchState state)
{
	switch ((int)state) {
	case GMEM__LAUNCH_STATE__LAUNCH_NONE:
		return "";
	case GMEM__LAUNCH_STATE__LAUNCH_READY:
		return "ready";
	case GMEM__LAUNCH_STATE__LAUNCH_STARTING:
		return "starting";
	case GMEM__LAUNCH_STATE__LAUNCH_OPEN:
		return "open";
	case GMEM__LAUNCH_STATE__LAUNCH_POPULATING:
		return "populating";
	case GMEM__LAUNCH_STATE__LAUNCH_FINISHING:
		return "finishing";
	case GMEM__LAUNCH_STATE__LAUNCH_RUNNING:
		return "running";
	case GMEM__LAUNCH_STATE__LAUNCH_FAILED:
		return "failed";
	default:
		return "unknown";
	}
}

static void copy_measurement(const Gmem__DomainInfo *from, struct gmem_domain_info *to)
{
	size_t size = from->measurement.len;

	(void)snprintf(to->launch, sizeof(to->launch), "%s", launch_text(from->launch));
	copy_text(to->measurement_reason, sizeof(to->measurement_reason),
		  &from->measurement_reason);
	/* A later daemon's: none of ours. */
	if (size == 0 || size > sizeof(to->measurement))
		return;
	memcpy(to->measurement, from->measurement.data, size);
	to->measurement_size = (uint32_t)size;
}

void gm_info_domain(const Gmem__DomainInfo *from, struct gmem_domain_info *to)
{
	*to = (struct gmem_domain_info){
		.id = from->domain,
		.persistent = from->lifetime == GMEM__LIFETIME__LIFETIME_PERSISTENT,
		.attached = from->attached,
		.owner_pid = from->owner_pid,
		.owner_uid = from->owner_uid,
		.regions = from->regions,
		.reserved_bytes = from->reserved_bytes,
		.allocated_bytes = from->allocated_bytes,
		.shared_bytes = from->shared_bytes,
		.private_bytes = from->private_bytes,
		.observed_bytes = from->observed_bytes,
		.observed_limit = from->has_observed_limit ? from->observed_limit : UINT64_MAX,
		.orphan_ttl_ms = from->has_orphan_ttl_ms ? from->orphan_ttl_ms : UINT64_MAX,
		.age_ms = from->age_ms,
		.quarantined = from->quarantined,
		.memlock_bytes = from->memlock_bytes,
		.in_place = from->in_place,
	};
	copy_measurement(from, to);
	copy_text(to->cgroup, sizeof(to->cgroup), &from->cgroup);
	copy_text(to->slot, sizeof(to->slot), &from->slot);
	copy_text(to->name, sizeof(to->name), &from->name);
	copy_text(to->kind, sizeof(to->kind), &from->kind);
	copy_text(to->tenant, sizeof(to->tenant), &from->tenant);
}

static const char *step_text(Gmem__StepKind kind)
{
	switch ((int)kind) {
	case GMEM__STEP_KIND__STEP_NONE:
		return "";
	case GMEM__STEP_KIND__STEP_CREATE_MEMORY:
		return "create-memory";
	case GMEM__STEP_KIND__STEP_BIND:
		return "bind";
	case GMEM__STEP_KIND__STEP_CONVERT:
		return "convert";
	case GMEM__STEP_KIND__STEP_LAUNCH_START:
		return "launch-start";
	case GMEM__STEP_KIND__STEP_POPULATE:
		return "populate";
	case GMEM__STEP_KIND__STEP_LAUNCH_FINISH:
		return "launch-finish";
	case GMEM__STEP_KIND__STEP_MOVE:
		return "move";
	default:
		return "unknown";
	}
}

void gm_info_region(const Gmem__RegionInfo *from, struct gmem_region_info *to)
{
	*to = (struct gmem_region_info){
		.id = from->region,
		.domain = from->domain,
		.gpa = from->gpa,
		.size = from->size,
		.page_size = from->page_size,
		.allocated_bytes = from->allocated_bytes,
		.shared_bytes = from->shared_bytes,
		.private_bytes = from->private_bytes,
		.page_map_bytes = from->page_map_bytes,
		.jobs = from->jobs,
		.quarantined = from->quarantined,
		.bound = from->bound,
		.numa_nodes = node_mask(from->numa_nodes, from->n_numa_nodes),
	};
	copy_text(to->name, sizeof(to->name), &from->name);
	copy_text(to->tenant, sizeof(to->tenant), &from->tenant);
	(void)snprintf(to->step, sizeof(to->step), "%s", step_text(from->step));
}

void gm_info_session(const Gmem__SessionInfo *from, struct gmem_session_info *to)
{
	*to = (struct gmem_session_info){
		.id = from->session,
		.pid = from->pid,
		.uid = from->uid,
		.domains = from->domains,
		.jobs = from->jobs,
	};
	copy_text(to->client, sizeof(to->client), &from->client);
	copy_text(to->tenant, sizeof(to->tenant), &from->tenant);
}

void gm_info_account(const Gmem__UsageInfo *from, struct gmem_account_info *to)
{
	*to = (struct gmem_account_info){
		.n_usage = (uint32_t)gm_min_u64(from->n_usage, GMEM_USAGE_MAX),
		.allocated_bytes = from->allocated_bytes,
		.shared_bytes = from->shared_bytes,
		.private_bytes = from->private_bytes,
		.observed_bytes = from->observed_bytes,
		.requests = from->requests,
		.refusals = from->refusals,
		.violations = from->violations,
	};
	copy_text(to->name, sizeof(to->name), &from->account);
	for (uint32_t i = 0; i < to->n_usage; i++) {
		const Gmem__Usage *usage = from->usage[i];

		copy_text(to->usage[i].resource, sizeof(to->usage[i].resource), &usage->resource);
		to->usage[i].used = usage->used;
		to->usage[i].limit = usage->has_limit ? usage->limit : UINT64_MAX;
	}
}

static uint32_t copy_counts(struct gmem_count *to, size_t max, Gmem__Count *const *from, size_t n)
{
	n = gm_min_u64(n, max);
	for (size_t i = 0; i < n; i++) {
		copy_text(to[i].name, sizeof(to[i].name), &from[i]->name);
		to[i].count = from[i]->count;
	}
	return (uint32_t)n;
}

static void copy_histogram(const Gmem__StatsReply *reply, const Gmem__Histogram *from,
			   struct gmem_histogram *to)
{
	copy_text(to->name, sizeof(to->name), &from->name);
	to->sum_us = from->sum_us;
	for (size_t i = 0; i < from->n_counts; i++) {
		/* What there is no room for is in the last bucket, which has no bound then. */
		if (to->n_buckets == GMEM_BUCKETS_MAX)
			to->n_buckets--;
		to->counts[to->n_buckets] += from->counts[i];
		to->bounds_us[to->n_buckets++] =
			i < reply->n_bounds_us ? reply->bounds_us[i] : UINT64_MAX;
	}
}

void gm_info_metrics(const Gmem__StatsReply *reply, const Gmem__UsageInfo *from,
		     struct gmem_metrics *to)
{
	memset(to, 0, sizeof(*to));
	gm_info_account(from, &to->account);
	to->n_codes = copy_counts(to->codes, GMEM_CODES_MAX, from->codes, from->n_codes);
	to->n_rules = copy_counts(to->rules, GMEM_RULES_MAX, from->rules, from->n_rules);
	to->n_news = copy_counts(to->news, GMEM_NEWS_MAX, from->news, from->n_news);
	to->n_histograms = (uint32_t)gm_min_u64(from->n_histograms, GMEM_HISTOGRAMS_MAX);
	for (uint32_t i = 0; i < to->n_histograms; i++)
		copy_histogram(reply, from->histograms[i], &to->histograms[i]);
}

void gm_info_news(const Gmem__NewsEvent *from, struct gmem_news *to)
{
	*to = (struct gmem_news){
		.kind = (int)from->kind,
		.ms = from->ms,
		.domain = from->domain,
		.region = from->region,
		.status = (int)from->code,
		.bytes = from->bytes,
		.has_peer = from->has_pid,
		.pid = from->pid,
		.uid = from->uid,
		.lost = from->lost,
	};
	copy_text(to->tenant, sizeof(to->tenant), &from->tenant);
	copy_text(to->verb, sizeof(to->verb), &from->verb);
	copy_text(to->client, sizeof(to->client), &from->client);
	copy_text(to->text, sizeof(to->text), &from->text);
	if (from->has_rule && from->rule != GMEM__RULE__RULE_NONE)
		(void)snprintf(to->rule, sizeof(to->rule), "%s", gm_rule_name((int)from->rule));
}

/* The names with blanks between them; a name that does not fit is left out. */
static void join_names(char *to, size_t size, const ProtobufCBinaryData *names, size_t n)
{
	size_t length = 0;

	to[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		if (names[i].len + 2 > size - length)
			continue;
		if (length > 0)
			to[length++] = ' ';
		gm_copy_printable(to + length, size - length, names[i].data, names[i].len);
		length += names[i].len;
	}
}

static void copy_backend(const Gmem__BackendInfo *from, struct gmem_backend_info *to)
{
	copy_text(to->kind, sizeof(to->kind), &from->kind);
	copy_text(to->reason, sizeof(to->reason), &from->reason);
	join_names(to->capabilities, sizeof(to->capabilities), from->capabilities,
		   from->n_capabilities);
	to->usable = from->usable;
	for (size_t i = 0; i < from->n_page_sizes; i++)
		to->page_sizes |= from->page_sizes[i];
}

static void copy_slots(const Gmem__SlotPool *from, struct gmem_slot_info *to)
{
	copy_text(to->name, sizeof(to->name), &from->name);
	to->capacity = from->capacity;
	to->used = from->used;
}

void gm_info_host(const Gmem__HostReply *from, struct gmem_host_info *to)
{
	*to = (struct gmem_host_info){
		.n_backends = (uint32_t)gm_min_u64(from->n_backends, GMEM_BACKENDS_MAX),
		.n_pools = (uint32_t)gm_min_u64(from->n_pools, GMEM_POOLS_MAX),
		.n_slots = (uint32_t)gm_min_u64(from->n_slots, GMEM_SLOTS_MAX),
		.memory_total = from->memory_total,
		.memory_available = from->memory_available,
		.numa_nodes = node_mask(from->numa_nodes, from->n_numa_nodes),
		.kvm = from->kvm,
	};
	for (uint32_t i = 0; i < to->n_slots; i++)
		copy_slots(from->slots[i], &to->slots[i]);
	for (uint32_t i = 0; i < to->n_backends; i++)
		copy_backend(from->backends[i], &to->backends[i]);
	for (uint32_t i = 0; i < to->n_pools; i++)
		to->pools[i] = (struct gmem_pool_info){
			.page_size = from->pools[i]->page_size,
			.total = from->pools[i]->total,
			.free = from->pools[i]->free,
			.reserved = from->pools[i]->reserved,
		};
	copy_text(to->kernel, sizeof(to->kernel), &from->kernel);
	copy_text(to->kvm_reason, sizeof(to->kvm_reason), &from->kvm_reason);
	to->charged = from->charged;
	copy_text(to->charge_reason, sizeof(to->charge_reason), &from->charge_reason);
}
