/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "book_order.h"
#include "book_own_launch.h"
#include "book_private.h"
#include "gm_cleanup.h"

static struct gm_region *region_of(struct gm_hash_node *node)
{
	return node ? GM_CONTAINER_OF(node, struct gm_region, hash) : NULL;
}

void gm_book_region_free(struct gm_region *region)
{
	gm_book_forget_step(region);
	gm_book_end_order(region);
	gm_charge_done(&region->locked);
	gm_charge_done(&region->fds);
	gm_charge_done(&region->count);
	gm_charge_done(&region->huge);
	gm_charge_done(&region->memory);
	gm_page_map_done(&region->map);
	if (gm_mark_remove(region->domain->tenant->marks, &region->mark))
		free(region);
}

static void region_cleanup(struct gm_region **region)
{
	if (*region)
		gm_book_region_free(*region);
}

static int refuse_geometry(struct gm_refusal *refusal, enum gm_rule rule,
			   const struct gm_domain *domain, uint64_t limit, uint64_t used,
			   uint64_t asked)
{
	return gm_refuse_numbers(refusal, GM_INVALID, rule,
				 gm_book_object("domain", domain->id.v).text, limit, used, asked);
}

/* What is wrong with the numbers as such. */
static int check_geometry(const struct gm_domain *domain, const struct gm_region_spec *spec,
			  struct gm_refusal *refusal)
{
	uint64_t end;

	assert(gm_is_power_of_two(spec->page_size) && spec->page_size >= GM_PAGE_4K);

	if (spec->size == 0 || !gm_is_aligned(spec->size, spec->page_size))
		return refuse_geometry(refusal, GM_RULE_SIZE, domain, spec->page_size, 0,
				       spec->size);
	if (!gm_is_aligned(spec->gpa, spec->page_size))
		return refuse_geometry(refusal, GM_RULE_OFFSET, domain, spec->page_size, 0,
				       spec->gpa);
	if (gm_add_overflows(spec->gpa, spec->size, &end) || end > GM_ADDRESS_END)
		return refuse_geometry(refusal, GM_RULE_OVERFLOW, domain, GM_ADDRESS_END, spec->gpa,
				       spec->size);
	return 0;
}

static int check_policy(const struct gm_tenant *tenant, const struct gm_region_spec *spec,
			struct gm_refusal *refusal)
{
	const struct gm_policy *policy = &tenant->policy;
	const char *object = tenant->account.name;
	uint64_t forbidden = spec->numa_nodes & ~policy->numa_nodes;

	if (spec->size > policy->region_max)
		return gm_refuse_numbers(refusal, GM_OVER_LIMIT, GM_RULE_REGION_MAX, object,
					 policy->region_max, 0, spec->size);
	if ((spec->page_size == GM_PAGE_2M && policy->huge_2m_max == 0) ||
	    (spec->page_size == GM_PAGE_1G && policy->huge_1g_max == 0))
		return gm_refuse_numbers(refusal, GM_DENIED, GM_RULE_HUGE_PAGES, object, 0, 0,
					 spec->size);
	if (forbidden)
		return gm_refuse_text(refusal, GM_DENIED, GM_RULE_NUMA_NODES, object,
				      "NUMA node %d is not among the tenant's NUMANodes=",
				      __builtin_ctzll(forbidden));
	return 0;
}

