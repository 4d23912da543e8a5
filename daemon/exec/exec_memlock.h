/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits of locked memory, as processes have them.
 */
#ifndef GM_EXEC_MEMLOCK_H
#define GM_EXEC_MEMLOCK_H

#include "exec.h"

/*
 * RLIMIT_MEMLOCK of the process of the domain's session becomes what it was before its first grant
 * and @bytes more, with what the process's other domains have been granted: in place of what this
 * domain had. 0 and the limits of now; GM_OVER_LIMIT (GM_RULE_MEMLOCK_MAX); GM_UNSUPPORTED
 * (GM_RULE_RLIMIT), with the grant as it was before; or -errno.
 */
GM_WARN_UNUSED int gm_exec_set_memlock(struct gm_exec *exec, struct gm_domain *domain,
				       uint64_t bytes, struct gm_limits *ret_now,
				       struct gm_refusal *refusal);

/* Lowers the limit again and takes the grant off the books: before the domain changes hands. */
void gm_exec_end_memlock(struct gm_exec *exec, struct gm_domain *domain);
/* The same for all domains of a session. */
void gm_exec_end_session_memlock(struct gm_exec *exec, struct gm_session *session);

/* After a restart: every limit is as the books say. */
void gm_exec_restore_memlock(struct gm_exec *exec);

/* What gm_exec::memlock is, unless a test says otherwise. */
int gm_exec_prlimit_memlock(pid_t pid, const struct gm_limits *want, struct gm_limits *ret_was);

#endif
