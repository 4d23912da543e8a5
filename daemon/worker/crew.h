/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers as gmemd sees them: jobs go in, progress and one end per job come out, whatever
 * happens to the process in between.
 *
 * A crew belongs to one domain (its jobs run one after the other in one worker process, which is
 * started when there is a job and let go after an idle time). Runs on the loop's thread only.
 */
#ifndef GM_CREW_H
#define GM_CREW_H

#include <sys/queue.h>

#include "gm_loop.h"
#include "job.h"
#include "spawner.h"

/*
 * Crews that share places: a tenant's. Hubs give places to shares in turns, and none more than its
 * max; one that has no worker at all need not wait for the others' long jobs (see gm_crew_hub_new).
 */
TAILQ_HEAD(gm_crew_list, gm_crew);
struct gm_crew_share {
	uint32_t max; /* worker processes at one time, at least 1; may be changed at any time */
	void (*on_change)(struct gm_crew_share *share); /* of n_workers; may be NULL */
	uint32_t n_workers;				/* from here on the hub's */
	uint32_t n_dismissed;				/* of these */
	uint32_t n_stuck; /* were let go, and their processes do not end */
	uint32_t n_waiting;
	struct gm_crew_list waiting;	 /* have a job and no worker, first come first */
	TAILQ_ENTRY(gm_crew_share) turn; /* gm_crew_hub::turns, while some wait */
};

struct gm_crew_hub; /* all crews, the spawner's socket, worker limits */
struct gm_crew;
struct gm_crew_job;

enum gm_job_end {
	GM_JOB_DONE,
	GM_JOB_CANCELLED,
	GM_JOB_ERROR, /* errno in `error` */
	/*
	 * The worker died, or none came up. `error` is its wait status, or -errno where there is
	 * none: why it could not be started, -EPIPE without a spawner, -ETIMEDOUT when the spawner
	 * did not say in time. What is missing in the progress may or may not have been done.
	 */
	GM_JOB_WORKER_LOST,
	GM_JOB_DISPLACED, /* no worker could be put into the job's place: -errno in `error` */
	GM_JOB_END_N_
};

struct gm_crew_job_ops {
	/* A part is finished. May be called many times, parts disjoint. */
	void (*progress)(void *arg, const struct gm_job_range *done);
	/*
	 * The result of a GM_JOB_DIGEST that was done, before its end. May be NULL.
	 */
	void (*digest)(void *arg, const uint8_t state[GM_JOB_DIGEST_SIZE]);
	/* The next tags of a GM_JOB_DIGEST; never more than were wanted. May be NULL. */
	void (*tags)(void *arg, const uint8_t *tags, uint32_t n);
	/* Of a GM_JOB_MAKE_* that ends as GM_JOB_ERROR with EAGAIN, before its end. May be NULL. */
	void (*held)(void *arg, uint64_t offset);
	/*
	 * Of a GM_JOB_RECEIVE. A worker has the job's fd, and nobody here has it any more. Then at
	 * most once: takes the fd that came; the worker says that it is memory.
	 */
	void (*ready)(void *arg);
	void (*received)(void *arg, int fd);
	/*
	 * Exactly once, last; the job is freed afterwards. Never from within submit or cancel. The
	 * crew may be freed here when this was its last job.
	 */
	void (*end)(void *arg, enum gm_job_end how, int error);
};

/*
 * @idle_ms: how long a worker without a job is kept. @workers_max: processes at one time, at
 * least 1; and as many again, each for a share that has none at all, so that long jobs of the
 * others keep nobody out. Crews that find no place wait, those of one share in the order in which
 * they came, the shares in turns; and while somebody waits a worker does one job and makes room.
 * @spawner is borrowed.
 */
GM_WARN_UNUSED int gm_crew_hub_new(struct gm_loop_ref loop, struct gm_spawner *spawner,
				   uint32_t workers_max, uint64_t idle_ms,
				   struct gm_crew_hub **ret_hub);
/* All crews must be gone. Accepts NULL. */
void gm_crew_hub_free(struct gm_crew_hub *hub);
/* Worker processes that exist or have been asked for. */
uint32_t gm_crew_hub_workers(const struct gm_crew_hub *hub);
/* 0; or -errno: why a worker last was not put into its place, but works all the same. */
int gm_crew_hub_displaced(const struct gm_crew_hub *hub);
/* @workers_max of the hub. */
uint32_t gm_crew_hub_places(const struct gm_crew_hub *hub);
/* Another @workers_max, at least 1. Workers beyond it go when they are idle and others wait. */
void gm_crew_hub_set_places(struct gm_crew_hub *hub, uint32_t workers_max);
/* The spawner has gone: every job from here on ends as lost. */
bool gm_crew_hub_is_broken(const struct gm_crew_hub *hub);

/*
 * Closes @fd, in another process where that is possible: the last close of a big memfd frees its
 * pages, which takes about 160 ms for each GiB. Where one process is behind, another is started,
 * up to a few; then fds wait here for one, up to some hundreds. Beyond that the caller waits. The
 * memory comes back soon. Takes @fd always.
 */
void gm_crew_hub_dispose(struct gm_crew_hub *hub, int fd);

GM_WARN_UNUSED int gm_crew_new(struct gm_crew_hub *hub, struct gm_crew **ret_crew);
/* @max is 1. */
void gm_crew_share_init(struct gm_crew_share *share,
			void (*on_change)(struct gm_crew_share *share));

/*
 * Before its first job; without it the crew is one of the hub's own share, which has no limit.
 * @share outlives the hub's workers.
 */
void gm_crew_join(struct gm_crew *crew, struct gm_crew_share *share);

/* No jobs may be left. Accepts NULL. */
void gm_crew_free(struct gm_crew *crew);
/* Lets an idle worker go: nobody has work for it in its place any more. Accepts NULL. */
void gm_crew_disband(struct gm_crew *crew);

/*
 * Queues a job. @order is copied and its job number set here; @fd is borrowed for the call and
 * duplicated. 0 or -errno; on 0 `end` will be called once, from the loop. The job is done by a
 * worker that was put into @place (which is used, not taken; NULL: where the spawner is): one that
 * is somewhere else is let go.
 */
GM_WARN_UNUSED int gm_crew_submit(struct gm_crew *crew, const struct gm_job_order *order, int fd,
				  struct gm_cgroup_place *place, const struct gm_crew_job_ops *ops,
				  void *arg, struct gm_crew_job **ret_job);

/*
 * Asks a job to stop. Its end still comes, and says how it really ended. A worker that does not
 * answer in GM_CREW_PATIENCE_MS is killed: GM_JOB_WORKER_LOST. A GM_JOB_RECEIVE has nothing that
 * anybody waits for, and ends at once; its process may go on for as long as what came does not let
 * go of it, and takes its place until then.
 */
#define GM_CREW_PATIENCE_MS 2000
void gm_crew_cancel(struct gm_crew_job *job);

#endif
