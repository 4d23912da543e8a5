/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who pays for a job, and is there room for it? For the files of this folder only.
 */
#ifndef GM_EXEC_CHARGE_H
#define GM_EXEC_CHARGE_H

#include "exec.h"

struct gm_exec_job;
struct gm_exec_share;

/* Both used, and to be dropped; NULL: nobody's that we know. */
struct gm_exec_payer {
	struct gm_cgroup_place *place; /* of the worker; NULL: where the spawner is */
	struct gm_cgroup_place *group; /* whose limits hold */
};

/*
 * Where a worker for the session is to be, from its process (@pidfd, borrowed). 0, or a verdict:
 * nobody can be charged, and nobody else is to be.
 */
GM_WARN_UNUSED int gm_exec_find_payer(struct gm_exec *exec, const struct gm_session *session,
				      int pidfd, struct gm_exec_payer *ret_payer,
				      struct gm_refusal *refusal);
void gm_exec_payer_done(struct gm_exec_payer *payer);

/*
 * Finds out where the job's worker is to be, from its session's process (@pidfd, borrowed). 0, or
 * a verdict: nobody can be charged, and nobody else is to be.
 */
GM_WARN_UNUSED int gm_exec_charge(struct gm_exec_job *job, int pidfd, struct gm_refusal *refusal);

/*
 * Would the control group of who pays be over its limit? That costs some file reads; where there
 * is little room, a look at the pages too. @share: of the tenant, or NULL; one that has had many
 * looks lately gets one that costs little, at the nearest group. 0 or a verdict with the figures.
 */
GM_WARN_UNUSED int gm_exec_check_room(struct gm_exec_job *job, struct gm_exec_share *share,
				      struct gm_refusal *refusal);

/* Has the OOM killer ended a process of the group of who pays since the check? */
bool gm_exec_was_oom_killed(const struct gm_exec_job *job);

/* "out of memory in cgroup X: ...", as things are now. Who pays is known. */
int gm_exec_refuse_memory(const struct gm_exec_job *job, enum gm_verdict verdict,
			  struct gm_refusal *refusal);

/*
 * The kernel gave no hugepage: a refusal with the figures where a group of who pays has no room for
 * one; else 0, and the pool is empty.
 */
GM_WARN_UNUSED int gm_exec_refuse_hugepages(const struct gm_exec_job *job,
					    struct gm_refusal *refusal);

void gm_exec_uncharge(struct gm_exec_job *job);

#endif
