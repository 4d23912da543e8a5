/* SPDX-License-Identifier: Apache-2.0 */
#include "worker.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "channel.h"
#include "convert.h"
#include "digest.h"
#include "gm_cleanup.h"
#include "launcher.h"
#include "receive.h"
#include "work.h"

struct worker {
	int channel;
	uint64_t job; /* under way */
	bool stopped;
	bool at_end; /* gmemd has closed the channel, or talks nonsense */
};

static bool worker_is_stopped(void *arg)
{
	struct worker *worker = arg;
	struct gm_job_stop stop;
	ssize_t n;

	while (!worker->stopped && !worker->at_end) {
		n = gm_channel_recv(worker->channel, &stop, sizeof(stop), NULL, MSG_DONTWAIT);
		if (n == -EAGAIN)
			break;
		if (n != sizeof(stop))
			worker->at_end = true;
		/* A stop that crossed the last report of the job before does not concern this one.
		 */
		else if (stop.job == worker->job)
			worker->stopped = true;
	}
	return worker->stopped || worker->at_end;
}

static int worker_report(void *arg, const struct gm_job_report *report)
{
	struct worker *worker = arg;

	return gm_channel_send(worker->channel, report, gm_job_report_size(report), -1, 0);
}

static int worker_refuse(struct worker *worker, const struct gm_job_order *order, int error)
{
	struct gm_job_report report = { .job = order->job, .error = error, .last = true };

	return worker_report(worker, &report);
}

/* Closes @fd. */
static int worker_obey(struct worker *worker, const struct gm_job_order *order, size_t size,
		       int fd_consumed)
{
	const struct gm_work_sink sink = {
		.is_stopped = worker_is_stopped,
		.report = worker_report,
		.arg = worker,
	};
	_gm_close_ int fd = fd_consumed;
	const struct gm_backend *backend;

	if (fd < 0 || !gm_job_order_is_valid(order, size))
		return worker_refuse(worker, order, -EINVAL);
	if (order->verb == GM_JOB_RECEIVE) {
		gm_receive_run(order->job, fd, worker->channel);
		return -ESHUTDOWN;
	}
	backend = gm_backend_find(order->kind);
	if (!backend)
		return worker_refuse(worker, order, -EOPNOTSUPP);
	worker->job = order->job;
	worker->stopped = false;
	if (order->verb == GM_JOB_DIGEST)
		return gm_digest_run(order, gm_take_fd(&fd), &sink);
	if (order->verb == GM_JOB_MAKE_SHARED || order->verb == GM_JOB_MAKE_PRIVATE)
		return gm_convert_run(order, gm_take_fd(&fd), backend, &gm_convert_pace, &sink);
	if (order->verb == GM_JOB_LAUNCH)
		return gm_launch_run(order, gm_take_fd(&fd), backend, &sink);
	return gm_work_run(order, gm_take_fd(&fd), backend, &sink);
}

/* A stop for a job that is over already may arrive between orders. */
static bool is_late_stop(ssize_t size, int fd)
{
	return size == sizeof(struct gm_job_stop) && fd < 0;
}

int gm_worker_main(int channel)
{
	struct worker worker = { .channel = channel };
	/* Static: most of it is never touched, and a stack of it would be zeroed for every job. */
	static struct gm_job_order order;

	while (!worker.at_end) {
		int fd = -1;
		ssize_t size = gm_channel_recv(channel, &order, sizeof(order), &fd, 0);

		if (size == 0)
			return EXIT_SUCCESS;
		if (size < 0)
			return EXIT_FAILURE;
		if (is_late_stop(size, fd))
			continue;
		if (size == sizeof(struct gm_job_dispose)) {
			gm_fd_close(fd);
			continue;
		}
		/* Nonzero: nobody is there to report to, or it was the last job. */
		if (worker_obey(&worker, &order, (size_t)size, fd))
			break;
	}
	return EXIT_SUCCESS;
}
