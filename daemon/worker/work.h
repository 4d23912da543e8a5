/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One job, carried out by many threads.
 *
 * The ranges are cut into chunks; threads take the next chunk from one cursor until none is left,
 * one fails, or the job is stopped. A chunk is big enough that taking it costs nothing and small
 * enough that a stop is seen within milliseconds. The calling thread is one of the threads.
 *
 * Reports add up to exactly what was done: each chunk is reported once, after it is finished.
 */
#ifndef GM_WORK_H
#define GM_WORK_H

#include "backend.h"
#include "job.h"

/* The first report that is not the last comes after this time, and so does each further one. */
#define GM_WORK_REPORT_INTERVAL_MS 50

struct gm_work_sink {
	/* Asked by the calling thread before each of its chunks. Must not block. */
	bool (*is_stopped)(void *arg);
	/* From any thread, one at a time. Nonzero stops the job. */
	int (*report)(void *arg, const struct gm_job_report *report);
	void *arg;
};

/*
 * @order has passed gm_job_order_is_valid. @fd is closed before the last report goes out, so that
 * who reads it knows that the job holds the memory no more. 0, or what `report` answered when
 * nobody is there to report to.
 */
GM_WARN_UNUSED int gm_work_run(const struct gm_job_order *order, int fd,
			       const struct gm_backend *backend, const struct gm_work_sink *sink);

#endif
