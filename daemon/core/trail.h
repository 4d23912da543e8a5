/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was put into a launch, in order, as far as it was reported: kept while the launch is under
 * way for those who want to know where it parts from another one. Of fixed size; what does not fit
 * is not kept, and said to be missing.
 */
#ifndef GM_TRAIL_H
#define GM_TRAIL_H

#include "gm_num.h"

#define GM_TRAIL_ROWS_MAX 512
#define GM_TRAIL_TAGS_MAX 8192

struct gm_trail_row {
	uint64_t gpa;
	uint64_t n_pages;
	uint32_t first_tag;
	uint32_t n_tags; /* n_pages, or 0: the contents are not measured */
	unsigned type;	 /* of the layer above */
};

struct gm_trail {
	unsigned n_asked; /* how often its launch was compared with what was planned */
	bool cut;	  /* something did not fit, and neither did all after it */
	size_t n_rows;
	size_t n_tags;
	bool has_next; /* rows[n_rows] is what the step under way puts in */
	struct gm_trail_row rows[GM_TRAIL_ROWS_MAX];
	uint64_t tags[GM_TRAIL_TAGS_MAX];
};

/* NULL: out of memory; then there is none. */
struct gm_trail *gm_trail_new(void);

/* So many tags of the next row would fit. */
size_t gm_trail_room(const struct gm_trail *trail);

/* The step under way. @tags: row->n_tags of them; row->first_tag is not looked at. */
void gm_trail_set_next(struct gm_trail *trail, const struct gm_trail_row *row,
		       const uint64_t *tags);

/* It is reported as done. */
void gm_trail_book(struct gm_trail *trail);

#endif
