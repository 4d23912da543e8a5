/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After a worker has died, or the daemon with it: which of the pages that it had not reported are
 * there?
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
	struct gm_region *region;
	struct gm_exec_job *job; /* NULL: it ended with an earlier daemon */
	int fd;
	int (*present)(int fd, uint64_t offset, uint64_t length, uint64_t page_size,
		       uint64_t *ret_bytes);
	enum gm_page_op op;
	unsigned from;		 /* bits: states of which the job makes another */
	enum gm_page_state next; /* and what it leaves behind */
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
	return look->op == GM_PAGE_OP_ALLOCATE ? present : length - present;
}

static void book(struct look *look, uint64_t offset, uint64_t length)
{
	struct gm_refusal refusal;

	if (look->job != NULL)
		gm_exec_book_part(look->job, offset, length);
	else if (gm_book_restore_pages(look->region,
				       &(struct gm_range){ .offset = offset, .length = length },
				       look->next, &refusal) != 0)
		look->looks_left = 0;
}

/* Halves a piece until each part is of one sort: at most nine levels, one more per page size. */
static void look_at(struct look *look, uint64_t offset, uint64_t length)
{
	const struct gm_region *region = look->region;
	uint64_t present;
	uint64_t dealt;
	uint64_t half;

	if (!may_look(look))
		return;
	look->looks_left--;
	if (look->present(look->fd, offset, length, region->page_size, &present) != 0 ||
	    present > length) {
		look->looks_left = 0;
		return;
	}
	look->found_left -= gm_min_u64(present, look->found_left);
	dealt = dealt_with(look, length, present);
	if (dealt == length) {
		book(look, offset, length);
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
	uint64_t piece = gm_max_u64(PIECE, look->region->page_size);

	while (offset < end && may_look(look)) {
		uint64_t next = gm_min_u64(gm_align_down(offset, piece) + piece, end);

		look_at(look, offset, next - offset);
		offset = next;
	}
}

static void look_at_range(struct look *look, const struct gm_range *range)
{
	const struct gm_page_map *map = &look->region->map;
	uint64_t offset = range->offset;
	uint64_t end = range->offset + range->length;

	while (offset < end && may_look(look)) {
		struct gm_page_run run;

		gm_page_map_run(map, offset, end, &run);
		if (look->from & 1U << run.state)
			look_at_run(look, run.offset, run.offset + run.length);
		offset = run.offset + run.length;
	}
}

/*
 * Kinds with private memory: what is allocated stays in the state that it is in, and so do shared
 * pages that are discarded. Only a page that is the guest's own becomes absent, and where it was
 * measured its content is in a digest: a look cannot tell what that was, so no restart forgets it.
 */
static struct look look_new_half(const struct gm_private_half *half, struct gm_region *region,
				 enum gm_page_op op)
{
	return (struct look){
		.region = region,
		.fd = region->private_fd,
		.present = half->present,
		.op = op,
		.from = op == GM_PAGE_OP_DISCARD ? 1U << GM_PAGE_PRIVATE : 0,
		.next = GM_PAGE_ABSENT,
		.looks_left = region->private_fd >= 0 ? LOOKS_MAX : 0,
		.found_left = FOUND_MAX,
	};
}

static struct look look_new(const struct gm_exec *exec, struct gm_region *region,
			    enum gm_page_op op)
{
	const struct gm_backend *backend = gm_exec_find(exec, region->domain->kind)->backend;
	bool allocate = op == GM_PAGE_OP_ALLOCATE;

	if (region->domain->traits & GM_TRAIT_PRIVATE)
		return look_new_half(backend->private_half, region, op);
	return (struct look){
		.region = region,
		.fd = region->fd,
		.present = backend->present,
		.op = op,
		.from = 1U << (allocate ? GM_PAGE_ABSENT : GM_PAGE_SHARED),
		.next = allocate ? GM_PAGE_SHARED : GM_PAGE_ABSENT,
		.looks_left = LOOKS_MAX,
		.found_left = FOUND_MAX,
	};
}

void gm_exec_look(struct gm_exec_job *job)
{
	struct look look = look_new(job->exec, job->ticket.region, job->ticket.op);

	look.job = job;
	for (size_t i = 0; i < job->n_ranges && may_look(&look); i++)
		look_at_range(&look, &job->ranges[i]);
}

/* The ranges of the jobs are not on record: the whole region is looked at. */
void gm_exec_look_again(const struct gm_exec *exec, struct gm_region *region, unsigned ops)
{
	for (enum gm_page_op op = 0; op < GM_PAGE_OP_JOBS_N_; op++) {
		struct look look;

		if ((ops & 1U << op) == 0)
			continue;
		look = look_new(exec, region, op);
		look_at_range(&look, &(struct gm_range){ .offset = 0, .length = region->size });
	}
}
