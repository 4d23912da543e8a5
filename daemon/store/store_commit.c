/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A commit: first everything that is new gets its place, which may fail and is then undone; then
 * all is written down, which cannot fail; after that the places of what has gone are free.
 */
#include <errno.h>

#include "gm_fault.h"
#include "store_private.h"

static bool is_skipped(const struct gm_mark *mark)
{
	return mark->record == 0 && gm_store_is_ending(mark);
}

/* An object whose record has not been written yet. */
static bool is_new(const struct gm_store *store, const struct gm_mark *mark)
{
	return mark->record != 0 &&
	       gm_store_look(store, mark->kind, mark->record) == GM_STORE_EMPTY;
}

static void give_place(struct gm_store *store, enum gm_mark_kind kind, uint32_t record)
{
	if (kind == GM_MARK_REGION)
		gm_ranges_give(&store->ranges, store->places[record - 1].order,
			       store->places[record - 1].first);
	if (kind == GM_MARK_DOMAIN)
		gm_store_give_launch(store, record);
	gm_store_table_give(store, kind, record);
}

static bool take_range(struct gm_store *store, const struct gm_region *region, uint32_t record)
{
	struct gm_store_place *place = &store->places[record - 1];
	unsigned order = gm_ranges_order(region->map.n_gib);

	*place = (struct gm_store_place){ .order = (uint8_t)order };
	return gm_ranges_take(&store->ranges, order, &place->first);
}

static int take_place(struct gm_store *store, struct gm_mark *mark)
{
	uint32_t record = gm_store_table_take(store, mark->kind);

	if (record == 0)
		return -ENOSPC;
	if (mark->kind == GM_MARK_REGION && !take_range(store, gm_store_region_of(mark), record)) {
		gm_store_table_give(store, mark->kind, record);
		return -ENOSPC;
	}
	if (mark->kind == GM_MARK_SESSION)
		store->n_answers[record - 1] = 0;
	mark->record = record;
	return 0;
}

int gm_store_reserve(struct gm_store *store, struct gm_mark *mark)
{
	return mark->record != 0 ? 0 : take_place(store, mark);
}

static void undo_places(struct gm_store *store, struct gm_marks *marks, const struct gm_mark *end)
{
	struct gm_mark *mark;

	TAILQ_FOREACH(mark, &marks->dirty, link) {
		if (mark == end)
			return;
		if (!is_new(store, mark))
			continue;
		give_place(store, mark->kind, mark->record);
		mark->record = 0;
	}
}

/*
 * Without room the launch goes unrecorded, and the next daemon does not know what it has measured:
 * that is no reason to record nothing else.
 */
static void take_launch(struct gm_store *store, const struct gm_mark *mark)
{
	if (mark->kind == GM_MARK_DOMAIN && !gm_store_is_ending(mark) &&
	    gm_store_wants_launch(store, gm_store_domain_of(mark)))
		(void)gm_store_take_launch(store, mark->record);
}

static int take_all_of(struct gm_store *store, struct gm_mark *mark)
{
	int r = 0;

	if (is_skipped(mark))
		return 0;
	if (mark->record == 0)
		r = take_place(store, mark);
	if (r == 0)
		take_launch(store, mark);
	return r;
}

static int take_places(struct gm_store *store, struct gm_marks *marks)
{
	struct gm_mark *mark;

	TAILQ_FOREACH(mark, &marks->dirty, link) {
		int r = take_all_of(store, mark);

		if (r) {
			undo_places(store, marks, mark);
			return r;
		}
	}
	return 0;
}

static void put_marks(struct gm_store *store, struct gm_marks *marks)
{
	struct gm_mark *mark;

	TAILQ_FOREACH(mark, &marks->removed, link)
		gm_store_put_removal(store, mark->kind, mark->record);
	TAILQ_FOREACH(mark, &marks->dirty, link) {
		if (is_skipped(mark))
			continue;
		if (gm_store_is_ending(mark))
			gm_store_put_removal(store, mark->kind, mark->record);
		else
			gm_store_put_record(store, mark);
	}
}

static bool has_map(const struct gm_region *region)
{
	return region && region->mark.record != 0 && !region->domain->dying;
}

static void put_maps(struct gm_store *store, struct gm_marks *marks)
{
	struct gm_mark *mark;

	for (uint32_t i = 0; i < marks->n_changes; i++)
		if (has_map(marks->changes[i].region))
			gm_store_put_change(store, &marks->changes[i]);
	TAILQ_FOREACH(mark, &marks->dirty, link) {
		struct gm_region *region;

		if (mark->kind != GM_MARK_REGION)
			continue;
		region = gm_store_region_of(mark);
		if (region->map_is_unknown && has_map(region))
			gm_store_put_whole_map(store, region);
	}
	gm_store_put_heads(store);
}

/* What an older daemon has written is written anew, all of it, with the first commit. */
static void put_version(struct gm_store *store)
{
	const uint32_t versions[2] = { GM_STORE_VERSION, GM_STORE_COMPAT };

	if (store->version == GM_STORE_VERSION)
		return;
	gm_store_log_put(store, GM_STORE_STATE, offsetof(struct gm_store_header, version), versions,
			 sizeof(versions));
	store->version = GM_STORE_VERSION;
}

static void put_stale(struct gm_store *store)
{
	for (uint32_t i = 0; i < store->n_stale_tenants; i++)
		gm_store_put_removal(store, GM_MARK_TENANT, store->stale_tenants[i]);
}

/* The record is gone; what it had can be had by others. */
static void forget(struct gm_store *store, enum gm_mark_kind kind, uint32_t record)
{
	if (kind == GM_MARK_SESSION && store->n_answers[record - 1] > 0)
		gm_store_release_answers(store, record);
	if (kind == GM_MARK_REGION)
		gm_store_release_map(store, &store->places[record - 1]);
	if (kind == GM_MARK_DOMAIN)
		gm_store_release_launch(store, record);
	give_place(store, kind, record);
}

static void forget_gone(struct gm_store *store, struct gm_marks *marks)
{
	struct gm_mark *mark;

	TAILQ_FOREACH(mark, &marks->removed, link)
		forget(store, mark->kind, mark->record);
	TAILQ_FOREACH(mark, &marks->dirty, link) {
		if (mark->record == 0 || !gm_store_is_ending(mark))
			continue;
		forget(store, mark->kind, mark->record);
		mark->record = 0;
	}
	while (store->n_stale_tenants > 0)
		give_place(store, GM_MARK_TENANT, store->stale_tenants[--store->n_stale_tenants]);
}

static bool is_kept(const struct gm_store_answer *answer)
{
	return answer && answer->session->tenant && answer->session->mark.record != 0 &&
	       answer->session->state == GM_SESSION_OPEN && answer->length <= GM_STORE_BODY_MAX;
}

int gm_store_commit(struct gm_store *store, struct gm_book *book,
		    const struct gm_store_answer *answer)
{
	struct gm_marks *marks = &book->marks;
	int r;

	if (gm_marks_are_clear(marks) && !answer)
		return 0;
	r = take_places(store, marks);
	if (r)
		return r;

	put_version(store);
	put_stale(store);
	put_marks(store, marks);
	put_maps(store, marks);
	if (is_kept(answer))
		gm_store_put_answer(store, answer);
	gm_store_put_counters(store);
	gm_store_log_commit(store);

	forget_gone(store, marks);
	GM_FAULT_POINT("commit: places free");
	gm_marks_clear(marks);
	return 0;
}
