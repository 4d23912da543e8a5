/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Launches that the daemon carries out itself (book_own_launch.h): in a worker, which is charged to
 * the VMM as any other, on a VM of the worker's. The worker's address space goes when it is done;
 * the VM stays as long as somebody holds it, and is handed to the VMM.
 */
#ifndef GM_EXEC_OWN_LAUNCH_H
#define GM_EXEC_OWN_LAUNCH_H

#include "book_own_launch.h"
#include "exec_launch.h"

/* Are the parameters good, and does the policy ask for nothing that the kind cannot have? */
GM_WARN_UNUSED int gm_exec_check_parameters(const struct gm_exec *exec,
					    const struct gm_domain *domain, const void *parameters,
					    size_t size, struct gm_refusal *refusal);

/*
 * FINISHING: a worker launches the guest. @population: with GM_VCPUS_PAGES where they are. @digest:
 * as gm_exec_predict() has left it. As gm_exec_start_job().
 */
GM_WARN_UNUSED int gm_exec_start_own_launch(
	struct gm_exec *exec, struct gm_session *session, int pidfd, struct gm_domain *domain,
	const struct gm_launch_vcpus *vcpus, const struct gm_population *population,
	const uint8_t digest[GM_LAUNCH_DIGEST_SIZE], const struct gm_exec_job_ops *ops, void *arg,
	struct gm_exec_job **ret_job, struct gm_refusal *refusal);

/*
 * At the end of such a job, which ended well: what it has launched is kept for a restart, and the
 * domain's; the step @spec is under way. 0, a verdict or -errno.
 */
GM_WARN_UNUSED int gm_exec_take_launched(struct gm_exec *exec, struct gm_exec_job *job,
					 struct gm_domain *domain, const struct gm_step_spec *spec,
					 struct gm_refusal *refusal);

/* Did the platform tell its digest, and was it the predicted one? At the end of such a job. */
bool gm_exec_was_compared(const struct gm_exec_job *job);

/* The launch was given up: its job is stopped. */
void gm_exec_stop_own_launch(struct gm_exec *exec, const struct gm_domain *domain);

/*
 * After a restart. @vm_fd (-1: none): what was kept for the domain; the domain owns it from here on
 * if gm_launch::vm_fd is it. NULL where the launch goes on, or has been over; else why it has
 * failed.
 */
const char *gm_exec_restore_own_launch(const struct gm_exec *exec, struct gm_domain *domain,
				       int vm_fd);

#endif
