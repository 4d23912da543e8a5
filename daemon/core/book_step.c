/* SPDX-License-Identifier: Apache-2.0 */
#include "book_step.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "book_launch.h"
#include "book_order.h"
#include "book_private.h"
#include "gm_cleanup.h"

/* The daemon launches it just now, or has: the memory is, or may be at any moment. */
static bool is_pinned(const struct gm_domain *domain)
{
	return (domain->traits & GM_TRAIT_DAEMON_LAUNCHES) &&
	       gm_domain_launch_state(domain) == GM_LAUNCH_FINISHING;
}

unsigned gm_domain_conditions(const struct gm_domain *domain)
{
	static const struct {
		enum gm_trait trait;
		unsigned condition;
	} of_traits[] = {
		{ GM_TRAIT_PRIVATE, GM_PAGE_HAS_PRIVATE },
		{ GM_TRAIT_MIRRORED, GM_PAGE_MIRRORED },
		{ GM_TRAIT_IN_PLACE, GM_PAGE_IN_PLACE },
		{ GM_TRAIT_DAEMON_LAUNCHES, GM_PAGE_DAEMON_LAUNCHES },
	};
	unsigned conditions = 0;

	for (size_t i = 0; i < GM_ARRAY_SIZE(of_traits); i++)
		if (domain->traits & of_traits[i].trait)
			conditions |= of_traits[i].condition;
	if (domain->running || is_pinned(domain))
		conditions |= GM_PAGE_RUNNING;
	if (domain->tenant->policy.discard_measured)
		conditions |= GM_PAGE_DISCARD_MEASURED;
	return conditions;
}

static void mark(struct gm_region *region)
{
	gm_mark_dirty(region->domain->tenant->marks, &region->mark);
}

static struct gm_object_name name_of(const struct gm_region *region)
{
	return gm_book_object("region", region->id.v);
}

int gm_book_check_step_idle(const struct gm_region *region, struct gm_refusal *refusal)
{
	if (!(region->domain->traits & GM_TRAIT_PRIVATE))
		return gm_refuse_text(
			refusal, GM_UNSUPPORTED, GM_RULE_PAGE_STATE, name_of(region).text,
			"memory of kind %s has no private pages", region->domain->kind);
	if (gm_domain_launch_state(region->domain) == GM_LAUNCH_FAILED) {
		gm_refuse(refusal, GM_WRONG_STATE, GM_RULE_LAUNCH_STATE,
			  gm_book_object("domain", region->domain->id.v).text);
		gm_book_tell_failure(region->domain, refusal);
		return GM_WRONG_STATE;
	}
	if (region->step || gm_book_is_freeing(region))
		return gm_refuse(refusal, GM_BUSY, GM_RULE_STEP_UNDER_WAY, name_of(region).text);
	if (region->n_jobs > 0)
		return gm_refuse(refusal, GM_BUSY, GM_RULE_JOBS_UNDER_WAY, name_of(region).text);
	return gm_book_check_usable(region, refusal);
}

static int refuse_early(const struct gm_region *region, const char *why, struct gm_refusal *refusal)
{
	return gm_refuse_text(refusal, GM_WRONG_STATE, GM_RULE_STEP, name_of(region).text, "%s",
			      why);
}

static int new_step(const struct gm_step_spec *spec, enum gm_step_kind kind,
		    const struct gm_range *ranges, size_t n_ranges, struct gm_step **ret_step)
{
	struct gm_step *step = calloc(1, sizeof(*step) + n_ranges * sizeof(*ranges));

	assert(spec->id != 0);
	if (!step)
		return -ENOMEM;
	*step = (struct gm_step){
		.id = spec->id,
		.kind = kind,
		.deadline_ms = spec->deadline_ms,
		.key = spec->key,
		.n_ranges = n_ranges,
	};
	if (n_ranges > 0)
		memcpy(step->ranges, ranges, n_ranges * sizeof(*ranges));
	step->digest = gm_siphash(&step->key, step->ranges, n_ranges * sizeof(*ranges));
	*ret_step = step;
	return 0;
}

int gm_book_restore_step(const struct gm_step_restore *from, struct gm_step **ret_step)
{
	const struct gm_step_spec spec = { .id = from->id,
					   .key = from->key,
					   .deadline_ms = from->deadline_ms };
	struct gm_step *step;
	int r = new_step(&spec, from->kind, NULL, 0, &step);

	if (r)
		return r;
	step->op = from->op;
	step->reported = from->reported;
	step->digest = from->digest;
	*ret_step = step;
	return 0;
}

