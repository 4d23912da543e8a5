/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "book_order.h"
#include "book_private.h"

static int refuse_range(struct gm_refusal *refusal, enum gm_rule rule,
			const struct gm_region *region, const struct gm_range *range,
			uint64_t limit, uint64_t asked)
{
	int verdict =
		gm_refuse_numbers(refusal, GM_INVALID, rule,
				  gm_book_object("region", region->id.v).text, limit, 0, asked);

	if (refusal)
		refusal->offset = range->offset;
	return verdict;
}

static int check_range(const struct gm_region *region, const struct gm_range *range,
		       struct gm_refusal *refusal)
{
	uint64_t end;

	if (range->length == 0 || !gm_is_aligned(range->length, region->page_size))
		return refuse_range(refusal, GM_RULE_SIZE, region, range, region->page_size,
				    range->length);
	if (!gm_is_aligned(range->offset, region->page_size))
		return refuse_range(refusal, GM_RULE_OFFSET, region, range, region->page_size,
				    range->offset);
	if (gm_add_overflows(range->offset, range->length, &end))
		return refuse_range(refusal, GM_RULE_OVERFLOW, region, range, region->size,
				    range->length);
	if (end > region->size)
		return refuse_range(refusal, GM_RULE_RANGE, region, range, region->size, end);
	return 0;
}

static void sift_down(struct gm_range *ranges, size_t root, size_t n)
{
	for (;;) {
		size_t child = 2 * root + 1;
		struct gm_range swap;

		if (child >= n)
			return;
		if (child + 1 < n && ranges[child].offset < ranges[child + 1].offset)
			child++;
		if (ranges[root].offset >= ranges[child].offset)
			return;
		swap = ranges[root];
		ranges[root] = ranges[child];
		ranges[child] = swap;
		root = child;
	}
}

/*
 * Heapsort, in place, n log n for every order a peer may send. Not qsort(): glibc's allocates for
 * more than 1 KiB, asks the kernel how much memory there is first (a system call that the sandbox
 * has no other need of), and falls back to a quadratic sort when it gets none.
 */
static void sort_ranges(struct gm_range *ranges, size_t n)
{
	for (size_t i = n / 2; i-- > 0;)
		sift_down(ranges, i, n);
	for (size_t i = n; i-- > 1;) {
		struct gm_range swap = ranges[0];

		ranges[0] = ranges[i];
		ranges[i] = swap;
		sift_down(ranges, 0, i);
	}
}

int gm_book_check_ranges(const struct gm_region *region, struct gm_range *ranges, size_t n_ranges,
			 struct gm_refusal *refusal)
{
	if (n_ranges == 0)
		return gm_refuse(refusal, GM_INVALID, GM_RULE_RANGES,
				 gm_book_object("region", region->id.v).text);

	for (size_t i = 0; i < n_ranges; i++) {
		int r = check_range(region, &ranges[i], refusal);

		if (r)
			return r;
	}

	sort_ranges(ranges, n_ranges);
	for (size_t i = 1; i < n_ranges; i++)
		if (ranges[i].offset < ranges[i - 1].offset + ranges[i - 1].length)
			return refuse_range(refusal, GM_RULE_RANGES, region, &ranges[i], 0, 0);
	return 0;
}

static void name_region(struct gm_refusal *refusal, const struct gm_region *region)
{
	if (refusal)
		snprintf(refusal->object, sizeof(refusal->object), "%s",
			 gm_book_object("region", region->id.v).text);
}

int gm_book_check_pages(const struct gm_region *region, enum gm_page_op op,
			const struct gm_range *ranges, size_t n_ranges, struct gm_refusal *refusal)
{
	unsigned conditions = gm_domain_conditions(region->domain);

	for (size_t i = 0; i < n_ranges; i++) {
		int r = gm_page_map_allows(&region->map, ranges[i].offset, ranges[i].length, op,
					   conditions, refusal);

		if (r) {
			name_region(refusal, region);
			return r;
		}
	}
	return 0;
}

/* Which half a page is in: the shared one, or with all other states the private one. */
#define IN_SHARED_HALF (1u << GM_PAGE_SHARED)
#define IN_PRIVATE_HALF (((1u << GM_PAGE_STATE_N_) - 1) & ~IN_SHARED_HALF)

