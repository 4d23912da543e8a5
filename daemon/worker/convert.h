/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One job that converts pages of a guest_memfd in place: on the file itself, and so without the
 * VMM.
 *
 * The kernel unmaps the pages in every process first and then counts who still holds them. Such
 * holders (a pin of a device, an I/O under way) come and go, so they are waited for, at a growing
 * pace and for a bounded time.
 *
 * Ranges are converted one after the other, in pieces, by one thread: the file has one lock for it
 * (filemap_invalidate_lock).
 */
#ifndef GM_WORKER_CONVERT_H
#define GM_WORKER_CONVERT_H

#include "work.h"

struct gm_convert_pace {
	uint32_t first_ms;    /* the first wait; each further one is twice as long, */
	uint32_t most_ms;     /* up to this, until some page was converted */
	uint32_t patience_ms; /* of all waits of one job together */
};

/* What workers go by. */
extern const struct gm_convert_pace gm_convert_pace;

/* As gm_work_run(). -EAGAIN in the last report: gm_job_report::held_at. */
GM_WARN_UNUSED int gm_convert_run(const struct gm_job_order *order, int fd,
				  const struct gm_backend *backend,
				  const struct gm_convert_pace *pace,
				  const struct gm_work_sink *sink);

#endif
