/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page map against one byte for each page: random sets, with their ends mostly where chunks,
 * GiBs and the region end, with allocations that fail and budgets that are spent. After each
 * operation the totals and a few answers must be the same, now and then all of the contents.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gm_test.h"
#include "page_map.h"

#define CHUNK_PAGES UINT64_C(512)
#define GIB_PAGES (512 * CHUNK_PAGES)

/* What a stretch of a run is like, so that maps come to be both dense and sparse. */
struct phase {
	unsigned n_states;
	bool dense; /* small ranges anywhere, and nothing that wipes them out */
};

struct model {
	uint64_t n_pages;
	unsigned char *pages; /* a state each */
	uint64_t totals[GM_PAGE_STATE_N_];
};

static struct gm_test_rng rng;

static uint64_t below(uint64_t n)
{
	return gm_test_random_below(&rng, n);
}

static bool one_in(uint64_t n)
{
	return below(n) == 0;
}

static uint64_t clip(uint64_t page, uint64_t n_pages)
{
	return page < n_pages ? page : n_pages;
}

/* ---- the model ---- */

static void model_set(struct model *model, uint64_t page, uint64_t end, enum gm_page_state state)
{
	for (uint64_t i = page; i < end; i++)
		model->totals[model->pages[i]]--;
	memset(model->pages + page, state, end - page);
	model->totals[state] += end - page;
}

static uint64_t model_run_end(const struct model *model, uint64_t page, uint64_t end)
{
	uint64_t stop = page;

	while (stop < end && model->pages[stop] == model->pages[page])
		stop++;
	return stop;
}

static uint64_t model_count(const struct model *model, uint64_t page, uint64_t end,
			    enum gm_page_state state)
{
	uint64_t n = 0;

	for (; page < end; page++)
		n += model->pages[page] == state;
	return n;
}

/* ---- ranges that hurt ---- */

/* A page number up to and with @n_pages, most often at or beside a boundary. */
static uint64_t random_border(uint64_t n_pages)
{
	static const uint64_t steps[] = { 1, CHUNK_PAGES, CHUNK_PAGES, GIB_PAGES };
	uint64_t step = steps[below(GM_ARRAY_SIZE(steps))];
	uint64_t page = below(n_pages / step + 2) * step;

	if (one_in(2))
		page += below(5);
	page = page > 2 ? page - 2 * below(2) : page;
	return clip(one_in(8) ? n_pages : page, n_pages);
}

static void random_range(uint64_t n_pages, bool dense, uint64_t *ret_page, uint64_t *ret_end)
{
	uint64_t a = dense ? below(n_pages) : random_border(n_pages);
	uint64_t kind = below(dense ? 970 : 1000);
	uint64_t b;

	if (a == n_pages)
		a -= 1 + below(gm_min_u64(n_pages, 3));
	if (kind < 500)
		b = a + 1;
	else if (kind < 800)
		b = a + 1 + below(8);
	else if (kind < 970)
		b = a + 1 + below(3 * CHUNK_PAGES);
	else
		b = random_border(n_pages);
	*ret_page = gm_min_u64(a, gm_min_u64(b, n_pages - 1));
	*ret_end = clip(gm_max_u64(a, b), n_pages);
	if (*ret_page == *ret_end)
		*ret_end = *ret_page + 1;
}

/* ---- comparing ---- */

static void compare_totals(const struct gm_page_map *map, const struct model *model)
{
	for (unsigned state = 0; state < GM_PAGE_STATE_N_; state++)
		assert_int_equal(map->pages[state], model->totals[state]);
	assert_true(gm_page_map_bytes(map) == map->heap_bytes);
}

static void compare_run(const struct gm_page_map *map, const struct model *model, uint64_t page,
			uint64_t end)
{
	struct gm_page_run run;

	gm_page_map_run(map, page * GM_PAGE_4K, end * GM_PAGE_4K, &run);
	assert_int_equal(run.offset, page * GM_PAGE_4K);
	assert_int_equal(run.state, model->pages[page]);
	assert_int_equal(run.length, (model_run_end(model, page, end) - page) * GM_PAGE_4K);
}

static void compare_count(const struct gm_page_map *map, const struct model *model, uint64_t page,
			  uint64_t end)
{
	enum gm_page_state state = below(GM_PAGE_STATE_N_);

	assert_int_equal(
		gm_page_map_count(map, page * GM_PAGE_4K, (end - page) * GM_PAGE_4K, state),
		model_count(model, page, end, state) * GM_PAGE_4K);
}