void gm_book_enter_step(struct gm_region *region, struct gm_step *step)
{
	region->step = step;
	region->domain->converting_bytes += step->bytes_to_share;
	TAILQ_INSERT_TAIL(region->domain->tenant->steps, region, step_link);
	mark(region);
}

static int begin(struct gm_region *region, const struct gm_step_spec *spec, enum gm_step_kind kind)
{
	struct gm_step *step;
	int r;

	r = new_step(spec, kind, NULL, 0, &step);
	if (r == 0)
		gm_book_enter_step(region, step);
	return r;
}

int gm_book_begin_memory(struct gm_region *region, const struct gm_step_spec *spec,
			 struct gm_refusal *refusal)
{
	int r = gm_book_check_step_idle(region, refusal);

	if (r)
		return r;
	if (region->private_fd >= 0)
		return refuse_early(region, "the region has its private memory already", refusal);
	return begin(region, spec, GM_STEP_CREATE_MEMORY);
}

int gm_book_begin_bind(struct gm_region *region, const struct gm_step_spec *spec,
		       struct gm_refusal *refusal)
{
	int r = gm_book_check_step_idle(region, refusal);

	if (r)
		return r;
	if (region->private_fd < 0)
		return refuse_early(region, "the region has no private memory yet", refusal);
	if (region->bound)
		return refuse_early(region, "the region is bound already", refusal);
	return begin(region, spec, GM_STEP_BIND);
}

/* ---- conversion ---- */

static int check_granularity(const struct gm_region *region, const struct gm_range *ranges,
			     size_t n_ranges, struct gm_refusal *refusal)
{
	uint64_t granularity = region->domain->tenant->policy.conversion_granularity;

	for (size_t i = 0; i < n_ranges; i++) {
		uint64_t end = ranges[i].offset + ranges[i].length;

		/* The guest sees addresses; a region may end within a granule. */
		if (gm_is_aligned(region->gpa + ranges[i].offset, granularity) &&
		    (end == region->size || gm_is_aligned(region->gpa + end, granularity)))
			continue;
		gm_refuse_numbers(refusal, GM_INVALID, GM_RULE_CONVERSION_GRANULARITY,
				  name_of(region).text, granularity, 0, ranges[i].length);
		if (refusal)
			refusal->offset = ranges[i].offset;
		return GM_INVALID;
	}
	return 0;
}

uint64_t gm_book_count_to_share(const struct gm_region *region, enum gm_page_op op,
				const struct gm_range *ranges, size_t n_ranges)
{
	uint64_t bytes = 0;

	if (op != GM_PAGE_OP_TO_SHARED)
		return 0;
	for (size_t i = 0; i < n_ranges; i++)
		bytes += ranges[i].length - gm_page_map_count(&region->map, ranges[i].offset,
							      ranges[i].length, GM_PAGE_SHARED);
	return bytes;
}

static bool fits_shared_max(const struct gm_domain *domain, uint64_t bytes, uint64_t *ret_used)
{
	uint64_t limit = domain->tenant->policy.shared_max;

	*ret_used = domain->shared_bytes + domain->converting_bytes;
	return bytes == 0 || (*ret_used <= limit && bytes <= limit - *ret_used);
}

/* Nothing is refused for room that is only set aside. */
static int check_shared_max(struct gm_region *region, uint64_t bytes, struct gm_refusal *refusal)
{
	struct gm_domain *domain = region->domain;
	uint64_t limit = domain->tenant->policy.shared_max;
	uint64_t used;

	if (fits_shared_max(domain, bytes, &used))
		return 0;
	gm_book_take_rooms(domain);
	if (fits_shared_max(domain, bytes, &used))
		return 0;
	return gm_refuse_numbers(refusal, GM_OVER_LIMIT, GM_RULE_SHARED_MAX,
				 gm_book_object("domain", domain->id.v).text, limit, used, bytes);
}

int gm_book_begin_convert(struct gm_region *region, enum gm_page_op op, struct gm_range *ranges,
			  size_t n_ranges, const struct gm_step_spec *spec,
			  struct gm_refusal *refusal)
{
	struct gm_step *step;
	uint64_t bytes;
	int r;

