/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page map: what a set changes and what it leaves, the ends of regions that are not whole
 * chunks or GiBs, what memory a pattern takes, and that a failed set has changed nothing.
 */
#include <errno.h>
#include <string.h>

#include "gm_test.h"
#include "page_map.h"

#define KIB4 GM_PAGE_4K
#define MIB2 GM_PAGE_2M
#define GIB GM_PAGE_1G

static void open_map(struct gm_page_map *map, uint64_t size)
{
	assert_int_equal(gm_page_map_init(map, size, GM_PAGE_ABSENT), 0);
}

static void set(struct gm_page_map *map, uint64_t offset, uint64_t length, enum gm_page_state state)
{
	assert_int_equal(gm_page_map_set(map, offset, length, state, NULL), 0);
}

static void assert_run(const struct gm_page_map *map, uint64_t offset, uint64_t length,
		       enum gm_page_state state)
{
	struct gm_page_run run;

	gm_page_map_run(map, offset, map->size, &run);
	assert_int_equal(run.offset, offset);
	assert_int_equal(run.length, length);
	assert_int_equal(run.state, state);
}

/* Sizes whose last GiB, chunk or both are cut. */
static const uint64_t ragged_sizes[] = {
	KIB4,
	3 * KIB4,
	MIB2 - KIB4,
	MIB2,
	MIB2 + KIB4,
	GIB - KIB4,
	GIB - MIB2,
	GIB + KIB4,
	GIB,
	GIB + MIB2,
	3 * GIB + MIB2 + 2 * KIB4,
};

/* Every chunk of the map mixed of the first @n_states states. */
static int mix(struct gm_page_map *map, unsigned n_states, struct gm_refusal *refusal)
{
	int r = 0;

	for (uint64_t chunk = 0; chunk < map->size && r == 0; chunk += MIB2)
		for (unsigned state = 1; state < n_states && r == 0; state++)
			r = gm_page_map_set(map, chunk + state * KIB4, KIB4, state, refusal);
	return r;
}

/* ---- contents ---- */

static void a_new_map_is_one_run(void **state)
{
	struct gm_page_map map;

	(void)state;
	for (unsigned i = 0; i < GM_ARRAY_SIZE(ragged_sizes); i++) {
		uint64_t size = ragged_sizes[i];

		assert_int_equal(gm_page_map_init(&map, size, GM_PAGE_PRIVATE), 0);
		assert_run(&map, 0, size, GM_PAGE_PRIVATE);
		assert_int_equal(map.pages[GM_PAGE_PRIVATE], size / KIB4);
		assert_int_equal(gm_page_map_count(&map, 0, size, GM_PAGE_PRIVATE), size);
		gm_page_map_done(&map);
	}
}

static void a_set_changes_its_range_and_nothing_beside_it(void **state)
{
	struct gm_page_map map;

	(void)state;
	open_map(&map, 2 * GIB);
	set(&map, MIB2 - KIB4, 3 * MIB2, GM_PAGE_SHARED);
	assert_run(&map, 0, MIB2 - KIB4, GM_PAGE_ABSENT);
	assert_run(&map, MIB2 - KIB4, 3 * MIB2, GM_PAGE_SHARED);
	assert_run(&map, 4 * MIB2 - KIB4, 2 * GIB - 4 * MIB2 + KIB4, GM_PAGE_ABSENT);
	gm_page_map_done(&map);
}

static void an_empty_range_is_no_change(void **state)
{
	struct gm_page_map map;

	(void)state;
	open_map(&map, GIB);
	set(&map, GIB, 0, GM_PAGE_SHARED);
	set(&map, MIB2, 0, GM_PAGE_SHARED);
	assert_run(&map, 0, GIB, GM_PAGE_ABSENT);
	assert_int_equal(gm_page_map_count(&map, MIB2, 0, GM_PAGE_ABSENT), 0);
	gm_page_map_done(&map);
}

static void a_later_set_wins(void **state)
{
	struct gm_page_map map;

	(void)state;
	open_map(&map, GIB);
	set(&map, 0, 100 * KIB4, GM_PAGE_SHARED);
	set(&map, 50 * KIB4, 100 * KIB4, GM_PAGE_PRIVATE);
	assert_run(&map, 0, 50 * KIB4, GM_PAGE_SHARED);
	assert_run(&map, 50 * KIB4, 100 * KIB4, GM_PAGE_PRIVATE);
	gm_page_map_done(&map);
}

