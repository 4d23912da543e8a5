/* SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gm_cleanup.h"
#include "store_private.h"
#include "store_words.h"

static bool area_fits(const struct gm_store_area *area, const struct gm_store_layout *layout)
{
	return area->size[GM_STORE_STATE] >= layout->state_size &&
	       area->size[GM_STORE_MAPS] >= layout->maps_size;
}

static struct gm_store_header header_for(const struct gm_store_limits *limits,
					 const struct gm_store_layout *layout, uint64_t id)
{
	struct gm_store_header header = {
		.magic = GM_STORE_MAGIC,
		.version = GM_STORE_VERSION,
		.compat = GM_STORE_COMPAT,
		.id = id,
		.limits = *limits,
		.answer_size = sizeof(struct gm_store_answer_slot),
		.n_answers = GM_STORE_ANSWERS,
		.gib_size = GM_STORE_GIB_SIZE,
	};

	memcpy(header.slot_sizes, layout->slot_size, sizeof(header.slot_sizes));
	header.check = gm_store_checksum(&header.id,
					 sizeof(header) - offsetof(struct gm_store_header, id));
	return header;
}

int gm_store_format(const struct gm_store_area *area, const struct gm_store_limits *limits,
		    uint64_t id)
{
	const struct gm_store_maps_header maps = { .magic = GM_STORE_MAPS_MAGIC, .id = id };
	struct gm_store_counters counters = { 0 };
	struct gm_store_header header;
	struct gm_store_layout layout;
	unsigned char *state = area->at[GM_STORE_STATE];

	if (!limits)
		limits = &gm_store_default_limits;
	if (!gm_store_lay_out(limits, &layout) || !area_fits(area, &layout))
		return -EINVAL;
	header = header_for(limits, &layout, id);
	counters.check = gm_store_record_check(&counters, sizeof(counters));
	gm_store_copy_words(state + layout.counters, &counters, sizeof(counters));
	gm_store_copy_words(area->at[GM_STORE_MAPS], &maps, sizeof(maps));
	gm_store_copy_words(state + sizeof(uint64_t), &header.magic + 1,
			    sizeof(header) - sizeof(uint64_t));
	/* The magic comes last: with it, all of the rest is there. */
	gm_store_set_word((void *)state, header.magic);
	return 0;
}

static int refuse_newer(const struct gm_store_header *header, struct gm_refusal *refusal)
{
	gm_refuse_text(refusal, GM_UNSUPPORTED, GM_RULE_NONE, "record",
		       "the record is of version %" PRIu32
		       " and needs a daemon that knows version %" PRIu32
		       "; this one knows version %u",
		       header->version, header->compat, GM_STORE_VERSION);
	return GM_UNSUPPORTED;
}

/* Believes nothing in the areas but what it has compared with what must be there. */
static int check_headers(const struct gm_store_area *area, struct gm_store_header *ret_header,
			 struct gm_store_layout *ret_layout, struct gm_refusal *refusal)
{
	struct gm_store_maps_header maps;
	struct gm_store_header header;
	struct gm_store_header expected;

	if (area->size[GM_STORE_STATE] < GM_PAGE_4K || area->size[GM_STORE_MAPS] < GM_PAGE_4K)
		return -EBADMSG;
	memcpy(&header, area->at[GM_STORE_STATE], sizeof(header));
	memcpy(&maps, area->at[GM_STORE_MAPS], sizeof(maps));
	if (header.magic != GM_STORE_MAGIC)
		return -EBADMSG;
	if (header.compat > GM_STORE_VERSION)
		return refuse_newer(&header, refusal);
	if (!gm_store_lay_out(&header.limits, ret_layout) || !area_fits(area, ret_layout))
		return -EBADMSG;
	expected = header_for(&header.limits, ret_layout, header.id);
	if (memcmp(&header.check, &expected.check,
		   sizeof(header) - offsetof(struct gm_store_header, check)) != 0)
		return -EBADMSG;
	if (maps.magic != GM_STORE_MAPS_MAGIC || maps.id != header.id)
		return -EBADMSG;
	*ret_header = header;
	return 0;
}

