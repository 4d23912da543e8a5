/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker process from gmemd's side. What it says is checked: it may have been taken over by
 * whoever wrote the memory that it works on.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "channel.h"
#include "crew_private.h"
#include "gm_cleanup.h"

/* Packets in one go: the other fds of the loop want their turn. */
#define READS_MAX 16

static void worker_set_deadline(struct gm_crew_worker *worker, uint64_t ms)
{
	const struct gm_loop_ref *loop = &worker->hub->loop;

	worker->deadline_ms = loop->ops->now_ms(loop->loop) + ms;
	loop->ops->timer_set(worker->timer, ms);
}

static bool receives(const struct gm_crew_job *job)
{
	return job->order.verb == GM_JOB_RECEIVE;
}

static struct gm_crew_job *worker_job(const struct gm_crew_worker *worker)
{
	assert(worker->state == GM_CREW_WORKER_BUSY || worker->state == GM_CREW_WORKER_GONE);
	return TAILQ_FIRST(&worker->crew->jobs);
}

static void worker_hang_up(struct gm_crew_worker *worker)
{
	const struct gm_loop_ref *loop = &worker->hub->loop;

	loop->ops->watch_free(worker->watch);
	worker->watch = NULL;
	gm_fd_close(gm_take_fd(&worker->channel));
}

void gm_crew_worker_free(struct gm_crew_worker *worker)
{
	struct gm_crew_hub *hub = worker->hub;

	if (worker->crew)
		worker->crew->worker = NULL;
	worker_hang_up(worker);
	hub->loop.ops->watch_free(worker->timer);
	TAILQ_REMOVE(&hub->workers, worker, link);
	hub->n_workers--;
	if (worker->state == GM_CREW_WORKER_DISMISSED) {
		hub->n_dismissed--;
		hub->n_stuck -= worker->stuck;
		worker->share->n_stuck -= worker->stuck;
		worker->share->n_dismissed -= !worker->stuck;
	}
	gm_hub_count(worker->share, false);
	gm_cgroup_place_drop(worker->place);
	free(worker);
	/* Its place is free. */
	gm_hub_kick(hub);
}

void gm_crew_worker_kill(struct gm_crew_worker *worker)
{
	worker->kill_due = gm_spawner_kill(worker->hub->spawner, worker->tag) == -EAGAIN;
}

static void worker_kill(struct gm_crew_worker *worker)
{
	gm_crew_worker_kill(worker);
	if (worker->kill_due)
		gm_hub_kick(worker->hub);
}

void gm_crew_worker_dismiss(struct gm_crew_worker *worker)
{
	assert(worker->state == GM_CREW_WORKER_IDLE);
	worker_hang_up(worker);
	worker->crew->worker = NULL;
	worker->crew = NULL;
	worker_set_deadline(worker, GM_CREW_PATIENCE_MS);
	worker->state = GM_CREW_WORKER_DISMISSED;
	worker->hub->n_dismissed++;
	worker->share->n_dismissed++;
	/* The end of the channel is enough for one that runs; but somebody may have stopped it. */
	worker_kill(worker);
	/* Without a spawner nobody will say that it has ended: the hub's turn frees it. */
	if (worker->hub->broken)
		gm_hub_kick(worker->hub);
}

/* Its process does not end, and its share is not to wait for that. */
static void worker_is_stuck(struct gm_crew_worker *worker)
{
	worker->stuck = true;
	worker->hub->n_stuck++;
	worker->share->n_stuck++;
	worker->share->n_dismissed--;
	gm_hub_kick(worker->hub);
}

/* The running job is lost, and the worker idle as far as the books go. */
static void worker_lose_job(struct gm_crew_worker *worker, int error)
{
	struct gm_crew_job *job = worker_job(worker);

	worker->state = GM_CREW_WORKER_IDLE;
	gm_crew_job_finish(job, worker->displaced ? GM_JOB_DISPLACED : GM_JOB_WORKER_LOST, error);
}

void gm_crew_worker_rest(struct gm_crew_worker *worker)
{
	if (worker->hub->idle_ms == 0 || gm_hub_wants_place_of(worker))
		gm_crew_worker_dismiss(worker);
	else
		worker_set_deadline(worker, worker->hub->idle_ms);
}

static void worker_give_up(struct gm_crew_worker *worker, int error)
{
	struct gm_crew *crew = worker->crew;

	worker_lose_job(worker, error);
	gm_crew_worker_dismiss(worker);
	gm_crew_advance(crew);
}

/* No thread of the worker has the job's fd any more: a process closes its files all at once. */
static void worker_on_end(struct gm_crew_worker *worker)
{
	worker_hang_up(worker);
	if (worker->state == GM_CREW_WORKER_IDLE) {
		gm_crew_worker_dismiss(worker);
		return;
	}
	worker->state = GM_CREW_WORKER_GONE;
	if (worker->hub->broken)
		worker_give_up(worker, -EPIPE);
	else
		worker_set_deadline(worker, GM_CREW_REPORT_WAIT_MS);
}

