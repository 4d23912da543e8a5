/* SPDX-License-Identifier: Apache-2.0 */
#include "info.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "book_launch.h"
#include "launch_rules.h"
#include "slot.h"

/* Processes whose control groups one STATS looks at: some tens of microseconds each. */
#define OBSERVED_MAX 32

static Gmem__Lifetime lifetime_of(const struct gm_domain *domain)
{
	return domain->lifetime == GM_LIFETIME_PERSISTENT ? GMEM__LIFETIME__LIFETIME_PERSISTENT
							  : GMEM__LIFETIME__LIFETIME_BOUND;
}

static void fill_name(const char *name, protobuf_c_boolean *has, ProtobufCBinaryData *field)
{
	*has = name[0] != '\0';
	*field = gm_bytes(name);
}

static void fill_owner(const struct gm_domain *domain, uint64_t now_ms, Gmem__DomainInfo *info)
{
	const struct gm_session *session = domain->session;

	info->has_attached = 1;
	info->attached = session != NULL;
	info->has_owner_pid = 1;
	info->has_owner_uid = 1;
	if (session != NULL) {
		info->owner_pid = (uint32_t)session->peer.pid;
		info->owner_uid = session->peer.uid;
		return;
	}
	info->has_orphan_ttl_ms = 1;
	info->orphan_ttl_ms = gm_domain_ttl_left(domain, now_ms);
}

void gm_info_domain(struct gm_call *call, const struct gm_domain *domain, Gmem__DomainInfo *info)
{
	uint64_t now_ms = gm_service_now(call->service);

	gmem__domain_info__init(info);
	info->has_domain = 1;
	info->domain = domain->id.v;
	fill_name(domain->name, &info->has_name, &info->name);
	fill_name(domain->kind, &info->has_kind, &info->kind);
	info->has_lifetime = 1;
	info->lifetime = lifetime_of(domain);
	fill_owner(domain, now_ms, info);
	info->has_regions = 1;
	info->regions = domain->n_regions;
	info->has_reserved_bytes = 1;
	info->reserved_bytes = domain->reserved_bytes;
	info->has_allocated_bytes = 1;
	info->allocated_bytes = domain->allocated_bytes;
	info->has_shared_bytes = 1;
	info->shared_bytes = domain->shared_bytes;
	info->has_private_bytes = 1;
	info->private_bytes = domain->allocated_bytes - domain->shared_bytes;
	info->has_age_ms = 1;
	info->age_ms = now_ms - domain->created_ms;
	info->has_quarantined = domain->quarantined;
	info->quarantined = domain->quarantined;
	fill_name(gm_domain_slot(domain) >= 0 ? gm_slot_pools[gm_domain_slot(domain)].name : "",
		  &info->has_slot, &info->slot);
	info->has_memlock_bytes = domain->memlock.amount > 0;
	info->memlock_bytes = domain->memlock.amount;
	info->has_in_place = (domain->traits & GM_TRAIT_IN_PLACE) != 0;
	info->in_place = info->has_in_place;
	info->has_launch = domain->launch != NULL;
	info->launch = (Gmem__LaunchState)gm_domain_launch_state(domain);
	fill_name(gm_call_tenant_name(call, domain->tenant), &info->has_tenant, &info->tenant);
}

static int observe(const struct gm_call *call, const struct gm_session *session,
		   struct gm_exec_observed *ret_observed)
{
	const struct gm_link *link = session != NULL ? session->owner : NULL;

	if (link == NULL || link->ops == NULL || link->ops->pidfd == NULL)
		return -ESRCH;
	return gm_exec_observe(call->exec, &session->peer, link->ops->pidfd(link->channel),
			       ret_observed);
}

