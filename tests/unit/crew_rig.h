/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hub of crews with a real spawner, and jobs that note how they end. Asserts that no callback
 * comes from inside a call of submit or cancel.
 */
#ifndef CREW_RIG_H
#define CREW_RIG_H

#include "gm_test.h"

#include <sys/types.h>

#include "crew.h"
#include "worker_backends.h"

struct work {
	struct gm_crew_job *job;
	uint64_t bytes;
	unsigned n_progress;
	unsigned n_ends;
	bool ended;
	enum gm_job_end how;
	int error;
	unsigned place;		   /* in the order of ends */
	struct gm_crew *free_crew; /* in the end callback */
	struct gm_crew *again;	   /* submit the same once more */
};

extern struct gm_spawner spawner;
extern struct gm_crew_hub *hub;
extern unsigned n_ended;
extern int memory;
extern const struct gm_crew_job_ops job_ops;

void begin(uint32_t workers_max, uint64_t idle_ms);
void begin_with(const struct gm_cgroups *cgroups, uint32_t workers_max, uint64_t idle_ms);
void end(void);

struct gm_crew *crew_new(void);
void submit(struct gm_crew *crew, const char *kind, uint64_t length, struct work *work);
void cancel(struct work *work);

void run_until_ended(struct work *work);
void run_for(uint64_t ms);

/* Pids of the spawner's children. */
unsigned workers(pid_t *pids, unsigned max);
pid_t the_worker(void);

#endif