static bool order_covers(const struct gm_job_order *order, const struct gm_job_range *part)
{
	uint64_t at = part->offset;
	uint64_t end;
	uint32_t i;

	if (part->length == 0 || gm_add_overflows(part->offset, part->length, &end) ||
	    !gm_is_aligned(part->offset | part->length, order->page_size))
		return false;
	/* A part may reach over ranges that touch. */
	while (at < end) {
		for (i = 0; i < order->n_ranges; i++)
			if (at >= order->ranges[i].offset &&
			    at - order->ranges[i].offset < order->ranges[i].length)
				break;
		if (i == order->n_ranges)
			return false;
		at = order->ranges[i].offset + order->ranges[i].length;
	}
	return true;
}

static bool job_accepts(const struct gm_crew_job *job, const struct gm_job_report *report)
{
	uint64_t left = job->left_bytes;

	if (report->job != job->order.job || report->error > 0 ||
	    report->n_tags > job->order.digest.max_tags - job->n_tags)
		return false;
	for (uint32_t i = 0; i < report->n_done; i++) {
		if (!order_covers(&job->order, &report->done[i]) || report->done[i].length > left)
			return false;
		left -= report->done[i].length;
	}
	/* Who says "all done" has accounted for all of it. */
	return !report->last || report->error != 0 || left == 0;
}

static void worker_job_over(struct gm_crew_worker *worker, struct gm_crew_job *job, int error)
{
	enum gm_job_end how = GM_JOB_DONE;
	struct gm_crew *crew = worker->crew;

	if (error)
		how = error == -ECANCELED && job->cancelled ? GM_JOB_CANCELLED : GM_JOB_ERROR;
	worker->state = GM_CREW_WORKER_IDLE;
	worker->deadline_ms = 0;
	gm_crew_job_finish(job, how, how == GM_JOB_ERROR ? -error : 0);
	/* It ends with such a job. */
	if (receives(job))
		gm_crew_worker_dismiss(worker);
	gm_crew_advance(crew);
}

/* False: this worker is not to be believed. */
static bool worker_take_report(struct gm_crew_worker *worker, const struct gm_job_report *report)
{
	struct gm_crew_job *job;

	if (worker->state != GM_CREW_WORKER_BUSY)
		return false;
	job = worker_job(worker);
	if (!job_accepts(job, report))
		return false;
	for (uint32_t i = 0; i < report->n_done; i++) {
		job->left_bytes -= report->done[i].length;
		job->ops->progress(job->arg, &report->done[i]);
	}
	job->n_tags += report->n_tags;
	if (report->n_tags > 0 && job->ops->tags)
		job->ops->tags(job->arg, report->digest, report->n_tags);
	if (report->last && report->error == 0 && job->ops->digest)
		job->ops->digest(job->arg, report->digest);
	if (report->last && report->error == -EAGAIN && job->ops->held)
		job->ops->held(job->arg, report->held_at);
	if (!report->last && receives(job))
		job->ops->ready(job->arg);
	if (report->last)
		worker_job_over(worker, job, report->error);
	return true;
}

/* The job to which an fd may come, or NULL. */
static struct gm_crew_job *worker_receiver(const struct gm_crew_worker *worker)
{
	struct gm_crew_job *job;

	if (worker->state != GM_CREW_WORKER_BUSY || worker->distrusted)
		return NULL;
	job = worker_job(worker);
	return receives(job) ? job : NULL;
}

/* Reads one packet. False when none was there, or the channel has ended. */
static bool worker_read(struct gm_crew_worker *worker)
{
	struct gm_crew_job *receiver = worker_receiver(worker);
	struct gm_job_report report;
	int fd = -1;
	ssize_t n;

	n = gm_channel_recv(worker->channel, &report, sizeof(report), receiver ? &fd : NULL,
			    MSG_DONTWAIT);
	if (n == -EAGAIN)
		return false;
	/* Whatever it is: whoever takes it knows how to close it. */
	if (n >= 0 && fd >= 0)
		receiver->ops->received(receiver->arg, fd);
	if (n == 0 || (n < 0 && n != -EBADMSG)) {
		worker_on_end(worker);
		return false;
	}
	if (worker->distrusted)
		return true;
	if (n < 0 || !gm_job_report_is_valid(&report, (size_t)n) ||
	    !worker_take_report(worker, &report)) {
		/* Its job ends with its process, as always. */
		worker->distrusted = true;
		worker_kill(worker);
	}
	return true;
}

static void worker_on_readable(void *arg)
{
	struct gm_crew_worker *worker = arg;

	/* A report may let the worker go, which closes its channel. */
	for (unsigned i = 0; i < READS_MAX && worker->channel >= 0; i++)
		if (!worker_read(worker))
			return;
}

