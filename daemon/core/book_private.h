/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the book share with one another and with nobody else.
 */
#ifndef GM_BOOK_PRIVATE_H
#define GM_BOOK_PRIVATE_H

#include "book_restore.h"
#include "book_step.h"

/* Room for the name of an object in a refusal. */
struct gm_object_name {
	char text[GM_OBJECT_MAX];
};

/* "domain 0123456789abcdef" */
struct gm_object_name gm_book_object(const char *what, uint64_t id);

/* 0, or GM_SHUTTING_DOWN while the daemon drains. */
GM_WARN_UNUSED int gm_book_check_draining(const struct gm_book *book, struct gm_refusal *refusal);

/*
 * The node of an object that the session may see by its tenant; for an admin session, of any
 * tenant. NULL when it is not there.
 */
struct gm_hash_node *gm_book_lookup(const struct gm_book *book, struct gm_hash_node *table,
				    const struct gm_session *session, uint64_t id);

/* 0, or GM_BUSY when @domain is not attached to @session. */
GM_WARN_UNUSED int gm_book_check_attached(const struct gm_domain *domain,
					  const struct gm_session *session,
					  struct gm_refusal *refusal);

/* 0, or GM_WRONG_STATE when @domain is quarantined. */
GM_WARN_UNUSED int gm_book_check_domain_usable(const struct gm_domain *domain,
					       struct gm_refusal *refusal);

/*
 * Puts an object that is complete into the books: 0, -EEXIST or -ENOMEM. The name of the domain is
 * free; the addresses of the region are, and there is room for it.
 */
GM_WARN_UNUSED int gm_book_enter_domain(struct gm_book *book, struct gm_domain *domain,
					struct gm_session *session);
GM_WARN_UNUSED int gm_book_enter_region(struct gm_book *book, struct gm_region *region);

/* An object that is in the books no more, or not yet. */
void gm_book_domain_free(struct gm_domain *domain);
void gm_book_region_free(struct gm_region *region);

/* What has to be right for @region to be entered into @domain, its charges apart. */
GM_WARN_UNUSED int gm_book_check_place(struct gm_domain *domain, const struct gm_region_spec *spec,
				       struct gm_refusal *refusal);

/*
 * Takes all charges of the region, each with @take, which is gm_charge_take() or the like of it.
 * What was taken is the region's in any case.
 */
GM_WARN_UNUSED int gm_book_charge_region(struct gm_region *region,
					 int (*take)(struct gm_charge *charge,
						     struct gm_account *account,
						     enum gm_resource resource, uint64_t amount,
						     struct gm_refusal *refusal),
					 struct gm_refusal *refusal);

/* The sums follow what the map of the region says, however it came to say so. */
void gm_book_allocated(struct gm_region *region);

/* As gm_book_begin_job() checks them: aligned, inside, disjoint; sorted in place. */
GM_WARN_UNUSED int gm_book_check_ranges(const struct gm_region *region, struct gm_range *ranges,
					size_t n_ranges, struct gm_refusal *refusal);

/* Whether @op may be done to every page of the ranges now. */
GM_WARN_UNUSED int gm_book_check_pages(const struct gm_region *region, enum gm_page_op op,
				       const struct gm_range *ranges, size_t n_ranges,
				       struct gm_refusal *refusal);

/*
 * The pages of @range are now in the state that @op leaves behind, and marked. 0, a verdict, or
 * -ENOMEM: pages before the offset that the verdict names are booked. The sums are still to follow.
 */
GM_WARN_UNUSED int gm_book_apply(struct gm_region *region, enum gm_page_op op,
				 const struct gm_range *range, struct gm_refusal *refusal);

/*
 * The same of what has happened and cannot be refused any more: where the page map is short of
 * memory for it the pages are lost, and the answer is false. An empty range is no change.
 */
bool gm_book_apply_or_lose(struct gm_region *region, enum gm_page_op op,
			   const struct gm_range *range);

/* The job counts with its region, domain and session, until gm_book_end_job(). */
void gm_book_enter_job(const struct gm_job_ticket *ticket);

/* Bytes of the ranges that @op makes shared and that are not. */
uint64_t gm_book_count_to_share(const struct gm_region *region, enum gm_page_op op,
				const struct gm_range *ranges, size_t n_ranges);

/* GM_STEP_POPULATE has ended and nothing was populated: a launch that was populating is open. */
void gm_book_drop_populate(struct gm_domain *domain);

/* A part of a conversion in place is done. */
void gm_book_in_place_done(const struct gm_job_ticket *ticket, const struct gm_range *done);

/* GM_INVALID (GM_RULE_STEP): a report that fits no step of the region. */
int gm_book_refuse_report(const struct gm_region *region, const char *why,
			  struct gm_refusal *refusal);

/* The pages of @range, and around it where memory is short, are lost, and marked. */
void gm_book_lose_pages(struct gm_region *region, const struct gm_range *range);

/* A step as it was recorded; free() it. 0 or -ENOMEM. */
GM_WARN_UNUSED int gm_book_restore_step(const struct gm_step_restore *from,
					struct gm_step **ret_step);
/* It is under way in @region from here on, which owns it. */
void gm_book_enter_step(struct gm_region *region, struct gm_step *step);

/* The step of a region that is going, if there is one, goes with it. */
void gm_book_forget_step(struct gm_region *region);

/* Why the launch of the domain, which has failed, did: into the refusal of what is asked now. */
void gm_book_tell_failure(const struct gm_domain *domain, struct gm_refusal *refusal);

/* A new domain's launch, where its kind has one: 0 or -ENOMEM; and its end. */
GM_WARN_UNUSED int gm_book_launch_new(struct gm_domain *domain);
void gm_book_launch_free(struct gm_domain *domain);

/* May a step begin: the region has private memory, no step, no job, and can still be used. */
GM_WARN_UNUSED int gm_book_check_step_idle(const struct gm_region *region,
					   struct gm_refusal *refusal);

/* GM_STEP_POPULATE is under way from here on: everything has been checked. 0 or -ENOMEM. */
GM_WARN_UNUSED int gm_book_enter_populate(struct gm_region *region, enum gm_page_op op,
					  const struct gm_range *range,
					  const struct gm_step_spec *spec);

/* Is it the memory of a region, one of a dying domain included: its files are still open. */
bool gm_book_has_file(const struct gm_book *book, const struct gm_file_id *file);

/* Sets pages and marks them. What gm_page_map_set() returns; the sums are still to follow. */
GM_WARN_UNUSED int gm_book_set_pages(struct gm_region *region, uint64_t offset, uint64_t length,
				     enum gm_page_state state, struct gm_refusal *refusal);

#endif
