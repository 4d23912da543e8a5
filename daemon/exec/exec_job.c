/* SPDX-License-Identifier: Apache-2.0 */
#include "exec_job.h"
#include "book_in_place.h"
#include "exec_charge.h"
#include "exec_launch.h"
#include "exec_share.h"
#include "gm_cleanup.h"
#include "gm_fault.h"
#include "gm_fd.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* Below this a second thread costs more than it brings. */
#define BYTES_PER_THREAD (UINT64_C(8) * GM_MIB)
/* To hash takes ten times as long as to allocate. */
#define HASHED_PER_THREAD (UINT64_C(512) * GM_KIB)

static const enum gm_job_verb verbs[] = {
	[GM_PAGE_OP_ALLOCATE] = GM_JOB_ALLOCATE,
	[GM_PAGE_OP_DISCARD] = GM_JOB_DISCARD,
	[GM_PAGE_OP_TO_SHARED] = GM_JOB_MAKE_SHARED,
	[GM_PAGE_OP_TO_PRIVATE] = GM_JOB_MAKE_PRIVATE,
};
_Static_assert(GM_ARRAY_SIZE(verbs) >= GM_PAGE_OP_JOBS_N_, "every job is a verb of the workers");
_Static_assert(sizeof(struct gm_job_range) == sizeof(struct gm_range), "ranges are copied as such");

/* Not more in all than was asked for, and within the ranges: over some that touch, it may be. */
static bool is_asked_for(const struct gm_exec_job *job, const struct gm_job_range *part)
{
	uint64_t at = part->offset;
	uint64_t end;

	if (part->length > job->total - job->done || gm_add_overflows(at, part->length, &end) ||
	    !gm_is_aligned(part->offset | part->length, GM_PAGE_4K))
		return false;
	/* The books have sorted the ranges. */
	for (size_t i = 0; i < job->n_ranges && at < end; i++) {
		const struct gm_range *range = &job->ranges[i];

		if (at >= range->offset && at - range->offset < range->length)
			at = range->offset + range->length;
	}
	return at >= end;
}

void gm_exec_book_part(struct gm_exec_job *job, uint64_t offset, uint64_t length)
{
	struct gm_refusal refusal = { 0 };
	int r;

	r = gm_book_job_progress(
		&job->ticket, &(struct gm_range){ .offset = offset, .length = length }, &refusal);
	if (r != 0) {
		if (job->result == 0) {
			job->result = r;
			job->refusal = refusal;
		}
		return;
	}
	job->done += length;
}

static void on_progress(void *arg, const struct gm_job_range *part)
{
	struct gm_exec_job *job = arg;

	/* A worker has no way into the books beyond its own job. */
	if (part->length == 0 || !is_asked_for(job, part))
		return;
	gm_exec_book_part(job, part->offset, part->length);
	GM_FAULT_POINT("job: part booked");
	if (job->ops->progress != NULL)
		job->ops->progress(job->arg, job->done, job->total);
}

static int refuse_worker_lost(const struct gm_exec_job *job, int status, struct gm_refusal *refusal)
{
	const char *tenant = job->ticket.region->domain->tenant->account.name;
	enum gm_rule rule = GM_RULE_WORKER;

	if (status < 0) {
		gm_refuse_text(refusal, GM_WORKER_LOST, rule, tenant,
			       "no worker process could be started: %s", strerrordesc_np(-status));
		refusal->sys_errno = (uint32_t)-status;
		return GM_WORKER_LOST;
	}
	if (gm_exec_was_oom_killed(job))
		return gm_exec_refuse_memory(job, GM_WORKER_LOST, refusal);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return gm_refuse_text(refusal, GM_WORKER_LOST, GM_RULE_MEMORY_CGROUP, tenant,
				      "the worker was killed after %" PRIu64 " of %" PRIu64
				      " bytes; the usual cause is the out-of-memory killer: "
				      "see the kernel log and the memory limit of the cgroup",
				      job->done, job->total);
	if (WIFSIGNALED(status))
		return gm_refuse_text(refusal, GM_WORKER_LOST, rule, tenant,
				      "the worker died of signal %d after %" PRIu64 " of %" PRIu64
				      " bytes",
				      WTERMSIG(status), job->done, job->total);
	return gm_refuse_text(refusal, GM_WORKER_LOST, rule, tenant,
			      "the worker exited with status %d after %" PRIu64 " of %" PRIu64
			      " bytes",
			      WEXITSTATUS(status), job->done, job->total);
}