static void worker_on_timer(void *arg)
{
	struct gm_crew_worker *worker = arg;
	const struct gm_loop_ref *loop = &worker->hub->loop;
	uint64_t now = loop->ops->now_ms(loop->loop);

	if (worker->deadline_ms == 0)
		return;
	if (now < worker->deadline_ms) {
		loop->ops->timer_set(worker->timer, worker->deadline_ms - now);
		return;
	}
	worker->deadline_ms = 0;
	if (worker->state == GM_CREW_WORKER_IDLE)
		gm_crew_worker_dismiss(worker);
	else if (worker->state == GM_CREW_WORKER_BUSY)
		/* The job ends when the process has: until then it holds the memory. */
		worker_kill(worker);
	else if (worker->state == GM_CREW_WORKER_GONE)
		worker_give_up(worker, -ETIMEDOUT);
	else
		worker_is_stuck(worker);
}

void gm_crew_worker_ended(struct gm_crew_worker *worker, int error)
{
	struct gm_crew *crew;

	/* What it had sent before it died counts. */
	while (worker->channel >= 0 && worker_read(worker))
		;
	if (worker->channel >= 0)
		worker_on_end(worker);
	crew = worker->crew;
	if (worker->state == GM_CREW_WORKER_GONE)
		worker_lose_job(worker, error);
	gm_crew_worker_free(worker);
	if (crew)
		gm_crew_advance(crew);
}

static int worker_watch(struct gm_crew_worker *worker)
{
	const struct gm_loop_ref *loop = &worker->hub->loop;
	int r;

	r = loop->ops->timer_new(loop->loop, worker_on_timer, worker, &worker->timer);
	if (r)
		return r;
	return loop->ops->watch_read(loop->loop, worker->channel, worker_on_readable, worker,
				     &worker->watch);
}

int gm_crew_worker_new(struct gm_crew *crew)
{
	struct gm_crew_hub *hub = crew->hub;
	struct gm_crew_worker *worker = calloc(1, sizeof(*worker));
	int r;

	if (!worker)
		return -ENOMEM;
	worker->hub = hub;
	worker->tag = ++hub->last_tag;
	worker->place = gm_cgroup_place_use(TAILQ_FIRST(&crew->jobs)->place);
	r = receives(TAILQ_FIRST(&crew->jobs))
		    ? gm_spawner_request_alone(hub->spawner, worker->tag, worker->place,
					       &worker->channel)
		    : gm_spawner_request(hub->spawner, worker->tag, worker->place,
					 &worker->channel);
	if (r) {
		gm_cgroup_place_drop(worker->place);
		free(worker);
		return r;
	}
	TAILQ_INSERT_TAIL(&hub->workers, worker, link);
	hub->n_workers++;
	worker->share = crew->share;
	gm_hub_count(worker->share, true);
	worker->crew = crew;
	crew->worker = worker;
	r = worker_watch(worker);
	if (r)
		gm_crew_worker_dismiss(worker);
	return r;
}

void gm_crew_worker_send(struct gm_crew_worker *worker)
{
	struct gm_crew *crew = worker->crew;
	struct gm_crew_job *job = TAILQ_FIRST(&crew->jobs);
	int r;

	worker->deadline_ms = 0;
	r = gm_channel_send(worker->channel, &job->order, gm_job_order_size(&job->order), job->fd,
			    MSG_DONTWAIT);
	if (r == -EPIPE || r == -ECONNRESET) {
		/* It died while it was idle, which is not the job's fault. */
		gm_crew_worker_dismiss(worker);
		gm_hub_wait(crew->hub, crew);
		return;
	}
	if (r) {
		gm_crew_job_finish(job, GM_JOB_ERROR, -r);
		gm_crew_advance(crew);
		return;
	}
	gm_fd_close(gm_take_fd(&job->fd));
	job->running = true;
	worker->state = GM_CREW_WORKER_BUSY;
}

/* An fd that has come must be on the right way to its end: nothing is left in the channel. */
static void worker_empty(struct gm_crew_worker *worker)
{
	(void)shutdown(worker->channel, SHUT_RD);
	while (worker->channel >= 0 && worker->state == GM_CREW_WORKER_BUSY && worker_read(worker))
		;
}

/* The crew lets go of it and of the running job, which has nothing that anybody waits for. */
static void worker_leave(struct gm_crew_worker *worker)
{
	struct gm_crew *crew = worker->crew;
	struct gm_crew_job *job = worker_job(worker);

	if (worker->channel >= 0)
		worker_empty(worker);
	/* It has ended just now. */
	if (job->ended)
		return;
	worker->state = GM_CREW_WORKER_IDLE;
	gm_crew_job_finish(job, GM_JOB_CANCELLED, 0);
	gm_crew_worker_dismiss(worker);
	gm_crew_advance(crew);
}

void gm_crew_worker_stop(struct gm_crew_worker *worker)
{
	const struct gm_job_stop stop = { .job = worker_job(worker)->order.job };
	int r;

	if (receives(worker_job(worker))) {
		worker_leave(worker);
		return;
	}
	if (worker->state == GM_CREW_WORKER_GONE)
		return;
	r = gm_channel_send(worker->channel, &stop, sizeof(stop), -1, MSG_DONTWAIT);
	/* Where it cannot be told, its channel says why, or it is killed when patience ends. */
	(void)r;
	worker_set_deadline(worker, GM_CREW_PATIENCE_MS);
}
