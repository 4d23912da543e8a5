/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocate and discard in the caller's thread. A job that was started is done chunk by chunk, one
 * at each gmem_dispatch, so that the program's event loop goes on turning.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "builtin.h"
#include "gm_cleanup.h"
#include "gm_verdict.h"
#include "gm_version.h"

struct gm_builtin_job {
	struct gm_builtin_job *next; /* gm_builtin::jobs */
	enum gm_job_kind kind;
	uint64_t region; /* by id: the handle may go */
	struct gmem_job_callbacks callbacks;
	uint64_t done;
	uint64_t total;
	size_t current;	 /* range */
	uint64_t within; /* bytes of it that are done */
	size_t n_ranges;
	struct gmem_range ranges[];
};

static int compare_ranges(const void *a, const void *b)
{
	const struct gmem_range *left = a;
	const struct gmem_range *right = b;

	return (left->offset > right->offset) - (left->offset < right->offset);
}

static int check_range(struct gmem_client *client, const struct gmem_region *region,
		       const struct gmem_range *range)
{
	uint64_t end;
	int rule = GM_RULE_NONE;

	if (range->length == 0 || !gm_is_aligned(range->length, region->page_size))
		return gm_fail_numbers(client, GMEM_INVALID, GM_RULE_SIZE, "a range",
				       region->page_size, 0, range->length);
	if (!gm_is_aligned(range->offset, region->page_size))
		return gm_fail_numbers(client, GMEM_INVALID, GM_RULE_OFFSET, "a range",
				       region->page_size, 0, range->offset);
	if (gm_add_overflows(range->offset, range->length, &end))
		rule = GM_RULE_OVERFLOW;
	else if (end > region->size)
		rule = GM_RULE_RANGE;
	if (rule)
		return gm_fail_numbers(client, GMEM_INVALID, rule, "a range", region->size,
				       range->offset, range->length);
	return 0;
}

/* Sorts the job's ranges and checks them. */
static int check_ranges(struct gmem_client *client, const struct gmem_region *region,
			struct gm_builtin_job *job)
{
	for (size_t i = 0; i < job->n_ranges; i++) {
		int r = check_range(client, region, &job->ranges[i]);

		if (r < 0)
			return r;
	}
	qsort(job->ranges, job->n_ranges, sizeof(job->ranges[0]), compare_ranges);
	for (size_t i = 0; i < job->n_ranges; i++) {
		const struct gmem_range *range = &job->ranges[i];

		if (i + 1 < job->n_ranges && range->offset + range->length > range[1].offset)
			return gm_fail(client, GMEM_INVALID, GM_RULE_RANGES,
				       "Two ranges overlap at offset %llu (ranges).",
				       (unsigned long long)range[1].offset);
		job->total += range->length;
	}
	return 0;
}

/* NULL when it is refused, with the client's failure set. */
static struct gm_builtin_job *new_job(struct gmem_region *region, enum gm_job_kind kind,
				      const struct gmem_range *ranges, size_t n_ranges)
{
	struct gmem_client *client = region->domain->client;
	_gm_free_ struct gm_builtin_job *job = NULL;

	if (n_ranges > GM_RANGES_MAX) {
		(void)gm_fail_numbers(client, GMEM_INVALID, GM_RULE_RANGES, "one request",
				      GM_RANGES_MAX, 0, n_ranges);
		return NULL;
	}
	job = calloc(1, sizeof(*job) + n_ranges * sizeof(job->ranges[0]));
	if (!job) {
		(void)gm_fail_errno(client, ENOMEM, "a job");
		return NULL;
	}
	job->kind = kind;
	job->region = region->id;
	job->n_ranges = n_ranges;
	memcpy(job->ranges, ranges, n_ranges * sizeof(*ranges));
	if (check_ranges(client, region, job) < 0)
		return NULL;
	return gm_take_ptr(&job);
}

/* A discarded hugepage has gone back to the pool: ask for one again, as at the region's birth. */
static void reserve_again(const struct gmem_region *region, uint64_t offset, uint64_t length)
{
	void *address;

	if (region->page_size == GM_PAGE_4K)
		return;
	address = mmap(NULL, length, PROT_NONE, MAP_SHARED, region->fd, (off_t)offset);
	if (address != MAP_FAILED)
		(void)munmap(address, length);
}

