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

/*
 * POPULATE of what the VMM has put into shared pages: they are made private first, by the job that
 * begins here, and when that has ended well GM_STEP_POPULATE is for the VMM to do, without a
 * source. Checks and states are those of gm_book_begin_populate(); no page changes its state in the
 * books until the step is reported. One of the same range that is under way when there is no job is
 * taken up (`again`): an earlier daemon was killed over it.
 */
GM_WARN_UNUSED int gm_book_begin_in_place_population(
	struct gm_session *session, struct gm_region *region, const struct gm_range *range,
	const struct gm_step_spec *spec, const uint8_t digest[GM_LAUNCH_DIGEST_SIZE],
	struct gm_job_ticket *ret_ticket, struct gm_refusal *refusal);

/* It goes on: a restart of the daemon from here on waits until then for who asked for it. */
void gm_book_extend_step(struct gm_region *region, uint64_t deadline_ms);

/*
 * The job could not be begun: as if it had not been asked for; what was taken up is in doubt as
 * before. Before gm_book_end_job(), as the next.
 */
void gm_book_drop_in_place(const struct gm_job_ticket *ticket);

enum gm_in_place_end {
	GM_IN_PLACE_DONE,
	GM_IN_PLACE_FAILED,   /* what was not reported was not converted */
	GM_IN_PLACE_IN_DOUBT, /* it may have been: those pages are lost, and a launch with them */
};

/*
 * The job is over; its ranges, and the bytes of them that were reported. A conversion ends with it.
 * Of a population that has failed what was made private stays so, and cannot be populated any more.
 */
void gm_book_end_in_place(const struct gm_job_ticket *ticket, const struct gm_range *ranges,
			  size_t n_ranges, uint64_t done, enum gm_in_place_end how);

#endif