/* The first page that forbids a discard, found the long way. */
static void compare_allows(const struct gm_page_map *map, const struct model *model, uint64_t page,
			   uint64_t end)
{
	struct gm_refusal refusal = { 0 };
	int r = gm_page_map_allows(map, page * GM_PAGE_4K, (end - page) * GM_PAGE_4K,
				   GM_PAGE_OP_DISCARD, /* conditions= */ 0, &refusal);

	while (page < end && model->pages[page] <= GM_PAGE_SHARED)
		page++;
	assert_int_equal(r, page < end ? GM_WRONG_STATE : 0);
	if (r != 0)
		assert_int_equal(refusal.offset, page * GM_PAGE_4K);
}

static void compare_all(const struct gm_page_map *map, const struct model *model)
{
	for (uint64_t page = 0; page < model->n_pages;
	     page = model_run_end(model, page, model->n_pages))
		compare_run(map, model, page, model->n_pages);
}

static void compare_some(const struct gm_page_map *map, const struct model *model)
{
	uint64_t page = below(model->n_pages);
	uint64_t end = clip(page + 1 + below(2 * CHUNK_PAGES), model->n_pages);

	assert_int_equal(gm_page_map_get(map, page * GM_PAGE_4K), model->pages[page]);
	if (one_in(4))
		compare_run(map, model, page, end);
	if (one_in(16))
		compare_count(map, model, page, end);
	if (one_in(16))
		compare_allows(map, model, page, end);
	if (!one_in(256))
		return;
	random_range(model->n_pages, false, &page, &end);
	compare_run(map, model, page, end);
	compare_count(map, model, page, end);
	compare_allows(map, model, page, end);
}

/* ---- operations ---- */

/* Sometimes memory is short: then the map must not have changed, nor what it takes. */
static void set(struct gm_page_map *map, struct model *model, const struct phase *phase)
{
	enum gm_page_state state = below(phase->n_states);
	uint64_t budget = map->budget_bytes;
	uint64_t bytes = map->heap_bytes;
	struct gm_refusal refusal = { 0 };
	uint64_t page, end;
	int r;

	random_range(model->n_pages, phase->dense, &page, &end);
	if (one_in(16))
		gm_test_fail_allocation((long)(1 + below(4)));
	else if (one_in(16))
		map->budget_bytes = bytes + below(4096);
	r = gm_page_map_set(map, page * GM_PAGE_4K, (end - page) * GM_PAGE_4K, state, &refusal);
	gm_test_fail_allocation(0);
	if (r == 0) {
		model_set(model, page, end, state);
	} else {
		assert_int_equal(map->heap_bytes, bytes);
		assert_true(r == -ENOMEM ||
			    (r == GM_OVER_LIMIT && refusal.rule == GM_RULE_PAGE_MAP &&
			     refusal.offset == page * GM_PAGE_4K &&
			     refusal.limit == map->budget_bytes && refusal.used == bytes &&
			     refusal.used + refusal.asked > refusal.limit));
	}
	map->budget_bytes = budget;
}

/*
 * What set_lost did besides: nothing, or whole chunks, or whole GiBs around. Any page that is
 * lost now and is not in the model must be within the GiBs of the range.
 */
static void set_lost(struct gm_page_map *map, struct model *model, const struct phase *phase)
{
	uint64_t budget = map->budget_bytes;
	bool short_of_memory = one_in(2);
	uint64_t page, end, from, to;

	random_range(model->n_pages, phase->dense, &page, &end);
	from = gm_align_down(page, GIB_PAGES);
	to = clip(gm_align_down(end + GIB_PAGES - 1, GIB_PAGES), model->n_pages);
	if (short_of_memory)
		map->budget_bytes = map->heap_bytes + below(2048);
	gm_page_map_set_lost(map, page * GM_PAGE_4K, (end - page) * GM_PAGE_4K);
	map->budget_bytes = budget;
	model_set(model, page, end, GM_PAGE_LOST);
	if (!short_of_memory)
		return;
	for (uint64_t i = from; i < to; i++)
		if (gm_page_map_get(map, i * GM_PAGE_4K) == GM_PAGE_LOST)
			model_set(model, i, i + 1, GM_PAGE_LOST);
	compare_all(map, model);
}

