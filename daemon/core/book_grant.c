/* SPDX-License-Identifier: Apache-2.0 */
/* What is granted beside memory: requests and bytes a second, locked bytes, a hardware slot. */
#include <assert.h>

#include "book_private.h"

/* ---- rates ---- */

uint32_t gm_tenant_request_wait_ms(struct gm_tenant *tenant, uint64_t now_ms)
{
	gm_bucket_set_rate(&tenant->requests, tenant->policy.requests_rate, now_ms);
	return gm_bucket_wait_ms(&tenant->requests, now_ms);
}

void gm_tenant_spend_request(struct gm_tenant *tenant, uint64_t now_ms)
{
	gm_bucket_set_rate(&tenant->requests, tenant->policy.requests_rate, now_ms);
	gm_bucket_spend(&tenant->requests, 1, now_ms);
}

uint32_t gm_tenant_allocate_wait_ms(struct gm_tenant *tenant, uint64_t now_ms)
{
	gm_bucket_set_rate(&tenant->bytes, tenant->policy.allocate_rate, now_ms);
	return gm_bucket_wait_ms(&tenant->bytes, now_ms);
}

void gm_tenant_spend_bytes(struct gm_tenant *tenant, uint64_t bytes, uint64_t now_ms)
{
	gm_bucket_set_rate(&tenant->bytes, tenant->policy.allocate_rate, now_ms);
	gm_bucket_spend(&tenant->bytes, bytes, now_ms);
}

uint32_t gm_tenant_convert_wait_ms(struct gm_tenant *tenant, uint64_t now_ms)
{
	gm_bucket_set_rate(&tenant->conversions, tenant->policy.conversion_rate, now_ms);
	return gm_bucket_wait_ms(&tenant->conversions, now_ms);
}

void gm_tenant_spend_conversions(struct gm_tenant *tenant, uint64_t n_ranges, uint64_t now_ms)
{
	gm_bucket_set_rate(&tenant->conversions, tenant->policy.conversion_rate, now_ms);
	gm_bucket_spend(&tenant->conversions, n_ranges, now_ms);
}

/* ---- locked memory ---- */

static void mark(struct gm_domain *domain)
{
	gm_mark_dirty(domain->tenant->marks, &domain->mark);
}

int gm_book_set_memlock(struct gm_domain *domain, uint64_t bytes, const struct gm_limits *base,
			struct gm_refusal *refusal)
{
	const uint64_t before = domain->memlock.amount;
	struct gm_account *account = &domain->tenant->account;
	const struct gm_limits base_before = domain->memlock_base;
	int r;

	assert(domain->session && !domain->dying);
	gm_charge_done(&domain->memlock);
	r = gm_charge_take(&domain->memlock, account, GM_RES_MEMLOCK, bytes, refusal);
	if (r) {
		gm_book_force_memlock(domain, before, &base_before);
		return r;
	}
	domain->memlock_base = *base;
	mark(domain);
	return 0;
}

void gm_book_force_memlock(struct gm_domain *domain, uint64_t bytes, const struct gm_limits *base)
{
	int r;

	gm_charge_done(&domain->memlock);
	/* It was booked a moment ago: there is room for it in 64 bits. */
	r = gm_charge_force(&domain->memlock, &domain->tenant->account, GM_RES_MEMLOCK, bytes);
	assert(r == 0);
	domain->memlock_base = *base;
	mark(domain);
}

void gm_book_drop_memlock(struct gm_domain *domain)
{
	if (domain->memlock.amount == 0)
		return;
	gm_charge_done(&domain->memlock);
	domain->memlock_base = (struct gm_limits){ 0 };
	mark(domain);
}

static void add_memlock(const struct gm_session *session, struct gm_memlock *sum)
{
	const struct gm_domain *domain;

	TAILQ_FOREACH(domain, &session->domains, session_link) {
		if (domain->memlock.amount == 0)
			continue;
		/* Cannot overflow: all of them are in the host's account. */
		sum->granted += domain->memlock.amount;
		sum->base = domain->memlock_base;
		sum->has_base = true;
	}
}

struct gm_memlock gm_book_memlock_of(const struct gm_book *book, pid_t pid)
{
	struct gm_memlock sum = { 0 };
	const struct gm_tenant *tenant;
	const struct gm_session *session;

	TAILQ_FOREACH(tenant, &book->tenants, link)
		TAILQ_FOREACH(session, &tenant->sessions, link)
			if (session->peer.pid == pid)
				add_memlock(session, &sum);
	return sum;
}

struct gm_limits gm_memlock_limits(const struct gm_memlock *memlock)
{
	struct gm_limits limits = memlock->base;

	if (gm_add_overflows(limits.soft, memlock->granted, &limits.soft))
		limits.soft = GM_UNLIMITED;
	limits.hard = gm_max_u64(limits.hard, limits.soft);
	return limits;
}

/* ---- hardware slots ---- */

int gm_book_take_slot(struct gm_domain *domain, unsigned pool, const struct gm_slot_use *host,
		      struct gm_refusal *refusal)
{
	enum gm_resource resource = gm_slot_resource(pool);
	const struct gm_account *top = &domain->tenant->account;
	uint64_t busy;
	int r;

	assert(pool < GM_SLOT_POOLS && !domain->slot.account);
	while (top->parent)
		top = top->parent;
	/*
	 * A lease is in both counts once its guest has been started, and in only one of them
	 * before. Of what has no launch in the books nobody knows: it is in one count at least.
	 */
	busy = gm_max_u64(host->current + host->waiting, top->used[resource]);
	r = gm_charge_take(&domain->slot, &domain->tenant->account, resource, 1, refusal);
	if (r)
		return r;
	if (busy >= host->capacity) {
		gm_charge_done(&domain->slot);
		return gm_refuse_numbers(refusal, GM_NO_RESOURCE, GM_RULE_SLOTS, "host",
					 host->capacity, busy, 1);
	}
	mark(domain);
	return 0;
}

int gm_domain_slot(const struct gm_domain *domain)
{
	return domain->slot.account ? (int)domain->slot.resource - GM_RES_SLOT_0 : -1;
}