int gm_info_launch(struct gm_call *call, const struct gm_domain *domain, Gmem__DomainInfo *info)
{
	struct gm_refusal why = { 0 };
	uint8_t *digest = gm_call_alloc(call, GM_LAUNCH_DIGEST_MAX + sizeof(why.text));
	size_t size = 0;
	char *reason;
	int r;

	if (digest == NULL)
		return -ENOMEM;
	reason = (char *)digest + GM_LAUNCH_DIGEST_MAX;
	if (domain->launch == NULL || domain->launch->state == GM_LAUNCH_READY)
		return 0;
	r = gm_launch_peek(domain->launch->digest, digest, &size, &why);
	/* None that the kind of today can read: its own is not there any more. */
	if (r < 0)
		(void)snprintf(why.text, sizeof(why.text), "it was lost with a restart");
	if (domain->launch->state == GM_LAUNCH_FAILED) {
		r = GM_WRONG_STATE;
		(void)snprintf(why.text, sizeof(why.text), "the launch has failed: %s",
			       domain->launch->failure.text);
	}
	info->has_measurement = r == 0;
	info->measurement = (ProtobufCBinaryData){ .len = size, .data = digest };
	memcpy(reason, why.text, sizeof(why.text));
	fill_name(reason, &info->has_measurement_reason, &info->measurement_reason);
	return 0;
}

int gm_info_observed(struct gm_call *call, const struct gm_domain *domain, Gmem__DomainInfo *info)
{
	struct gm_exec_observed *observed = gm_call_alloc(call, sizeof(*observed));

	if (observed == NULL)
		return -ENOMEM;
	if (observe(call, domain->session, observed) < 0)
		return 0;
	fill_name(observed->cgroup, &info->has_cgroup, &info->cgroup);
	info->has_observed_bytes = observed->has_figures;
	info->observed_bytes = observed->usage;
	info->has_observed_limit = observed->has_figures && observed->limit != GM_UNLIMITED;
	info->observed_limit = observed->limit;
	return 0;
}

int gm_info_tenant_observed(struct gm_call *call, const struct gm_tenant *tenant,
			    Gmem__UsageInfo *info)
{
	struct gm_exec_observed *seen = gm_call_alloc(call, OBSERVED_MAX * sizeof(*seen));
	const struct gm_session *session;
	unsigned n_looks = 0, n = 0;

	if (seen == NULL)
		return -ENOMEM;
	TAILQ_FOREACH(session, &tenant->sessions, link) {
		unsigned i = 0;

		if (TAILQ_EMPTY(&session->domains))
			continue;
		if (n_looks++ == OBSERVED_MAX || observe(call, session, &seen[n]) < 0 ||
		    !seen[n].has_figures)
			return 0;
		while (strcmp(seen[i].cgroup, seen[n].cgroup) != 0)
			i++;
		n += i == n;
	}
	info->has_observed_bytes = n > 0;
	for (unsigned i = 0; i < n; i++)
		info->observed_bytes += seen[i].usage;
	return 0;
}

static int fill_nodes(struct gm_call *call, uint64_t nodes, Gmem__RegionInfo *info)
{
	size_t n = 0;

	if (nodes == 0)
		return 0;
	info->numa_nodes =
		gm_call_alloc(call, (size_t)GM_NUMA_NODES_MAX * sizeof(*info->numa_nodes));
	if (info->numa_nodes == NULL)
		return -ENOMEM;
	for (uint32_t node = 0; node < GM_NUMA_NODES_MAX; node++) {
		if (nodes & (UINT64_C(1) << node))
			info->numa_nodes[n++] = node;
	}
	info->n_numa_nodes = n;
	return 0;
}

int gm_info_region(struct gm_call *call, const struct gm_region *region, Gmem__RegionInfo *info)
{
	gmem__region_info__init(info);
	info->has_region = 1;
	info->region = region->id.v;
	info->has_domain = 1;
	info->domain = region->domain->id.v;
	fill_name(region->name, &info->has_name, &info->name);
	info->has_gpa = 1;
	info->gpa = region->gpa;
	info->has_size = 1;
	info->size = region->size;
	info->has_page_size = 1;
	info->page_size = region->page_size;
	info->has_allocated_bytes = 1;
	info->allocated_bytes = region->allocated_bytes;
	info->has_shared_bytes = 1;
	info->shared_bytes = region->shared_bytes;
	info->has_private_bytes = 1;
	info->private_bytes = region->allocated_bytes - region->shared_bytes;
	info->has_page_map_bytes = 1;
	info->page_map_bytes = gm_page_map_bytes(&region->map);
	info->has_jobs = 1;
	info->jobs = region->n_jobs;
	if (region->domain->traits & GM_TRAIT_PRIVATE) {
		info->has_bound = 1;
		info->bound = region->bound;
	}
	info->has_step = region->step != NULL;
	if (region->step != NULL)
		info->step = (Gmem__StepKind)region->step->kind;
	info->has_quarantined = region->quarantined;
	info->quarantined = region->quarantined;
	fill_name(gm_call_tenant_name(call, region->domain->tenant), &info->has_tenant,
		  &info->tenant);
	return fill_nodes(call, region->numa_nodes, info);
}