/* @error: why no worker could be put where the job is to be charged. */
static int refuse_displaced(const struct gm_exec_job *job, int error, struct gm_refusal *refusal)
{
	gm_refuse_text(refusal, GM_NO_RESOURCE, GM_RULE_MEMORY_CGROUP,
		       job->ticket.region->domain->tenant->account.name,
		       "the worker could not be put into the cgroup of process %d: %s",
		       (int)job->ticket.session->peer.pid, strerrordesc_np(-error));
	refusal->sys_errno = (uint32_t)-error;
	return GM_NO_RESOURCE;
}

/* @error: the positive errno of a thread. */
static int refuse_error(const struct gm_exec_job *job, int error, struct gm_refusal *refusal)
{
	bool huge = job->ticket.region->page_size > GM_PAGE_4K;

	if (error == EAGAIN && job->ticket.converts)
		return gm_exec_refuse_held(job, refusal);
	/* fallocate: ENOSPC is an empty hugepage pool or group, ENOMEM a full host or cgroup. */
	if (error != ENOMEM && error != ENOSPC)
		return -error;
	if (gm_exec_refuse_hugepages(job, refusal) != 0) {
		refusal->sys_errno = (uint32_t)error;
		return GM_NO_RESOURCE;
	}
	gm_refuse_text(refusal, GM_NO_RESOURCE,
		       huge ? GM_RULE_HUGE_PAGES_FREE : GM_RULE_MEMORY_CGROUP, "host",
		       "no %s left after %" PRIu64 " of %" PRIu64 " bytes",
		       huge ? "free hugepages" : "memory", job->done, job->total);
	refusal->sys_errno = (uint32_t)error;
	refusal->limit = job->total;
	refusal->used = job->done;
	refusal->asked = job->total - job->done;
	return GM_NO_RESOURCE;
}

/* What a job that ended as @how says to who asked for it. */
static int conclude(const struct gm_exec_job *job, enum gm_job_end how, int error,
		    struct gm_refusal *refusal)
{
	if (how == GM_JOB_DONE) {
		if (job->result != 0) {
			*refusal = job->refusal;
			return job->result;
		}
		return job->done == job->total ? 0 : -EIO;
	}
	if (how == GM_JOB_CANCELLED || job->cancelled)
		return gm_refuse_text(refusal, GM_CANCELLED, GM_RULE_NONE,
				      job->ticket.region->domain->tenant->account.name,
				      "cancelled after %" PRIu64 " of %" PRIu64 " bytes", job->done,
				      job->total);
	if (how == GM_JOB_WORKER_LOST)
		return refuse_worker_lost(job, error, refusal);
	if (how == GM_JOB_DISPLACED)
		return refuse_displaced(job, error, refusal);
	if (job->own != NULL)
		return gm_exec_own_conclude(job, error, refusal);
	return refuse_error(job, error, refusal);
}

static void digest_free(struct gm_exec_digest *digest)
{
	if (digest == NULL)
		return;
	free(digest->tags);
	free(digest);
}

static struct gm_exec_digest *digest_new(const struct gm_exec_digest *from)
{
	struct gm_exec_digest *digest = malloc(sizeof(*digest));

	if (digest == NULL)
		return NULL;
	*digest = *from;
	digest->tags = calloc(digest->order.max_tags + 1, sizeof(*digest->tags));
	if (digest->tags != NULL)
		return digest;
	free(digest);
	return NULL;
}

static void job_free(struct gm_exec_job *job)
{
	gm_exec_uncharge(job);
	gm_exec_own_free(job->own);
	digest_free(job->digest);
	free(job);
}

/* A guest that nobody has taken: with its last fd all of its memory is let go of. */
static void dispose_of_guest(const struct gm_exec_job *job, const struct gm_tenant *tenant)
{
	if (job->own != NULL && job->own->vm_fd >= 0)
		gm_exec_dispose(job->exec, tenant, gm_take_fd(&job->own->vm_fd));
}

