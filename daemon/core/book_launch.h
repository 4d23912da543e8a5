/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Launches in the books: which state, which sources, what is populated and what is about to be.
 * launch.h has the order of events; here they are applied to a domain and its regions.
 *
 * The digest is an opaque block to the books: the layer above puts operations into it. There are
 * two, the one of what was reported and the one with what the step under way puts in, which becomes
 * the first when that step is reported as done, and is forgotten with everything else when not.
 *
 * Both are recorded: the daemon may be killed between the hash, the step and its report, and the
 * next one goes on from there.
 *
 * What has failed stays failed: pages of a step that has failed or was lost are lost, and nothing
 * but the end of the domain is left.
 */
#ifndef GM_BOOK_LAUNCH_H
#define GM_BOOK_LAUNCH_H

#include "book_step.h"
#include "launch.h"
#include "trail.h"

/* The launch of the domain; GM_LAUNCH_NONE for a kind without one. */
enum gm_launch_state gm_domain_launch_state(const struct gm_domain *domain);

/*
 * May @event happen to the domain now? Beyond the table: not while something is being hashed
 * (GM_BUSY), but for an abort, and not in quarantine.
 */
GM_WARN_UNUSED int gm_book_check_launch(const struct gm_domain *domain, enum gm_launch_event event,
					struct gm_refusal *refusal);

/* STARTING, with a step of the domain. @digest: of a launch without operations. */
GM_WARN_UNUSED int gm_book_begin_launch(struct gm_domain *domain, const struct gm_step_spec *spec,
					const uint8_t digest[GM_LAUNCH_DIGEST_SIZE],
					struct gm_refusal *refusal);

/* FINISHING. @digest: with all that the platform adds at the end. */
GM_WARN_UNUSED int gm_book_begin_finish(struct gm_domain *domain, const struct gm_step_spec *spec,
					const uint8_t digest[GM_LAUNCH_DIGEST_SIZE],
					struct gm_refusal *refusal);

/* The step of the domain with that id, or GM_INVALID (GM_RULE_STEP). */
GM_WARN_UNUSED int gm_book_find_launch_step(const struct gm_domain *domain, uint64_t id,
					    struct gm_refusal *refusal);

/* It is reported: STARTING becomes OPEN, FINISHING becomes RUNNING. */
void gm_book_launch_step_done(struct gm_domain *domain);

/*
 * Keeps a trail of the launch, which is to begin, from now on; until it is over. Without memory for
 * it there is none.
 */
void gm_book_keep_trail(struct gm_domain *domain);
void gm_book_drop_trail(struct gm_domain *domain);

/* FAILED, for good. The first failure is what later refusals tell. */
void gm_book_fail_launch(struct gm_domain *domain, const struct gm_launch_failure *why);

/* After a restart: what had been measured is not on record, or no digest. */
void gm_book_replace_digest(struct gm_domain *domain, const uint8_t digest[GM_LAUNCH_DIGEST_SIZE]);

/* A domain whose own step is overdue at @now_ms, or NULL. */
struct gm_domain *gm_book_overdue_launch(const struct gm_book *book, uint64_t now_ms);

/* ---- sources ---- */

/* From the beginning on, as long as anything can still be populated. */
GM_WARN_UNUSED int gm_book_may_add_source(const struct gm_domain *domain,
					  struct gm_refusal *refusal);

/*
 * The domain owns @fd from here on, which the caller has looked at. GM_OVER_LIMIT (GM_RULE_SOURCE)
 * with GM_LAUNCH_SOURCES_MAX of them; GM_INVALID (GM_RULE_SOURCE) when @file is memory of a region.
 */
GM_WARN_UNUSED int gm_book_add_source(struct gm_book *book, struct gm_domain *domain, uint64_t id,
				      int fd, uint64_t size, const struct gm_file_id *file,
				      struct gm_refusal *refusal);

/* NULL when there is none. */
const struct gm_source *gm_book_find_source(const struct gm_domain *domain, uint64_t id);

/* Takes one out of the books: its fd, for the caller to close; -1 when there is none any more. */
int gm_book_drop_source(struct gm_domain *domain);

/* ---- population ---- */

/*
 * May the pages of @range be populated? The region is bound and idle, the range inside and whole
 * pages, none of them was anything but absent.
 */
GM_WARN_UNUSED int gm_book_check_populate(const struct gm_region *region, enum gm_page_op op,
					  const struct gm_range *range, struct gm_refusal *refusal);

/* A job hashes what is to be put in. It changes no page; meanwhile nothing else of the launch. */
GM_WARN_UNUSED int gm_book_begin_hashing(struct gm_book *book, struct gm_session *session,
					 struct gm_region *region, struct gm_job_ticket *ret_ticket,
					 struct gm_refusal *refusal);

/* POPULATING, with a step of the region. @digest: with these pages. */
GM_WARN_UNUSED int gm_book_begin_populate(struct gm_region *region, enum gm_page_op op,
					  const struct gm_range *range,
					  const struct gm_step_spec *spec,
					  const uint8_t digest[GM_LAUNCH_DIGEST_SIZE],
					  struct gm_refusal *refusal);

/*
 * GM_STEP_POPULATE is reported: this was its range, and @n_done bytes of it were populated; with
 * @failure (NULL: none) the launch has failed. GM_INVALID (GM_RULE_STEP) when it was another range,
 * more bytes, or not all of them and yet no failure: the step stays under way.
 */
GM_WARN_UNUSED int gm_book_populated(struct gm_region *region, const struct gm_range *range,
				     uint64_t n_done, const struct gm_launch_failure *failure,
				     struct gm_refusal *refusal);

#endif