/* Long enough for "slots-" and a pool's name. */
#define RESOURCE_NAME_SIZE 32

/* The core knows pools by their numbers only. */
static const char *resource_name(struct gm_call *call, enum gm_resource resource)
{
	int pool = (int)resource - GM_RES_SLOT_0;
	char *name;

	if (pool < 0 || pool >= GM_SLOTS_N)
		return gm_resource_name(resource);
	name = gm_call_alloc(call, RESOURCE_NAME_SIZE);
	if (name == NULL)
		return gm_resource_name(resource);
	(void)snprintf(name, RESOURCE_NAME_SIZE, "slots-%s", gm_slot_pools[pool].name);
	return name;
}

static int fill_usage(struct gm_call *call, const struct gm_account *account, Gmem__UsageInfo *info)
{
	Gmem__Usage *usage = gm_call_alloc(call, GM_RESOURCE_N_ * sizeof(*usage));

	info->usage = gm_call_alloc(call, GM_RESOURCE_N_ * sizeof(Gmem__Usage *));
	if (usage == NULL || info->usage == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < GM_RESOURCE_N_; i++) {
		gmem__usage__init(&usage[i]);
		usage[i].has_resource = 1;
		usage[i].resource = gm_bytes(resource_name(call, (enum gm_resource)i));
		usage[i].has_used = 1;
		usage[i].used = account->used[i];
		usage[i].has_limit = 1;
		usage[i].limit = account->limits[i];
		info->usage[i] = &usage[i];
	}
	info->n_usage = GM_RESOURCE_N_;
	return 0;
}

static void add_counters(const struct gm_counters *counters, Gmem__UsageInfo *info)
{
	info->requests += counters->requests;
	info->refusals += counters->refusals;
	info->violations += counters->violations;
}

static void start_usage(const char *name, Gmem__UsageInfo *info)
{
	gmem__usage_info__init(info);
	info->has_account = 1;
	info->account = gm_bytes(name);
	info->has_allocated_bytes = 1;
	info->has_shared_bytes = 1;
	info->has_private_bytes = 1;
	info->has_requests = 1;
	info->has_refusals = 1;
	info->has_violations = 1;
}

static void add_memory(const struct gm_tenant *tenant, Gmem__UsageInfo *info)
{
	info->allocated_bytes += tenant->allocated_bytes;
	info->shared_bytes += tenant->shared_bytes;
	info->private_bytes += tenant->allocated_bytes - tenant->shared_bytes;
}

int gm_info_tenant(struct gm_call *call, const struct gm_tenant *tenant, Gmem__UsageInfo *info)
{
	start_usage(tenant->name, info);
	add_memory(tenant, info);
	add_counters(&tenant->counters, info);
	return fill_usage(call, &tenant->account, info);
}

int gm_info_host(struct gm_call *call, Gmem__UsageInfo *info)
{
	const struct gm_tenant *tenant;

	start_usage("host", info);
	add_counters(&call->book->counters, info);
	TAILQ_FOREACH(tenant, &call->book->tenants, link) {
		add_memory(tenant, info);
		add_counters(&tenant->counters, info);
	}
	return fill_usage(call, &call->book->host, info);
}