static void finish(struct gm_exec_job *job, int result, const struct gm_refusal *refusal)
{
	struct gm_exec *exec = job->exec;
	struct gm_region *region = job->ticket.region;
	/* The region and its domain may go. */
	const struct gm_tenant *tenant = region->domain->tenant;

	gm_book_end_job(&job->ticket);
	TAILQ_REMOVE(&exec->jobs, job, link);
	if (region->domain->session == NULL)
		gm_exec_leave_owner(region->domain);
	gm_exec_reap(exec, region);
	GM_FAULT_POINT("job: ended");
	job->ops->end(job->arg, result, refusal, job->done);
	dispose_of_guest(job, tenant);
	job_free(job);
}

static void on_end(void *arg, enum gm_job_end how, int error)
{
	struct gm_exec_job *job = arg;
	struct gm_refusal refusal = { 0 };
	int result;

	if (gm_exec_convert_again(job, how))
		return;
	/* Nobody asks a dying domain where its pages are. */
	if ((how == GM_JOB_WORKER_LOST || how == GM_JOB_ERROR) && !job->ticket.frees_half &&
	    job->digest == NULL && job->own == NULL && !job->ticket.converts &&
	    !job->ticket.region->domain->dying)
		gm_exec_look(job);
	if (job->own != NULL)
		gm_exec_own_read(job);
	result = conclude(job, how, error, &refusal);
	gm_exec_convert_end(job, how, result);
	finish(job, result, &refusal);
}

static void on_held(void *arg, uint64_t offset)
{
	struct gm_exec_job *job = arg;

	job->held_at = offset;
}

static void on_digest(void *arg, const uint8_t state[GM_JOB_DIGEST_SIZE])
{
	struct gm_exec_job *job = arg;

	if (job->digest != NULL)
		memcpy(job->digest->order.state, state, sizeof(job->digest->order.state));
}

static void on_tags(void *arg, const uint8_t *tags, uint32_t n)
{
	struct gm_exec_digest *digest = ((struct gm_exec_job *)arg)->digest;

	if (digest == NULL || n > digest->order.max_tags - digest->n_tags)
		return;
	memcpy(&digest->tags[digest->n_tags], tags, n * sizeof(*digest->tags));
	digest->n_tags += n;
}

static const struct gm_crew_job_ops crew_ops = { .progress = on_progress,
						 .digest = on_digest,
						 .tags = on_tags,
						 .held = on_held,
						 .end = on_end };

static int get_crew(struct gm_exec *exec, struct gm_domain *domain, struct gm_crew **ret_crew)
{
	struct gm_crew *crew = domain->owner;
	struct gm_exec_share *share;
	int r;

	r = gm_exec_share_of(exec, domain->tenant, &share);
	if (r < 0)
		return r;
	if (crew == NULL) {
		r = gm_crew_new(exec->hub, &crew);
		if (r < 0)
			return r;
		gm_crew_join(crew, &share->places);
		domain->owner = crew;
	}
	*ret_crew = crew;
	return 0;
}

/* The name by which workers know the half that the job is on. */
static const char *kind_of(const struct gm_exec_job *job)
{
	const char *kind = job->ticket.region->domain->kind;

	if (!job->ticket.private_half)
		return kind;
	return gm_exec_find(job->exec, kind)->backend->private_half->kind;
}

static void fill_order(const struct gm_exec_job *job, struct gm_job_order *order)
{
	const struct gm_region *region = job->ticket.region;
	uint64_t threads =
		job->total / gm_max_u64(region->page_size,
					job->digest != NULL ? HASHED_PER_THREAD : BYTES_PER_THREAD);

	memset(order, 0, offsetof(struct gm_job_order, ranges));
	order->verb = verbs[job->ticket.op];
	order->n_threads = (uint32_t)gm_max_u64(1, gm_min_u64(threads, job->exec->job_threads));
	order->n_ranges = (uint32_t)job->n_ranges;
	snprintf(order->kind, sizeof(order->kind), "%s", kind_of(job));
	order->page_size = region->page_size;
	order->numa_nodes = region->numa_nodes;
	if (job->digest != NULL) {
		order->verb = GM_JOB_DIGEST;
		order->numa_nodes = 0;
		order->digest = job->digest->order;
	}
	if (job->own != NULL)
		order->verb = GM_JOB_LAUNCH;
	memcpy(order->ranges, job->ranges, job->n_ranges * sizeof(job->ranges[0]));
}

