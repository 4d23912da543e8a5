/* SPDX-License-Identifier: Apache-2.0 */
/* Objects of the books as records. */
#include <assert.h>
#include <string.h>

#include "store_private.h"

static const struct gm_tenant *tenant_of(const struct gm_mark *mark)
{
	return (const void *)((const char *)mark - offsetof(struct gm_tenant, mark));
}

static const struct gm_session *session_of(const struct gm_mark *mark)
{
	return (const void *)((const char *)mark - offsetof(struct gm_session, mark));
}

const struct gm_domain *gm_store_domain_of(const struct gm_mark *mark)
{
	return (const void *)((const char *)mark - offsetof(struct gm_domain, mark));
}

struct gm_region *gm_store_region_of(const struct gm_mark *mark)
{
	return GM_CONTAINER_OF(mark, struct gm_region, mark);
}

bool gm_store_is_ending(const struct gm_mark *mark)
{
	switch (mark->kind) {
	case GM_MARK_SESSION:
		return session_of(mark)->state != GM_SESSION_OPEN;
	case GM_MARK_DOMAIN:
		return gm_store_domain_of(mark)->dying;
	case GM_MARK_REGION:
		return gm_store_region_of(mark)->domain->dying;
	case GM_MARK_TENANT:
	case GM_MARK_KIND_N_:
		break;
	}
	return false;
}

static void put(struct gm_store *store, const struct gm_mark *mark, void *record)
{
	size_t size = store->layout.slot_size[mark->kind];
	uint64_t check = gm_store_record_check(record, size);

	memcpy(record, &check, sizeof(check));
	gm_store_log_put(store, GM_STORE_STATE, gm_store_record_at(store, mark->kind, mark->record),
			 record, size);
}

static void put_tenant(struct gm_store *store, const struct gm_tenant *tenant)
{
	struct gm_store_tenant record = { 0 };

	memcpy(record.name, tenant->name, sizeof(record.name));
	put(store, &tenant->mark, &record);
}

static void put_session(struct gm_store *store, const struct gm_session *session)
{
	struct gm_store_session record = {
		.id = session->id.v,
		.tenant = session->tenant->mark.record,
		.pid = session->peer.pid,
		.uid = session->peer.uid,
		.gid = session->peer.gid,
		.has_key = session->has_key,
	};

	memcpy(record.key, session->key.bytes, sizeof(record.key));
	memcpy(record.client, session->client, sizeof(record.client));
	put(store, &session->mark, &record);
}

static void put_domain(struct gm_store *store, const struct gm_domain *domain)
{
	struct gm_store_domain record = {
		.id = domain->id.v,
		.sequence = domain->sequence,
		.tenant = domain->tenant->mark.record,
		.created_ms = domain->created_ms,
		.orphaned_ms = domain->orphaned_ms,
		.flags = domain->quarantined ? GM_STORE_QUARANTINED : 0,
		.lifetime = (uint8_t)domain->lifetime,
		.slot = (uint8_t)(gm_domain_slot(domain) + 1),
		.memlock_bytes = domain->memlock.amount,
		.memlock_soft = domain->memlock_base.soft,
		.memlock_hard = domain->memlock_base.hard,
		.traits = (uint8_t)domain->traits,
	};

	if (domain->launch) {
		record.launch_state = (uint8_t)domain->launch->state;
		record.launch_step_kind = (uint8_t)domain->launch->step_kind;
		record.launch_step_id = domain->launch->step_id;
		record.launch_deadline_ms = domain->launch->deadline_ms;
	}

	/* A session that is closing has no record; neither has one that was open only just now. */
	if (domain->session) {
		record.session_id = domain->session->id.v;
		record.session = domain->session->mark.record;
	}
	memcpy(record.token, domain->token.bytes, sizeof(record.token));
	memcpy(record.kind, domain->kind, sizeof(record.kind));
	memcpy(record.name, domain->name, sizeof(record.name));
	gm_store_put_launch(store, domain, &record);
	put(store, &domain->mark, &record);
	explicit_bzero(&record, sizeof(record));
}

static uint32_t ops_of(const struct gm_region *region)
{
	uint32_t ops = 0;

	for (unsigned op = 0; op < GM_PAGE_OP_JOBS_N_; op++)
		if (region->n_jobs_of[op] > 0)
			ops |= 1u << op;
	return ops;
}

/* Of a conversion's ranges no more than their digest: a request has up to 1,024. */
static void fill_step(struct gm_store_region *record, const struct gm_step *step)
{
	record->step_id = step->id;
	record->step_kind = (uint8_t)step->kind;
	record->step_op = (uint8_t)step->op;
	record->step_reported = step->reported;
	record->step_key[0] = step->key.k0;
	record->step_key[1] = step->key.k1;
	record->step_digest = step->digest;
	record->step_deadline_ms = step->deadline_ms;
}

static void fill_order(struct gm_store_region *record, const struct gm_order *order)
{
	record->order_id = order->id;
	record->order_last = order->last;
	record->order_spent = order->spent;
	record->order_room = (uint32_t)(order->room / GM_PAGE_4K);
	record->order_granularity = (uint8_t)__builtin_ctzll(order->granularity);
}

static uint32_t flags_of(const struct gm_region *region)
{
	return (region->quarantined ? GM_STORE_QUARANTINED : 0) |
	       (region->bound ? GM_STORE_BOUND : 0) |
	       (region->unanswered ? GM_STORE_UNANSWERED : 0);
}

static void put_region(struct gm_store *store, const struct gm_region *region)
{
	const struct gm_store_place *place = &store->places[region->mark.record - 1];
	struct gm_store_region record = {
		.id = region->id.v,
		.sequence = region->sequence,
		.domain_id = region->domain->id.v,
		.domain = region->domain->mark.record,
		.flags = flags_of(region),
		.gpa = region->gpa,
		.size = region->size,
		.page_size = region->page_size,
		.numa_nodes = region->numa_nodes,
		.device = region->file.device,
		.inode = region->file.inode,
		.ops_under_way = ops_of(region),
		.map_first = place->first,
		.map_order = place->order,
		.private_device = region->private_file.device,
		.private_inode = region->private_file.inode,
	};

	memcpy(record.name, region->name, sizeof(record.name));
	if (region->step)
		fill_step(&record, region->step);
	if (region->order.id != 0)
		fill_order(&record, &region->order);
	put(store, &region->mark, &record);
}

void gm_store_put_record(struct gm_store *store, const struct gm_mark *mark)
{
	switch (mark->kind) {
	case GM_MARK_TENANT:
		put_tenant(store, tenant_of(mark));
		return;
	case GM_MARK_SESSION:
		put_session(store, session_of(mark));
		return;
	case GM_MARK_DOMAIN:
		put_domain(store, gm_store_domain_of(mark));
		return;
	case GM_MARK_REGION:
		put_region(store, gm_store_region_of(mark));
		return;
	case GM_MARK_KIND_N_:
		break;
	}
	assert(!"every mark has a kind");
}

void gm_store_put_removal(struct gm_store *store, enum gm_mark_kind kind, uint32_t record)
{
	static const unsigned char zeros[sizeof(struct gm_store_domain)];
	bool has_secret = kind == GM_MARK_SESSION || kind == GM_MARK_DOMAIN;

	gm_store_log_put(store, GM_STORE_STATE, gm_store_record_at(store, kind, record), zeros,
			 has_secret ? store->layout.slot_size[kind] : sizeof(uint64_t));
}
