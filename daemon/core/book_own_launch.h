/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Launches that the daemon carries out itself, in the books (GM_TRAIT_DAEMON_LAUNCHES). Nothing is
 * asked of the VMM before the end: what is to be put in is written down, and at the end one job
 * does all of it, from the first command to the last. Then the VMM's VM takes over what has been
 * launched.
 *
 *   READY --open--> OPEN --finish: the job--> FINISHING --the job has ended: GM_STEP_MOVE--> ...
 *
 * All memory of the domain is pinned by that, so it is charged as locked memory from the moment on
 * that it is made.
 */
#ifndef GM_BOOK_OWN_LAUNCH_H
#define GM_BOOK_OWN_LAUNCH_H

#include "book_launch.h"

/* Regions of one domain that one job can have. */
#define GM_OWN_LAUNCH_REGIONS_MAX 200

/* Does the daemon launch this domain? */
bool gm_domain_is_launched_here(const struct gm_domain *domain);

/* OPEN. @parameters are copied. 0, a verdict or -ENOMEM. */
GM_WARN_UNUSED int gm_book_open_launch(struct gm_domain *domain, const void *parameters,
				       size_t size, const uint8_t digest[GM_LAUNCH_DIGEST_SIZE],
				       struct gm_refusal *refusal);

/*
 * @put is to go in: its pages are measured from here on. @digest: with them. Has been checked with
 * gm_book_check_populate(); GM_OVER_LIMIT (GM_RULE_RANGES) with GM_LAUNCH_PUTS_MAX of them.
 */
GM_WARN_UNUSED int gm_book_write_down(const struct gm_put *put,
				      const uint8_t digest[GM_LAUNCH_DIGEST_SIZE],
				      struct gm_refusal *refusal);

/* Can it be launched now: it has regions, and no jobs. 0 or a verdict. */
GM_WARN_UNUSED int gm_book_check_own_finish(const struct gm_book *book,
					    const struct gm_domain *domain,
					    struct gm_refusal *refusal);

/*
 * A job on all memory of the domain, which checks that again. 0 or a verdict. Where the job is not
 * begun after all, gm_book_take_vm() gives back what was taken for its result.
 */
GM_WARN_UNUSED int gm_book_begin_own_finish(struct gm_book *book, struct gm_session *session,
					    struct gm_domain *domain,
					    struct gm_job_ticket *ret_ticket,
					    struct gm_refusal *refusal);
/* It is begun: FINISHING. @digest: with all that the platform adds at the end. */
void gm_book_own_finish_begun(struct gm_domain *domain,
			      const uint8_t digest[GM_LAUNCH_DIGEST_SIZE]);

/* The job has ended well: the domain owns @vm_fd, and a step to take it over is under way. */
void gm_book_launched(struct gm_domain *domain, int vm_fd, const struct gm_step_spec *spec);

/* After a restart: the VM of a step to take it over that was under way. Takes @vm_fd. */
void gm_book_restore_vm(struct gm_domain *domain, int vm_fd);

/* What was written down is of no more use. */
void gm_book_forget_puts(struct gm_domain *domain);

/* The VM, for the caller to close; -1 where there is none. */
int gm_book_take_vm(struct gm_domain *domain);

#endif