static void six_states_live_side_by_side_in_one_chunk(void **state)
{
	struct gm_page_map map;

	(void)state;
	open_map(&map, GIB);
	for (unsigned i = 0; i < 512; i++)
		set(&map, i * KIB4, KIB4, i % GM_PAGE_STATE_N_);
	for (unsigned i = 0; i < 512; i++)
		assert_int_equal(gm_page_map_get(&map, i * KIB4), i % GM_PAGE_STATE_N_);
	assert_run(&map, MIB2, GIB - MIB2, GM_PAGE_ABSENT);
	gm_page_map_done(&map);
}

static void a_run_goes_on_over_chunks_and_gibs(void **state)
{
	struct gm_page_map map;

	(void)state;
	open_map(&map, 4 * GIB);
	set(&map, GIB - KIB4, 2 * GIB + 2 * KIB4, GM_PAGE_SHARED);
	assert_run(&map, GIB - KIB4, 2 * GIB + 2 * KIB4, GM_PAGE_SHARED);
	assert_run(&map, 3 * GIB + KIB4, GIB - KIB4, GM_PAGE_ABSENT);
	gm_page_map_done(&map);
}

static void a_stretch_goes_over_all_of_its_states(void **state)
{
	const unsigned both = 1u << GM_PAGE_ABSENT | 1u << GM_PAGE_SHARED;
	struct gm_page_map map;

	(void)state;
	assert_int_equal(gm_page_map_init(&map, 3 * GIB, GM_PAGE_ABSENT), 0);
	for (uint64_t page = 0; page < 3 * GIB; page += GIB / 2)
		assert_int_equal(gm_page_map_set(&map, page, KIB4, GM_PAGE_SHARED, NULL), 0);
	assert_int_equal(gm_page_map_stretch(&map, KIB4, 3 * GIB, both), 3 * GIB);
	assert_int_equal(gm_page_map_stretch(&map, 0, 2 * GIB + KIB4, both), 2 * GIB + KIB4);
	assert_int_equal(gm_page_map_stretch(&map, KIB4, 3 * GIB, 1u << GM_PAGE_ABSENT), GIB / 2);
	assert_int_equal(gm_page_map_stretch(&map, 0, 3 * GIB, 1u << GM_PAGE_ABSENT), 0);
	assert_int_equal(gm_page_map_set(&map, 2 * GIB + MIB2, KIB4, GM_PAGE_LOST, NULL), 0);
	assert_int_equal(gm_page_map_stretch(&map, 0, 3 * GIB, both), 2 * GIB + MIB2);
	gm_page_map_done(&map);
}

static void a_run_ends_where_the_caller_says(void **state)
{
	struct gm_page_map map;
	struct gm_page_run run;

	(void)state;
	open_map(&map, 4 * GIB);
	gm_page_map_run(&map, MIB2, 2 * GIB + KIB4, &run);
	assert_int_equal(run.offset, MIB2);
	assert_int_equal(run.length, 2 * GIB + KIB4 - MIB2);
	gm_page_map_done(&map);
}

static void a_count_takes_in_its_range_only(void **state)
{
	struct gm_page_map map;

	(void)state;
	open_map(&map, 3 * GIB);
	set(&map, MIB2 + KIB4, GIB, GM_PAGE_SHARED);
	assert_int_equal(gm_page_map_count(&map, 0, 3 * GIB, GM_PAGE_SHARED), GIB);
	assert_int_equal(gm_page_map_count(&map, 0, MIB2 + 3 * KIB4, GM_PAGE_SHARED), 2 * KIB4);
	assert_int_equal(gm_page_map_count(&map, 0, MIB2 + 3 * KIB4, GM_PAGE_ABSENT), MIB2 + KIB4);
	assert_int_equal(gm_page_map_count(&map, GIB, GIB, GM_PAGE_SHARED), MIB2 + KIB4);
	gm_page_map_done(&map);
}

/* ---- ragged ends ---- */

static void the_last_page_of_a_ragged_region_is_a_page_like_any_other(void **state)
{
	struct gm_page_map map;

	(void)state;
	for (unsigned i = 0; i < GM_ARRAY_SIZE(ragged_sizes); i++) {
		uint64_t size = ragged_sizes[i], last = size - KIB4;

		open_map(&map, size);
		set(&map, last, KIB4, GM_PAGE_SHARED);
		assert_run(&map, last, KIB4, GM_PAGE_SHARED);
		assert_int_equal(gm_page_map_count(&map, 0, size, GM_PAGE_SHARED), KIB4);
		assert_int_equal(map.pages[GM_PAGE_SHARED], 1);
		assert_int_equal(map.pages[GM_PAGE_ABSENT], size / KIB4 - 1);
		gm_page_map_done(&map);
	}
}

