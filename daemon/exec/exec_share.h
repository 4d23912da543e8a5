/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a tenant's jobs share: places for workers, and a rate of bytes that they may allocate.
 */
#ifndef GM_EXEC_SHARE_H
#define GM_EXEC_SHARE_H

#include "exec_job.h"

struct gm_exec_share {
	struct gm_crew_share places;
	/*
	 * Of those that look into boxes: each takes no time, and must not wait for jobs that do;
	 * and what came to one may never let go of it.
	 */
	struct gm_crew_share boxes;
	struct gm_exec *exec;
	struct gm_tenant *tenant;
	struct gm_charge workers;	/* GM_RES_WORKERS: as many as there are */
	TAILQ_HEAD(, gm_exec_job) late; /* wait for the rate, first come first */
	struct gm_watch *timer;		/* NULL: nobody had to wait yet */
	struct gm_bucket looks;		/* reads of files in the tenant's control groups */
};

/* The share of the tenant by its policy of now; made if need be. 0 or -ENOMEM. */
GM_WARN_UNUSED int gm_exec_share_of(struct gm_exec *exec, struct gm_tenant *tenant,
				    struct gm_exec_share **ret_share);

/* Whether the job, which has not begun, has to wait: then it does, and is submitted later. */
GM_WARN_UNUSED bool gm_exec_share_delays(struct gm_exec_share *share, struct gm_exec_job *job);

/*
 * How deep the groups of a tenant are is for the tenant to say, and their files are read in the
 * daemon's loop: only so many in a second for each.
 */
GM_WARN_UNUSED bool gm_exec_share_may_look(struct gm_exec_share *share);
void gm_exec_share_has_looked(struct gm_exec_share *share, unsigned n_reads);

/* The late job ends soon. */
void gm_exec_share_hurry(struct gm_exec_job *job);

/* Frees the shares of all tenants: nobody has jobs or workers any more. */
void gm_exec_shares_done(struct gm_exec *exec);

#endif
