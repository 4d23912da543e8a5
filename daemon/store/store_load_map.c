/* SPDX-License-Identifier: Apache-2.0 */
/* A page map as it was recorded. */
#include <errno.h>
#include <string.h>

#include "store_private.h"

static const struct gm_store_gib_head empty_head;

/* What is recorded of one GiB of a region. */
struct source {
	const struct gm_store *store;
	uint64_t region_id;
	struct gm_page_map *map;
	uint64_t gib; /* of the region */
	uint32_t at;  /* of the maps */
};

static bool head_is_sound(const struct gm_store_gib_head *head)
{
	bool has_snapshot = head->base == GM_STORE_SNAPSHOT;

	return gm_store_record_check(head, sizeof(*head)) == head->check &&
	       (has_snapshot || head->base < GM_PAGE_STATE_N_) && head->active <= 1 &&
	       head->n_ops <= GM_STORE_OPS_MAX && head->snapshot_size <= GM_PAGE_GIB_BYTES_MAX &&
	       gm_is_aligned(head->snapshot_size, 8);
}

static const unsigned char *slot(const struct source *source)
{
	return source->store->at[GM_STORE_MAPS] + gm_store_slot_at(source->store, source->at);
}

static int set(const struct source *source, uint64_t offset, uint64_t length,
	       enum gm_page_state state)
{
	return gm_page_map_replay(source->map, source->gib * GM_GIB + offset, length, state);
}

static int load_base(const struct source *source, const struct gm_store_gib_head *head)
{
	const unsigned char *snapshot = slot(source) + GM_STORE_SNAPSHOT_AT(head->active);

	if (head->base != GM_STORE_SNAPSHOT)
		return set(source, 0, gm_store_gib_length(source->map->size, source->gib),
			   head->base);
	if (gm_store_checksum(snapshot, head->snapshot_size) != head->snapshot_check)
		return -EBADMSG;
	return gm_page_map_import(source->map, source->gib, snapshot, head->snapshot_size);
}

static int load_op(const struct source *source, unsigned index)
{
	const unsigned mask = (1u << GM_STORE_OP_PAGE_BITS) - 1;
	uint64_t all = gm_store_gib_length(source->map->size, source->gib) / GM_PAGE_4K;
	unsigned first, n_pages, state;
	uint64_t op;

	memcpy(&op, slot(source) + index * sizeof(op), sizeof(op));
	first = op & mask;
	n_pages = (op >> GM_STORE_OP_PAGE_BITS & mask) + 1;
	state = op >> (2 * GM_STORE_OP_PAGE_BITS) & 15;
	if (state >= GM_PAGE_STATE_N_ || first >= all || n_pages > all - first ||
	    gm_store_pack_op(source->region_id, index, first, n_pages, state) != op)
		return -EBADMSG;
	return set(source, first * GM_PAGE_4K, n_pages * GM_PAGE_4K, state);
}

/* 0, -ENOMEM, or -EBADMSG with the GiB in any state. */
static int load_gib(const struct source *source, struct gm_store_place *place,
		    struct gm_store_gib *ret_gib)
{
	struct gm_store_gib_head head;
	int r;

	memcpy(&head,
	       source->store->at[GM_STORE_MAPS] + gm_store_head_at(source->store, source->at),
	       sizeof(head));
	if (memcmp(&head, &empty_head, sizeof(head)) == 0)
		return 0;
	place->is_used = true;
	if (!head_is_sound(&head))
		return -EBADMSG;
	if (head.region_id != source->region_id)
		return 0;
	r = load_base(source, &head);
	for (unsigned i = 0; i < head.n_ops && r == 0; i++)
		r = load_op(source, i);
	if (r == 0)
		*ret_gib = (struct gm_store_gib){ .region_id = source->region_id,
						  .snapshot_check = head.snapshot_check,
						  .snapshot_size = head.snapshot_size,
						  .n_ops = head.n_ops,
						  .base = head.base,
						  .active = head.active };
	return r;
}

int gm_store_load_map(struct gm_store *store, const struct gm_store_region *record,
		      struct gm_store_place *place, struct gm_page_map *map, uint64_t *ret_lost)
{
	uint64_t lost = 0;

	for (uint64_t i = 0; i < map->n_gib; i++) {
		const struct source source = { .store = store,
					       .region_id = record->id,
					       .map = map,
					       .gib = i,
					       .at = place->first + (uint32_t)i };
		int r = load_gib(&source, place, &store->gibs[source.at]);

		if (r == -EBADMSG) {
			lost++;
			r = set(&source, 0, gm_store_gib_length(map->size, i), GM_PAGE_LOST);
		}
		if (r)
			return r;
	}
	*ret_lost = lost;
	return 0;
}