static void a_ragged_region_set_page_by_page_is_uniform_again(void **state)
{
	struct gm_page_map map;

	(void)state;
	for (unsigned i = 0; i < GM_ARRAY_SIZE(ragged_sizes); i++) {
		uint64_t size = ragged_sizes[i];
		uint64_t bytes;

		open_map(&map, size);
		bytes = gm_page_map_bytes(&map);
		for (uint64_t offset = 0; offset < size; offset += KIB4)
			set(&map, offset, KIB4, GM_PAGE_SHARED);
		assert_run(&map, 0, size, GM_PAGE_SHARED);
		assert_int_equal(gm_page_map_bytes(&map), bytes);
		gm_page_map_done(&map);
	}
}

/* ---- memory ---- */

static void a_uniform_region_up_to_a_gib_takes_no_memory(void **state)
{
	struct gm_page_map map;

	(void)state;
	open_map(&map, GIB);
	assert_int_equal(gm_page_map_bytes(&map), 0);
	gm_page_map_done(&map);
}

static void a_uniform_tib_takes_a_word_for_each_gib(void **state)
{
	struct gm_page_map map;

	(void)state;
	open_map(&map, GM_TIB);
	set(&map, GIB, 1000 * GIB, GM_PAGE_SHARED);
	assert_in_range(gm_page_map_bytes(&map), 8 * 1024, 8 * 1024 + 16);
	gm_page_map_done(&map);
}

static void memory_follows_the_chunks_that_differ(void **state)
{
	struct gm_page_map map;
	uint64_t bare;

	(void)state;
	open_map(&map, GM_TIB);
	bare = gm_page_map_bytes(&map);
	set(&map, 5 * GIB + KIB4, KIB4, GM_PAGE_SHARED);
	assert_in_range(gm_page_map_bytes(&map) - bare, 1024, 2048);
	for (unsigned i = 0; i < 100; i++)
		set(&map, 5 * GIB + i * MIB2, KIB4, GM_PAGE_SHARED);
	assert_in_range(gm_page_map_bytes(&map) - bare, 100 * 64, 2048 + 2 * 100 * 64);
	gm_page_map_done(&map);
}

static void a_chunk_that_is_uniform_again_gives_its_memory_back(void **state)
{
	struct gm_page_map map;
	uint64_t bytes;

	(void)state;
	open_map(&map, 2 * GIB);
	bytes = gm_page_map_bytes(&map);
	set(&map, MIB2, KIB4, GM_PAGE_SHARED);
	set(&map, MIB2, KIB4, GM_PAGE_ABSENT);
	assert_int_equal(gm_page_map_bytes(&map), bytes);
	gm_page_map_done(&map);
}

/* The first chunk of a GiB whose pages were in @n_states states becomes @last, page by page. */
static uint64_t bytes_after_mixing(unsigned n_states, enum gm_page_state last)
{
	struct gm_page_map map;
	uint64_t bytes;

	open_map(&map, GIB);
	set(&map, MIB2 - KIB4, KIB4, GM_PAGE_SHARED);
	for (unsigned i = 0; i < 512; i++)
		set(&map, i * KIB4, KIB4, i % n_states);
	for (unsigned i = 0; i < 512; i++)
		set(&map, i * KIB4, KIB4, last);
	bytes = gm_page_map_bytes(&map);
	gm_page_map_done(&map);
	return bytes;
}

/* The number of states decides the digits in a byte, and so whether the last byte is full. */
static void a_chunk_of_any_number_of_states_can_become_uniform(void **state)
{
	struct gm_page_map map;
	uint64_t bytes;

	(void)state;
	open_map(&map, GIB);
	set(&map, 0, MIB2, GM_PAGE_SHARED);
	bytes = gm_page_map_bytes(&map);
	gm_page_map_done(&map);
	for (unsigned n_states = 2; n_states <= GM_PAGE_STATE_N_; n_states++) {
		assert_int_equal(bytes_after_mixing(n_states, GM_PAGE_ABSENT), 0);
		for (unsigned last = 1; last < n_states; last++)
			assert_int_equal(bytes_after_mixing(n_states, last), bytes);
	}
}

