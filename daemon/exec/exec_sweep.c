/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A conversion that was reported, but not cleaned up after, when the daemon was killed, and whose
 * ranges nobody has come back to tell: what it has left over is somewhere in the half that it gave
 * up, at pages that the map says are in the other one. There nothing else can be.
 */
#include <stdlib.h>

#include "exec.h"
#include "exec_job.h"

#define TRIES_MAX 3

struct sweep {
	struct gm_exec *exec;
	uint64_t step; /* id */
	uint64_t next; /* offset of what has not been looked at */
	unsigned n_tries;
	size_t n_ranges;
	struct gm_range ranges[GM_JOB_RANGES_MAX];
};

/* NULL: it has gone meanwhile, or is going. */
static struct gm_region *region_of(const struct sweep *sweep)
{
	struct gm_region *region;

	TAILQ_FOREACH(region, &sweep->exec->book->steps, step_link)
		if (region->step->id == sweep->step)
			return region->domain->dying ? NULL : region;
	return NULL;
}

/* A lost page may be in either half: nobody touches it. */
static bool is_in_other_half(const struct gm_region *region, enum gm_page_state state)
{
	if (region->step->op == GM_PAGE_OP_TO_SHARED)
		return state == GM_PAGE_SHARED;
	return state != GM_PAGE_SHARED && state != GM_PAGE_LOST;
}

static bool joins(const struct sweep *sweep, uint64_t offset)
{
	const struct gm_range *last;

	if (sweep->n_ranges == 0)
		return false;
	last = &sweep->ranges[sweep->n_ranges - 1];
	return last->offset + last->length == offset;
}

/* As many as one job takes; none: the sweep is over. */
static void collect(struct sweep *sweep, const struct gm_region *region)
{
	sweep->n_ranges = 0;
	while (sweep->next < region->size) {
		struct gm_page_run run;

		gm_page_map_run(&region->map, sweep->next, region->size, &run);
		if (is_in_other_half(region, run.state)) {
			if (joins(sweep, run.offset))
				sweep->ranges[sweep->n_ranges - 1].length += run.length;
			else if (sweep->n_ranges < GM_JOB_RANGES_MAX)
				sweep->ranges[sweep->n_ranges++] =
					(struct gm_range){ run.offset, run.length };
			else
				return;
		}
		sweep->next = run.offset + run.length;
	}
}

static void swept(void *arg, int result, const struct gm_refusal *refusal, uint64_t bytes);

static const struct gm_exec_job_ops sweep_ops = { .end = swept };

static int submit(struct sweep *sweep, struct gm_region *region)
{
	struct gm_refusal refusal = { 0 };
	struct gm_exec_job *job;

	/* To punch takes no memory: nobody has to pay for it, and nobody waits for it. */
	return gm_exec_free_half(sweep->exec, NULL, -1, region,
				 region->step->op == GM_PAGE_OP_TO_SHARED, sweep->ranges,
				 sweep->n_ranges, &sweep_ops, sweep, &job, &refusal);
}

/* True: a job is under way. */
static bool go_on(struct sweep *sweep, struct gm_region *region)
{
	collect(sweep, region);
	sweep->n_tries = 0;
	return sweep->n_ranges > 0 && submit(sweep, region) == 0;
}

static void swept(void *arg, int result, const struct gm_refusal *refusal, uint64_t bytes)
{
	struct sweep *sweep = arg;
	struct gm_region *region = region_of(sweep);

	(void)refusal;
	(void)bytes;
	if (region != NULL && result != 0 && ++sweep->n_tries < TRIES_MAX &&
	    submit(sweep, region) == 0)
		return;
	/* What cannot be freed is one batch at most, and in nobody's way. */
	if (region != NULL && go_on(sweep, region))
		return;
	if (region != NULL)
		gm_book_end_step(region);
	free(sweep);
}

void gm_exec_sweep(struct gm_exec *exec, struct gm_region *region)
{
	struct sweep *sweep = NULL;

	/* In quarantine its kind may be gone, or be no such one any more. */
	if (gm_book_check_usable(region, NULL) == 0)
		sweep = malloc(sizeof(*sweep));
	if (sweep == NULL) {
		gm_book_end_step(region);
		return;
	}
	sweep->exec = exec;
	sweep->step = region->step->id;
	sweep->next = 0;
	if (go_on(sweep, region))
		return;
	gm_book_end_step(region);
	free(sweep);
}
