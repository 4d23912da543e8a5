/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_crew.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>

#include "backend.h"
#include "gm_fd.h"
#include "launch_rules.h"

struct gm_crew_hub {
	TAILQ_HEAD(gm_crew_jobs, gm_crew_job) jobs;
	unsigned n_crews;
	int submit_error;
	unsigned n_disposed;
	void (*on_submit)(void *arg);
	void *on_submit_arg;
};

struct gm_crew {
	struct gm_crew_hub *hub;
	unsigned n_jobs;
};

struct gm_crew_job {
	struct gm_crew *crew;
	struct gm_job_order order;
	const struct gm_crew_job_ops *ops;
	void *arg;
	int fd;
	bool cancelled;
	TAILQ_ENTRY(gm_crew_job) link;
};

int gm_crew_hub_new(struct gm_loop_ref loop, struct gm_spawner *spawner, uint32_t workers_max,
		    uint64_t idle_ms, struct gm_crew_hub **ret_hub)
{
	struct gm_crew_hub *hub = calloc(1, sizeof(*hub));

	(void)loop;
	(void)spawner;
	(void)workers_max;
	(void)idle_ms;
	if (hub == NULL)
		return -ENOMEM;
	TAILQ_INIT(&hub->jobs);
	*ret_hub = hub;
	return 0;
}

void gm_crew_hub_free(struct gm_crew_hub *hub)
{
	if (hub == NULL)
		return;
	assert(TAILQ_EMPTY(&hub->jobs) && hub->n_crews == 0);
	free(hub);
}

void gm_crew_hub_dispose(struct gm_crew_hub *hub, int fd)
{
	hub->n_disposed++;
	gm_fd_close(fd);
}

unsigned fake_crew_disposed(const struct gm_crew_hub *hub)
{
	return hub->n_disposed;
}

uint32_t gm_crew_hub_workers(const struct gm_crew_hub *hub)
{
	return hub->n_crews;
}

uint32_t gm_crew_hub_places(const struct gm_crew_hub *hub)
{
	(void)hub;
	return 4;
}

void gm_crew_share_init(struct gm_crew_share *share, void (*on_change)(struct gm_crew_share *))
{
	*share = (struct gm_crew_share){ .max = 1, .on_change = on_change };
}

void gm_crew_join(struct gm_crew *crew, struct gm_crew_share *share)
{
	(void)crew;
	(void)share;
}

int gm_crew_new(struct gm_crew_hub *hub, struct gm_crew **ret_crew)
{
	struct gm_crew *crew = calloc(1, sizeof(*crew));

	if (crew == NULL)
		return -ENOMEM;
	crew->hub = hub;
	hub->n_crews++;
	*ret_crew = crew;
	return 0;
}

void gm_crew_free(struct gm_crew *crew)
{
	if (crew == NULL)
		return;
	assert(crew->n_jobs == 0);
	crew->hub->n_crews--;
	free(crew);
}

int gm_crew_hub_displaced(const struct gm_crew_hub *hub)
{
	(void)hub;
	return 0;
}

void gm_crew_disband(struct gm_crew *crew)
{
	(void)crew;
}

int gm_crew_submit(struct gm_crew *crew, const struct gm_job_order *order, int fd,
		   struct gm_cgroup_place *place, const struct gm_crew_job_ops *ops, void *arg,
		   struct gm_crew_job **ret_job)
{
	struct gm_crew_job *job;

	if (crew->hub->submit_error != 0) {
		int error = crew->hub->submit_error;

		crew->hub->submit_error = 0;
		return error;
	}
	if (crew->hub->on_submit != NULL)
		crew->hub->on_submit(crew->hub->on_submit_arg);
	job = calloc(1, sizeof(*job));
	if (job == NULL)
		return -ENOMEM;
	memcpy(&job->order, order,
	       offsetof(struct gm_job_order, ranges) + order->n_ranges * sizeof(order->ranges[0]));
	job->fd = gm_fd_dup(fd);
	assert(job->fd >= 0);
	(void)place;
	job->crew = crew;
	job->ops = ops;
	job->arg = arg;
	crew->n_jobs++;
	TAILQ_INSERT_TAIL(&crew->hub->jobs, job, link);
	*ret_job = job;
	return 0;
}

void gm_crew_cancel(struct gm_crew_job *job)
{
	job->cancelled = true;
}

struct gm_crew_job *fake_crew_first(const struct gm_crew_hub *hub)
{
	return TAILQ_FIRST(&hub->jobs);
}

