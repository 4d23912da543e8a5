/* SPDX-License-Identifier: Apache-2.0 */
#include "book_order.h"

#include <assert.h>

#include "book_private.h"

static void mark(struct gm_region *region)
{
	gm_mark_dirty(region->domain->tenant->marks, &region->mark);
}

/* ---- room ---- */

static void set_room(struct gm_region *region, uint64_t room)
{
	if (room == region->order.room)
		return;
	region->domain->converting_bytes += room - region->order.room;
	region->order.room = room;
	mark(region);
}

/* Half of what is left, so that other regions and larger requests find some, too. */
static uint64_t room_for(const struct gm_region *region)
{
	const struct gm_domain *domain = region->domain;
	uint64_t limit = domain->tenant->policy.shared_max;
	uint64_t used = domain->shared_bytes + domain->converting_bytes - region->order.room;

	if (used >= limit)
		return 0;
	return gm_align_down(gm_min_u64(GM_ORDER_ROOM, (limit - used) / 2), GM_PAGE_4K);
}

static bool policy_is_the_same(const struct gm_region *region)
{
	return region->order.granularity == region->domain->tenant->policy.conversion_granularity;
}

void gm_book_renew_order(struct gm_region *region)
{
	uint64_t room;

	if (region->order.id == 0 || !policy_is_the_same(region))
		return;
	room = room_for(region);
	/* What the client has been told stays its. */
	if (room > region->order.room)
		set_room(region, room);
}

void gm_book_end_order(struct gm_region *region)
{
	if (region->order.id == 0)
		return;
	set_room(region, 0);
	region->order.id = 0;
	mark(region);
}

static bool may_have_order(const struct gm_region *region)
{
	const struct gm_domain *domain = region->domain;

	return (domain->traits & (GM_TRAIT_PRIVATE | GM_TRAIT_IN_PLACE)) == GM_TRAIT_PRIVATE &&
	       domain->running && region->bound && !region->step && region->n_jobs == 0 &&
	       gm_book_check_usable(region, NULL) == 0;
}

bool gm_book_begin_order(struct gm_region *region, uint64_t id)
{
	struct gm_order *order = &region->order;

	assert(id != 0);
	if (!may_have_order(region))
		return false;
	if (order->id != 0 && !policy_is_the_same(region))
		gm_book_end_order(region);
	if (order->id == 0) {
		order->id = id;
		order->last = 0;
		order->spent = 0;
		order->granularity = region->domain->tenant->policy.conversion_granularity;
		mark(region);
	}
	gm_book_renew_order(region);
	return true;
}

void gm_book_take_rooms(struct gm_domain *domain)
{
	for (uint32_t i = 0; i < domain->n_regions; i++)
		if (domain->regions[i]->order.n_waiting == 0)
			set_room(domain->regions[i], 0);
	domain->n_rooms_ended++;
}

uint64_t gm_order_limit(const struct gm_order *order)
{
	return order->spent + order->room;
}

/* ---- reports ---- */

bool gm_book_is_freeing(const struct gm_region *region)
{
	return region->order.frees || region->order.n_waiting > 0;
}

enum gm_report_place gm_book_place_report(const struct gm_region *region, uint64_t order,
					  uint64_t number)
{
	const struct gm_order *own = &region->order;

	if (own->id == 0 || order != own->id || number == 0 ||
	    number > own->last + GM_ORDER_REPORTS)
		return GM_REPORT_WRONG;
	if (own->frees)
		return GM_REPORT_EARLY;
	if (number <= own->last)
		return GM_REPORT_KNOWN;
	if (number != own->last + 1 || region->step || region->n_jobs > 0 ||
	    gm_book_check_usable(region, NULL))
		return GM_REPORT_WRONG;
	return GM_REPORT_NEXT;
}