/* Where @gpa belongs: the index of the first region that ends after it. */
static uint32_t find_slot(const struct gm_domain *domain, uint64_t gpa)
{
	uint32_t low = 0;
	uint32_t high = domain->n_regions;

	/* Regions are disjoint and sorted, so their ends are sorted too. */
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct gm_region *region = domain->regions[middle];

		if (region->gpa + region->size > gpa)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static int check_addresses(const struct gm_domain *domain, const struct gm_region_spec *spec,
			   struct gm_refusal *refusal)
{
	uint32_t slot = find_slot(domain, spec->gpa);
	const struct gm_region *other;

	if (slot == domain->n_regions)
		return 0;
	other = domain->regions[slot];
	if (spec->gpa + spec->size <= other->gpa)
		return 0;
	return gm_refuse_text(
		refusal, GM_EXISTS, GM_RULE_ADDRESS, gm_book_object("region", other->id.v).text,
		"guest-physical addresses %#" PRIx64 " to %#" PRIx64
		" are taken: the region has %#" PRIx64 " to %#" PRIx64,
		spec->gpa, spec->gpa + spec->size - 1, other->gpa, other->gpa + other->size - 1);
}

/* Room for one more region in the domain, so that booking it cannot fail. */
static int make_room(struct gm_domain *domain, struct gm_refusal *refusal)
{
	struct gm_region **regions;
	uint32_t room;

	if (domain->n_regions == GM_DOMAIN_REGIONS_MAX)
		return gm_refuse_numbers(refusal, GM_OVER_LIMIT, GM_RULE_REGIONS_MAX,
					 gm_book_object("domain", domain->id.v).text,
					 GM_DOMAIN_REGIONS_MAX, domain->n_regions, 1);
	if (domain->n_regions < domain->max_regions)
		return 0;

	room = domain->max_regions ? domain->max_regions * 2 : 4;
	regions = reallocarray(domain->regions, room, sizeof(*regions));
	if (!regions)
		return -ENOMEM;
	domain->regions = regions;
	domain->max_regions = room;
	return 0;
}

static bool has_two_halves(const struct gm_domain *domain)
{
	return (domain->traits & (GM_TRAIT_PRIVATE | GM_TRAIT_IN_PLACE)) == GM_TRAIT_PRIVATE;
}

int gm_book_charge_region(struct gm_region *region,
			  int (*take)(struct gm_charge *charge, struct gm_account *account,
				      enum gm_resource resource, uint64_t amount,
				      struct gm_refusal *refusal),
			  struct gm_refusal *refusal)
{
	struct gm_account *account = &region->domain->tenant->account;
	int r;

	r = take(&region->memory, account, GM_RES_MEMORY, region->size, refusal);
	if (r)
		return r;
	if (region->page_size == GM_PAGE_2M)
		r = take(&region->huge, account, GM_RES_HUGE_2M, region->size, refusal);
	else if (region->page_size == GM_PAGE_1G)
		r = take(&region->huge, account, GM_RES_HUGE_1G, region->size, refusal);
	if (r)
		return r;
	r = take(&region->count, account, GM_RES_REGIONS, 1, refusal);
	if (r)
		return r;
	if (gm_domain_is_launched_here(region->domain))
		r = take(&region->locked, account, GM_RES_MEMLOCK, region->size, refusal);
	if (r)
		return r;
	return take(&region->fds, account, GM_RES_FDS, has_two_halves(region->domain) ? 2 : 1,
		    refusal);
}

/* All nodes: no binding is needed. Any other set holds for regions that may lie anywhere too. */
static uint64_t nodes_of(const struct gm_policy *policy, uint64_t asked)
{
	if (asked)
		return asked;
	return policy->numa_nodes == UINT64_MAX ? 0 : policy->numa_nodes;
}

static int new_region(struct gm_domain *domain, const struct gm_region_spec *spec,
		      struct gm_region_id id, struct gm_region **ret_region,
		      struct gm_refusal *refusal)
{
	_gm_cleanup_(region_cleanup) struct gm_region *region = NULL;
	int r;

	region = calloc(1, sizeof(*region));
	if (!region)
		return -ENOMEM;

	gm_mark_init(&region->mark, GM_MARK_REGION);
	region->id = id;
	region->domain = domain;
	region->gpa = spec->gpa;
	region->size = spec->size;
	region->page_size = spec->page_size;
	region->numa_nodes = nodes_of(&domain->tenant->policy, spec->numa_nodes);
	region->fd = -1;
	region->private_fd = -1;
	memcpy(region->name, spec->name, strlen(spec->name) + 1);

	r = gm_book_charge_region(region, gm_charge_take, refusal);
	if (r)
		return r;
	r = gm_page_map_init(&region->map, region->size, GM_PAGE_ABSENT);
	if (r)
		return r;

	*ret_region = gm_take_ptr(&region);
	return 0;
}

static void insert_at(struct gm_domain *domain, uint32_t slot, struct gm_region *region)
{
	memmove(&domain->regions[slot + 1], &domain->regions[slot],
		(domain->n_regions - slot) * sizeof(*domain->regions));
	domain->regions[slot] = region;
	domain->n_regions++;
}

static void remove_at(struct gm_domain *domain, uint32_t slot)
{
	domain->n_regions--;
	memmove(&domain->regions[slot], &domain->regions[slot + 1],
		(domain->n_regions - slot) * sizeof(*domain->regions));
}

int gm_book_check_place(struct gm_domain *domain, const struct gm_region_spec *spec,
			struct gm_refusal *refusal)
{
	int r;

	r = check_geometry(domain, spec, refusal);
	if (r)
		return r;
	r = check_addresses(domain, spec, refusal);
	if (r)
		return r;
	return make_room(domain, refusal);
}

int gm_book_enter_region(struct gm_book *book, struct gm_region *region)
{
	struct gm_domain *domain = region->domain;
	int r;

	r = gm_hash_add(&book->regions, &region->hash,
			(struct gm_hash_key){ region->id.v, domain->tenant->index });
	if (r)
		return r;
	book->n_regions++;
	domain->reserved_bytes += region->size;
	insert_at(domain, find_slot(domain, region->gpa), region);
	return 0;
}

/* What the daemon launches has all memory that the domain has then, and pins it. */
static bool is_fixed(const struct gm_domain *domain)
{
	enum gm_launch_state state = gm_domain_launch_state(domain);

	return gm_domain_is_launched_here(domain) &&
	       (state == GM_LAUNCH_FINISHING || state == GM_LAUNCH_RUNNING);
}

static int refuse_fixed(const struct gm_domain *domain, struct gm_refusal *refusal)
{
	return gm_refuse_text(refusal, GM_WRONG_STATE, GM_RULE_LAUNCH_STATE,
			      gm_book_object("domain", domain->id.v).text,
			      "the guest was launched with the memory that it has: regions neither "
			      "come nor go");
}

int gm_book_create_region(struct gm_book *book, struct gm_domain *domain,
			  const struct gm_region_spec *spec, struct gm_region_id id,
			  struct gm_region **ret_region, struct gm_refusal *refusal)
{
	_gm_cleanup_(region_cleanup) struct gm_region *region = NULL;
	int r;

	assert(id.v != 0);
	assert(!domain->dying);
	assert(strlen(spec->name) < sizeof(region->name));

	r = check_geometry(domain, spec, refusal);
	if (r)
		return r;
	r = check_policy(domain->tenant, spec, refusal);
	if (r)
		return r;
	r = check_addresses(domain, spec, refusal);
	if (r)
		return r;
	r = gm_book_check_domain_usable(domain, refusal);
	if (r)
		return r;
	if (is_fixed(domain))
		return refuse_fixed(domain, refusal);
	r = gm_book_check_draining(book, refusal);
	if (r)
		return r;
	r = make_room(domain, refusal);
	if (r)
		return r;
	r = new_region(domain, spec, id, &region, refusal);
	if (r)
		return r;
	r = gm_book_enter_region(book, region);
	if (r)
		return r;
	region->sequence = ++book->next_sequence;
	gm_mark_dirty(&book->marks, &region->mark);

	*ret_region = gm_take_ptr(&region);
	return 0;
}

static struct gm_region *lookup_live(const struct gm_book *book, const struct gm_session *session,
				     struct gm_region_id id)
{
	struct gm_region *region;

	region = region_of(gm_book_lookup(book, book->regions, session, id.v));
	return region && !region->domain->dying ? region : NULL;
}

/* The one answer to every id that leads nowhere: it may not tell why. */
static int refuse_unknown(struct gm_refusal *refusal)
{
	return gm_refuse(refusal, GM_NO_SUCH_OBJECT, GM_RULE_NONE, "region");
}

int gm_book_find_region(struct gm_book *book, const struct gm_session *session,
			struct gm_region_id id, struct gm_region **ret_region,
			struct gm_refusal *refusal)
{
	struct gm_region *region = lookup_live(book, session, id);

	if (!region)
		return refuse_unknown(refusal);
	*ret_region = region;
	return 0;
}

int gm_book_find_attached_region(struct gm_book *book, const struct gm_session *session,
				 struct gm_region_id id, struct gm_region **ret_region,
				 struct gm_refusal *refusal)
{
	struct gm_region *region = lookup_live(book, session, id);
	int r;

	if (!region)
		return refuse_unknown(refusal);
	r = gm_book_check_attached(region->domain, session, refusal);
	if (r)
		return r;
	*ret_region = region;
	return 0;
}

void gm_book_set_file(struct gm_region *region, const struct gm_file_id *file)
{
	region->file = *file;
	gm_mark_dirty(region->domain->tenant->marks, &region->mark);
}

void gm_book_quarantine_region(struct gm_region *region)
{
	region->quarantined = true;
	gm_mark_dirty(region->domain->tenant->marks, &region->mark);
}

int gm_book_check_usable(const struct gm_region *region, struct gm_refusal *refusal)
{
	if (region->quarantined)
		return gm_refuse(refusal, GM_WRONG_STATE, GM_RULE_QUARANTINE,
				 gm_book_object("region", region->id.v).text);
	return gm_book_check_domain_usable(region->domain, refusal);
}

static bool is_written_down(const struct gm_region *region)
{
	const struct gm_launch *launch = region->domain->launch;

	/* The launch will go to the region, whatever its pages are by then. */
	for (uint32_t i = 0; launch && i < launch->n_puts; i++)
		if (launch->puts[i].region == region)
			return true;
	return gm_domain_is_launched_here(region->domain) &&
	       region->map.pages[GM_PAGE_MEASURED] > 0 &&
	       gm_domain_launch_state(region->domain) != GM_LAUNCH_FAILED;
}

int gm_book_may_destroy_region(const struct gm_region *region, struct gm_refusal *refusal)
{
	bool in_step = region->step || gm_book_is_freeing(region);
	enum gm_rule rule = in_step ? GM_RULE_STEP_UNDER_WAY : GM_RULE_JOBS_UNDER_WAY;

	if (is_fixed(region->domain))
		return refuse_fixed(region->domain, refusal);
	if (is_written_down(region))
		return gm_refuse_text(refusal, GM_WRONG_STATE, GM_RULE_LAUNCH_STATE,
				      gm_book_object("region", region->id.v).text,
				      "some of its pages are part of the launch digest");
	if (region->n_jobs == 0 && !in_step)
		return 0;
	return gm_refuse(refusal, GM_BUSY, rule, gm_book_object("region", region->id.v).text);
}

void gm_book_remove_region(struct gm_book *book, struct gm_region *region)
{
	struct gm_domain *domain = region->domain;
	uint32_t slot = find_slot(domain, region->gpa);

	assert(region->n_jobs == 0);
	assert(slot < domain->n_regions && domain->regions[slot] == region);

	remove_at(domain, slot);
	domain->reserved_bytes -= region->size;
	domain->allocated_bytes -= region->allocated_bytes;
	domain->tenant->allocated_bytes -= region->allocated_bytes;
	domain->shared_bytes -= region->shared_bytes;
	domain->tenant->shared_bytes -= region->shared_bytes;
	gm_hash_remove(&book->regions, &region->hash);
	book->n_regions--;
	gm_book_region_free(region);
}

struct gm_region *gm_book_next_region(const struct gm_book *book, const struct gm_region *previous)
{
	const struct gm_hash_node *node = previous ? &previous->hash : NULL;
	struct gm_region *region;

	do {
		struct gm_hash_node *next = gm_hash_next(book->regions, node);

		region = region_of(next);
		node = next;
	} while (region && region->domain->dying);
	return region;
}

static void set_unanswered(struct gm_region *region, bool unanswered)
{
	region->unanswered = unanswered;
	gm_mark_dirty(region->domain->tenant->marks, &region->mark);
}

void gm_book_unanswered(struct gm_region *region)
{
	set_unanswered(region, true);
}

void gm_book_answered(struct gm_region *region)
{
	set_unanswered(region, false);
}
