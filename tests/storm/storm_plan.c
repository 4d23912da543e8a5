/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client does next: a few operations that may be under way at the same time, because none
 * needs the answer of another, and no two change the same object.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "storm_client.h"

#define SHARED_FIRST ((size_t)STORM_CLIENTS_MAX * STORM_DOMAINS)

struct plan {
	struct storm_self *self;
	struct storm_op *ops;
	unsigned n;
	unsigned max;
};

/* ---- what is free to be used ---- */

static bool domain_is_used(const struct plan *plan, const struct storm_domain *domain)
{
	for (unsigned i = 0; i < plan->n; i++)
		if (plan->ops[i].domain == domain)
			return true;
	return false;
}

static bool is_alone(enum storm_verb verb)
{
	return verb == STORM_DOMAIN_CREATE || verb == STORM_DOMAIN_DESTROY ||
	       verb == STORM_DOMAIN_ATTACH;
}

static bool region_is_used(const struct plan *plan, const struct storm_domain *domain,
			   const struct storm_region *region)
{
	for (unsigned i = 0; i < plan->n; i++) {
		const struct storm_op *op = &plan->ops[i];

		if (op->domain == domain && (is_alone(op->verb) || op->region == region))
			return true;
	}
	return false;
}

static size_t own_domain(const struct storm_self *self, unsigned i)
{
	return i < STORM_DOMAINS ? (size_t)self->index * STORM_DOMAINS + i
				 : SHARED_FIRST + i - STORM_DOMAINS;
}

/* One that the client holds, or NULL. */
static struct storm_domain *pick_held(const struct plan *plan)
{
	unsigned n = STORM_DOMAINS + STORM_SHARED;
	unsigned first = (unsigned)storm_pick(&plan->self->rng, n);

	for (unsigned i = 0; i < n; i++) {
		struct storm_domain *domain =
			&storm->domains[own_domain(plan->self, (first + i) % n)];

		if (storm_is_held(plan->self, domain))
			return domain;
	}
	return NULL;
}

static struct storm_region *pick_region(const struct plan *plan, struct storm_domain *domain,
					enum storm_state state)
{
	unsigned first = (unsigned)storm_pick(&plan->self->rng, STORM_REGIONS);

	for (unsigned i = 0; i < STORM_REGIONS; i++) {
		struct storm_region *region = &domain->regions[(first + i) % STORM_REGIONS];

		if (storm_is(&region->state, state) && !region_is_used(plan, domain, region))
			return region;
	}
	return NULL;
}

static struct storm_op *add(struct plan *plan, enum storm_verb verb, struct storm_domain *domain,
			    struct storm_region *region)
{
	struct storm_op *op = &plan->ops[plan->n++];

	*op = (struct storm_op){ .verb = verb, .domain = domain, .region = region, .fd = -1 };
	return op;
}

/* ---- operations ---- */

static void prepare_domain(struct storm_self *self, struct storm_domain *domain, bool persistent)
{
	domain->tenant = storm_tenant_of(self->index);
	domain->persistent = persistent;
	domain->guest_memfd = storm->has_guest_memfd && storm_chance(&self->rng, 30);
	(void)snprintf(domain->name, sizeof(domain->name), "c%u-%u-%u", self->index,
		       atomic_load(&self->client->incarnation), ++self->n_names);
	domain->id = 0;
	atomic_store(&domain->state, STORM_CREATING);
}

static void plan_create(struct plan *plan)
{
	struct storm_self *self = plan->self;
	unsigned n = STORM_DOMAINS + STORM_SHARED;
	unsigned first = (unsigned)storm_pick(&self->rng, n);

	for (unsigned i = 0; i < n; i++) {
		unsigned at = (first + i) % n;
		struct storm_domain *domain = &storm->domains[own_domain(self, at)];

		if (atomic_load(&domain->holder) != (int)self->index ||
		    !storm_is(&domain->state, STORM_FREE) || domain_is_used(plan, domain))
			continue;
		prepare_domain(self, domain, at >= STORM_DOMAINS || storm_chance(&self->rng, 50));
		add(plan, STORM_DOMAIN_CREATE, domain, NULL)->with_kvm =
			self->link.ops->batch_max > 1 && storm->has_guest_memfd &&
			storm_chance(&self->rng, 30);
		return;
	}
}