static int work(const struct gmem_region *region, enum gm_job_kind kind, uint64_t offset,
		uint64_t length)
{
	/* guest_memfd takes no other modes (kvm_gmem_fallocate). */
	int mode = FALLOC_FL_KEEP_SIZE;
	int r;

	if (kind == GM_JOB_DISCARD)
		mode |= FALLOC_FL_PUNCH_HOLE;
	/* A signal undoes or cuts short the call; it may be repeated. */
	do {
		r = fallocate(region->fd, mode, (off_t)offset, (off_t)length);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	if (kind == GM_JOB_DISCARD) {
		reserve_again(region, offset, length);
		return gm_extents_remove(region->builtin, offset, length);
	}
	return gm_extents_add(region->builtin, offset, length);
}

static int fail_work(struct gmem_client *client, const struct gm_builtin_job *job, int error)
{
	if (error != -ENOMEM && error != -ENOSPC)
		return gm_fail_errno(client, error, "fallocate");
	return gm_fail(client, GMEM_NO_RESOURCE, 0,
		       "The host has no memory for the rest: %llu of %llu bytes were dealt with.",
		       (unsigned long long)job->done, (unsigned long long)job->total);
}

/* One chunk. 1: more to do; 0: all done; negative: failed. */
static int step(struct gmem_client *client, struct gm_builtin_job *job)
{
	const struct gmem_range *range = &job->ranges[job->current];
	struct gmem_region *region = gm_client_find_region(client, job->region);
	uint64_t length;
	int r;

	if (!region)
		return gm_fail(client, GMEM_CANCELLED, 0,
			       "The region was destroyed while the job was under way.");
	length = gm_min_u64(range->length - job->within, gm_max_u64(GM_CHUNK, region->page_size));
	r = work(region, job->kind, range->offset + job->within, length);
	if (r < 0)
		return fail_work(client, job, r);
	job->done += length;
	job->within += length;
	if (job->within < range->length)
		return 1;
	job->within = 0;
	job->current++;
	return job->current < job->n_ranges;
}

/* After a chunk that was not the last. 1, or -GMEM_CANCELLED. */
static int report(struct gmem_client *client, const struct gm_builtin_job *job)
{
	const struct gmem_job_callbacks *callbacks = &job->callbacks;

	if (!callbacks->progress || !callbacks->progress(callbacks->arg, job->done, job->total))
		return 1;
	return gm_fail(client, GMEM_CANCELLED, 0,
		       "The program cancelled the job after %llu of %llu bytes.",
		       (unsigned long long)job->done, (unsigned long long)job->total);
}

int gm_builtin_job_run(struct gmem_region *region, enum gm_job_kind kind,
		       const struct gmem_range *ranges, size_t n_ranges, gmem_progress_fn progress,
		       void *arg)
{
	struct gmem_client *client = region->domain->client;
	_gm_free_ struct gm_builtin_job *job = new_job(region, kind, ranges, n_ranges);
	int r;

	if (!job)
		return -client->failure.status;
	job->callbacks = (struct gmem_job_callbacks){ .progress = progress, .arg = arg };
	do {
		r = step(client, job);
		if (r > 0)
			r = report(client, job);
	} while (r > 0);
	if (r == 0)
		gm_client_clear(client);
	return r;
}

/* The fd is readable exactly while there are jobs. */
static void set_readable(const struct gm_builtin *builtin)
{
	eventfd_t count;

	/* Neither can fail: the fd is ours, does not block, and counts to one. */
	(void)eventfd_read(builtin->event_fd, &count);
	if (builtin->jobs)
		(void)eventfd_write(builtin->event_fd, 1);
}

int gm_builtin_job_start(struct gmem_region *region, enum gm_job_kind kind,
			 const struct gmem_range *ranges, size_t n_ranges,
			 const struct gmem_job_callbacks *callbacks)
{
	struct gm_builtin_job *job = new_job(region, kind, ranges, n_ranges);
	struct gmem_client *client = region->domain->client;
	struct gm_builtin *builtin = client->builtin;
	struct gm_builtin_job **slot = &builtin->jobs;

	if (!job)
		return -client->failure.status;
	job->callbacks = *callbacks;
	while (*slot)
		slot = &(*slot)->next;
	*slot = job;
	set_readable(builtin);
	return 0;
}

/* Ends @job, which is in no list. */
static void end_job(struct gmem_client *client, struct gm_builtin_job *job, int status)
{
	/* gmem_error is valid in the callback, and a progress callback may have left its own. */
	if (status == 0)
		gm_client_clear(client);
	if (job->callbacks.done)
		job->callbacks.done(job->callbacks.arg, status, job->done);
	free(job);
}

int gm_builtin_dispatch(struct gmem_client *client)
{
	struct gm_builtin *builtin = client->builtin;
	struct gm_builtin_job *job = builtin->jobs;
	int r;

	if (!job)
		return gm_fail(client, GMEM_AGAIN, 0, "No job is under way.");
	/* Out of the list: the callbacks may dispatch again, or start other jobs. */
	builtin->jobs = job->next;
	job->next = NULL;
	r = step(client, job);
	if (r > 0)
		r = report(client, job);
	if (r > 0) {
		job->next = builtin->jobs;
		builtin->jobs = job;
	} else {
		end_job(client, job, r);
	}
	set_readable(builtin);
	gm_client_clear(client);
	return 0;
}

void gm_builtin_end_jobs(struct gmem_client *client)
{
	struct gm_builtin *builtin = client->builtin;
	struct gm_builtin_job *job;

	while ((job = builtin->jobs)) {
		builtin->jobs = job->next;
		end_job(client, job,
			gm_fail(client, GMEM_CANCELLED, 0, "The client was disconnected."));
	}
}

uint32_t gm_builtin_count_jobs(const struct gmem_client *client, uint64_t region)
{
	uint32_t n = 0;

	for (const struct gm_builtin_job *job = client->builtin->jobs; job; job = job->next)
		n += region == 0 || job->region == region;
	return n;
}
