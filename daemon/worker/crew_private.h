/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hub, workers, crews and jobs, as crew.c, hub.c and crew_worker.c share them.
 *
 * A worker's life:
 *
 *   IDLE       has a crew and no job. Leaves after the idle time, or when its place is wanted.
 *   BUSY       does its crew's first job.
 *   GONE       its channel has ended in the middle of a job; the spawner's word is awaited, a
 *              moment at most.
 *   DISMISSED  without a crew; its process is ending, and takes its place until the spawner says
 *              that it has. One that takes longer than GM_CREW_PATIENCE_MS is stuck: it keeps a
 *              place of its own share, and none of the others.
 *
 * A worker is freed when the spawner has reported its end, or with the hub, and nowhere else: every
 * other function may go on using it.
 *
 * Callbacks to the owners of jobs are made by the hub's turn only (and progress when a report is
 * read), so none can happen inside submit or cancel; but an fd that has come to a job goes to its
 * owner when the job is cancelled.
 */
#ifndef GM_CREW_PRIVATE_H
#define GM_CREW_PRIVATE_H

#include <sys/queue.h>

#include "crew.h"

/* From the end of a channel to the spawner's report about the same death. */
#define GM_CREW_REPORT_WAIT_MS 100
/* When the spawner's queue is full. */
#define GM_CREW_RETRY_MS 10

struct gm_crew_job {
	struct gm_crew *crew;
	const struct gm_crew_job_ops *ops;
	void *arg;
	int fd;			       /* ours; -1 once it was sent */
	struct gm_cgroup_place *place; /* used; NULL: none */
	bool running;
	bool cancelled;
	bool ended; /* on gm_crew_hub::ended, with the next two */
	enum gm_job_end how;
	int error;
	uint64_t left_bytes;	       /* not reported yet */
	uint64_t n_tags;	       /* reported */
	TAILQ_ENTRY(gm_crew_job) link; /* gm_crew::jobs, then gm_crew_hub::ended */
	struct gm_job_order order;     /* cut after its last range: nothing may follow */
};

TAILQ_HEAD(gm_crew_job_list, gm_crew_job);

enum gm_crew_worker_state {
	GM_CREW_WORKER_IDLE,
	GM_CREW_WORKER_BUSY,
	GM_CREW_WORKER_GONE,
	GM_CREW_WORKER_DISMISSED,
};

struct gm_crew_worker {
	struct gm_crew_hub *hub;
	struct gm_crew_share *share;
	struct gm_crew *crew; /* NULL: dismissed */
	enum gm_crew_worker_state state;
	uint64_t tag;
	struct gm_cgroup_place *place; /* used; NULL: none */
	int displaced;		       /* -errno: why it never came up */
	int channel;		       /* -1: dismissed */
	bool distrusted;	       /* has sent nonsense: killed, and not listened to any more */
	bool kill_due;		       /* the spawner has yet to be asked */
	bool stuck;		       /* dismissed, and its process does not end */
	struct gm_watch *watch;	       /* of the channel */
	struct gm_watch *timer;
	uint64_t deadline_ms; /* idle, patience or report wait, as the state says; 0: none */
	TAILQ_ENTRY(gm_crew_worker) link; /* gm_crew_hub::workers */
};

TAILQ_HEAD(gm_crew_worker_list, gm_crew_worker);

struct gm_crew {
	struct gm_crew_hub *hub;
	struct gm_crew_share *share;
	struct gm_crew_worker *worker; /* NULL: none */
	struct gm_crew_job_list jobs;  /* the first may be running */
	uint32_t n_jobs;	       /* these and the ended ones */
	bool waiting;		       /* on gm_crew_share::waiting */
	TAILQ_ENTRY(gm_crew) link;     /* gm_crew_share::waiting */
};

/*
 * Workers that close fds. One takes them; those before it close what they have and end. When all
 * that there may be are at work, what comes waits here.
 */
