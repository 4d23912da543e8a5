/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversions against a byte for each page: two regions of one domain, random batches, reports that
 * are whole, partial, wrong, repeated or missing, a limit of shared memory that moves. After each
 * turn both agree on every page, on the sums, and on what is refused and why.
 */
#include "../unit/book_fixture.h"
#include "book_step.h"

#define N_REGIONS 2
#define PAGES 256 /* of a region */
#define BATCH 12
#define TURNS 60000
#define DEADLINE_MS 1000

struct model {
	struct gm_region *region;
	unsigned char pages[PAGES];
	bool has_step;
	uint64_t step;
	enum gm_page_op op;
	size_t n_ranges;
	struct gm_range ranges[BATCH];
	uint64_t to_share; /* pages that the step makes shared */
};

struct world {
	struct host host;
	struct gm_domain *domain;
	struct model models[N_REGIONS];
	uint64_t last_step;
	uint64_t now_ms;
	unsigned long n_lost, n_refused, n_done;
};

static struct gm_test_rng rng;

static uint64_t below(uint64_t n)
{
	return gm_test_random_below(&rng, n);
}

/* ---- the world ---- */

static void open_world(struct world *w)
{
	memset(w, 0, sizeof(*w));
	host_init(&w->host);
	w->domain = host_private_domain(&w->host, GM_TRAIT_PRIVATE);
	for (unsigned i = 0; i < N_REGIONS; i++) {
		const struct gm_step_spec step = { .id = ++w->last_step, .deadline_ms = 1 };
		const struct gm_file_id file = { 7, 70 + i };
		struct gm_region *region =
			host_region(&w->host, w->domain, i * GM_GIB, PAGES * GM_PAGE_4K);

		assert_int_equal(gm_book_begin_memory(region, &step, NULL), 0);
		assert_int_equal(gm_book_check_memory(&w->host.book, region, &file, NULL), 0);
		gm_book_memory_made(region, 3, &file);
		assert_int_equal(gm_book_begin_bind(region, &step, NULL), 0);
		gm_book_bound(region);
		w->models[i].region = region;
	}
}

static uint64_t count(const struct model *model, enum gm_page_state state)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < PAGES; i++)
		n += model->pages[i] == state;
	return n;
}

/* Pages of the domain that are shared, or are being made so. */
static uint64_t shared(const struct world *w)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < N_REGIONS; i++)
		n += count(&w->models[i], GM_PAGE_SHARED) +
		     (w->models[i].has_step ? w->models[i].to_share : 0);
	return n;
}

static void compare(const struct world *w)
{
	uint64_t n_shared = 0, n_steps = 0;

	for (unsigned i = 0; i < N_REGIONS; i++) {
		const struct model *model = &w->models[i];

		for (unsigned page = 0; page < PAGES; page++)
			assert_int_equal(gm_page_map_get(&model->region->map, page * GM_PAGE_4K),
					 model->pages[page]);
		assert_int_equal(model->region->shared_bytes,
				 count(model, GM_PAGE_SHARED) * GM_PAGE_4K);
		assert_int_equal(model->region->step != NULL, model->has_step);
		n_shared += count(model, GM_PAGE_SHARED);
		n_steps += model->has_step ? model->to_share : 0;
	}
	assert_int_equal(w->domain->shared_bytes, n_shared * GM_PAGE_4K);
	assert_int_equal(w->domain->converting_bytes, n_steps * GM_PAGE_4K);
}

/* ---- asking ---- */

/* Disjoint, ascending, now and then not so. */
static size_t draw_ranges(struct gm_range ranges[BATCH], bool *ret_sound)
{
	size_t n = 0, want = 1 + below(BATCH);
	uint64_t page = below(PAGES / 2);

	while (n < want && page < PAGES) {
		uint64_t length = 1 + below(8);

		if (page + length > PAGES)
			length = PAGES - page;
		ranges[n++] = (struct gm_range){ page * GM_PAGE_4K, length * GM_PAGE_4K };
		page += length + below(20);
	}
	*ret_sound = below(16) != 0;
	if (*ret_sound)
		return n;
	if (below(2))
		ranges[n - 1].length += PAGES * GM_PAGE_4K;
	else
		ranges[n - 1].offset += 1;
	return n;
}

static int expected(const struct world *w, const struct model *model, enum gm_page_op op,
		    const struct gm_range *ranges, size_t n, bool sound, uint64_t *ret_to_share)
{
	uint64_t to_share = 0;

	*ret_to_share = 0;
	if (model->has_step)
		return GM_BUSY;
	if (!sound)
		return GM_INVALID;
	for (size_t i = 0; i < n; i++) {
		for (uint64_t at = 0; at < ranges[i].length; at += GM_PAGE_4K) {
			unsigned char state = model->pages[(ranges[i].offset + at) / GM_PAGE_4K];

			if (state == GM_PAGE_LOST)
				return GM_WRONG_STATE;
			to_share += op == GM_PAGE_OP_TO_SHARED && state != GM_PAGE_SHARED;
		}
	}
	if (to_share > 0 &&
	    (shared(w) + to_share) * GM_PAGE_4K > w->domain->tenant->policy.shared_max)
		return GM_OVER_LIMIT;
	*ret_to_share = to_share;
	return 0;
}

