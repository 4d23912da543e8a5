/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversion in place (GM_TRAIT_IN_PLACE): the region has one file, which the VMM has made, and the
 * daemon converts its pages without the VMM. The books have a GM_STEP_CONVERT under way as for two
 * halves, so that nothing else happens to the region meanwhile and a restart knows of it; but a job
 * carries it out, whose parts are booked as they are reported.
 *
 * To make a page shared or private that is so already changes nothing. So what an earlier try has
 * left in doubt, one by a worker that died or by a daemon that was killed, is done once more. Pages
 * for which that fails are lost.
 */
#ifndef GM_BOOK_IN_PLACE_H
#define GM_BOOK_IN_PLACE_H

#include "book_step.h"

/*
 * As gm_book_begin_convert(), and its job begins, which counts against no limit: the guest waits
 * for it. A conversion of the same ranges that was under way when an earlier daemon was killed is
 * taken up: the ticket has `again`.
 */
GM_WARN_UNUSED int gm_book_begin_in_place(struct gm_session *session, struct gm_region *region,
					  enum gm_page_op op, struct gm_range *ranges,
					  size_t n_ranges, const struct gm_step_spec *spec,
					  struct gm_job_ticket *ret_ticket,
					  struct gm_refusal *refusal);

/* It goes on: a restart of the daemon from here on waits until then for who asked for it. */
void gm_book_extend_step(struct gm_region *region, uint64_t deadline_ms);

/*
 * The job could not be begun: as if it had not been asked for; what was taken up is in doubt as
 * before. Before gm_book_end_job(), as the next.
 */
void gm_book_drop_in_place(const struct gm_job_ticket *ticket);

/*
 * The job is over. @in_doubt: pages of its ranges (which are given) that were not reported as
 * converted may have been. They are lost.
 */
void gm_book_end_in_place(const struct gm_job_ticket *ticket, const struct gm_range *ranges,
			  size_t n_ranges, bool in_doubt);

#endif
