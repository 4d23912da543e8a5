/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marks: what has changed in the books since they were last recorded.
 *
 * Every function of the book that changes something that outlives the daemon sets a mark. Whoever
 * records the books reads the marks and then clears them. Marking takes no memory and cannot fail:
 * the marks lie in the objects, and an object that goes while it still has a record is kept, out
 * of the books, until the next clear. Changes of page maps go to an array of fixed size; where that
 * is full, the region says that its whole map is to be looked at.
 *
 * While nothing records (gm_marks::recording is false) a mark costs one test and keeps nothing.
 */
#ifndef GM_BOOK_MARKS_H
#define GM_BOOK_MARKS_H

#include <sys/queue.h>

#include "gm_num.h"
#include "page_state.h"

struct gm_region;

/* A worker's report has at most 64 ranges; between two clears there is hardly ever more than one.
 */
#define GM_MARKS_CHANGES_MAX 256u

enum gm_mark_kind {
	GM_MARK_TENANT,
	GM_MARK_SESSION,
	GM_MARK_DOMAIN,
	GM_MARK_REGION,
	GM_MARK_KIND_N_
};

enum gm_mark_state {
	GM_MARK_CLEAN,
	GM_MARK_DIRTY,	/* on gm_marks::dirty */
	GM_MARK_REMOVED /* on gm_marks::removed; the object is nobody's any more */
};

/* Part of every object that is recorded. */
struct gm_mark {
	uint32_t record; /* where it is recorded; 0: nowhere. Of the layer that records */
	enum gm_mark_kind kind;
	enum gm_mark_state state;
	TAILQ_ENTRY(gm_mark) link;
};

TAILQ_HEAD(gm_mark_list, gm_mark);

/* Pages [offset, offset + length) of the region are in @state now. In the order of happening. */
struct gm_map_change {
	struct gm_region *region; /* NULL: it has gone since */
	uint64_t offset;
	uint64_t length;
	enum gm_page_state state;
};

struct gm_marks {
	bool recording;
	struct gm_mark_list dirty;   /* one that is ending loses its record, too */
	struct gm_mark_list removed; /* with records only */
	uint32_t n_changes;
	struct gm_map_change changes[GM_MARKS_CHANGES_MAX];
};

void gm_marks_init(struct gm_marks *marks);

/* Frees what was kept. */
void gm_marks_done(struct gm_marks *marks);

/* Nothing has to be recorded. */
bool gm_marks_are_clear(const struct gm_marks *marks);

/* All has been recorded: forgets every mark and frees what was kept. */
void gm_marks_clear(struct gm_marks *marks);

void gm_mark_init(struct gm_mark *mark, enum gm_mark_kind kind);
void gm_mark_dirty(struct gm_marks *marks, struct gm_mark *mark);

/*
 * The object has left the books. True: free it now. False: it has a record, and gm_marks_clear()
 * will free() it; what it points to is the caller's to free.
 */
GM_WARN_UNUSED bool gm_mark_remove(struct gm_marks *marks, struct gm_mark *mark);

void gm_mark_pages(struct gm_marks *marks, struct gm_region *region, uint64_t offset,
		   uint64_t length, enum gm_page_state state);

/* Nobody knows what has changed in the map: all of it is to be looked at. */
void gm_mark_whole_map(struct gm_marks *marks, struct gm_region *region);

#endif