static void a_last_page_set_in_a_range_counts_like_one_set_alone(void **state)
{
	struct gm_page_map map;
	uint64_t bytes;

	(void)state;
	open_map(&map, GIB);
	set(&map, 0, MIB2, GM_PAGE_SHARED);
	bytes = gm_page_map_bytes(&map);
	set(&map, 0, MIB2, GM_PAGE_ABSENT);
	set(&map, 0, KIB4, GM_PAGE_PRIVATE);
	set(&map, KIB4, KIB4, GM_PAGE_SHARED);
	set(&map, 2 * KIB4, MIB2 - 2 * KIB4, GM_PAGE_SHARED);
	set(&map, 0, KIB4, GM_PAGE_SHARED);
	assert_int_equal(gm_page_map_bytes(&map), bytes);
	gm_page_map_done(&map);
}

static void a_last_page_set_before_a_state_was_added_counts_like_the_others(void **state)
{
	struct gm_page_map map;
	uint64_t bytes;

	(void)state;
	open_map(&map, GIB);
	set(&map, 0, MIB2, GM_PAGE_SHARED);
	bytes = gm_page_map_bytes(&map);
	set(&map, 0, MIB2, GM_PAGE_ABSENT);
	set(&map, KIB4, MIB2 - KIB4, GM_PAGE_SHARED);
	set(&map, 0, KIB4, GM_PAGE_PRIVATE);
	set(&map, 0, KIB4, GM_PAGE_SHARED);
	assert_int_equal(gm_page_map_bytes(&map), bytes);
	gm_page_map_done(&map);
}

static void cells_that_got_fewer_are_written_wider_into_fewer_blocks(void **state)
{
	struct gm_page_map map;
	uint64_t bytes;

	(void)state;
	open_map(&map, GIB);
	assert_int_equal(mix(&map, 2, NULL), 0);
	set(&map, 0, GIB - 70 * MIB2, GM_PAGE_ABSENT);
	bytes = gm_page_map_bytes(&map);
	set(&map, GIB - KIB4, KIB4, GM_PAGE_PRIVATE);
	assert_in_range(gm_page_map_bytes(&map), 1, bytes);
	assert_int_equal(gm_page_map_count(&map, 0, GIB, GM_PAGE_SHARED), 70 * KIB4);
	gm_page_map_done(&map);
}

static void one_chunk_to_and_fro_does_not_cost_an_allocation_each_time(void **state)
{
	struct gm_page_map map;
	uint64_t chunk = 0;
	uint64_t bytes;

	(void)state;
	open_map(&map, GIB);
	/* Up to the chunk that just needed more memory. */
	do {
		bytes = gm_page_map_bytes(&map);
		set(&map, chunk, KIB4, GM_PAGE_SHARED);
		chunk += MIB2;
	} while (chunk <= 128 * MIB2 || gm_page_map_bytes(&map) == bytes);
	set(&map, chunk - MIB2, KIB4, GM_PAGE_ABSENT);
	gm_test_fail_allocation(1);
	set(&map, chunk - MIB2, KIB4, GM_PAGE_SHARED);
	gm_test_fail_allocation(0);
	gm_page_map_done(&map);
}

static void whole_chunks_give_their_memory_back_while_the_gib_stays_mixed(void **state)
{
	struct gm_page_map map;
	uint64_t full;

	(void)state;
	open_map(&map, GIB);
	assert_int_equal(mix(&map, 2, NULL), 0);
	full = gm_page_map_bytes(&map);
	set(&map, 0, GIB - 10 * MIB2, GM_PAGE_PRIVATE);
	assert_in_range(gm_page_map_bytes(&map), 1, full / 3);
	assert_int_equal(gm_page_map_get(&map, GIB - MIB2 + KIB4), GM_PAGE_SHARED);
	gm_page_map_done(&map);
}

static void three_states_in_every_chunk_fit_the_budget(void **state)
{
	static const uint64_t sizes[] = { MIB2, GIB, 16 * GIB, 17 * GIB, 40 * GIB + MIB2 };
	struct gm_page_map map;

	(void)state;
	for (unsigned i = 0; i < GM_ARRAY_SIZE(sizes); i++) {
		open_map(&map, sizes[i]);
		assert_int_equal(mix(&map, 3, NULL), 0);
		assert_in_range(gm_page_map_bytes(&map), 1, map.budget_bytes);
		gm_page_map_done(&map);
	}
}