static void plan_destroy(struct plan *plan)
{
	struct storm_domain *domain = pick_held(plan);

	if (!domain || domain_is_used(plan, domain))
		return;
	atomic_store(&domain->state, STORM_DYING);
	add(plan, STORM_DOMAIN_DESTROY, domain, NULL);
}

static uint64_t pick_size(struct storm_rng *rng)
{
	if (storm_chance(rng, 4))
		return STORM_SIZE_MAX;
	return STORM_PAGE << storm_pick(rng, 10);
}

static void plan_region_create(struct plan *plan)
{
	struct storm_domain *domain = pick_held(plan);
	struct storm_region *region = domain ? pick_region(plan, domain, STORM_FREE) : NULL;

	if (!region)
		return;
	region->gpa = (uint64_t)(region - domain->regions) * STORM_SIZE_MAX;
	region->size = pick_size(&plan->self->rng);
	region->id = 0;
	atomic_store(&region->state, STORM_CREATING);
	add(plan, STORM_REGION_CREATE, domain, region);
}

static void plan_region_destroy(struct plan *plan)
{
	struct storm_domain *domain = pick_held(plan);
	struct storm_region *region = domain ? pick_region(plan, domain, STORM_LIVE) : NULL;

	if (!region)
		return;
	atomic_store(&region->state, STORM_DYING);
	add(plan, STORM_REGION_DESTROY, domain, region);
}

/* Disjoint ranges, in random order. */
static void fill_job(struct storm_rng *rng, const struct storm_region *region,
		     struct storm_job *job)
{
	uint64_t n_pages = region->size / STORM_PAGE;
	uint64_t part = n_pages / STORM_RANGES;

	job->allocate = storm_chance(rng, 65);
	job->n_ranges = part > 0 ? 1 + (unsigned)storm_pick(rng, STORM_RANGES) : 1;
	if (job->n_ranges == 1) {
		uint64_t first = storm_pick(rng, n_pages);

		job->ranges[0] = (struct storm_range){
			.offset = first * STORM_PAGE,
			.length = (1 + storm_pick(rng, n_pages - first)) * STORM_PAGE,
		};
		return;
	}
	for (unsigned i = 0; i < job->n_ranges; i++) {
		uint64_t first = storm_pick(rng, part);

		job->ranges[i] = (struct storm_range){
			.offset = ((job->n_ranges - 1 - i) * part + first) * STORM_PAGE,
			.length = (1 + storm_pick(rng, part - first)) * STORM_PAGE,
		};
	}
}

static void plan_job(struct plan *plan)
{
	struct storm_rng *rng = &plan->self->rng;
	struct storm_domain *domain = pick_held(plan);
	struct storm_region *region = domain ? pick_region(plan, domain, STORM_LIVE) : NULL;
	struct storm_op *op;

	if (!region)
		return;
	fill_job(rng, region, &region->job);
	/* Contents that are about to go are not known from here on. */
	storm_job_forget_marks(region);
	atomic_store(&region->job.active, true);
	op = add(plan, STORM_JOB, domain, region);
	op->with_cancel = storm_chance(rng, 15);
	if (op->with_cancel && plan->n < plan->max)
		(void)add(plan, STORM_CANCEL, NULL, NULL);
}

/* What it asks for is in the model from here on: repeated, it asks for the same. */
static void plan_memlock(struct plan *plan)
{
	struct storm_domain *domain = pick_held(plan);

	if (!plan->self->may_lock || !domain || storm_domain_index(domain) >= SHARED_FIRST ||
	    domain_is_used(plan, domain))
		return;
	domain->memlock = storm_pick(&plan->self->rng, 16) * STORM_PAGE;
	(void)add(plan, STORM_MEMLOCK, domain, NULL);
}

static void plan_look(struct plan *plan)
{
	struct storm_rng *rng = &plan->self->rng;
	struct storm_domain *domain = pick_held(plan);

	switch (storm_pick(rng, 4)) {
	case 0:
		(void)add(plan, STORM_LIST, NULL, NULL);
		break;
	case 1:
		(void)add(plan, STORM_STATS, NULL, NULL);
		break;
	case 2:
		if (domain && !domain_is_used(plan, domain))
			(void)add(plan, STORM_DOMAIN_GET, domain, NULL);
		break;
	default:
		(void)add(plan, STORM_PING, NULL, NULL);
		break;
	}
}