/* A job has one fd: that of the half that its first page is in. */
static int find_half(const struct gm_region *region, const struct gm_range *ranges, size_t n_ranges,
		     bool *ret_private, struct gm_refusal *refusal)
{
	bool in_place = region->domain->traits & GM_TRAIT_IN_PLACE;
	unsigned states = IN_SHARED_HALF;

	if (!(region->domain->traits & GM_TRAIT_PRIVATE))
		return 0;
	if (in_place)
		states = IN_SHARED_HALF | IN_PRIVATE_HALF;
	else if (gm_page_map_get(&region->map, ranges[0].offset) != GM_PAGE_SHARED)
		states = IN_PRIVATE_HALF;
	for (size_t i = 0; i < n_ranges; i++) {
		uint64_t end = ranges[i].offset + ranges[i].length;
		uint64_t at = gm_page_map_stretch(&region->map, ranges[i].offset, end, states);

		if (at == end)
			continue;
		gm_refuse_text(refusal, GM_WRONG_STATE, GM_RULE_PAGE_STATE,
			       gm_book_object("region", region->id.v).text,
			       "the pages are partly shared and partly private: ask for those of "
			       "one half at a time");
		if (refusal)
			refusal->offset = at;
		return GM_WRONG_STATE;
	}
	*ret_private = in_place || states == IN_PRIVATE_HALF;
	if (!*ret_private || region->private_fd >= 0)
		return 0;
	return gm_refuse_text(refusal, GM_WRONG_STATE, GM_RULE_STEP,
			      gm_book_object("region", region->id.v).text,
			      "the region has no private memory yet");
}

/* That a job is under way is recorded: a restart then looks at what it has left behind. */
static void count_op(struct gm_region *region, enum gm_page_op op, int by)
{
	bool before = region->n_jobs_of[op] > 0;

	region->n_jobs_of[op] += (unsigned)by;
	if (before != (region->n_jobs_of[op] > 0))
		gm_mark_dirty(region->domain->tenant->marks, &region->mark);
}

static void count_regions(struct gm_domain *domain, int by)
{
	for (uint32_t i = 0; i < domain->n_regions; i++)
		domain->regions[i]->n_jobs += (unsigned)by;
}

static void count(const struct gm_job_ticket *ticket, int by)
{
	struct gm_region *region = ticket->region;

	if (ticket->hashes)
		region->domain->launch->n_hashing += (unsigned)by;
	else if (!ticket->frees_half && !ticket->converts && !ticket->launches)
		count_op(region, ticket->op, by);
	if (ticket->launches)
		count_regions(region->domain, by);
	else
		region->n_jobs += (unsigned)by;
	region->domain->n_jobs += (unsigned)by;
	if (ticket->session)
		ticket->session->n_jobs += (unsigned)by;
}

void gm_book_enter_job(const struct gm_job_ticket *ticket)
{
	count(ticket, +1);
}

int gm_book_begin_job(struct gm_book *book, struct gm_session *session, struct gm_region *region,
		      enum gm_page_op op, struct gm_range *ranges, size_t n_ranges,
		      struct gm_job_ticket *ret_ticket, struct gm_refusal *refusal)
{
	struct gm_job_ticket ticket = { .region = region, .session = session, .op = op };
	int r;

	assert(!region->domain->dying);
	assert(session->tenant == region->domain->tenant);
	assert(op < GM_PAGE_OP_JOBS_N_);

	r = gm_book_check_ranges(region, ranges, n_ranges, refusal);
	if (r)
		return r;
	r = gm_book_check_usable(region, refusal);
	if (r)
		return r;
	if (region->step || gm_book_is_freeing(region))
		return gm_refuse(refusal, GM_BUSY, GM_RULE_STEP_UNDER_WAY,
				 gm_book_object("region", region->id.v).text);
	r = gm_book_check_pages(region, op, ranges, n_ranges, refusal);
	if (r)
		return r;
	r = find_half(region, ranges, n_ranges, &ticket.private_half, refusal);
	if (r)
		return r;
	r = gm_book_check_draining(book, refusal);
	if (r)
		return r;
	r = gm_charge_take(&ticket.charge, &session->tenant->account, GM_RES_JOBS, 1, refusal);
	if (r)
		return r;

	gm_book_enter_job(&ticket);
	*ret_ticket = ticket;
	return 0;
}

void gm_book_allocated(struct gm_region *region)
{
	uint64_t absent = region->map.pages[GM_PAGE_ABSENT] * GM_PAGE_4K;
	uint64_t before = region->allocated_bytes;
	uint64_t after = region->size - absent;
	uint64_t shared = region->map.pages[GM_PAGE_SHARED] * GM_PAGE_4K;

	region->allocated_bytes = after;
	region->domain->allocated_bytes += after - before;
	region->domain->tenant->allocated_bytes += after - before;
	region->domain->shared_bytes += shared - region->shared_bytes;
	region->domain->tenant->shared_bytes += shared - region->shared_bytes;
	region->shared_bytes = shared;
}

