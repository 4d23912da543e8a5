/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of the books: what a daemon that is killed at any instruction leaves to the next one.
 *
 * Two areas of memory that outlive the process hold it: the state (tenants, sessions, domains,
 * regions, the last answers of every session, a redo log) and the maps (the page maps). The caller
 * has mapped both, shared, from files of the sizes that gm_store_area_sizes() tells; the files are
 * sparse, and only what is used takes memory. This layer makes no system call.
 *
 * A commit is one transaction: everything that is marked in the books, and one answer, or nothing
 * of it. Its cost follows what has changed, not what is recorded.
 *
 * What is read back is not believed: every record has a checksum, and every value is checked. A
 * record that is damaged is reported, kept and left alone; the rest comes back.
 *
 * The record holds tokens and session keys: the files must be for nobody else.
 */
#ifndef GM_STORE_H
#define GM_STORE_H

#include "book.h"
#include "book_restore.h"

/* What the record has room for. Written into it when it is formatted. */
struct gm_store_limits {
	uint32_t tenants;
	uint32_t sessions;
	uint32_t domains;
	uint32_t regions;
	/* GiBs of page maps. A region takes as many as its size, rounded up to a power of two. */
	uint32_t map_gibs;
};

/* 1,024 tenants, 16,384 sessions, 65,536 domains, regions and GiBs. */
extern const struct gm_store_limits gm_store_default_limits;

/* Sizes of the files, multiples of 4 KiB. @limits NULL: the default. */
size_t gm_store_state_size(const struct gm_store_limits *limits);
size_t gm_store_maps_size(const struct gm_store_limits *limits);

enum gm_store_part {
	GM_STORE_STATE,
	GM_STORE_MAPS,
	GM_STORE_PART_N_
};

struct gm_store_area {
	void *at[GM_STORE_PART_N_]; /* page aligned, outlives the store */
	size_t size[GM_STORE_PART_N_];
};

/*
 * Makes an empty record of two areas that are all zeros. @id: random, ties the two together.
 * @limits NULL: the default; the areas must have the sizes for them (-EINVAL).
 */
GM_WARN_UNUSED int gm_store_format(const struct gm_store_area *area,
				   const struct gm_store_limits *limits, uint64_t id);

struct gm_store;

/*
 * Opens what is there, and finishes or forgets the transaction that a kill has interrupted. 0;
 * GM_UNSUPPORTED with a text for a record that only a newer daemon understands, which is left
 * untouched; -EBADMSG for what is no record, or one without its maps; -ENOMEM.
 */
GM_WARN_UNUSED int gm_store_open(const struct gm_store_area *area, struct gm_store **ret_store,
				 struct gm_refusal *refusal);

/* Accepts NULL. The record stays. */
void gm_store_close(struct gm_store *store);

/*
 * Space that the record has no use of any more, in multiples of 4 KiB: give it back to the system
 * (fallocate with FALLOC_FL_PUNCH_HOLE). Called during commits and the load; must not call back.
 * NULL (as it is from the start): nothing is given back.
 */
void gm_store_set_release(struct gm_store *store,
			  void (*release)(void *arg, enum gm_store_part part, uint64_t offset,
					  uint64_t length),
			  void *arg);

/* ---- loading ---- */

/*
 * What the load calls, in this order, for everything in the record that is sound. Each makes the
 * object in the books (gm_book_restore_*) as the caller sees fit and returns it. A negative return
 * ends the load. A positive verdict: the object cannot be had; it is reported as damaged, with the
 * refusal's text, and with all that hangs on it, and its record is kept. -EEXIST is taken for
 * one.
 */
struct gm_store_load_ops {
	/* A tenant of that name, made if need be; called once for each that something is of. */
	int (*tenant)(void *arg, const char *name, struct gm_tenant **ret_tenant,
		      struct gm_refusal *refusal);
	int (*session)(void *arg, struct gm_tenant *tenant, const struct gm_session_restore *from,
		       struct gm_session **ret_session, struct gm_refusal *refusal);
	/* @session: NULL where it was orphaned, or its session could not be had. */
	int (*domain)(void *arg, struct gm_tenant *tenant, struct gm_session *session,
		      const struct gm_domain_restore *from, struct gm_domain **ret_domain,
		      struct gm_refusal *refusal);
	/* Find and verify the fd here. @map is the caller's where 0 is returned. */
	int (*region)(void *arg, struct gm_domain *domain, const struct gm_region_restore *from,
		      struct gm_page_map *map, struct gm_region **ret_region,
		      struct gm_refusal *refusal);
	/* "region 0123456789abcdef", "domain record 17"; and why it is not believed. */
	void (*damaged)(void *arg, const char *object, const char *why);
};

/*
 * Fills the books. Once, before the first commit; gm_book_start_recording() comes before it.
 * @now_ms: of the clock of the books. Where a part of a page map is damaged, its pages come back as
 * lost, and that is reported. 0, -ENOMEM, or what an op has returned.
 */
GM_WARN_UNUSED int gm_store_load(struct gm_store *store, struct gm_book *book,
				 const struct gm_store_load_ops *ops, void *arg, uint64_t now_ms);

/* ---- recording ---- */

/*
 * 0, or GM_OVER_LIMIT (GM_RULE_NONE) when the record has no room left. Ask before the book is
 * asked to make an object: a commit that finds no room fails as a whole.
 */
GM_WARN_UNUSED int gm_store_room_for_session(const struct gm_store *store,
					     struct gm_refusal *refusal);
GM_WARN_UNUSED int gm_store_room_for_domain(const struct gm_store *store,
					    struct gm_refusal *refusal);
GM_WARN_UNUSED int gm_store_room_for_launch(const struct gm_store *store,
					    struct gm_refusal *refusal);
GM_WARN_UNUSED int gm_store_room_for_region(const struct gm_store *store, uint64_t size,
					    struct gm_refusal *refusal);

/*
 * Gives a new object its record number before its first commit, for what has to carry the number
 * before that. 0 or -ENOSPC. Idempotent. The number of an object that goes without ever having been
 * committed is free again with the next commit.
 */
GM_WARN_UNUSED int gm_store_reserve(struct gm_store *store, struct gm_mark *mark);

/* The longest body of an answer that is kept. */
#define GM_STORE_BODY_MAX 94u

/* How many answers are kept of each session; no client has more requests unanswered. */
#define GM_STORE_ANSWERS 256u

struct gm_store_answer {
	struct gm_session *session;
	uint32_t serial;
	uint16_t type;
	uint16_t flags;
	uint16_t length;
	uint8_t body[GM_STORE_BODY_MAX];
};

/*
 * Records everything that is marked, and @answer (may be NULL; skipped for a session that is not
 * recorded), and clears the marks. 0; -ENOSPC: the record has no room for it, nothing is recorded
 * and the marks stay.
 */
GM_WARN_UNUSED int gm_store_commit(struct gm_store *store, struct gm_book *book,
				   const struct gm_store_answer *answer);

/*
 * The recorded answer to the request, gm_store_answer::session left out; false when there is none.
 * Looks at all answers of the session, some microseconds: only a session that was resumed has
 * requests that come again.
 */
bool gm_store_find_answer(const struct gm_store *store, const struct gm_session *session,
			  uint32_t serial, struct gm_store_answer *ret_answer);

#endif
