/* SPDX-License-Identifier: Apache-2.0 */
#include "store_layout.h"

#include <string.h>

const struct gm_store_limits gm_store_default_limits = {
	.tenants = 1024,
	.sessions = 16384,
	.domains = 65536,
	.regions = 65536,
	.map_gibs = 65536,
};

/* Far more than any host has, and few enough that no size below can overflow. */
#define LIMIT_MAX (1u << 20)

/*
 * What one transaction can have at most: every record once, every head once, an operation at either
 * end of every change, an answer; and a word before each of them.
 */
static uint64_t log_size(const struct gm_store_layout *layout, uint32_t map_gibs)
{
	uint64_t size = sizeof(struct gm_store_header) + sizeof(struct gm_store_counters) +
			sizeof(struct gm_store_answer_slot) + 3 * sizeof(uint64_t);

	for (unsigned kind = 0; kind < GM_MARK_KIND_N_; kind++)
		size += (uint64_t)layout->n_slots[kind] *
			(layout->slot_size[kind] + sizeof(uint64_t));
	size += map_gibs * (sizeof(struct gm_store_gib_head) + sizeof(uint64_t));
	size += UINT64_C(2) * GM_MARKS_CHANGES_MAX * 2 * sizeof(uint64_t);
	return size;
}

static uint64_t take(uint64_t *end, uint64_t size)
{
	uint64_t at = *end;

	*end += gm_align_down(size + GM_PAGE_4K - 1, GM_PAGE_4K);
	return at;
}

static bool limit_is_sound(uint32_t limit)
{
	return limit > 0 && limit <= LIMIT_MAX;
}

bool gm_store_lay_out(const struct gm_store_limits *limits, struct gm_store_layout *ret_layout)
{
	struct gm_store_layout layout = {
		.slot_size = { sizeof(struct gm_store_tenant), sizeof(struct gm_store_session),
			       sizeof(struct gm_store_domain), sizeof(struct gm_store_region) },
		.n_slots = { limits->tenants, limits->sessions, limits->domains, limits->regions },
		.counters = 512,
		.log_control = 1024,
		.state_size = GM_PAGE_4K,
		.maps_size = GM_PAGE_4K,
	};

	for (unsigned kind = 0; kind < GM_MARK_KIND_N_; kind++)
		if (!limit_is_sound(layout.n_slots[kind]))
			return false;
	if (!limit_is_sound(limits->map_gibs) || !gm_is_power_of_two(limits->map_gibs))
		return false;

	for (unsigned kind = 0; kind < GM_MARK_KIND_N_; kind++)
		layout.table[kind] = take(&layout.state_size,
					  (uint64_t)layout.n_slots[kind] * layout.slot_size[kind]);
	layout.answers = take(&layout.state_size, (uint64_t)limits->sessions * GM_STORE_ANSWERS *
							  sizeof(struct gm_store_answer_slot));
	layout.log_size = log_size(&layout, limits->map_gibs);
	layout.log = take(&layout.state_size, layout.log_size);
	layout.heads = take(&layout.maps_size, limits->map_gibs * sizeof(struct gm_store_gib_head));
	layout.slots = take(&layout.maps_size, (uint64_t)limits->map_gibs * GM_STORE_GIB_SIZE);
	*ret_layout = layout;
	return true;
}

size_t gm_store_state_size(const struct gm_store_limits *limits)
{
	struct gm_store_layout layout;

	return gm_store_lay_out(limits ? limits : &gm_store_default_limits, &layout)
		       ? layout.state_size
		       : 0;
}

size_t gm_store_maps_size(const struct gm_store_limits *limits)
{
	struct gm_store_layout layout;

	return gm_store_lay_out(limits ? limits : &gm_store_default_limits, &layout)
		       ? layout.maps_size
		       : 0;
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 29;
}

static uint64_t word_at(const unsigned char *bytes, size_t i)
{
	uint64_t word;

	memcpy(&word, bytes + i * sizeof(word), sizeof(word));
	return word;
}

/* Four words at a time, each in a lane of its own: a multiplication need not wait for the last. */
uint64_t gm_store_checksum(const void *bytes, size_t size)
{
	uint64_t lanes[4] = { 1, 2, 3, 4 };
	size_t n = size / sizeof(uint64_t);
	uint64_t hash = size;
	size_t i = 0;

	for (; i + 4 <= n; i += 4)
		for (unsigned lane = 0; lane < 4; lane++)
			lanes[lane] = mix(lanes[lane], word_at(bytes, i + lane));
	for (unsigned lane = 0; lane < 4; lane++)
		hash = mix(hash, lanes[lane]);
	for (; i < n; i++)
		hash = mix(hash, word_at(bytes, i));
	return hash ? hash : 1;
}