	assert(op == GM_PAGE_OP_TO_SHARED || op == GM_PAGE_OP_TO_PRIVATE);
	r = gm_book_check_step_idle(region, refusal);
	if (r)
		return r;
	if (!region->bound)
		return refuse_early(region, "the region is not bound to a VM yet", refusal);
	r = gm_book_check_ranges(region, ranges, n_ranges, refusal);
	if (r == 0)
		r = check_granularity(region, ranges, n_ranges, refusal);
	if (r == 0)
		r = gm_book_check_pages(region, op, ranges, n_ranges, refusal);
	if (r)
		return r;
	bytes = gm_book_count_to_share(region, op, ranges, n_ranges);
	r = check_shared_max(region, bytes, refusal);
	if (r == 0)
		r = new_step(spec, GM_STEP_CONVERT, ranges, n_ranges, &step);
	if (r)
		return r;
	step->op = op;
	step->bytes_to_share = bytes;
	gm_book_enter_step(region, step);
	return 0;
}

int gm_book_enter_populate(struct gm_region *region, enum gm_page_op op,
			   const struct gm_range *range, const struct gm_step_spec *spec)
{
	struct gm_step *step;
	int r;

	r = new_step(spec, GM_STEP_POPULATE, range, 1, &step);
	if (r)
		return r;
	step->op = op;
	gm_book_enter_step(region, step);
	return 0;
}

/* ---- reports ---- */

int gm_book_refuse_report(const struct gm_region *region, const char *why,
			  struct gm_refusal *refusal)
{
	return gm_refuse_text(refusal, GM_INVALID, GM_RULE_STEP, name_of(region).text, "%s", why);
}

/*
 * A job makes the pages private that the VMM populates then. One that asks again while it has the
 * step already has it no more until that job ends.
 */
static bool is_the_daemons(const struct gm_region *region)
{
	return region->step->kind == GM_STEP_POPULATE && region->n_jobs > 0;
}

int gm_book_find_step(const struct gm_region *region, uint64_t id, enum gm_step_kind kind,
		      struct gm_refusal *refusal)
{
	const struct gm_step *step = region->step;
	int r = gm_book_check_usable(region, refusal);

	if (r)
		return r;
	if (!step || step->id != id || step->reported || is_the_daemons(region))
		return gm_book_refuse_report(region, "no such step is under way", refusal);
	if (step->kind != kind)
		return gm_book_refuse_report(region, "the step under way is of another kind",
					     refusal);
	return 0;
}

/* No page of the range is in the half that the step has given up. */
static bool is_converted(const struct gm_region *region, const struct gm_range *range)
{
	uint64_t shared =
		gm_page_map_count(&region->map, range->offset, range->length, GM_PAGE_SHARED);
	uint64_t lost = gm_page_map_count(&region->map, range->offset, range->length, GM_PAGE_LOST);

	return region->step->op == GM_PAGE_OP_TO_SHARED ? shared + lost == range->length
							: shared == 0;
}

int gm_book_check_reported(const struct gm_region *region, const struct gm_range *ranges,
			   size_t n_ranges, size_t n_done, struct gm_refusal *refusal)
{
	const struct gm_step *step = region->step;

	assert(step && step->kind == GM_STEP_CONVERT && step->reported);
	if (gm_siphash(&step->key, ranges, n_ranges * sizeof(*ranges)) != step->digest)
		return gm_book_refuse_report(region, "the ranges are not those of the step",
					     refusal);
	for (size_t i = 0; i < n_done; i++)
		if (i >= n_ranges || !is_converted(region, &ranges[i]))
			return gm_book_refuse_report(
				region, "it was reported with fewer ranges done", refusal);
	return 0;
}

bool gm_book_is_reported(const struct gm_region *region, uint64_t id)
{
	return region->step && region->step->id == id && region->step->reported &&
	       region->n_jobs == 0 && gm_book_check_usable(region, NULL) == 0;
}

static bool is_file(const struct gm_file_id *a, const struct gm_file_id *b)
{
	return a->inode == b->inode && a->device == b->device;
}

bool gm_book_has_file(const struct gm_book *book, const struct gm_file_id *file)
{
	const struct gm_hash_node *node = NULL;

	while ((node = gm_hash_next(book->regions, node)) != NULL) {
		const struct gm_region *region = GM_CONTAINER_OF(node, struct gm_region, hash);

		if ((region->private_fd >= 0 && is_file(&region->private_file, file)) ||
		    (region->fd >= 0 && is_file(&region->file, file)))
			return true;
	}
	return false;
}

int gm_book_check_memory(const struct gm_book *book, const struct gm_region *region,
			 const struct gm_file_id *file, struct gm_refusal *refusal)
{
	if (gm_book_has_file(book, file))
		return gm_refuse_text(refusal, GM_EXISTS, GM_RULE_FD, name_of(region).text,
				      "the file belongs to a region already");
	return 0;
}