int gm_book_set_pages(struct gm_region *region, uint64_t offset, uint64_t length,
		      enum gm_page_state state, struct gm_refusal *refusal)
{
	int r = gm_page_map_set(&region->map, offset, length, state, refusal);

	if (r == 0)
		gm_mark_pages(region->domain->tenant->marks, region, offset, length, state);
	return r;
}

/* Pages that all end up in one state. */
struct stretch {
	uint64_t offset;
	uint64_t length;
	enum gm_page_state next;
};

/* The states that @op makes @next of. */
static unsigned states_before(enum gm_page_op op, unsigned conditions, enum gm_page_state next)
{
	unsigned states = 0;

	for (unsigned state = 0; state < GM_PAGE_STATE_N_; state++) {
		enum gm_page_state after;

		if (gm_page_state_after((enum gm_page_state)state, op, conditions, &after, NULL) ==
			    0 &&
		    after == next)
			states |= 1u << state;
	}
	return states;
}

/*
 * The longest stretch from @offset on that the job leaves in one state, whatever it found there:
 * the map is looked at and changed once, however fragmented it was.
 */
static int find_stretch(const struct gm_region *region, enum gm_page_op op, uint64_t offset,
			uint64_t end, struct stretch *ret_stretch, struct gm_refusal *refusal)
{
	unsigned conditions = gm_domain_conditions(region->domain);
	struct stretch stretch = { .offset = offset };
	int r;

	r = gm_page_state_after(gm_page_map_get(&region->map, offset), op, conditions,
				&stretch.next, refusal);
	if (r) {
		if (refusal)
			refusal->offset = offset;
		return r;
	}
	/* Most often guests convert page by page. */
	if (end - offset == GM_PAGE_4K) {
		stretch.length = GM_PAGE_4K;
		*ret_stretch = stretch;
		return 0;
	}
	stretch.length = gm_page_map_stretch(&region->map, offset, end,
					     states_before(op, conditions, stretch.next)) -
			 offset;
	*ret_stretch = stretch;
	return 0;
}

int gm_book_apply(struct gm_region *region, enum gm_page_op op, const struct gm_range *range,
		  struct gm_refusal *refusal)
{
	uint64_t at = range->offset;
	uint64_t end = range->offset + range->length;
	int r = 0;

	while (at < end && r == 0) {
		struct stretch stretch;

		r = find_stretch(region, op, at, end, &stretch, refusal);
		if (r == 0)
			r = gm_book_set_pages(region, stretch.offset, stretch.length, stretch.next,
					      refusal);
		if (r == 0)
			at += stretch.length;
	}
	if (r > 0)
		name_region(refusal, region);
	return r;
}

bool gm_book_apply_or_lose(struct gm_region *region, enum gm_page_op op,
			   const struct gm_range *range)
{
	if (gm_book_apply(region, op, range, NULL) == 0)
		return true;
	gm_book_lose_pages(region, range);
	return false;
}

void gm_book_lose_pages(struct gm_region *region, const struct gm_range *range)
{
	gm_page_map_set_lost(&region->map, range->offset, range->length);
	gm_mark_whole_map(region->domain->tenant->marks, region);
}

int gm_book_job_progress(struct gm_job_ticket *ticket, const struct gm_range *done,
			 struct gm_refusal *refusal)
{
	struct gm_region *region = ticket->region;
	uint64_t end;
	int r;

	/* Nothing is booked before all of it is done. */
	if (ticket->launches)
		return 0;
	/* What a worker says about itself: it may have been taken over by what it maps. */
	if (gm_add_overflows(done->offset, done->length, &end) || end > region->size ||
	    !gm_is_aligned(done->offset | done->length, GM_PAGE_4K))
		return -EPROTO;

	if (ticket->frees_half || ticket->hashes)
		return 0;
	if (ticket->converts) {
		gm_book_in_place_done(ticket, done);
		return 0;
	}
	r = gm_book_apply(region, ticket->op, done, refusal);
	gm_book_allocated(region);
	return r;
}

void gm_book_end_job(struct gm_job_ticket *ticket)
{
	if (!ticket->region)
		return;

	assert(ticket->region->n_jobs > 0);
	assert(ticket->region->domain->n_jobs > 0);
	assert(!ticket->session || ticket->session->n_jobs > 0);

	count(ticket, -1);
	gm_charge_done(&ticket->charge);
	*ticket = (struct gm_job_ticket){ 0 };
}