static void one_operation(struct gm_page_map *map, struct model *model, const struct phase *phase)
{
	uint64_t page;

	if (one_in(4000)) {
		set_lost(map, model, phase);
	} else if (!phase->dense && one_in(1000)) {
		page = gm_align_down(below(model->n_pages), GIB_PAGES);
		assert_int_equal(gm_page_map_set(map, page * GM_PAGE_4K,
						 (clip(page + GIB_PAGES, model->n_pages) - page) *
							 GM_PAGE_4K,
						 GM_PAGE_ABSENT, NULL),
				 0);
		model_set(model, page, clip(page + GIB_PAGES, model->n_pages), GM_PAGE_ABSENT);
	} else {
		set(map, model, phase);
	}
}

/* All in one state again: nothing may be left of what the mixture took. */
static void end_uniform(struct gm_page_map *map, struct model *model, uint64_t bare_bytes)
{
	assert_int_equal(gm_page_map_set(map, 0, map->size, GM_PAGE_SHARED, NULL), 0);
	model_set(model, 0, model->n_pages, GM_PAGE_SHARED);
	compare_all(map, model);
	compare_totals(map, model);
	assert_int_equal(map->heap_bytes, bare_bytes);
}

static void run_on(uint64_t size, uint64_t n_operations, uint64_t compare_every)
{
	struct model model = { .n_pages = size / GM_PAGE_4K };
	struct gm_page_map map;
	uint64_t bare_bytes;
	struct phase phase = { .n_states = 2 };

	model.pages = calloc(1, model.n_pages);
	assert_non_null(model.pages);
	model.totals[GM_PAGE_ABSENT] = model.n_pages;
	assert_int_equal(gm_page_map_init(&map, size, GM_PAGE_ABSENT), 0);
	bare_bytes = map.heap_bytes;
	for (uint64_t i = 0; i < n_operations; i++) {
		if (i % (n_operations / 20) == 0)
			phase = (struct phase){
				.n_states = 2 + (unsigned)below(GM_PAGE_STATE_N_ - 1),
				.dense = one_in(2),
			};
		one_operation(&map, &model, &phase);
		compare_totals(&map, &model);
		compare_some(&map, &model);
		if (i % compare_every == 0)
			compare_all(&map, &model);
	}
	compare_all(&map, &model);
	end_uniform(&map, &model, bare_bytes);
	gm_page_map_done(&map);
	free(model.pages);
}

static void a_region_of_one_page_agrees_with_the_model(void **state)
{
	(void)state;
	run_on(GM_PAGE_4K, 20000, 10);
}

static void a_region_smaller_than_a_chunk_agrees_with_the_model(void **state)
{
	(void)state;
	run_on(GM_PAGE_2M - 3 * GM_PAGE_4K, 300000 / GM_TEST_SHARE, 100);
}

static void a_region_one_page_over_a_chunk_agrees_with_the_model(void **state)
{
	(void)state;
	run_on(GM_PAGE_2M + GM_PAGE_4K, 300000 / GM_TEST_SHARE, 100);
}

static void a_region_of_a_few_chunks_agrees_with_the_model(void **state)
{
	(void)state;
	run_on(9 * GM_PAGE_2M, 300000 / GM_TEST_SHARE, 200);
}

static void a_region_one_page_under_a_gib_agrees_with_the_model(void **state)
{
	(void)state;
	run_on(GM_PAGE_1G - GM_PAGE_4K, 200000 / GM_TEST_SHARE, 2000);
}

static void a_region_of_one_gib_agrees_with_the_model(void **state)
{
	(void)state;
	run_on(GM_PAGE_1G, 100000 / GM_TEST_SHARE, 2000);
}

static void a_region_one_page_over_a_gib_agrees_with_the_model(void **state)
{
	(void)state;
	run_on(GM_PAGE_1G + GM_PAGE_4K, 200000 / GM_TEST_SHARE, 2000);
}

static void a_region_of_gibs_with_a_ragged_end_agrees_with_the_model(void **state)
{
	(void)state;
	run_on(3 * GM_PAGE_1G + GM_PAGE_2M + 2 * GM_PAGE_4K, 200000 / GM_TEST_SHARE, 4000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_region_of_one_page_agrees_with_the_model),
		gm_test(a_region_smaller_than_a_chunk_agrees_with_the_model),
		gm_test(a_region_one_page_over_a_chunk_agrees_with_the_model),
		gm_test(a_region_of_a_few_chunks_agrees_with_the_model),
		gm_test(a_region_one_page_under_a_gib_agrees_with_the_model),
		gm_test(a_region_of_one_gib_agrees_with_the_model),
		gm_test(a_region_one_page_over_a_gib_agrees_with_the_model),
		gm_test(a_region_of_gibs_with_a_ragged_end_agrees_with_the_model),
	};

	return gm_test_run("page map, random", tests, GM_ARRAY_SIZE(tests));
}