void gm_book_memory_made(struct gm_region *region, int fd, const struct gm_file_id *file)
{
	assert(region->step && region->step->kind == GM_STEP_CREATE_MEMORY);
	region->private_fd = fd;
	region->private_file = *file;
	gm_book_end_step(region);
}

void gm_book_bound(struct gm_region *region)
{
	assert(region->step && region->step->kind == GM_STEP_BIND);
	region->bound = true;
	gm_book_end_step(region);
}

int gm_book_converted(struct gm_region *region, const struct gm_range *ranges, size_t n_ranges,
		      size_t n_done, uint64_t *ret_bytes, struct gm_refusal *refusal)
{
	struct gm_step *step = region->step;
	uint64_t bytes = 0;

	assert(step && step->kind == GM_STEP_CONVERT && !step->reported);
	if (n_done > n_ranges ||
	    gm_siphash(&step->key, ranges, n_ranges * sizeof(*ranges)) != step->digest)
		return gm_book_refuse_report(region, "the ranges are not those of the step",
					     refusal);
	for (size_t i = 0; i < n_done; i++) {
		(void)gm_book_apply_or_lose(region, step->op, &ranges[i]);
		bytes += ranges[i].length;
	}
	gm_book_allocated(region);
	region->domain->converting_bytes -= step->bytes_to_share;
	step->bytes_to_share = 0;
	step->reported = true;
	mark(region);
	*ret_bytes = bytes;
	return 0;
}

void gm_book_begin_freeing(struct gm_session *session, struct gm_region *region, bool private_half,
			   struct gm_job_ticket *ret_ticket)
{
	assert(region->order.frees || (region->step && region->step->reported));
	*ret_ticket = (struct gm_job_ticket){
		.region = region,
		.session = session,
		.op = GM_PAGE_OP_DISCARD,
		.frees_half = true,
		.private_half = private_half,
	};
	gm_book_enter_job(ret_ticket);
}

void gm_book_lose_ranges(struct gm_region *region, const struct gm_range *ranges, size_t n_ranges)
{
	for (size_t i = 0; i < n_ranges; i++)
		gm_book_lose_pages(region, &ranges[i]);
	gm_book_allocated(region);
}

void gm_book_forget_step(struct gm_region *region)
{
	struct gm_step *step = region->step;

	if (!step)
		return;
	region->domain->converting_bytes -= step->bytes_to_share;
	TAILQ_REMOVE(region->domain->tenant->steps, region, step_link);
	region->step = NULL;
	free(step);
}

void gm_book_end_step(struct gm_region *region)
{
	gm_book_forget_step(region);
	mark(region);
}

void gm_book_lose_step(struct gm_region *region)
{
	const struct gm_step *step = region->step;
	const struct gm_range all = { .offset = 0, .length = region->size };
	static const struct gm_launch_failure lost = {
		.text = "a population was not reported in time"
	};

	if (step->kind == GM_STEP_POPULATE && region->domain->launch->state == GM_LAUNCH_POPULATING)
		gm_book_fail_launch(region->domain, &lost);
	if (step->kind == GM_STEP_POPULATE || (step->kind == GM_STEP_CONVERT && !step->reported)) {
		for (size_t i = 0; i < step->n_ranges; i++)
			gm_book_lose_pages(region, &step->ranges[i]);
		if (step->n_ranges == 0)
			gm_book_lose_pages(region, &all);
	} else if (step->kind == GM_STEP_BIND) {
		gm_book_lose_pages(region, &all);
	}
	gm_book_allocated(region);
	gm_book_end_step(region);
}

struct gm_region *gm_book_overdue_step(const struct gm_book *book, uint64_t now_ms)
{
	struct gm_region *region;

	/* What a job of the daemon's own carries out ends with that. */
	TAILQ_FOREACH(region, &book->steps, step_link)
		if (!region->step->reported && region->n_jobs == 0 &&
		    region->step->deadline_ms <= now_ms)
			return region;
	return NULL;
}

struct gm_region *gm_book_unfinished_step(const struct gm_book *book, uint64_t now_ms)
{
	struct gm_region *region;

	TAILQ_FOREACH(region, &book->steps, step_link)
		if (region->step->reported && region->n_jobs == 0 && !region->domain->dying &&
		    region->step->deadline_ms <= now_ms)
			return region;
	return NULL;
}
