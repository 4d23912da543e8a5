/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page maps. What a change costs does not depend on the map: it is one operation more behind the
 * base of its GiB. When a GiB has its fill of operations, its pages as they are now become the new
 * base: a snapshot, written where no head points to yet, and the head that points to it is part of
 * the transaction. So a snapshot is paid for by GM_STORE_OPS_MAX changes.
 *
 * Operations go through the log: those that a committed head counts may not be written over before
 * the transaction that discounts them is committed.
 */
#include <string.h>

#include "store_private.h"
#include "store_words.h"

uint64_t gm_store_pack_op(uint64_t region_id, unsigned index, unsigned first, unsigned n_pages,
			  enum gm_page_state state)
{
	uint64_t op = first | (uint64_t)(n_pages - 1) << GM_STORE_OP_PAGE_BITS |
		      (uint64_t)state << (2 * GM_STORE_OP_PAGE_BITS);
	const uint64_t words[] = { region_id, index, op };

	return op | gm_store_checksum(words, sizeof(words)) >> 40 << 40;
}

/* A part of a region's map. */
struct part {
	const struct gm_region *region;
	uint64_t gib; /* of the region */
	uint32_t at;  /* of the maps */
};

static struct part part_of(const struct gm_store *store, const struct gm_region *region,
			   uint64_t gib)
{
	uint32_t first = store->places[region->mark.record - 1].first;

	return (struct part){ .region = region, .gib = gib, .at = first + (uint32_t)gib };
}

static struct gm_store_gib *look(struct gm_store *store, const struct part *part)
{
	struct gm_store_gib *gib = &store->gibs[part->at];

	/* Left over from a region that had the GiB before. */
	if (gib->region_id != part->region->id.v)
		*gib = (struct gm_store_gib){ .region_id = part->region->id.v,
					      .base = GM_PAGE_ABSENT };
	return gib;
}

static void touch(struct gm_store *store, const struct part *part, struct gm_store_gib *gib)
{
	if (gib->is_touched)
		return;
	gib->is_touched = true;
	gib->next_touched = store->first_touched;
	store->first_touched = part->at + 1;
}

static void set_uniform(struct gm_store_gib *gib, enum gm_page_state state)
{
	gib->base = (uint8_t)state;
	gib->n_ops = 0;
	gib->snapshot_size = 0;
	gib->snapshot_check = 0;
}

/* The base becomes what the map says now. At most once in a transaction. */
static void settle(struct gm_store *store, const struct part *part, struct gm_store_gib *gib)
{
	enum gm_page_state state;
	uint64_t at;
	size_t size;

	gib->is_settled = true;
	if (gm_page_map_gib_state(&part->region->map, part->gib, &state)) {
		set_uniform(gib, state);
		return;
	}
	size = gm_page_map_export(&part->region->map, part->gib, store->scratch);
	gib->active ^= 1;
	gib->base = GM_STORE_SNAPSHOT;
	gib->n_ops = 0;
	gib->snapshot_size = (uint32_t)size;
	gib->snapshot_check = gm_store_checksum(store->scratch, size);
	store->places[part->region->mark.record - 1].is_used = true;
	at = gm_store_slot_at(store, part->at) + GM_STORE_SNAPSHOT_AT(gib->active);
	gm_store_copy_words(store->at[GM_STORE_MAPS] + at, store->scratch, size);
}

static void add_op(struct gm_store *store, const struct part *part, struct gm_store_gib *gib,
		   uint64_t offset, uint64_t length, enum gm_page_state state)
{
	uint64_t at = gm_store_slot_at(store, part->at) + gib->n_ops * sizeof(uint64_t);
	uint64_t op = gm_store_pack_op(part->region->id.v, gib->n_ops,
				       (unsigned)(offset % GM_GIB / GM_PAGE_4K),
				       (unsigned)(length / GM_PAGE_4K), state);

	gm_store_log_put(store, GM_STORE_MAPS, at, &op, sizeof(op));
	gib->n_ops++;
	store->places[part->region->mark.record - 1].is_used = true;
}

void gm_store_put_change(struct gm_store *store, const struct gm_map_change *change)
{
	uint64_t end = change->offset + change->length;
	uint64_t offset = change->offset;

	while (offset < end) {
		struct part part = part_of(store, change->region, offset / GM_GIB);
		struct gm_store_gib *gib = look(store, &part);
		uint64_t length = gm_min_u64(end, (part.gib + 1) * GM_GIB) - offset;

		touch(store, &part, gib);
		/* What the map says now includes all changes of this transaction. */
		if (!gib->is_settled) {
			if (length == gm_store_gib_length(change->region->size, part.gib))
				set_uniform(gib, change->state);
			else if (gib->n_ops < GM_STORE_OPS_MAX)
				add_op(store, &part, gib, offset, length, change->state);
			else
				settle(store, &part, gib);
		}
		offset += length;
	}
}

void gm_store_put_whole_map(struct gm_store *store, struct gm_region *region)
{
	for (uint64_t i = 0; i < region->map.n_gib; i++) {
		struct part part = part_of(store, region, i);
		struct gm_store_gib *gib = look(store, &part);
		enum gm_page_state state;

		if (gm_page_map_gib_state(&region->map, i, &state) && gib->base == state &&
		    gib->n_ops == 0)
			continue;
		touch(store, &part, gib);
		if (!gib->is_settled)
			settle(store, &part, gib);
	}
}

void gm_store_put_heads(struct gm_store *store)
{
	while (store->first_touched) {
		uint32_t at = store->first_touched - 1;
		struct gm_store_gib *gib = &store->gibs[at];
		struct gm_store_gib_head head = { .region_id = gib->region_id,
						  .snapshot_check = gib->snapshot_check,
						  .snapshot_size = gib->snapshot_size,
						  .n_ops = gib->n_ops,
						  .base = gib->base,
						  .active = gib->active };

		head.check = gm_store_record_check(&head, sizeof(head));
		gm_store_log_put(store, GM_STORE_MAPS, gm_store_head_at(store, at), &head,
				 sizeof(head));
		store->first_touched = gib->next_touched;
		gib->is_touched = false;
		gib->is_settled = false;
	}
}

void gm_store_release_map(struct gm_store *store, const struct gm_store_place *place)
{
	if (store->release && place->is_used)
		store->release(store->release_arg, GM_STORE_MAPS,
			       gm_store_slot_at(store, place->first),
			       (uint64_t)GM_STORE_GIB_SIZE << place->order);
}