static void three_states_in_every_chunk_of_a_tib_take_less_than_64_mib(void **state)
{
	struct gm_page_map map;

	(void)state;
	open_map(&map, GM_TIB);
	assert_int_equal(mix(&map, 3, NULL), 0);
	assert_in_range(gm_page_map_bytes(&map), 50 * GM_MIB, 56 * GM_MIB);
	assert_in_range(map.budget_bytes, 56 * GM_MIB, 64 * GM_MIB);
	gm_page_map_done(&map);
}

static void a_pattern_past_the_budget_is_refused_with_the_numbers(void **state)
{
	struct gm_refusal refusal = { 0 };
	struct gm_page_map map;

	(void)state;
	open_map(&map, 64 * GIB);
	assert_int_equal(mix(&map, 6, &refusal), GM_OVER_LIMIT);
	assert_int_equal(refusal.rule, GM_RULE_PAGE_MAP);
	assert_int_equal(refusal.limit, map.budget_bytes);
	assert_int_equal(refusal.used, gm_page_map_bytes(&map));
	assert_true(refusal.used <= refusal.limit);
	assert_true(refusal.used + refusal.asked > refusal.limit);
	assert_int_equal(gm_page_map_get(&map, refusal.offset), GM_PAGE_ABSENT);
	gm_page_map_done(&map);
}

static void a_map_at_its_budget_still_takes_sets_that_need_no_memory(void **state)
{
	struct gm_refusal refusal;
	struct gm_page_map map;

	(void)state;
	open_map(&map, 64 * GIB);
	assert_int_equal(mix(&map, 6, &refusal), GM_OVER_LIMIT);
	set(&map, KIB4, KIB4, GM_PAGE_ABSENT);
	set(&map, MIB2, 3 * MIB2, GM_PAGE_SHARED);
	set(&map, 0, 64 * GIB, GM_PAGE_ABSENT);
	assert_run(&map, 0, 64 * GIB, GM_PAGE_ABSENT);
	gm_page_map_done(&map);
}

/* ---- failure ---- */

static void out_of_memory_at_init_is_returned(void **state)
{
	struct gm_page_map map;

	(void)state;
	gm_test_fail_allocation(1);
	assert_int_equal(gm_page_map_init(&map, 2 * GIB, GM_PAGE_ABSENT), -ENOMEM);
}

/* A range with work at both of its ends, in GiBs whose cells have to be written wider. */
static void open_map_to_widen(struct gm_page_map *map)
{
	open_map(map, 4 * GIB);
	for (unsigned i = 0; i < 400; i++) {
		set(map, i * MIB2 + KIB4, KIB4, GM_PAGE_SHARED);
		set(map, 3 * GIB + i * MIB2 + KIB4, KIB4, GM_PAGE_SHARED);
	}
}

static void a_set_that_runs_out_of_memory_has_changed_nothing(void **state)
{
	struct gm_page_map map;
	long nth = 0;
	int r;

	(void)state;
	open_map_to_widen(&map);
	do {
		uint64_t bytes = gm_page_map_bytes(&map);

		gm_test_fail_allocation(++nth);
		r = gm_page_map_set(&map, KIB4, 3 * GIB, GM_PAGE_PRIVATE, NULL);
		gm_test_fail_allocation(0);
		if (r != 0) {
			assert_int_equal(r, -ENOMEM);
			assert_int_equal(gm_page_map_bytes(&map), bytes);
			assert_int_equal(map.pages[GM_PAGE_PRIVATE], 0);
			assert_run(&map, KIB4, KIB4, GM_PAGE_SHARED);
			assert_run(&map, 3 * GIB, KIB4, GM_PAGE_ABSENT);
		}
	} while (r != 0);
	/* Both ends needed several blocks. */
	assert_true(nth > 8);
	assert_run(&map, KIB4, 3 * GIB, GM_PAGE_PRIVATE);
	assert_run(&map, 3 * GIB + KIB4, KIB4, GM_PAGE_SHARED);
	gm_page_map_done(&map);
}

