/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After a worker has died: which of the pages that it had not reported are there?
 */
#include "exec_job.h"

/* A worker reports parts of about this size, so that most pieces are whole or untouched. */
#define PIECE GM_PAGE_2M

/*
 * What one job may cost the loop: cachestat(2) takes about a microsecond, and 50 to 100 ns for each
 * page that it finds, so some milliseconds each.
 */
#define LOOKS_MAX 4096
#define FOUND_MAX (UINT64_C(256) * GM_MIB)

struct look {
	struct gm_exec_job *job;
	const struct gm_backend *backend;
	enum gm_page_state next; /* what the job leaves behind */
	unsigned looks_left;
	uint64_t found_left; /* bytes */
};

static bool may_look(const struct look *look)
{
	return look->looks_left > 0 && look->found_left > 0;
}

/* A page that the job has dealt with is present after ALLOCATE and gone after DISCARD. */
static uint64_t dealt_with(const struct look *look, uint64_t length, uint64_t present)
{
	return look->job->ticket.op == GM_PAGE_OP_ALLOCATE ? present : length - present;
}

/* Halves a piece until each part is of one sort: at most nine levels, one more per page size. */
static void look_at(struct look *look, uint64_t offset, uint64_t length)
{
	const struct gm_region *region = look->job->ticket.region;
	uint64_t present;
	uint64_t dealt;
	uint64_t half;

	if (!may_look(look))
		return;
	look->looks_left--;
	if (look->backend->present(region->fd, offset, length, region->page_size, &present) != 0 ||
	    present > length) {
		look->looks_left = 0;
		return;
	}
	look->found_left -= gm_min_u64(present, look->found_left);
	dealt = dealt_with(look, length, present);
	if (dealt == length) {
		gm_exec_book_part(look->job, offset, length);
		return;
	}
	half = gm_align_down(length / 2, region->page_size);
	if (dealt == 0 || half == 0)
		return;
	look_at(look, offset, half);
	look_at(look, offset + half, length - half);
}

/* [offset, end) is one run that nobody has reported. */
static void look_at_run(struct look *look, uint64_t offset, uint64_t end)
{
	uint64_t piece = gm_max_u64(PIECE, look->job->ticket.region->page_size);

	while (offset < end && may_look(look)) {
		uint64_t next = gm_min_u64(gm_align_down(offset, piece) + piece, end);

		look_at(look, offset, next - offset);
		offset = next;
	}
}

static void look_at_range(struct look *look, const struct gm_range *range)
{
	const struct gm_page_map *map = &look->job->ticket.region->map;
	uint64_t offset = range->offset;
	uint64_t end = range->offset + range->length;

	while (offset < end && may_look(look)) {
		struct gm_page_run run;

		gm_page_map_run(map, offset, end, &run);
		if (run.state != look->next)
			look_at_run(look, run.offset, run.offset + run.length);
		offset = run.offset + run.length;
	}
}

void gm_exec_look(struct gm_exec_job *job)
{
	const struct gm_exec_backend *slot =
		gm_exec_find(job->exec, job->ticket.region->domain->kind);
	struct look look = {
		.job = job,
		.backend = slot->backend,
		.next = job->ticket.op == GM_PAGE_OP_ALLOCATE ? GM_PAGE_SHARED : GM_PAGE_ABSENT,
		.looks_left = LOOKS_MAX,
		.found_left = FOUND_MAX,
	};

	for (size_t i = 0; i < job->n_ranges && may_look(&look); i++)
		look_at_range(&look, &job->ranges[i]);
}
