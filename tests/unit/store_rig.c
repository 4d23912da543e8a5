/* SPDX-License-Identifier: Apache-2.0 */
#include "store_rig.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

bool store_rig_map(struct gm_store_area *ret_area, const struct gm_store_limits *limits)
{
	struct gm_store_area area = {
		.size = { gm_store_state_size(limits), gm_store_maps_size(limits) },
	};

	for (unsigned part = 0; part < GM_STORE_PART_N_; part++) {
		area.at[part] = mmap(NULL, area.size[part], PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (area.at[part] == MAP_FAILED)
			return false;
	}
	*ret_area = area;
	return true;
}

void store_rig_unmap(struct gm_store_area *area)
{
	for (unsigned part = 0; part < GM_STORE_PART_N_; part++)
		munmap(area->at[part], area->size[part]);
}

/* ---- loading ---- */

static int make_tenant(void *arg, const char *name, struct gm_tenant **ret_tenant,
		       struct gm_refusal *refusal)
{
	struct store_rig_load *load = arg;

	load->n_tenants++;
	return gm_book_add_tenant(load->book, name, &load->policy, ret_tenant, refusal);
}

static int make_session(void *arg, struct gm_tenant *tenant, const struct gm_session_restore *from,
			struct gm_session **ret_session, struct gm_refusal *refusal)
{
	struct store_rig_load *load = arg;

	return gm_book_restore_session(load->book, tenant, from, ret_session, refusal);
}

static int make_domain(void *arg, struct gm_tenant *tenant, struct gm_session *session,
		       const struct gm_domain_restore *from, struct gm_domain **ret_domain,
		       struct gm_refusal *refusal)
{
	struct store_rig_load *load = arg;

	return gm_book_restore_domain(load->book, tenant, session, from, ret_domain, refusal);
}

static int make_region(void *arg, struct gm_domain *domain, const struct gm_region_restore *from,
		       struct gm_page_map *map, struct gm_region **ret_region,
		       struct gm_refusal *refusal)
{
	struct store_rig_load *load = arg;
	struct gm_region *region = NULL;
	int r;

	r = gm_book_restore_region(load->book, domain, from, map, /* fd= */ -1, &region, refusal);
	if (r)
		return r;
	for (unsigned op = 0; op < GM_PAGE_OP_JOBS_N_; op++)
		region->n_jobs_of[op] = from->ops_under_way >> op & 1;
	*ret_region = region;
	return 0;
}

static void note_damage(void *arg, const char *object, const char *why)
{
	struct store_rig_load *load = arg;

	load->n_damaged++;
	snprintf(load->object, sizeof(load->object), "%s", object);
	snprintf(load->why, sizeof(load->why), "%s", why);
}

int store_rig_load(struct store_rig_load *load, struct gm_store *store, uint64_t now_ms)
{
	static const struct gm_store_load_ops ops = {
		.tenant = make_tenant,
		.session = make_session,
		.domain = make_domain,
		.region = make_region,
		.damaged = note_damage,
	};

	gm_policy_defaults(&load->policy, GM_TIB);
	gm_book_start_recording(load->book);
	return gm_store_load(store, load->book, &ops, load, now_ms);
}

/* ---- the digest ---- */

static void add(uint64_t *digest, uint64_t word)
{
	*digest = (*digest ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	*digest ^= *digest >> 31;
}

static void add_bytes(uint64_t *digest, const void *bytes, size_t size)
{
	const unsigned char *at = bytes;

	for (size_t i = 0; i < size; i++)
		add(digest, at[i]);
}

static uint64_t digest_of_session(const struct gm_session *session)
{
	uint64_t digest = session->id.v;

	add_bytes(&digest, session->tenant->name, strlen(session->tenant->name));
	add(&digest, (uint64_t)session->peer.pid);
	add(&digest, session->peer.uid);
	add(&digest, session->peer.gid);
	add_bytes(&digest, session->client, strlen(session->client));
	add(&digest, session->has_key);
	add_bytes(&digest, session->key.bytes, sizeof(session->key.bytes));
	return digest;
}

static void add_launch(uint64_t *digest, const struct gm_launch *launch)
{
	add(digest, launch->state);
	add(digest, launch->step_kind);
	add(digest, launch->step_id);
	add(digest, launch->deadline_ms);
	add_bytes(digest, launch->digest, sizeof(launch->digest));
	add_bytes(digest, launch->next_digest, sizeof(launch->next_digest));
	add(digest, launch->failure.firmware_error);
	add_bytes(digest, launch->failure.text, strlen(launch->failure.text));
}

static void add_domain(uint64_t *digest, const struct gm_domain *domain)
{
	bool is_attached = domain->session && domain->session->state == GM_SESSION_OPEN;

	add(digest, domain->id.v);
	add(digest, domain->sequence);
	add_bytes(digest, domain->tenant->name, strlen(domain->tenant->name));
	add_bytes(digest, domain->name, strlen(domain->name));
	add_bytes(digest, domain->kind, strlen(domain->kind));
	add_bytes(digest, domain->token.bytes, sizeof(domain->token.bytes));
	add(digest, domain->lifetime);
	add(digest, is_attached ? domain->session->id.v : 0);
	add(digest, domain->created_ms);
	add(digest, is_attached ? 0 : domain->orphaned_ms);
	add(digest, domain->reserved_bytes);
	add(digest, domain->allocated_bytes);
	add(digest, domain->quarantined);
	add(digest, domain->n_regions);
	add(digest, (uint64_t)gm_domain_slot(domain));
	/* What is granted to a process goes with the session. */
	add(digest, is_attached ? domain->memlock.amount : 0);
	add(digest, is_attached ? domain->memlock_base.soft : 0);
	add(digest, is_attached ? domain->memlock_base.hard : 0);
	if (domain->launch)
		add_launch(digest, domain->launch);
}

static void add_region(uint64_t *digest, const struct gm_region *region)
{
	struct gm_page_run run;

	add(digest, region->id.v);
	add(digest, region->sequence);
	add(digest, region->domain->id.v);
	add_bytes(digest, region->name, strlen(region->name));
	add(digest, region->gpa);
	add(digest, region->size);
	add(digest, region->page_size);
	add(digest, region->numa_nodes);
	add(digest, region->file.device);
	add(digest, region->file.inode);
	add(digest, region->quarantined);
	for (unsigned op = 0; op < GM_PAGE_OP_JOBS_N_; op++)
		add(digest, region->n_jobs_of[op] > 0);
	for (uint64_t at = 0; at < region->size; at += run.length) {
		gm_page_map_run(&region->map, at, region->size, &run);
		add(digest, run.length);
		add(digest, run.state);
	}
	for (unsigned state = 0; state < GM_PAGE_STATE_N_; state++)
		add(digest, region->map.pages[state]);
}

uint64_t store_rig_digest(const struct gm_book *book)
{
	const struct gm_region *region = NULL;
	const struct gm_domain *domain = NULL;
	const struct gm_tenant *tenant;
	uint64_t digest = 1;
	uint64_t sum = 0;

	/* Sessions and tenants have no order. */
	TAILQ_FOREACH(tenant, &book->tenants, link) {
		const struct gm_session *session;

		TAILQ_FOREACH(session, &tenant->sessions, link)
			if (session->state == GM_SESSION_OPEN)
				sum += digest_of_session(session);
	}
	add(&digest, sum);
	while ((domain = gm_book_next_domain(book, domain)))
		add_domain(&digest, domain);
	while ((region = gm_book_next_region(book, region)))
		add_region(&digest, region);
	return digest;
}

/* The private half is one, too; in place there is no other. */
static uint64_t files_of(const struct gm_region *region)
{
	unsigned traits = region->domain->traits;

	return traits & GM_TRAIT_PRIVATE && !(traits & GM_TRAIT_IN_PLACE) ? 2 : 1;
}

static uint64_t pages_of(const struct gm_region *region, enum gm_resource resource)
{
	switch (resource) {
	case GM_RES_MEMORY:
		return region->size;
	case GM_RES_HUGE_2M:
		return region->page_size == GM_PAGE_2M ? region->size : 0;
	case GM_RES_HUGE_1G:
		return region->page_size == GM_PAGE_1G ? region->size : 0;
	case GM_RES_REGIONS:
		return 1;
	case GM_RES_FDS:
		return files_of(region);
	case GM_RES_MEMLOCK:
		/* What the daemon launches is pinned. */
		return region->domain->traits & GM_TRAIT_DAEMON_LAUNCHES ? region->size : 0;
	case GM_RES_DOMAINS:
	case GM_RES_SESSIONS:
	case GM_RES_JOBS:
	case GM_RES_SLOT_0:
	case GM_RES_SLOT_1:
	case GM_RES_SLOT_2:
	case GM_RES_WORKERS:
	case GM_RESOURCE_N_:
		break;
	}
	return 0;
}

static uint64_t sum_of(const struct gm_tenant *tenant, enum gm_resource resource)
{
	const struct gm_session *session;
	const struct gm_domain *domain;
	uint64_t sum = 0;

	TAILQ_FOREACH(session, &tenant->sessions, link)
		sum += resource == GM_RES_SESSIONS ? 1
		       : resource == GM_RES_FDS	   ? GM_SESSION_FDS
						   : 0;
	TAILQ_FOREACH(domain, &tenant->domains, link) {
		sum += resource == GM_RES_DOMAINS;
		sum += gm_domain_slot(domain) >= 0 &&
		       gm_slot_resource((unsigned)gm_domain_slot(domain)) == resource;
		sum += resource == GM_RES_MEMLOCK ? domain->memlock.amount : 0;
		for (uint32_t i = 0; i < domain->n_regions; i++)
			sum += pages_of(domain->regions[i], resource);
	}
	return sum;
}

bool store_rig_adds_up(const struct gm_book *book)
{
	for (unsigned resource = 0; resource < GM_RESOURCE_N_; resource++) {
		const struct gm_tenant *tenant;
		uint64_t host = 0;

		TAILQ_FOREACH(tenant, &book->tenants, link) {
			uint64_t sum = sum_of(tenant, resource);

			if (tenant->account.used[resource] != sum)
				return false;
			host += sum;
		}
		if (book->host.used[resource] != host)
			return false;
	}
	return true;
}

static void clear_tenant(struct gm_book *book, struct gm_tenant *tenant)
{
	struct gm_session *session;
	struct gm_domain *domain;

	while ((domain = TAILQ_FIRST(&tenant->domains))) {
		while (domain->n_regions > 0)
			gm_book_remove_region(book, domain->regions[domain->n_regions - 1]);
		gm_book_remove_domain(book, domain);
	}
	while ((session = TAILQ_FIRST(&tenant->sessions)))
		gm_book_close_session(book, session);
}

void store_rig_clear(struct gm_book *book)
{
	struct gm_tenant *tenant;

	TAILQ_FOREACH(tenant, &book->tenants, link)
		clear_tenant(book, tenant);
	gm_book_done(book);
}
