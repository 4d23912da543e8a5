/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversions in place: by a worker, which unmaps the pages in all processes and waits for whoever
 * holds them. The loop never does: the file's lock is anybody's who has the file.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "book_in_place.h"
#include "exec_job.h"
#include "exec_launch.h"

/* Whoever kills workers may kill them for ever. */
#define TRIES_MAX 3

static int find_fault(const struct gm_exec *exec, size_t n_ranges, struct gm_refusal *refusal)
{
	if (exec->hub == NULL)
		return gm_refuse_text(refusal, GM_UNSUPPORTED, GM_RULE_WORKER, "host",
				      "this daemon runs without workers");
	if (n_ranges > GM_JOB_RANGES_MAX)
		return gm_refuse_numbers(refusal, GM_INVALID, GM_RULE_RANGES, "request",
					 GM_JOB_RANGES_MAX, 0, n_ranges);
	return 0;
}

/* What is put into shared pages can be written by others until it has been converted. */
static int spoil(const struct gm_domain *domain, uint8_t digest[GM_LAUNCH_DIGEST_SIZE])
{
	memcpy(digest, domain->launch->digest, GM_LAUNCH_DIGEST_SIZE);
	return gm_launch_spoil(digest, "pages were populated in place, from memory that its VMM "
				       "could still write");
}

int gm_exec_start_populate_in_place(struct gm_exec *exec, struct gm_session *session, int pidfd,
				    struct gm_region *region, const struct gm_range *range,
				    const struct gm_step_spec *spec,
				    const struct gm_exec_job_ops *ops, void *arg,
				    struct gm_exec_job **ret_job, struct gm_refusal *refusal)
{
	uint8_t digest[GM_LAUNCH_DIGEST_SIZE];
	struct gm_exec_job *job;
	int r;

	r = find_fault(exec, 1, refusal);
	if (r == 0)
		r = spoil(region->domain, digest);
	if (r != 0)
		return r;
	job = gm_exec_job_new(exec, range, 1, ops, arg);
	if (job == NULL)
		return -ENOMEM;
	r = gm_book_begin_in_place_population(session, region, range, spec, digest, &job->ticket,
					      refusal);
	if (r != 0) {
		free(job);
		return r;
	}
	return gm_exec_job_start(job, pidfd, /* share= */ NULL, ret_job, refusal);
}

int gm_exec_start_convert(struct gm_exec *exec, struct gm_session *session, int pidfd,
			  struct gm_region *region, enum gm_page_op op,
			  const struct gm_range *ranges, size_t n_ranges,
			  const struct gm_step_spec *spec, const struct gm_exec_job_ops *ops,
			  void *arg, struct gm_exec_job **ret_job, struct gm_refusal *refusal)
{
	struct gm_exec_job *job;
	int r;

	r = find_fault(exec, n_ranges, refusal);
	if (r != 0)
		return r;
	job = gm_exec_job_new(exec, ranges, n_ranges, ops, arg);
	if (job == NULL)
		return -ENOMEM;
	/* The job's own copy is what gets sorted. */
	r = gm_book_begin_in_place(session, region, op, job->ranges, n_ranges, spec, &job->ticket,
				   refusal);
	if (r != 0) {
		free(job);
		return r;
	}
	return gm_exec_job_start(job, pidfd, /* share= */ NULL, ret_job, refusal);
}

bool gm_exec_convert_again(struct gm_exec_job *job, enum gm_job_end how)
{
	if (!job->ticket.converts || how != GM_JOB_WORKER_LOST || job->cancelled ||
	    job->ticket.region->domain->dying)
		return false;
	/* What the dead one had done nobody knows: done again, it changes nothing there. */
	job->ticket.again = true;
	return ++job->n_tries < TRIES_MAX && gm_exec_job_repeat(job) == 0;
}

void gm_exec_convert_end(struct gm_exec_job *job, enum gm_job_end how, int result)
{
	enum gm_in_place_end end = result == 0 ? GM_IN_PLACE_DONE : GM_IN_PLACE_FAILED;

	if (how == GM_JOB_WORKER_LOST || (job->ticket.again && result != 0))
		end = GM_IN_PLACE_IN_DOUBT;
	if (job->ticket.converts)
		gm_book_end_in_place(&job->ticket, job->ranges, job->n_ranges, job->done, end);
}

int gm_exec_refuse_held(const struct gm_exec_job *job, struct gm_refusal *refusal)
{
	gm_refuse_text(refusal, GM_BUSY, GM_RULE_PAGES_HELD,
		       job->ticket.region->domain->tenant->account.name,
		       "a device or process holds pages from this offset on; %" PRIu64
		       " of %" PRIu64 " bytes were converted",
		       job->done, job->total);
	refusal->offset = job->held_at;
	refusal->limit = job->total;
	refusal->used = job->done;
	refusal->asked = job->total - job->done;
	refusal->sys_errno = EAGAIN;
	return GM_BUSY;
}