static void a_set_past_the_budget_at_its_far_end_has_changed_nothing(void **state)
{
	struct gm_page_map map;
	uint64_t bytes;

	(void)state;
	open_map(&map, 4 * GIB);
	bytes = gm_page_map_bytes(&map);
	/* Enough for the node of one end, not for two. */
	map.budget_bytes = bytes + 3000;
	assert_int_equal(gm_page_map_set(&map, KIB4, 3 * GIB, GM_PAGE_SHARED, NULL), GM_OVER_LIMIT);
	assert_int_equal(gm_page_map_bytes(&map), bytes);
	assert_run(&map, 0, 4 * GIB, GM_PAGE_ABSENT);
	set(&map, KIB4, 3 * GIB - KIB4, GM_PAGE_SHARED);
	gm_page_map_done(&map);
}

/* ---- lost ---- */

static void a_lost_range_is_exact_while_there_is_memory(void **state)
{
	struct gm_page_map map;

	(void)state;
	open_map(&map, 2 * GIB);
	gm_page_map_set_lost(&map, MIB2 + KIB4, 2 * KIB4);
	assert_run(&map, MIB2 + KIB4, 2 * KIB4, GM_PAGE_LOST);
	assert_int_equal(map.pages[GM_PAGE_LOST], 2);
	gm_page_map_done(&map);
}

static void a_lost_range_grows_to_whole_chunks_where_a_cell_cannot_be_had(void **state)
{
	struct gm_page_map map;

	(void)state;
	open_map(&map, 2 * GIB);
	set(&map, 4 * MIB2, KIB4, GM_PAGE_SHARED);
	map.budget_bytes = gm_page_map_bytes(&map);
	gm_page_map_set_lost(&map, MIB2 + KIB4, 2 * MIB2);
	assert_run(&map, 0, MIB2, GM_PAGE_ABSENT);
	assert_run(&map, MIB2, 3 * MIB2, GM_PAGE_LOST);
	assert_run(&map, 4 * MIB2, KIB4, GM_PAGE_SHARED);
	gm_page_map_done(&map);
}

static void a_lost_range_grows_to_whole_gibs_where_a_node_cannot_be_had(void **state)
{
	struct gm_page_map map;

	(void)state;
	open_map(&map, 3 * GIB + MIB2 + KIB4);
	map.budget_bytes = gm_page_map_bytes(&map);
	gm_page_map_set_lost(&map, 2 * GIB - KIB4, 2 * KIB4);
	assert_run(&map, 0, GIB, GM_PAGE_ABSENT);
	assert_run(&map, GIB, 2 * GIB, GM_PAGE_LOST);
	gm_page_map_set_lost(&map, 3 * GIB + MIB2, KIB4);
	assert_run(&map, GIB, 2 * GIB + MIB2 + KIB4, GM_PAGE_LOST);
	gm_page_map_done(&map);
}

static void losing_pages_needs_no_memory_to_succeed(void **state)
{
	struct gm_page_map map;

	(void)state;
	open_map(&map, 2 * GIB);
	gm_test_fail_allocation(1);
	gm_page_map_set_lost(&map, KIB4, KIB4);
	gm_test_fail_allocation(0);
	assert_int_equal(gm_page_map_get(&map, KIB4), GM_PAGE_LOST);
	assert_int_equal(gm_page_map_get(&map, GIB), GM_PAGE_ABSENT);
	gm_page_map_done(&map);
}

/* ---- leave ---- */

static void a_range_of_absent_and_shared_pages_allows_both_operations(void **state)
{
	struct gm_page_map map;

	(void)state;
	open_map(&map, 2 * GIB);
	set(&map, MIB2 + KIB4, GIB, GM_PAGE_SHARED);
	assert_int_equal(gm_page_map_allows(&map, 0, 2 * GIB, GM_PAGE_OP_ALLOCATE, 0, NULL), 0);
	assert_int_equal(gm_page_map_allows(&map, 0, 2 * GIB, GM_PAGE_OP_DISCARD, 0, NULL), 0);
	gm_page_map_done(&map);
}

static void the_first_page_that_forbids_it_is_named(void **state)
{
	struct gm_refusal refusal = { 0 };
	struct gm_page_map map;

	(void)state;
	open_map(&map, 4 * GIB);
	set(&map, 2 * GIB + 3 * KIB4, KIB4, GM_PAGE_MEASURED);
	set(&map, 2 * GIB + 5 * KIB4, KIB4, GM_PAGE_LOST);
	assert_int_equal(gm_page_map_allows(&map, MIB2, 3 * GIB, GM_PAGE_OP_DISCARD, 0, &refusal),
			 GM_WRONG_STATE);
	assert_int_equal(refusal.rule, GM_RULE_PAGE_STATE);
	assert_int_equal(refusal.offset, 2 * GIB + 3 * KIB4);
	assert_non_null(strstr(refusal.text, "measured"));
	gm_page_map_done(&map);
}