#define GM_JANITORS_MAX 4
#define GM_JANITORS_WAITING_MAX 256
struct gm_janitors {
	int channel; /* of the one that takes fds; -1: none */
	uint32_t n;  /* processes */
	uint64_t tags[GM_JANITORS_MAX];
	uint32_t first;
	uint32_t n_waiting;
	int waiting[GM_JANITORS_WAITING_MAX]; /* a ring */
};

struct gm_crew_hub {
	struct gm_loop_ref loop;
	struct gm_spawner *spawner;
	uint32_t workers_max;
	uint64_t idle_ms;
	bool broken;
	int displaced; /* -errno of the last worker that runs, but not in its place */
	uint64_t last_tag;
	uint64_t last_job;
	uint32_t n_crews;
	uint32_t n_workers;
	uint32_t n_dismissed; /* of these */
	uint32_t n_stuck;     /* and of these */
	uint32_t n_waiting;
	uint32_t n_ended;
	struct gm_janitors janitors;
	struct gm_watch *reports; /* the spawner's socket */
	struct gm_watch *turn;	  /* timer */
	bool kicked;
	struct gm_crew_worker_list workers; /* all states */
	TAILQ_HEAD(, gm_crew_share) turns;  /* with crews that wait; whose turn it is comes first */
	struct gm_crew_share own;	    /* of crews that nobody has given another */
	struct gm_crew_job_list ended;	    /* their owners do not know yet */
};

/* hub.c */

/* Makes the hub's turn come soon. */
void gm_hub_kick(struct gm_crew_hub *hub);
/* Somebody waits who could have the worker's place, once those that are being vacated are filled.
 */
bool gm_hub_wants_place_of(const struct gm_crew_worker *worker);
/* The worker is one of its share, or is no more. */
void gm_hub_count(struct gm_crew_share *share, bool is_new);
void gm_hub_wait(struct gm_crew_hub *hub, struct gm_crew *crew);
void gm_hub_unwait(struct gm_crew_hub *hub, struct gm_crew *crew);

/* janitor.c */

void gm_janitors_init(struct gm_janitors *janitors);
void gm_janitors_done(struct gm_janitors *janitors);
/* What waits goes to a janitor. False: some still waits for one. */
bool gm_janitors_turn(struct gm_crew_hub *hub);
/* The spawner says: the process is no more. False: it was no janitor. */
bool gm_janitor_ended(struct gm_crew_hub *hub, uint64_t tag);

/* crew.c */

/* Takes the job off its crew; the owner is told in the hub's next turn. */
void gm_crew_job_finish(struct gm_crew_job *job, enum gm_job_end how, int error);
/* Tells the owner, and frees the job. */
void gm_crew_job_end(struct gm_crew_job *job);
/* Gives the first job to the idle worker, or lines up for one. */
void gm_crew_advance(struct gm_crew *crew);

/* crew_worker.c */

/* 0; -EAGAIN: the spawner is behind; or -errno. For a crew without a worker. */
GM_WARN_UNUSED int gm_crew_worker_new(struct gm_crew *crew);
/* Forgets the process. */
void gm_crew_worker_free(struct gm_crew_worker *worker);
/* The crew's first job to its idle worker. */
void gm_crew_worker_send(struct gm_crew_worker *worker);
/* No job for now. */
void gm_crew_worker_rest(struct gm_crew_worker *worker);
/* The running job shall stop. */
void gm_crew_worker_stop(struct gm_crew_worker *worker);
/* The crew lets go; the process is ended. The worker has no job. */
void gm_crew_worker_dismiss(struct gm_crew_worker *worker);
/* The spawner says: the process is no more. @error as in GM_JOB_WORKER_LOST. Frees the worker. */
void gm_crew_worker_ended(struct gm_crew_worker *worker, int error);
/* Asks the spawner to kill a worker with `kill_due`; it stays due where its queue is full. */
void gm_crew_worker_kill(struct gm_crew_worker *worker);

#endif
