/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One job that puts pages into the digest of a launch, which it is given and gives back. The file
 * is sealed: what is read here is what will be populated.
 */
#ifndef GM_WORKER_DIGEST_H
#define GM_WORKER_DIGEST_H

#include "work.h"

/* As gm_work_run(). */
GM_WARN_UNUSED int gm_digest_run(const struct gm_job_order *order, int fd,
				 const struct gm_work_sink *sink);

#endif
