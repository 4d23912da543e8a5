/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting objects back into the books as they were recorded, after a restart.
 *
 * What was granted stays granted: charges are booked whatever the limits are now. What is not
 * believed is refused all the same: a record may be damaged. Objects come back in the order of
 * their sequence numbers, a domain after its session, a region after its domain.
 *
 * Returns: 0; GM_INVALID with @refusal filled for what cannot be right; -EEXIST: the id is in use;
 * -ENOMEM. On anything but 0 the books are as before.
 */
#ifndef GM_BOOK_RESTORE_H
#define GM_BOOK_RESTORE_H

#include "book.h"

struct gm_session_restore {
	uint32_t record;
	struct gm_session_id id;
	struct gm_peer peer;
	char client[GM_NAME_SIZE];
	bool has_key;
	struct gm_session_key key;
};

/* The session is open and has no owner: whoever resumes it becomes that. */
GM_WARN_UNUSED int gm_book_restore_session(struct gm_book *book, struct gm_tenant *tenant,
					   const struct gm_session_restore *from,
					   struct gm_session **ret_session,
					   struct gm_refusal *refusal);

struct gm_domain_restore {
	uint32_t record;
	struct gm_domain_id id;
	uint64_t sequence;
	char name[GM_NAME_SIZE];
	char kind[GM_KIND_NAME_MAX + 1];
	enum gm_lifetime lifetime;
	struct gm_token token;
	uint64_t created_ms;
	uint64_t orphaned_ms; /* where it has no session */
	bool quarantined;
	uint32_t slot;		/* pool, and 1; 0: none */
	uint64_t memlock_bytes; /* of the process of its session */
	struct gm_limits memlock_base;
	unsigned traits;
	struct { /* with GM_TRAIT_LAUNCH */
		enum gm_launch_state state;
		enum gm_step_kind step_kind;
		uint64_t step_id;
		uint64_t deadline_ms;
		/* NULL: what had been measured is not on record. */
		const uint8_t *digest;
		const uint8_t *next_digest;
		const struct gm_launch_failure *failure;
	} launch;
};

/* @session: it was attached to that one; NULL: it was orphaned. */
GM_WARN_UNUSED int gm_book_restore_domain(struct gm_book *book, struct gm_tenant *tenant,
					  struct gm_session *session,
					  const struct gm_domain_restore *from,
					  struct gm_domain **ret_domain,
					  struct gm_refusal *refusal);

/* Of a step under way, without its ranges. */
struct gm_step_restore {
	uint64_t id; /* 0: none */
	enum gm_step_kind kind;
	enum gm_page_op op;
	bool reported;
	struct gm_siphash_key key;
	uint64_t digest;
	uint64_t deadline_ms;
};

struct gm_region_restore {
	uint32_t record;
	struct gm_region_id id;
	uint64_t sequence;
	char name[GM_NAME_SIZE];
	uint64_t gpa;
	uint64_t size;
	uint64_t page_size;
	uint64_t numa_nodes;
	struct gm_file_id file;
	bool quarantined;
	/*
	 * Bit set of enum gm_page_op: jobs that nobody has seen end. Look at the memory and book
	 * what is found with gm_book_restore_pages(); the next commit forgets them.
	 */
	unsigned ops_under_way;
	struct gm_file_id private_file; /* all 0: it had no private half */
	int private_fd;			/* of that; -1: not to be had. The region's on success */
	bool bound;
	bool unanswered;
	struct gm_step_restore step;
	struct {
		uint64_t id; /* 0: none */
		uint64_t last;
		uint64_t spent;
		uint64_t room;
		uint64_t granularity;
	} order;
};

/*
 * The region's fd is @fd, or -1. @map is taken over, and is then empty; it must have the size of
 * the region.
 */
GM_WARN_UNUSED int gm_book_restore_region(struct gm_book *book, struct gm_domain *domain,
					  const struct gm_region_restore *from,
					  struct gm_page_map *map, int fd,
					  struct gm_region **ret_region,
					  struct gm_refusal *refusal);

/*
 * Books what a look at the memory has found, where no job can tell: pages that a job had dealt with
 * when the daemon was killed. As gm_book_job_progress().
 */
GM_WARN_UNUSED int gm_book_restore_pages(struct gm_region *region, const struct gm_range *range,
					 enum gm_page_state state, struct gm_refusal *refusal);

#endif
