/* SPDX-License-Identifier: Apache-2.0 */
#include "crew.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crew_private.h"
#include "gm_cleanup.h"

int gm_crew_new(struct gm_crew_hub *hub, struct gm_crew **ret_crew)
{
	struct gm_crew *crew = calloc(1, sizeof(*crew));

	if (!crew)
		return -ENOMEM;
	crew->hub = hub;
	crew->share = &hub->own;
	TAILQ_INIT(&crew->jobs);
	hub->n_crews++;
	*ret_crew = crew;
	return 0;
}

void gm_crew_share_init(struct gm_crew_share *share, void (*on_change)(struct gm_crew_share *))
{
	*share = (struct gm_crew_share){ .max = 1, .on_change = on_change };
	TAILQ_INIT(&share->waiting);
}

void gm_crew_join(struct gm_crew *crew, struct gm_crew_share *share)
{
	assert(crew->n_jobs == 0 && !crew->worker);
	crew->share = share;
}

void gm_crew_free(struct gm_crew *crew)
{
	if (!crew)
		return;
	assert(crew->n_jobs == 0);
	if (crew->worker)
		gm_crew_worker_dismiss(crew->worker);
	gm_hub_unwait(crew->hub, crew);
	crew->hub->n_crews--;
	free(crew);
}

void gm_crew_disband(struct gm_crew *crew)
{
	if (crew && crew->worker && crew->worker->state == GM_CREW_WORKER_IDLE)
		gm_crew_worker_dismiss(crew->worker);
}

void gm_crew_job_finish(struct gm_crew_job *job, enum gm_job_end how, int error)
{
	struct gm_crew *crew = job->crew;
	struct gm_crew_hub *hub = crew->hub;

	assert(!job->ended);
	job->ended = true;
	job->how = how;
	job->error = error;
	gm_fd_close(gm_take_fd(&job->fd));
	TAILQ_REMOVE(&crew->jobs, job, link);
	if (TAILQ_EMPTY(&crew->jobs))
		gm_hub_unwait(hub, crew);
	TAILQ_INSERT_TAIL(&hub->ended, job, link);
	hub->n_ended++;
	gm_hub_kick(hub);
}

void gm_crew_job_end(struct gm_crew_job *job)
{
	struct gm_crew_hub *hub = job->crew->hub;

	TAILQ_REMOVE(&hub->ended, job, link);
	hub->n_ended--;
	job->crew->n_jobs--;
	/* May free the crew. */
	job->ops->end(job->arg, job->how, job->error);
	gm_cgroup_place_drop(job->place);
	free(job);
}

void gm_crew_advance(struct gm_crew *crew)
{
	struct gm_crew_worker *worker = crew->worker;

	if (worker && worker->state != GM_CREW_WORKER_IDLE)
		return;
	if (TAILQ_EMPTY(&crew->jobs)) {
		if (worker)
			gm_crew_worker_rest(worker);
		return;
	}
	if (worker && !gm_hub_wants_place_of(worker) &&
	    gm_cgroup_place_is_same(worker->place, TAILQ_FIRST(&crew->jobs)->place)) {
		gm_crew_worker_send(worker);
		return;
	}
	/*
	 * Others have waited longer, and a crew with many jobs keeps nobody out. Or another VMM is
	 * to pay, or the same one has moved: a worker stays where it is for all its life.
	 */
	if (worker)
		gm_crew_worker_dismiss(worker);
	gm_hub_wait(crew->hub, crew);
}

static int job_new(struct gm_crew *crew, const struct gm_job_order *order, int fd,
		   struct gm_crew_job **ret_job)
{
	size_t size = gm_job_order_size(order);
	struct gm_crew_job *job;
	int copy;

	job = calloc(1, offsetof(struct gm_crew_job, order) + size);
	if (!job)
		return -ENOMEM;
	copy = gm_fd_dup(fd);
	if (copy < 0) {
		free(job);
		return copy;
	}
	job->fd = copy;
	memcpy(&job->order, order, size);
	job->order.job = ++crew->hub->last_job;
	/* Cannot overflow where it matters: overlapping ranges only make the sum too big. */
	for (uint32_t i = 0; i < order->n_ranges; i++)
		job->left_bytes += order->ranges[i].length;
	job->crew = crew;
	*ret_job = job;
	return 0;
}

int gm_crew_submit(struct gm_crew *crew, const struct gm_job_order *order, int fd,
		   struct gm_cgroup_place *place, const struct gm_crew_job_ops *ops, void *arg,
		   struct gm_crew_job **ret_job)
{
	struct gm_crew_job *job;
	int r;

	if (!gm_job_order_is_valid(order, gm_job_order_size(order)))
		return -EINVAL;
	r = job_new(crew, order, fd, &job);
	if (r)
		return r;
	job->place = gm_cgroup_place_use(place);
	job->ops = ops;
	job->arg = arg;
	TAILQ_INSERT_TAIL(&crew->jobs, job, link);
	crew->n_jobs++;
	gm_crew_advance(crew);
	*ret_job = job;
	return 0;
}

void gm_crew_cancel(struct gm_crew_job *job)
{
	if (job->ended || job->cancelled)
		return;
	job->cancelled = true;
	if (job->running)
		gm_crew_worker_stop(job->crew->worker);
	else
		gm_crew_job_finish(job, GM_JOB_CANCELLED, 0);
}