static void ask(struct world *w, struct model *model)
{
	enum gm_page_op op = below(2) ? GM_PAGE_OP_TO_SHARED : GM_PAGE_OP_TO_PRIVATE;
	const struct gm_step_spec spec = { .id = ++w->last_step,
					   .key = { below(1000), 5 },
					   .deadline_ms = w->now_ms + DEADLINE_MS };
	struct gm_range ranges[BATCH], sorted[BATCH];
	uint64_t to_share;
	bool sound;
	size_t n = draw_ranges(ranges, &sound);
	int want = expected(w, model, op, ranges, n, sound, &to_share);

	memcpy(sorted, ranges, sizeof(ranges));
	/* In any order: the books sort them. */
	if (n > 1 && below(2)) {
		struct gm_range swap = sorted[0];

		sorted[0] = sorted[n - 1];
		sorted[n - 1] = swap;
	}
	assert_int_equal(
		gm_book_begin_convert(model->region, op, sorted, n, &spec, &w->host.refusal), want);
	w->n_refused += want != 0;
	if (want != 0)
		return;
	model->has_step = true;
	model->step = spec.id;
	model->op = op;
	model->n_ranges = n;
	memcpy(model->ranges, ranges, sizeof(ranges));
	model->to_share = to_share;
}

/* ---- reporting ---- */

static void set_range(struct model *model, const struct gm_range *range, bool lose)
{
	for (uint64_t at = 0; at < range->length; at += GM_PAGE_4K) {
		unsigned char *page = &model->pages[(range->offset + at) / GM_PAGE_4K];

		/* What was never shared is the guest's already, and it has asked for it. */
		*page = lose				    ? GM_PAGE_LOST
			: model->op == GM_PAGE_OP_TO_SHARED ? GM_PAGE_SHARED
							    : GM_PAGE_PRIVATE;
	}
}

static void report(struct world *w, struct model *model)
{
	size_t n_done = below(model->n_ranges + 1);
	struct gm_range wrong[BATCH];
	uint64_t bytes;

	if (!model->has_step) {
		assert_int_equal(
			gm_book_find_step(model->region, w->last_step, GM_STEP_CONVERT, NULL),
			GM_INVALID);
		return;
	}
	memcpy(wrong, model->ranges, sizeof(wrong));
	wrong[below(model->n_ranges)].length ^= GM_PAGE_4K << below(3);
	assert_int_equal(gm_book_find_step(model->region, model->step + 1, GM_STEP_CONVERT, NULL),
			 GM_INVALID);
	assert_int_equal(
		gm_book_converted(model->region, wrong, model->n_ranges, n_done, &bytes, NULL),
		GM_INVALID);
	assert_int_equal(gm_book_converted(model->region, model->ranges, model->n_ranges,
					   model->n_ranges + 1, &bytes, NULL),
			 GM_INVALID);
	assert_int_equal(gm_book_find_step(model->region, model->step, GM_STEP_CONVERT, NULL), 0);
	assert_int_equal(gm_book_converted(model->region, model->ranges, model->n_ranges, n_done,
					   &bytes, NULL),
			 0);
	for (size_t i = 0; i < n_done; i++)
		set_range(model, &model->ranges[i], false);
	/* A half that cannot be freed. */
	if (below(2000) == 0 && n_done > 0) {
		gm_book_lose_ranges(model->region, model->ranges, n_done);
		for (size_t i = 0; i < n_done; i++)
			set_range(model, &model->ranges[i], true);
	}
	gm_book_end_step(model->region);
	model->has_step = false;
	w->n_done++;
}

static void let_time_pass(struct world *w)
{
	struct gm_region *region;

	w->now_ms += DEADLINE_MS;
	while ((region = gm_book_overdue_step(&w->host.book, w->now_ms)) != NULL) {
		struct model *model = &w->models[region == w->models[1].region];

		assert_true(model->has_step);
		gm_book_lose_step(region);
		for (size_t i = 0; i < model->n_ranges; i++)
			set_range(model, &model->ranges[i], true);
		model->has_step = false;
		w->n_lost++;
	}
	for (unsigned i = 0; i < N_REGIONS; i++)
		assert_false(w->models[i].has_step);
}

static void turn(struct world *w)
{
	struct model *model = &w->models[below(N_REGIONS)];

	if (below(3000) == 0)
		let_time_pass(w);
	else if (below(50) == 0)
		w->host.acme->policy.shared_max = below(2 * N_REGIONS * PAGES) * GM_PAGE_4K;
	else if (below(2))
		ask(w, model);
	else
		report(w, model);
}

static void the_books_and_the_model_agree_at_every_turn(void **state)
{
	static struct world w;
	unsigned long n_lost = 0, n_refused = 0, n_done = 0;

	(void)state;
	/* Lost pages add up: a few thousand turns, then a new domain. */
	for (unsigned life = 0; life < 20; life++) {
		open_world(&w);
		for (unsigned i = 0; i < TURNS / 20; i++) {
			turn(&w);
			compare(&w);
		}
		n_lost += w.n_lost;
		n_refused += w.n_refused;
		n_done += w.n_done;
		host_done(&w.host);
	}
	print_message("%lu conversions, %lu refused, %lu steps lost\n", n_done, n_refused, n_lost);
	assert_true(n_done > TURNS / 10 && n_refused > TURNS / 50 && n_lost > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(the_books_and_the_model_agree_at_every_turn),
	};

	return gm_test_run("conversions", tests, GM_ARRAY_SIZE(tests));
}