/* From the moment it has the order, a worker may change pages that nobody has heard of yet. */
static void record_begin(const struct gm_exec *exec)
{
	if (exec->keep_ops != NULL)
		exec->keep_ops->begin(exec->keep_arg);
}

static int fd_of(const struct gm_exec_job *job)
{
	const struct gm_region *region = job->ticket.region;

	if (job->digest != NULL)
		return job->digest->fd;
	if (job->own != NULL)
		return job->own->theirs;
	return job->ticket.private_half ? region->private_fd : region->fd;
}

static int submit(struct gm_exec_job *job, struct gm_refusal *refusal)
{
	struct gm_region *region = job->ticket.region;
	struct gm_job_order order;
	struct gm_crew *crew;
	int r;

	r = get_crew(job->exec, region->domain, &crew);
	if (r == 0) {
		fill_order(job, &order);
		r = gm_crew_submit(crew, &order, fd_of(job), job->place, &crew_ops, job,
				   &job->crew_job);
	}
	if (r == -EPIPE || r == -EAGAIN) {
		gm_refuse_text(refusal, GM_NO_RESOURCE, GM_RULE_WORKER, "host",
			       "no worker process can be had now: %s", strerrordesc_np(-r));
		refusal->sys_errno = (uint32_t)-r;
		return GM_NO_RESOURCE;
	}
	return r;
}

int gm_exec_job_repeat(struct gm_exec_job *job)
{
	struct gm_refusal refusal = { 0 };

	job->done = 0;
	return submit(job, &refusal);
}

void gm_exec_job_resume(struct gm_exec_job *job)
{
	struct gm_refusal refusal = { 0 };
	int r;

	if (job->cancelled)
		r = conclude(job, GM_JOB_CANCELLED, 0, &refusal);
	else
		r = submit(job, &refusal);
	if (r != 0)
		finish(job, r, &refusal);
}

struct gm_exec_job *gm_exec_job_new(struct gm_exec *exec, const struct gm_range *ranges,
				    size_t n_ranges, const struct gm_exec_job_ops *ops, void *arg)
{
	struct gm_exec_job *job = calloc(1, sizeof(*job) + n_ranges * sizeof(*ranges));

	if (job == NULL)
		return NULL;
	job->exec = exec;
	job->ops = ops;
	job->arg = arg;
	job->n_ranges = n_ranges;
	memcpy(job->ranges, ranges, n_ranges * sizeof(*ranges));
	return job;
}

int gm_exec_job_start(struct gm_exec_job *job, int pidfd, struct gm_exec_share *share,
		      struct gm_exec_job **ret_job, struct gm_refusal *refusal)
{
	struct gm_exec *exec = job->exec;
	int r;

	for (size_t i = 0; i < job->n_ranges; i++)
		job->total += job->ranges[i].length;
	r = gm_exec_charge(job, pidfd, refusal);
	if (r == 0)
		r = gm_exec_check_room(job, share, refusal);
	if (r == 0) {
		record_begin(exec);
		if (share == NULL || !gm_exec_share_delays(share, job))
			r = submit(job, refusal);
	}
	if (r != 0) {
		if (job->ticket.converts)
			gm_book_drop_in_place(&job->ticket);
		gm_book_end_job(&job->ticket);
		job_free(job);
		return r;
	}
	TAILQ_INSERT_TAIL(&exec->jobs, job, link);
	GM_FAULT_POINT("job: submitted");
	*ret_job = job;
	return 0;
}

static int refuse_no_workers(struct gm_refusal *refusal)
{
	return gm_refuse_text(refusal, GM_UNSUPPORTED, GM_RULE_WORKER, "host",
			      "this daemon runs without workers");
}

int gm_exec_start_job(struct gm_exec *exec, struct gm_session *session, int pidfd,
		      struct gm_region *region, enum gm_page_op op, struct gm_range *ranges,
		      size_t n_ranges, const struct gm_exec_job_ops *ops, void *arg,
		      struct gm_exec_job **ret_job, struct gm_refusal *refusal)
{
	struct gm_exec_share *share;
	struct gm_exec_job *job;
	int r;

