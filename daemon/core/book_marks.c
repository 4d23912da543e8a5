/* SPDX-License-Identifier: Apache-2.0 */
#include "book_marks.h"

#include <assert.h>
#include <stdlib.h>

#include "model.h"

void gm_marks_init(struct gm_marks *marks)
{
	marks->recording = false;
	marks->n_changes = 0;
	TAILQ_INIT(&marks->dirty);
	TAILQ_INIT(&marks->removed);
}

bool gm_marks_are_clear(const struct gm_marks *marks)
{
	return TAILQ_EMPTY(&marks->dirty) && TAILQ_EMPTY(&marks->removed) && marks->n_changes == 0;
}

static struct gm_region *region_of(struct gm_mark *mark)
{
	return GM_CONTAINER_OF(mark, struct gm_region, mark);
}

/* The object is recorded as it is. */
static void settle(struct gm_mark *mark)
{
	struct gm_domain *domain;

	if (mark->kind == GM_MARK_REGION)
		region_of(mark)->map_is_unknown = false;
	if (mark->kind != GM_MARK_DOMAIN)
		return;
	domain = GM_CONTAINER_OF(mark, struct gm_domain, mark);
	if (domain->launch)
		domain->launch->changed = false;
}

static void free_object(struct gm_mark *mark)
{
	switch (mark->kind) {
	case GM_MARK_TENANT:
		free(GM_CONTAINER_OF(mark, struct gm_tenant, mark));
		return;
	case GM_MARK_SESSION:
		free(GM_CONTAINER_OF(mark, struct gm_session, mark));
		return;
	case GM_MARK_DOMAIN:
		free(GM_CONTAINER_OF(mark, struct gm_domain, mark));
		return;
	case GM_MARK_REGION:
		free(region_of(mark));
		return;
	case GM_MARK_KIND_N_:
		break;
	}
	assert(!"every mark has a kind");
}

void gm_marks_clear(struct gm_marks *marks)
{
	struct gm_mark *mark;

	while ((mark = TAILQ_FIRST(&marks->dirty))) {
		TAILQ_REMOVE(&marks->dirty, mark, link);
		mark->state = GM_MARK_CLEAN;
		settle(mark);
	}
	while ((mark = TAILQ_FIRST(&marks->removed))) {
		TAILQ_REMOVE(&marks->removed, mark, link);
		free_object(mark);
	}
	for (uint32_t i = 0; i < marks->n_changes; i++)
		if (marks->changes[i].region)
			marks->changes[i].region->map_has_changes = false;
	marks->n_changes = 0;
}

void gm_marks_done(struct gm_marks *marks)
{
	gm_marks_clear(marks);
	marks->recording = false;
}

void gm_mark_init(struct gm_mark *mark, enum gm_mark_kind kind)
{
	*mark = (struct gm_mark){ .kind = kind };
}

void gm_mark_dirty(struct gm_marks *marks, struct gm_mark *mark)
{
	if (!marks->recording || mark->state == GM_MARK_DIRTY)
		return;
	assert(mark->state == GM_MARK_CLEAN);
	mark->state = GM_MARK_DIRTY;
	TAILQ_INSERT_TAIL(&marks->dirty, mark, link);
}

static void forget_changes(struct gm_marks *marks, struct gm_region *region)
{
	if (!region->map_has_changes)
		return;
	for (uint32_t i = 0; i < marks->n_changes; i++)
		if (marks->changes[i].region == region)
			marks->changes[i].region = NULL;
	region->map_has_changes = false;
}

bool gm_mark_remove(struct gm_marks *marks, struct gm_mark *mark)
{
	if (mark->kind == GM_MARK_REGION)
		forget_changes(marks, region_of(mark));
	if (mark->state == GM_MARK_DIRTY)
		TAILQ_REMOVE(&marks->dirty, mark, link);
	mark->state = GM_MARK_CLEAN;
	if (!marks->recording || mark->record == 0)
		return true;
	mark->state = GM_MARK_REMOVED;
	TAILQ_INSERT_TAIL(&marks->removed, mark, link);
	return false;
}

/* Whether the new change only makes the last one longer: a job goes through its range in order. */
static bool extends(const struct gm_map_change *last, const struct gm_region *region,
		    uint64_t offset, enum gm_page_state state)
{
	return last->region == region && last->state == state &&
	       last->offset + last->length == offset;
}

void gm_mark_pages(struct gm_marks *marks, struct gm_region *region, uint64_t offset,
		   uint64_t length, enum gm_page_state state)
{
	struct gm_map_change *change;

	if (!marks->recording || region->map_is_unknown || length == 0)
		return;
	if (marks->n_changes > 0) {
		change = &marks->changes[marks->n_changes - 1];
		if (extends(change, region, offset, state)) {
			change->length += length;
			return;
		}
	}
	if (marks->n_changes == GM_MARKS_CHANGES_MAX) {
		gm_mark_whole_map(marks, region);
		return;
	}
	marks->changes[marks->n_changes++] =
		(struct gm_map_change){ region, offset, length, state };
	region->map_has_changes = true;
}

void gm_mark_whole_map(struct gm_marks *marks, struct gm_region *region)
{
	if (!marks->recording)
		return;
	forget_changes(marks, region);
	region->map_is_unknown = true;
	gm_mark_dirty(marks, &region->mark);
}