/* Those that are not zero, by name. */
static int fill_counts(struct gm_call *call, const uint64_t *values, int n,
		       const char *(*name)(int number), size_t *ret_n, Gmem__Count ***ret_counts)
{
	size_t n_used = 0;
	Gmem__Count *counts;

	for (int i = 0; i < n; i++)
		n_used += values[i] != 0;
	if (n_used == 0)
		return 0;
	counts = gm_call_alloc(call, n_used * sizeof(*counts));
	*ret_counts = gm_call_alloc(call, n_used * sizeof(Gmem__Count *));
	if (counts == NULL || *ret_counts == NULL)
		return -ENOMEM;
	for (int i = 0; i < n; i++) {
		if (values[i] == 0)
			continue;
		gmem__count__init(counts);
		counts->has_name = 1;
		counts->name = gm_bytes(name(i));
		counts->has_count = 1;
		counts->count = values[i];
		(*ret_counts)[(*ret_n)++] = counts++;
	}
	return 0;
}

static int fill_histogram(struct gm_call *call, const char *name,
			  const struct gm_histogram *histogram, Gmem__Histogram *message)
{
	gmem__histogram__init(message);
	message->has_name = 1;
	message->name = gm_bytes(name);
	message->counts = gm_call_alloc(call, sizeof(histogram->counts));
	if (message->counts == NULL)
		return -ENOMEM;
	memcpy(message->counts, histogram->counts, sizeof(histogram->counts));
	message->n_counts = GM_HISTOGRAM_BUCKETS;
	message->has_sum_us = 1;
	message->sum_us = histogram->sum_us;
	return 0;
}

static int fill_histograms(struct gm_call *call, const struct gm_counters *counters,
			   Gmem__UsageInfo *info)
{
	Gmem__Histogram *messages = gm_call_alloc(call, 2 * sizeof(*messages));
	int r;

	info->histograms = gm_call_alloc(call, 2 * sizeof(Gmem__Histogram *));
	if (messages == NULL || info->histograms == NULL)
		return -ENOMEM;
	info->histograms[0] = &messages[0];
	info->histograms[1] = &messages[1];
	r = fill_histogram(call, "grant", &counters->grant_us, &messages[0]);
	if (r == 0)
		r = fill_histogram(call, "job", &counters->job_us, &messages[1]);
	info->n_histograms = 2;
	return r;
}

static const char *news_name(int kind)
{
	return gm_news_name((enum gm_news_kind)kind);
}

static void sum_up(const struct gm_book *book, struct gm_counters *sum)
{
	const struct gm_tenant *tenant;

	*sum = book->counters;
	TAILQ_FOREACH(tenant, &book->tenants, link)
		gm_counters_merge(sum, &tenant->counters);
}

int gm_info_counters(struct gm_call *call, const struct gm_tenant *tenant, Gmem__UsageInfo *info)
{
	const struct gm_counters *counters;
	struct gm_counters sum;
	int r;

	if (tenant == NULL)
		sum_up(call->book, &sum);
	counters = tenant != NULL ? &tenant->counters : &sum;
	r = fill_counts(call, counters->codes, GM_VERDICT_N_, gm_verdict_name, &info->n_codes,
			&info->codes);
	if (r == 0)
		r = fill_counts(call, counters->rules, GM_RULE_N_, gm_rule_name, &info->n_rules,
				&info->rules);
	if (r == 0)
		r = fill_counts(call, counters->news, GM_NEWS_N_, news_name, &info->n_news,
				&info->news);
	if (r == 0)
		r = fill_histograms(call, counters, info);
	return r;
}

void gm_info_session(struct gm_call *call, const struct gm_link *link, Gmem__SessionInfo *info)
{
	const struct gm_session *session = link->session;
	const struct gm_domain *domain;

	gmem__session_info__init(info);
	info->has_session = 1;
	info->session = session->id.v;
	info->has_pid = 1;
	info->pid = (uint32_t)session->peer.pid;
	info->has_uid = 1;
	info->uid = session->peer.uid;
	fill_name(session->client, &info->has_client, &info->client);
	info->has_domains = 1;
	TAILQ_FOREACH(domain, &session->domains, session_link)
		info->domains++;
	info->has_jobs = 1;
	info->jobs = session->n_jobs;
	fill_name(gm_call_tenant_name(call, session->tenant), &info->has_tenant, &info->tenant);
}
