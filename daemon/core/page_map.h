/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of every 4 KiB page of a region, in memory that follows the number of chunks that
 * differ, not the size of the region.
 *
 * Three levels, as the hardware has them. A GiB in one state costs one word. A GiB that is mixed
 * has a node (page_node.h); in it a 2 MiB chunk in one state costs one 16-bit word, and a mixed
 * chunk has a cell (page_cell.h) that holds its 512 states as digits. All cells of a node are
 * equally wide, by the number of different states that they have held since the node last had
 * none:
 *
 *   states  digits per byte  cell    whole TiB of mixed chunks
 *   2       8 (base 2)        64 B    33 MiB
 *   3       5 (base 3)       103 B    54 MiB
 *   4       4 (base 4)       128 B    66 MiB
 *   5, 6    3 (base 6)       171 B    90 MiB
 *
 * The budget is 60 KiB for each GiB of the region (rounded up), and at least 1 MiB: absent,
 * shared and private pages may be mixed in any pattern. Only a pattern of four or more states
 * in nearly every 2 MiB chunk passes it, and is refused (GM_OVER_LIMIT, GM_RULE_PAGE_MAP). With
 * what malloc loses between its blocks the whole stays below 64 MiB for a TiB.
 *
 * Not thread-safe. All offsets and lengths are bytes and multiples of 4 KiB within the region:
 * callers have checked them (asserted here).
 */
#ifndef GM_PAGE_MAP_H
#define GM_PAGE_MAP_H

#include "gm_num.h"
#include "gm_verdict.h"
#include "page_state.h"

struct gm_page_map {
	uint64_t size;		 /* bytes */
	uint64_t n_gib;		 /* entries of @gib */
	uintptr_t *gib;		 /* tagged: a uniform state, or a node */
	uintptr_t inline_gib[1]; /* @gib points here for regions of at most 1 GiB */
	uint64_t heap_bytes;	 /* all that is allocated, with what malloc adds */
	uint64_t budget_bytes;
	uint64_t pages[GM_PAGE_STATE_N_]; /* how many pages are in each state */
};

/* A run of equal state; maximal except where a caller's limit cuts it. */
struct gm_page_run {
	uint64_t offset;
	uint64_t length;
	enum gm_page_state state;
};

/* @size: a non-zero multiple of 4 KiB. 0 or -ENOMEM. The map must not be moved afterwards. */
GM_WARN_UNUSED int gm_page_map_init(struct gm_page_map *map, uint64_t size,
				    enum gm_page_state state);

/* Takes over @from, which is empty then. @map: nothing in it. */
void gm_page_map_move(struct gm_page_map *map, struct gm_page_map *from);

/* Idempotent; safe on a zeroed struct. */
void gm_page_map_done(struct gm_page_map *map);

/*
 * Sets a range; an empty one is no change. 0; GM_OVER_LIMIT (rule GM_RULE_PAGE_MAP, offset,
 * limit/used/asked in bytes of map memory) or -ENOMEM with the map exactly as it was.
 */
GM_WARN_UNUSED int gm_page_map_set(struct gm_page_map *map, uint64_t offset, uint64_t length,
				   enum gm_page_state state, struct gm_refusal *refusal);

/*
 * Books a range as lost. Cannot fail: where memory or budget is short, whole 2 MiB chunks (in the
 * worst case whole GiBs) around the range become lost too, which frees memory and errs on the
 * side of not touching pages that are in doubt.
 */
void gm_page_map_set_lost(struct gm_page_map *map, uint64_t offset, uint64_t length);

enum gm_page_state gm_page_map_get(const struct gm_page_map *map, uint64_t offset);

/* The run that starts at @offset (< size), at most to @end (<= size). */
void gm_page_map_run(const struct gm_page_map *map, uint64_t offset, uint64_t end,
		     struct gm_page_run *ret_run);

/*
 * Where the pages from @offset (< @end) on that are in one of @states, a set of bits by enum
 * gm_page_state, end: at most at @end (<= size). Time as for gm_page_map_allows.
 */
uint64_t gm_page_map_stretch(const struct gm_page_map *map, uint64_t offset, uint64_t end,
			     unsigned states);

/*
 * Whether @op may be done under @conditions to every page of the range. 0, or the verdict of the
 * first page that forbids it, with its offset. However the pages are mixed, time follows the number
 * of GiBs: the pages of at most three of them are looked at.
 */
GM_WARN_UNUSED int gm_page_map_allows(const struct gm_page_map *map, uint64_t offset,
				      uint64_t length, enum gm_page_op op, unsigned conditions,
				      struct gm_refusal *refusal);

/* Bytes of the range that are in @state. At most the first and the last GiB are looked into. */
uint64_t gm_page_map_count(const struct gm_page_map *map, uint64_t offset, uint64_t length,
			   enum gm_page_state state);

/* ---- GiBs as bytes ---- */

/* The most that a mixed GiB takes as bytes: every chunk with a cell of the widest class. */
#define GM_PAGE_GIB_BYTES_MAX (88 * GM_KIB)

/* True when all of GiB @gib (< n_gib) is in one state. */
bool gm_page_map_gib_state(const struct gm_page_map *map, uint64_t gib,
			   enum gm_page_state *ret_state);

/*
 * Writes GiB @gib, which is mixed, as bytes and returns how many: a multiple of 8, at most
 * GM_PAGE_GIB_BYTES_MAX.
 */
size_t gm_page_map_export(const struct gm_page_map *map, uint64_t gib, void *buffer);

/*
 * Sets GiB @gib, which is all in one state, to what was exported, whatever the budget. 0, -ENOMEM,
 * or -EBADMSG for bytes that no export has written: the map is then as it was.
 */
GM_WARN_UNUSED int gm_page_map_import(struct gm_page_map *map, uint64_t gib, const void *bytes,
				      size_t size);

/*
 * Sets a range as gm_page_map_set(), whatever the budget: for states that were within it once,
 * though not in the order in which they come back. 0 or -ENOMEM.
 */
GM_WARN_UNUSED int gm_page_map_replay(struct gm_page_map *map, uint64_t offset, uint64_t length,
				      enum gm_page_state state);

/* Bytes of memory that the map uses beyond its struct. */
uint64_t gm_page_map_bytes(const struct gm_page_map *map);

#endif