/* What is large here and stays untouched takes no memory. */
static int allocate(struct gm_store *store)
{
	const struct gm_store_limits *limits = &store->limits;

	for (unsigned kind = 0; kind < GM_MARK_KIND_N_; kind++) {
		store->tables[kind].free =
			calloc(store->layout.n_slots[kind], sizeof(*store->tables[kind].free));
		if (!store->tables[kind].free)
			return -ENOMEM;
	}
	store->places = calloc(limits->regions, sizeof(*store->places));
	store->launches = calloc(limits->domains, sizeof(*store->launches));
	store->gibs = calloc(limits->map_gibs, sizeof(*store->gibs));
	store->n_answers = calloc(limits->sessions, sizeof(*store->n_answers));
	store->stale_tenants = calloc(limits->tenants, sizeof(*store->stale_tenants));
	store->scratch = malloc(GM_PAGE_GIB_BYTES_MAX);
	if (!store->places || !store->launches || !store->gibs || !store->n_answers ||
	    !store->stale_tenants || !store->scratch)
		return -ENOMEM;
	return gm_ranges_init(&store->ranges, limits->map_gibs);
}

void gm_store_close(struct gm_store *store)
{
	if (!store)
		return;
	for (unsigned kind = 0; kind < GM_MARK_KIND_N_; kind++)
		free(store->tables[kind].free);
	gm_ranges_done(&store->ranges);
	free(store->places);
	free(store->launches);
	free(store->gibs);
	free(store->n_answers);
	free(store->stale_tenants);
	free(store->scratch);
	free(store);
}

static void store_cleanup(struct gm_store **store)
{
	gm_store_close(*store);
}

int gm_store_open(const struct gm_store_area *area, struct gm_store **ret_store,
		  struct gm_refusal *refusal)
{
	_gm_cleanup_(store_cleanup) struct gm_store *store = NULL;
	struct gm_store_layout layout;
	struct gm_store_header header;
	int r;

	r = check_headers(area, &header, &layout, refusal);
	if (r)
		return r;
	store = calloc(1, sizeof(*store));
	if (!store)
		return -ENOMEM;
	for (unsigned part = 0; part < GM_STORE_PART_N_; part++)
		store->at[part] = area->at[part];
	store->limits = header.limits;
	store->layout = layout;
	r = allocate(store);
	if (r)
		return r;
	r = gm_store_log_recover(store);
	if (r)
		return r;
	/* The transaction may have been the one that changed the version, or these counters. */
	r = check_headers(area, &header, &layout, refusal);
	if (r)
		return r;
	store->version = header.version;
	if (!gm_store_read_counters(store))
		return -EBADMSG;

	*ret_store = gm_take_ptr(&store);
	return 0;
}

void gm_store_set_release(struct gm_store *store,
			  void (*release)(void *arg, enum gm_store_part part, uint64_t offset,
					  uint64_t length),
			  void *arg)
{
	store->release = release;
	store->release_arg = arg;
}

/* ---- room ---- */

static int refuse_full(const struct gm_store *store, enum gm_mark_kind kind, const char *what,
		       struct gm_refusal *refusal)
{
	uint32_t limit = store->layout.n_slots[kind];

	return gm_refuse_numbers(refusal, GM_OVER_LIMIT, GM_RULE_NONE, what, limit, limit, 1);
}

int gm_store_room_for_session(const struct gm_store *store, struct gm_refusal *refusal)
{
	if (gm_store_table_has_room(store, GM_MARK_SESSION))
		return 0;
	return refuse_full(store, GM_MARK_SESSION, "record of sessions", refusal);
}

int gm_store_room_for_domain(const struct gm_store *store, struct gm_refusal *refusal)
{
	if (gm_store_table_has_room(store, GM_MARK_DOMAIN))
		return 0;
	return refuse_full(store, GM_MARK_DOMAIN, "record of domains", refusal);
}

int gm_store_room_for_launch(const struct gm_store *store, struct gm_refusal *refusal)
{
	if (gm_ranges_has(&store->ranges, 0))
		return 0;
	return gm_refuse_text(refusal, GM_OVER_LIMIT, GM_RULE_NONE, "record of launches",
			      "the record has no room for another launch beside the page maps of "
			      "%" PRIu32 " GiB",
			      store->limits.map_gibs);
}

int gm_store_room_for_region(const struct gm_store *store, uint64_t size,
			     struct gm_refusal *refusal)
{
	uint64_t n_gib = size / GM_GIB + (size % GM_GIB != 0);

	if (!gm_store_table_has_room(store, GM_MARK_REGION))
		return refuse_full(store, GM_MARK_REGION, "record of regions", refusal);
	if (gm_ranges_has(&store->ranges, gm_ranges_order(n_gib)))
		return 0;
	return gm_refuse_text(refusal, GM_OVER_LIMIT, GM_RULE_NONE, "record of page maps",
			      "the record has no room for the page map of %" PRIu64
			      " GiB; it has %" PRIu32 " GiB in all",
			      n_gib, store->limits.map_gibs);
}