/* A range of pages of the region? */
static bool is_inside(const struct gm_region *region, const struct gm_range *range)
{
	uint64_t end;

	return range->length != 0 &&
	       gm_is_aligned(range->offset | range->length, region->page_size) &&
	       !gm_add_overflows(range->offset, range->length, &end) && end <= region->size;
}

bool gm_book_may_come_again(const struct gm_region *region, const struct gm_conversion *conversions,
			    size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!is_inside(region, &conversions[i].range))
			return false;
	return true;
}

/* What the order says against it; NULL: nothing. */
static const char *find_fault(const struct gm_region *region, const struct gm_conversion *done)
{
	uint64_t granularity = region->order.granularity;
	uint64_t end = done->range.offset + done->range.length;

	if (!is_inside(region, &done->range))
		return "that is no range of the region";
	if (!gm_is_aligned(region->gpa + done->range.offset, granularity) ||
	    !(end == region->size || gm_is_aligned(region->gpa + end, granularity)))
		return "the range is finer than the standing order allows";
	if (done->op == GM_PAGE_OP_TO_SHARED && done->range.length > region->order.room)
		return "more is shared than the standing order has room for";
	return NULL;
}

#define NOT_LOST (((1u << GM_PAGE_STATE_N_) - 1) & ~(1u << GM_PAGE_LOST))

/* Lost pages part a report into so many pieces at most: some milliseconds. */
#define PIECES_MAX 16384u

/* A page that is lost stays so, whatever is said about it. False: there are too many of them. */
static bool apply(struct gm_region *region, const struct gm_conversion *done, unsigned *pieces_left)
{
	uint64_t end = done->range.offset + done->range.length;
	uint64_t at = done->range.offset;

	if (region->map.pages[GM_PAGE_LOST] == 0) {
		(void)gm_book_apply_or_lose(region, done->op, &done->range);
		return true;
	}
	for (; at<end && * pieces_left> 0; --*pieces_left) {
		uint64_t next = gm_page_map_stretch(&region->map, at, end, NOT_LOST);
		const struct gm_range part = { at, next - at };

		if (part.length > 0)
			(void)gm_book_apply_or_lose(region, done->op, &part);
		at = next == end ? end
				 : gm_page_map_stretch(&region->map, next, end, 1u << GM_PAGE_LOST);
	}
	return at == end;
}

static void lose(struct gm_region *region, const struct gm_conversion *conversions, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is_inside(region, &conversions[i].range))
			gm_book_lose_pages(region, &conversions[i].range);
	gm_book_allocated(region);
	gm_book_end_order(region);
}

static int refuse(const struct gm_region *region, const char *why, struct gm_refusal *refusal)
{
	return gm_refuse_text(refusal, GM_INVALID, GM_RULE_ORDER,
			      gm_book_object("region", region->id.v).text, "%s", why);
}

int gm_book_report(struct gm_region *region, const struct gm_conversion *conversions, size_t n,
		   struct gm_refusal *refusal)
{
	struct gm_order *order = &region->order;
	unsigned pieces_left = PIECES_MAX;

	for (size_t i = 0; i < n; i++) {
		const struct gm_conversion *done = &conversions[i];
		const char *why = find_fault(region, done);

		if (!why && !apply(region, done, &pieces_left))
			why = "it is about too many pages between others that are lost";
		if (why) {
			lose(region, done, n - i);
			(void)refuse(region, why, refusal);
			if (refusal)
				refusal->offset = done->range.offset;
			return GM_INVALID;
		}
		if (done->op != GM_PAGE_OP_TO_SHARED)
			continue;
		order->spent += done->range.length;
		set_room(region, order->room - done->range.length);
	}
	gm_book_allocated(region);
	order->last++;
	mark(region);
	return 0;
}

int gm_book_lose_report(struct gm_region *region, const struct gm_conversion *conversions, size_t n,
			struct gm_refusal *refusal)
{
	lose(region, conversions, n);
	return refuse(region, "it is no report of a standing order that the region has now",
		      refusal);
}
