/* SPDX-License-Identifier: Apache-2.0 */
#include "trail.h"

#include <stdlib.h>
#include <string.h>

struct gm_trail *gm_trail_new(void)
{
	return calloc(1, sizeof(struct gm_trail));
}

size_t gm_trail_room(const struct gm_trail *trail)
{
	if (trail->cut || trail->n_rows == GM_TRAIL_ROWS_MAX)
		return 0;
	return GM_TRAIL_TAGS_MAX - trail->n_tags;
}

void gm_trail_set_next(struct gm_trail *trail, const struct gm_trail_row *row, const uint64_t *tags)
{
	struct gm_trail_row *next;

	trail->has_next = false;
	if (trail->cut || trail->n_rows == GM_TRAIL_ROWS_MAX ||
	    row->n_tags > GM_TRAIL_TAGS_MAX - trail->n_tags ||
	    (row->n_tags != 0 && row->n_tags != row->n_pages)) {
		trail->cut = true;
		return;
	}
	next = &trail->rows[trail->n_rows];
	*next = *row;
	next->first_tag = (uint32_t)trail->n_tags;
	if (row->n_tags > 0)
		memcpy(&trail->tags[trail->n_tags], tags, row->n_tags * sizeof(*tags));
	trail->has_next = true;
}

void gm_trail_book(struct gm_trail *trail)
{
	if (!trail->has_next)
		return;
	trail->n_tags += trail->rows[trail->n_rows++].n_tags;
	trail->has_next = false;
}