static void pages_beside_the_range_do_not_forbid_it(void **state)
{
	struct gm_page_map map;

	(void)state;
	open_map(&map, GIB);
	set(&map, 0, KIB4, GM_PAGE_LOST);
	set(&map, 3 * KIB4, GIB - 3 * KIB4, GM_PAGE_LOST);
	assert_int_equal(gm_page_map_allows(&map, KIB4, 2 * KIB4, GM_PAGE_OP_DISCARD, 0, NULL), 0);
	assert_int_equal(gm_page_map_allows(&map, KIB4, 3 * KIB4, GM_PAGE_OP_DISCARD, 0, NULL),
			 GM_WRONG_STATE);
	assert_int_equal(gm_page_map_allows(&map, 0, 0, GM_PAGE_OP_DISCARD, 0, NULL), 0);
	gm_page_map_done(&map);
}

/* ---- life ---- */

static void a_map_may_be_done_twice_and_when_it_is_all_zeros(void **state)
{
	struct gm_page_map map = { 0 };

	(void)state;
	gm_page_map_done(&map);
	open_map(&map, 2 * GIB);
	set(&map, KIB4, KIB4, GM_PAGE_SHARED);
	gm_page_map_done(&map);
	gm_page_map_done(&map);
	assert_int_equal(gm_page_map_bytes(&map), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_new_map_is_one_run),
		gm_test(a_set_changes_its_range_and_nothing_beside_it),
		gm_test(an_empty_range_is_no_change),
		gm_test(a_later_set_wins),
		gm_test(six_states_live_side_by_side_in_one_chunk),
		gm_test(a_run_goes_on_over_chunks_and_gibs),
		gm_test(a_stretch_goes_over_all_of_its_states),
		gm_test(a_run_ends_where_the_caller_says),
		gm_test(a_count_takes_in_its_range_only),
		gm_test(the_last_page_of_a_ragged_region_is_a_page_like_any_other),
		gm_test(a_ragged_region_set_page_by_page_is_uniform_again),
		gm_test(a_uniform_region_up_to_a_gib_takes_no_memory),
		gm_test(a_uniform_tib_takes_a_word_for_each_gib),
		gm_test(memory_follows_the_chunks_that_differ),
		gm_test(a_chunk_that_is_uniform_again_gives_its_memory_back),
		gm_test(a_chunk_of_any_number_of_states_can_become_uniform),
		gm_test(a_last_page_set_in_a_range_counts_like_one_set_alone),
		gm_test(a_last_page_set_before_a_state_was_added_counts_like_the_others),
		gm_test(cells_that_got_fewer_are_written_wider_into_fewer_blocks),
		gm_test(one_chunk_to_and_fro_does_not_cost_an_allocation_each_time),
		gm_test(whole_chunks_give_their_memory_back_while_the_gib_stays_mixed),
		gm_test(three_states_in_every_chunk_fit_the_budget),
		gm_test(three_states_in_every_chunk_of_a_tib_take_less_than_64_mib),
		gm_test(a_pattern_past_the_budget_is_refused_with_the_numbers),
		gm_test(a_map_at_its_budget_still_takes_sets_that_need_no_memory),
		gm_test(out_of_memory_at_init_is_returned),
		gm_test(a_set_that_runs_out_of_memory_has_changed_nothing),
		gm_test(a_set_past_the_budget_at_its_far_end_has_changed_nothing),
		gm_test(a_lost_range_is_exact_while_there_is_memory),
		gm_test(a_lost_range_grows_to_whole_chunks_where_a_cell_cannot_be_had),
		gm_test(a_lost_range_grows_to_whole_gibs_where_a_node_cannot_be_had),
		gm_test(losing_pages_needs_no_memory_to_succeed),
		gm_test(a_range_of_absent_and_shared_pages_allows_both_operations),
		gm_test(the_first_page_that_forbids_it_is_named),
		gm_test(pages_beside_the_range_do_not_forbid_it),
		gm_test(a_map_may_be_done_twice_and_when_it_is_all_zeros),
	};

	return gm_test_run("page map", tests, GM_ARRAY_SIZE(tests));
}