size_t fake_crew_count(const struct gm_crew_hub *hub)
{
	const struct gm_crew_job *job;
	size_t n = 0;

	TAILQ_FOREACH(job, &hub->jobs, link)
		n++;
	return n;
}

const struct gm_job_order *fake_crew_order(const struct gm_crew_job *job)
{
	return &job->order;
}

bool fake_crew_is_cancelled(const struct gm_crew_job *job)
{
	return job->cancelled;
}

void fake_crew_work(struct gm_crew_job *job, uint64_t offset, uint64_t length)
{
	const struct gm_backend *backend = gm_backend_find(job->order.kind);
	uint64_t held;
	int r;

	if (job->order.verb == GM_JOB_MAKE_SHARED || job->order.verb == GM_JOB_MAKE_PRIVATE)
		r = backend->convert(job->fd, offset, length,
				     job->order.verb == GM_JOB_MAKE_PRIVATE, &held);
	else if (job->order.verb == GM_JOB_ALLOCATE)
		r = backend->allocate(job->fd, offset, length);
	else
		r = backend->discard(job->fd, offset, length, job->order.page_size);
	assert(r == 0);
}

void fake_crew_lie(struct gm_crew_job *job, uint64_t offset, uint64_t length)
{
	job->ops->progress(job->arg, &(struct gm_job_range){ .offset = offset, .length = length });
}

void fake_crew_report(struct gm_crew_job *job, uint64_t offset, uint64_t length)
{
	fake_crew_work(job, offset, length);
	fake_crew_lie(job, offset, length);
}

void fake_crew_ready(struct gm_crew_job *job)
{
	job->ops->ready(job->arg);
	gm_fd_close(job->fd);
	job->fd = -1;
}

void fake_crew_give(struct gm_crew_job *job, int fd)
{
	job->ops->received(job->arg, fd);
	fake_crew_end(job, GM_JOB_DONE, 0);
}

struct gm_crew_job *fake_crew_last(const struct gm_crew_hub *hub)
{
	return TAILQ_LAST(&hub->jobs, gm_crew_jobs);
}

void fake_crew_end(struct gm_crew_job *job, enum gm_job_end how, int error)
{
	TAILQ_REMOVE(&job->crew->hub->jobs, job, link);
	job->crew->n_jobs--;
	job->ops->end(job->arg, how, error);
	gm_fd_close(job->fd);
	free(job);
}

void fake_crew_held(struct gm_crew_job *job, uint64_t offset)
{
	job->ops->held(job->arg, offset);
	fake_crew_end(job, GM_JOB_ERROR, EAGAIN);
}

static void hash(struct gm_crew_job *job)
{
	const struct gm_job_range *range = &job->order.ranges[0];
	const struct gm_job_digest *digest = &job->order.digest;
	uint8_t state[GM_JOB_DIGEST_SIZE];
	struct gm_launch_put put = { .type = (enum gm_populate_type)digest->type,
				     .gpa = digest->gpa,
				     .length = range->length,
				     .n_threads = 1 };
	void *at = NULL;
	int r;

	memcpy(state, digest->state, sizeof(state));
	if (digest->has_source)
		at = mmap(NULL, range->length, PROT_READ, MAP_SHARED, job->fd,
			  (off_t)range->offset);
	assert(at != MAP_FAILED);
	put.bytes = at;
	r = gm_launch_put(state, &put, NULL);
	assert(r == 0);
	if (at != NULL)
		(void)munmap(at, range->length);
	fake_crew_lie(job, range->offset, range->length);
	job->ops->digest(job->arg, state);
	fake_crew_end(job, GM_JOB_DONE, 0);
}

void fake_crew_finish(struct gm_crew_job *job)
{
	if (job->cancelled) {
		fake_crew_end(job, GM_JOB_CANCELLED, 0);
		return;
	}
	if (job->order.verb == GM_JOB_DIGEST) {
		hash(job);
		return;
	}
	for (uint32_t i = 0; i < job->order.n_ranges; i++)
		fake_crew_report(job, job->order.ranges[i].offset, job->order.ranges[i].length);
	fake_crew_end(job, GM_JOB_DONE, 0);
}

void fake_crew_on_submit(struct gm_crew_hub *hub, void (*on_submit)(void *arg), void *arg)
{
	hub->on_submit = on_submit;
	hub->on_submit_arg = arg;
}

void fake_crew_fail_submit(struct gm_crew_hub *hub, int error)
{
	hub->submit_error = error;
}
