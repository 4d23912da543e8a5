/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps: what only the address space of the VMM can do with a region of private memory. The books
 * decide it, the VMM does it and reports, the books note what happened and not what was asked.
 *
 *   region created   -> GM_STEP_CREATE_MEMORY -> it has a private half
 *   private half     -> GM_STEP_BIND          -> the VM has it, all of it private
 *   bound            -> GM_STEP_CONVERT       -> ranges are shared or private
 *
 * A region has at most one step under way, and no jobs meanwhile. A step that is not reported in
 * time has an outcome that nobody knows: its pages are lost, and only the domain's end frees them.
 * So are all pages of the region where a restart of the daemon has left no more of the step than
 * its digest. Of a VMM that dies inside a step nothing remains: private memory ends with it.
 */
#ifndef GM_BOOK_STEP_H
#define GM_BOOK_STEP_H

#include "book.h"

/* What comes from outside of the core for a new step. */
struct gm_step_spec {
	uint64_t id; /* random, not 0 */
	struct gm_siphash_key key;
	uint64_t deadline_ms;
};

/* The conditions of the page table (enum gm_page_condition bits) for pages of the domain now. */
unsigned gm_domain_conditions(const struct gm_domain *domain);

/*
 * The three steps. GM_UNSUPPORTED for a kind without private memory; GM_WRONG_STATE for one that
 * comes too early or twice; GM_BUSY with a step or a job under way.
 */
GM_WARN_UNUSED int gm_book_begin_memory(struct gm_region *region, const struct gm_step_spec *spec,
					struct gm_refusal *refusal);
GM_WARN_UNUSED int gm_book_begin_bind(struct gm_region *region, const struct gm_step_spec *spec,
				      struct gm_refusal *refusal);

/*
 * @op: GM_PAGE_OP_TO_SHARED or GM_PAGE_OP_TO_PRIVATE. Checks the ranges, which are sorted in place,
 * the granularity, the state of every page and SharedMax=.
 */
GM_WARN_UNUSED int gm_book_begin_convert(struct gm_region *region, enum gm_page_op op,
					 struct gm_range *ranges, size_t n_ranges,
					 const struct gm_step_spec *spec,
					 struct gm_refusal *refusal);

/* The step under way of that id and kind, or GM_INVALID (GM_RULE_STEP). */
GM_WARN_UNUSED int gm_book_find_step(const struct gm_region *region, uint64_t id,
				     enum gm_step_kind kind, struct gm_refusal *refusal);

/* GM_EXISTS (GM_RULE_FD) when another region has this file. */
GM_WARN_UNUSED int gm_book_check_memory(const struct gm_book *book, const struct gm_region *region,
					const struct gm_file_id *file, struct gm_refusal *refusal);

/*
 * GM_STEP_CREATE_MEMORY is reported: the region owns @fd from here on. The caller has looked at
 * it, and gm_book_check_memory() has allowed it.
 */
void gm_book_memory_made(struct gm_region *region, int fd, const struct gm_file_id *file);

/* GM_STEP_BIND is reported as done. */
void gm_book_bound(struct gm_region *region);

/*
 * GM_STEP_CONVERT is reported: these were its ranges, and the first @n_done of them have been
 * converted. GM_INVALID (GM_RULE_STEP) when they were not: the step stays under way. Where the page
 * map is short of memory the pages that could not be booked are lost. *ret_bytes: converted.
 * The step stays, as reported, until gm_book_end_step(): what it has left over in the other half is
 * still to be freed.
 */
GM_WARN_UNUSED int gm_book_converted(struct gm_region *region, const struct gm_range *ranges,
				     size_t n_ranges, size_t n_done, uint64_t *ret_bytes,
				     struct gm_refusal *refusal);

/*
 * It was reported to an earlier daemon, which was killed before the other half was free: is it this
 * step? Then it may be reported again, with the same ranges, and of these no more as done than the
 * map says (GM_INVALID, GM_RULE_STEP): the half that is freed must not be the one in use.
 */
bool gm_book_is_reported(const struct gm_region *region, uint64_t id);
GM_WARN_UNUSED int gm_book_check_reported(const struct gm_region *region,
					  const struct gm_range *ranges, size_t n_ranges,
					  size_t n_done, struct gm_refusal *refusal);

/*
 * A conversion is reported, by a step or under an order that then is freeing, and pages of the half
 * that it gives up are still there: a job of the daemon's own begins that frees them. It needs no
 * leave and counts against no limit. @session: the one that is to stay until it has ended; NULL:
 * none.
 */
void gm_book_begin_freeing(struct gm_session *session, struct gm_region *region, bool private_half,
			   struct gm_job_ticket *ret_ticket);

/* Pages of @ranges hold memory in both halves, and that cannot be helped: they are lost. */
void gm_book_lose_ranges(struct gm_region *region, const struct gm_range *ranges, size_t n_ranges);

/* The step did nothing, or all that it did is booked. */
void gm_book_end_step(struct gm_region *region);

/* The outcome is unknown: its pages are lost, and the step is over. */
void gm_book_lose_step(struct gm_region *region);

/* A region whose step is overdue at @now_ms, or NULL. */
struct gm_region *gm_book_overdue_step(const struct gm_book *book, uint64_t now_ms);

/*
 * A region whose conversion was reported to an earlier daemon and in time to nobody else: where its
 * ranges are is not known any more. NULL: none.
 */
struct gm_region *gm_book_unfinished_step(const struct gm_book *book, uint64_t now_ms);

#endif
