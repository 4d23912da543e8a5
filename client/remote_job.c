/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "gm_cleanup.h"
#include "gm_verdict.h"
#include "remote.h"

static int post_ranges(struct gmem_client *client, enum gm_job_kind kind, uint64_t region,
		       Gmem__Range **ranges, size_t n_ranges, struct gm_pending **ret_pending)
{
	Gmem__AllocateRequest allocate = GMEM__ALLOCATE_REQUEST__INIT;
	Gmem__DiscardRequest discard = GMEM__DISCARD_REQUEST__INIT;

	allocate.has_region = discard.has_region = true;
	allocate.region = discard.region = region;
	allocate.ranges = discard.ranges = ranges;
	allocate.n_ranges = discard.n_ranges = n_ranges;
	if (kind == GM_JOB_ALLOCATE)
		return gm_remote_post(client, GM_PENDING_JOB, GM_MSG_ALLOCATE, &allocate.base,
				      ret_pending);
	return gm_remote_post(client, GM_PENDING_JOB, GM_MSG_DISCARD, &discard.base, ret_pending);
}

int gm_remote_job_start(struct gmem_region *region, enum gm_job_kind kind,
			const struct gmem_range *ranges, size_t n_ranges,
			const struct gmem_job_callbacks *callbacks)
{
	struct gmem_client *client = region->domain->client;
	_gm_cleanup_(gm_wire_ranges_done) struct gm_wire_ranges wire = { 0 };
	struct gm_pending *job;
	int r;

	r = gm_wire_ranges_init(client, &wire, ranges, n_ranges);
	if (r < 0)
		return r;
	r = post_ranges(client, kind, region->id, wire.pointers, n_ranges, &job);
	if (r < 0)
		return r;
	job->subject = region->id;
	job->callbacks = *callbacks;
	return 0;
}

void gm_remote_job_ended(struct gmem_client *client, const struct gm_pending *job)
{
	gm_client_clear(client);
	if (job->failure.status)
		(void)gm_client_fail(client, &job->failure);
	if (job->callbacks.done)
		job->callbacks.done(job->callbacks.arg, -job->failure.status, job->done);
}

void gm_remote_job_progress(struct gmem_client *client, uint32_t serial, uint64_t done,
			    uint64_t total)
{
	Gmem__CancelRequest request = GMEM__CANCEL_REQUEST__INIT;
	struct gm_pending *job = gm_remote_find(client->remote, serial);
	struct gm_pending *nobody;

	if (!job || job->kind != GM_PENDING_JOB)
		return;
	job->done = done;
	if (!job->callbacks.progress ||
	    job->callbacks.progress(job->callbacks.arg, done, total) == 0)
		return;
	/* The callback may have waited, and the job may have ended meanwhile. */
	job = gm_remote_find(client->remote, serial);
	if (!job || job->cancelled)
		return;
	request.has_serial = true;
	request.serial = serial;
	/* Where there is no room for a request, the next progress asks again. */
	if (gm_remote_post(client, GM_PENDING_NOBODY, GM_MSG_CANCEL, &request.base, &nobody) < 0)
		return;
	job->cancelled = true;
}

/* A job that a function waits for. */
struct gm_waited_job {
	struct gmem_client *client;
	gmem_progress_fn progress;
	void *arg;
	bool ended;
	struct gm_failure failure;
};

static int waited_progress(void *arg, uint64_t done, uint64_t total)
{
	struct gm_waited_job *job = arg;

	return job->progress ? job->progress(job->arg, done, total) : 0;
}

static void waited_done(void *arg, int status, uint64_t bytes)
{
	struct gm_waited_job *job = arg;

	(void)status;
	(void)bytes;
	job->failure = job->client->failure;
	job->ended = true;
}

static int run_once(struct gmem_client *client, struct gmem_region *region, enum gm_job_kind kind,
		    const struct gmem_range *ranges, size_t n_ranges, gmem_progress_fn progress,
		    void *arg)
{
	struct gm_waited_job job = { .client = client, .progress = progress, .arg = arg };
	struct gmem_job_callbacks callbacks = {
		.progress = waited_progress,
		.done = waited_done,
		.arg = &job,
	};
	int r;

	r = gm_remote_job_start(region, kind, ranges, n_ranges, &callbacks);
	if (r < 0)
		return r;
	while (!job.ended) {
		/* poll failing for want of memory: the job goes on, and so does the wait. */
		if (gm_remote_wait(client, GM_NO_DEADLINE) == 0)
			(void)gm_remote_turn(client);
	}
	if (job.failure.status)
		return gm_client_fail(client, &job.failure);
	gm_client_clear(client);
	return 0;
}

int gm_remote_job_run(struct gmem_region *region, enum gm_job_kind kind,
		      const struct gmem_range *ranges, size_t n_ranges, gmem_progress_fn progress,
		      void *arg)
{
	struct gmem_client *client = region->domain->client;
	uint64_t id = region->id;
	bool had_report;
	int r;

	for (;;) {
		had_report = gm_remote_is_reporting(client, id);
		r = run_once(client, region, kind, ranges, n_ranges, progress, arg);
		if (!gm_remote_was_early(client, id, had_report, &r))
			return r;
		/* An event during the wait may have made the program drop it. */
		if (gm_client_find_region(client, id) != region)
			return gm_fail(client, GMEM_NO_SUCH_OBJECT, 0,
				       "The region was destroyed before the job could begin.");
	}
}
