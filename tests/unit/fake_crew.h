/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crews without processes: a job waits until the test says how far it comes and how it ends.
 * Takes the place of the workers' code at link time.
 */
#ifndef FAKE_CREW_H
#define FAKE_CREW_H

#include "crew.h"

/* Oldest job that has not ended, or NULL. */
struct gm_crew_job *fake_crew_first(const struct gm_crew_hub *hub);
size_t fake_crew_count(const struct gm_crew_hub *hub);

const struct gm_job_order *fake_crew_order(const struct gm_crew_job *job);
bool fake_crew_is_cancelled(const struct gm_crew_job *job);

/* Does the work of a part, as a worker would, and reports it. */
void fake_crew_report(struct gm_crew_job *job, uint64_t offset, uint64_t length);
/* The same without a report: what a worker that dies in the middle has done. */
void fake_crew_work(struct gm_crew_job *job, uint64_t offset, uint64_t length);
/* Reports any range without doing anything: a worker that lies. */
void fake_crew_lie(struct gm_crew_job *job, uint64_t offset, uint64_t length);

/* Of a GM_JOB_RECEIVE: a worker has the socket; and then it passes @fd on, which is taken. */
void fake_crew_ready(struct gm_crew_job *job);
void fake_crew_give(struct gm_crew_job *job, int fd);
struct gm_crew_job *fake_crew_last(const struct gm_crew_hub *hub);

/* Ends and frees a job. */
void fake_crew_end(struct gm_crew_job *job, enum gm_job_end how, int error);
/* A conversion that ends because somebody holds the page at @offset. */
void fake_crew_held(struct gm_crew_job *job, uint64_t offset);
/* All ranges, then GM_JOB_DONE; GM_JOB_CANCELLED if it was cancelled. */
void fake_crew_finish(struct gm_crew_job *job);

/* How many fds were handed over to be closed elsewhere. */
unsigned fake_crew_disposed(const struct gm_crew_hub *hub);

/* Called when a job is submitted, before it can be seen. */
void fake_crew_on_submit(struct gm_crew_hub *hub, void (*on_submit)(void *arg), void *arg);

/* What the next gm_crew_submit answers, once. */
void fake_crew_fail_submit(struct gm_crew_hub *hub, int error);

#endif
