/* SPDX-License-Identifier: Apache-2.0 */
#include "book_in_place.h"

#include <assert.h>

#include "book_launch.h"
#include "book_private.h"

/* A daemon that was killed has left it, and nobody has come back for it yet. */
static bool is_left_over(const struct gm_region *region, enum gm_step_kind kind)
{
	const struct gm_step *step = region->step;

	return step && step->kind == kind && !step->reported && region->n_jobs == 0;
}

static int take_up(struct gm_region *region, enum gm_page_op op, struct gm_range *ranges,
		   size_t n_ranges, const struct gm_step_spec *spec, struct gm_refusal *refusal)
{
	struct gm_step *step = region->step;
	int r;

	r = gm_book_check_usable(region, refusal);
	if (r == 0)
		r = gm_book_check_ranges(region, ranges, n_ranges, refusal);
	if (r)
		return r;
	if (step->op != op ||
	    gm_siphash(&step->key, ranges, n_ranges * sizeof(*ranges)) != step->digest)
		return gm_refuse(refusal, GM_BUSY, GM_RULE_STEP_UNDER_WAY,
				 gm_book_object("region", region->id.v).text);
	/* Whatever the limit is by now: it has been allowed, and may have happened. */
	region->domain->converting_bytes -= step->bytes_to_share;
	step->bytes_to_share = gm_book_count_to_share(region, op, ranges, n_ranges);
	region->domain->converting_bytes += step->bytes_to_share;
	gm_book_extend_step(region, spec->deadline_ms);
	return 0;
}

int gm_book_begin_in_place(struct gm_session *session, struct gm_region *region, enum gm_page_op op,
			   struct gm_range *ranges, size_t n_ranges,
			   const struct gm_step_spec *spec, struct gm_job_ticket *ret_ticket,
			   struct gm_refusal *refusal)
{
	struct gm_job_ticket ticket = {
		.region = region,
		.session = session,
		.op = op,
		.converts = true,
		.again = is_left_over(region, GM_STEP_CONVERT),
		.private_half = true,
	};
	int r;

	assert(region->domain->traits & GM_TRAIT_IN_PLACE);
	if (ticket.again)
		r = take_up(region, op, ranges, n_ranges, spec, refusal);
	else
		r = gm_book_begin_convert(region, op, ranges, n_ranges, spec, refusal);
	if (r)
		return r;
	gm_book_enter_job(&ticket);
	*ret_ticket = ticket;
	return 0;
}

static bool is_population(const struct gm_region *region)
{
	return region->step && region->step->kind == GM_STEP_POPULATE;
}

int gm_book_begin_in_place_population(struct gm_session *session, struct gm_region *region,
				      const struct gm_range *range, const struct gm_step_spec *spec,
				      const uint8_t digest[GM_LAUNCH_DIGEST_SIZE],
				      struct gm_job_ticket *ret_ticket, struct gm_refusal *refusal)
{
	const enum gm_page_op op = GM_PAGE_OP_POPULATE_IN_PLACE;
	struct gm_range copy = *range;
	struct gm_job_ticket ticket = {
		.region = region,
		.session = session,
		.op = GM_PAGE_OP_TO_PRIVATE,
		.converts = true,
		.again = is_left_over(region, GM_STEP_POPULATE),
		.private_half = true,
	};
	int r;

	assert(region->domain->traits & GM_TRAIT_IN_PLACE);
	if (ticket.again)
		r = take_up(region, op, &copy, 1, spec, refusal);
	else
		r = gm_book_begin_populate(region, op, range, spec, digest, refusal);
	if (r)
		return r;
	gm_book_enter_job(&ticket);
	*ret_ticket = ticket;
	return 0;
}

void gm_book_extend_step(struct gm_region *region, uint64_t deadline_ms)
{
	assert(region->step);
	region->step->deadline_ms = deadline_ms;
	gm_mark_dirty(region->domain->tenant->marks, &region->mark);
}

/* What has happened is booked: a page for which the map has no room is lost. */
void gm_book_in_place_done(const struct gm_job_ticket *ticket, const struct gm_range *done)
{
	struct gm_region *region = ticket->region;
	uint64_t before = region->shared_bytes;
	uint64_t shared = 0;

	/* Shared as far as anybody can tell, until they are in. */
	if (is_population(region))
		return;
	(void)gm_book_apply_or_lose(region, ticket->op, done);
	gm_book_allocated(region);
	if (region->shared_bytes > before)
		shared = gm_min_u64(region->shared_bytes - before, region->step->bytes_to_share);
	region->step->bytes_to_share -= shared;
	region->domain->converting_bytes -= shared;
}

/* States of pages that are where @op leads. */
static unsigned states_after(enum gm_page_op op)
{
	const unsigned every = (1u << GM_PAGE_STATE_N_) - 1;
	const unsigned shared = 1u << GM_PAGE_SHARED;

	return op == GM_PAGE_OP_TO_SHARED ? shared | 1u << GM_PAGE_LOST : every & ~shared;
}

static void lose_unconverted(struct gm_region *region, enum gm_page_op op,
			     const struct gm_range *range)
{
	const unsigned converted = states_after(op);
	uint64_t end = range->offset + range->length;
	uint64_t at = gm_page_map_stretch(&region->map, range->offset, end, converted);

	while (at < end) {
		uint64_t to = gm_page_map_stretch(&region->map, at, end, ~converted);

		gm_book_lose_pages(region, &(struct gm_range){ at, to - at });
		at = to == end ? end : gm_page_map_stretch(&region->map, to, end, converted);
	}
}

static void drop_population(struct gm_region *region)
{
	gm_book_end_step(region);
	gm_book_drop_populate(region->domain);
}

void gm_book_drop_in_place(const struct gm_job_ticket *ticket)
{
	if (ticket->again)
		return;
	if (is_population(ticket->region))
		drop_population(ticket->region);
	else
		gm_book_end_step(ticket->region);
}

/* The launch may have been given up meanwhile. */
static void end_population(struct gm_region *region, const struct gm_range *range, uint64_t done,
			   enum gm_in_place_end how)
{
	static const struct gm_launch_failure why = {
		.text = "workers died while pages were made private: nobody knows which"
	};
	struct gm_domain *domain = region->domain;

	if (how == GM_IN_PLACE_DONE && domain->launch->state == GM_LAUNCH_POPULATING)
		return;
	if (how == GM_IN_PLACE_IN_DOUBT) {
		gm_book_lose_pages(region, range);
		if (domain->launch->state == GM_LAUNCH_POPULATING)
			gm_book_fail_launch(domain, &why);
	} else {
		(void)gm_book_apply_or_lose(region, GM_PAGE_OP_TO_PRIVATE,
					    &(struct gm_range){ range->offset, done });
	}
	gm_book_allocated(region);
	drop_population(region);
}

void gm_book_end_in_place(const struct gm_job_ticket *ticket, const struct gm_range *ranges,
			  size_t n_ranges, uint64_t done, enum gm_in_place_end how)
{
	struct gm_region *region = ticket->region;

	assert(ticket->converts);
	if (region->domain->dying)
		return;
	if (is_population(region)) {
		end_population(region, &ranges[0], done, how);
		return;
	}
	for (size_t i = 0; i < n_ranges && how == GM_IN_PLACE_IN_DOUBT; i++)
		lose_unconverted(region, ticket->op, &ranges[i]);
	gm_book_allocated(region);
	gm_book_end_step(region);
}