static void plan_one(struct plan *plan)
{
	uint64_t dice = storm_pick(&plan->self->rng, 100);

	if (dice < 18)
		plan_create(plan);
	else if (dice < 26)
		plan_destroy(plan);
	else if (dice < 46)
		plan_region_create(plan);
	else if (dice < 54)
		plan_region_destroy(plan);
	else if (dice < 82)
		plan_job(plan);
	else if (dice < 86)
		plan_memlock(plan);
	else
		plan_look(plan);
}

unsigned storm_plan(struct storm_self *self, struct storm_op *ops, unsigned max)
{
	struct plan plan = { .self = self, .ops = ops, .max = max };

	for (unsigned tries = 0; plan.n < max && tries < 2 * STORM_BATCH_MAX; tries++)
		plan_one(&plan);
	if (plan.n == 0)
		(void)add(&plan, STORM_PING, NULL, NULL);
	return plan.n;
}

/* ---- beside the daemon ---- */

static bool is_marked(struct storm_region *region, uint64_t page)
{
	for (unsigned i = 0; i < STORM_MARKS; i++)
		if (region->marks[i].page == page &&
		    (atomic_load(&region->marks[i].value) || atomic_load(&region->marks[i].next)))
			return true;
	return false;
}

static void write_mark(struct storm_self *self, struct storm_domain *domain,
		       struct storm_region *region)
{
	struct storm_place *place = storm_place_of(self, domain, region);
	struct storm_mark *mark = &region->marks[storm_pick(&self->rng, STORM_MARKS)];
	uint64_t page = storm_pick(&self->rng, region->size / STORM_PAGE);
	uint64_t value = storm_random(&self->rng) | 1;
	volatile uint64_t *at;

	/* A page that nobody has allocated stays so: a touch would be taken for it after a kill. */
	if (!storm_page_is_set(&region->pages, page) || is_marked(region, page))
		return;
	atomic_store(&mark->next, 0);
	atomic_store(&mark->value, 0);
	mark->page = page;
	atomic_store(&mark->next, value);
	at = (volatile uint64_t *)(void *)(place->at + page * STORM_PAGE);
	at[page % 512] = value;
	atomic_store(&mark->value, value);
	atomic_store(&mark->next, 0);
}

static void offer(struct storm_self *self, struct storm_domain *domain)
{
	if (storm_domain_index(domain) < SHARED_FIRST)
		return;
	/* Whoever takes it says so once it is attached; until then it is still attached to us. */
	atomic_store(&domain->attached, false);
	atomic_store(&domain->holder, STORM_OFFERED | (int)self->index);
}

void storm_plan_aside(struct storm_self *self)
{
	struct plan plan = { .self = self };
	struct storm_domain *domain = pick_held(&plan);
	struct storm_region *region = domain ? pick_region(&plan, domain, STORM_LIVE) : NULL;

	for (unsigned i = 0; region && i < 2; i++)
		write_mark(self, domain, region);
	if (domain && storm_chance(&self->rng, 5))
		offer(self, domain);
}

struct storm_domain *storm_take_offered(struct storm_self *self)
{
	size_t first = storm_pick(&self->rng, STORM_SHARED);

	for (size_t i = 0; i < STORM_SHARED; i++) {
		size_t at = (first + i) % STORM_SHARED;
		struct storm_domain *domain = &storm->domains[SHARED_FIRST + at];
		int holder = atomic_load(&domain->holder);

		if (at % STORM_TENANTS != storm_tenant_of(self->index) || !(holder & STORM_OFFERED))
			continue;
		/* A handle of an earlier time is dropped first. */
		if (self->held[SHARED_FIRST + at] && (holder & 0xffff) != (int)self->index)
			continue;
		if (!atomic_compare_exchange_strong(&domain->holder, &holder, (int)self->index))
			continue;
		if (self->held[SHARED_FIRST + at])
			atomic_store(&domain->attached, true);
		return domain;
	}
	return NULL;
}