	if (exec->hub == NULL)
		return refuse_no_workers(refusal);
	if (n_ranges > GM_JOB_RANGES_MAX)
		return gm_refuse_numbers(refusal, GM_INVALID, GM_RULE_RANGES, "request",
					 GM_JOB_RANGES_MAX, 0, n_ranges);
	job = gm_exec_job_new(exec, ranges, n_ranges, ops, arg);
	if (job == NULL)
		return -ENOMEM;
	/* The job's own copy is what gets sorted. */
	r = gm_book_begin_job(exec->book, session, region, op, job->ranges, n_ranges, &job->ticket,
			      refusal);
	if (r != 0) {
		free(job);
		return r;
	}
	r = gm_exec_share_of(exec, region->domain->tenant, &share);
	if (r != 0) {
		gm_book_end_job(&job->ticket);
		free(job);
		return r;
	}
	return gm_exec_job_start(job, pidfd, share, ret_job, refusal);
}

int gm_exec_free_half(struct gm_exec *exec, struct gm_session *session, int pidfd,
		      struct gm_region *region, bool private_half, const struct gm_range *ranges,
		      size_t n_ranges, const struct gm_exec_job_ops *ops, void *arg,
		      struct gm_exec_job **ret_job, struct gm_refusal *refusal)
{
	struct gm_exec_job *job;

	if (exec->hub == NULL)
		return refuse_no_workers(refusal);
	job = gm_exec_job_new(exec, ranges, n_ranges, ops, arg);
	if (job == NULL)
		return -ENOMEM;
	gm_book_begin_freeing(session, region, private_half, &job->ticket);
	return gm_exec_job_start(job, pidfd, /* share= */ NULL, ret_job, refusal);
}

int gm_exec_start_digest(struct gm_exec *exec, struct gm_session *session, int pidfd,
			 struct gm_region *region, const struct gm_exec_digest *digest,
			 const struct gm_range *range, const struct gm_exec_job_ops *ops, void *arg,
			 struct gm_exec_job **ret_job, struct gm_refusal *refusal)
{
	struct gm_exec_job *job;
	int r = -ENOMEM;

	if (exec->hub == NULL)
		return refuse_no_workers(refusal);
	job = gm_exec_job_new(exec, range, 1, ops, arg);
	if (job != NULL)
		job->digest = digest_new(digest);
	if (job != NULL && job->digest != NULL) {
		r = gm_book_begin_hashing(exec->book, session, region, &job->ticket, refusal);
	}
	if (r == 0)
		return gm_exec_job_start(job, pidfd, /* share= */ NULL, ret_job, refusal);
	if (job != NULL)
		digest_free(job->digest);
	free(job);
	return r;
}

int gm_exec_start_own(struct gm_exec *exec, const struct gm_job_ticket *ticket,
		      struct gm_exec_own *own, int pidfd, const struct gm_exec_job_ops *ops,
		      void *arg, struct gm_exec_job **ret_job, struct gm_refusal *refusal)
{
	const struct gm_range all = { 0, ticket->region->domain->reserved_bytes };
	struct gm_job_ticket mine = *ticket;
	struct gm_exec_job *job;
	int r;

	job = exec->hub != NULL ? gm_exec_job_new(exec, &all, 1, ops, arg) : NULL;
	if (job == NULL) {
		gm_book_end_job(&mine);
		gm_exec_own_free(own);
		return exec->hub != NULL ? -ENOMEM : refuse_no_workers(refusal);
	}
	job->own = own;
	job->ticket = mine;
	r = gm_exec_job_start(job, pidfd, /* share= */ NULL, ret_job, refusal);
	/* The crew has a copy, and the other end is to close when the worker's does. */
	if (r == 0)
		gm_fd_close(gm_take_fd(&own->theirs));
	return r;
}

const uint8_t *gm_exec_hashed(const struct gm_exec_job *job)
{
	return job->digest->order.state;
}

void gm_exec_leave_owner(struct gm_domain *domain)
{
	gm_crew_disband(domain->owner);
}

void gm_exec_cancel_job(struct gm_exec_job *job)
{
	if (job->cancelled)
		return;
	job->cancelled = true;
	if (job->is_late)
		gm_exec_share_hurry(job);
	else
		gm_crew_cancel(job->crew_job);
}
