/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standing orders against a byte for each page: two regions of one domain, reports that are right,
 * repeated, out of order, too fine, too large or wrong, conversions that are asked for, policies
 * that move, regions that go. After each turn both agree on every page, and every byte of room is
 * given back exactly once.
 */
#include "../unit/book_fixture.h"
#include "book_order.h"

#define N_REGIONS 2
#define PAGES 256 /* of a region */
#define BATCH 6
#define TURNS 60000

struct model {
	struct gm_region *region;
	unsigned char pages[PAGES];
	uint64_t order; /* 0: none */
	uint64_t last;
	uint64_t spent; /* pages */
	uint64_t room;
	uint64_t granularity;
};

struct world {
	struct host host;
	struct gm_domain *domain;
	struct model models[N_REGIONS];
	uint64_t last_id;
	unsigned long n_booked, n_broken, n_asked, n_taken;
};

static struct gm_test_rng rng;

static uint64_t below(uint64_t n)
{
	return gm_test_random_below(&rng, n);
}

/* ---- the world ---- */

static void open_region(struct world *w, unsigned i)
{
	const struct gm_step_spec step = { .id = ++w->last_id, .deadline_ms = 1 };
	const struct gm_file_id file = { 7, step.id };
	struct gm_region *region = host_region(&w->host, w->domain, i * GM_GIB, PAGES * GM_PAGE_4K);

	assert_int_equal(gm_book_begin_memory(region, &step, NULL), 0);
	gm_book_memory_made(region, 3, &file);
	assert_int_equal(gm_book_begin_bind(region, &step, NULL), 0);
	gm_book_bound(region);
	w->models[i] = (struct model){ .region = region };
}

static void open_world(struct world *w)
{
	memset(w, 0, sizeof(*w));
	host_init(&w->host);
	w->domain = host_private_domain(&w->host, GM_TRAIT_PRIVATE);
	for (unsigned i = 0; i < N_REGIONS; i++)
		open_region(w, i);
}

static uint64_t count(const struct model *model, enum gm_page_state state)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < PAGES; i++)
		n += model->pages[i] == state;
	return n;
}

static void compare(const struct world *w)
{
	uint64_t n_shared = 0, n_room = 0;

	for (unsigned i = 0; i < N_REGIONS; i++) {
		const struct model *model = &w->models[i];
		const struct gm_order *order = &model->region->order;

		for (unsigned page = 0; page < PAGES; page++)
			assert_int_equal(gm_page_map_get(&model->region->map, page * GM_PAGE_4K),
					 model->pages[page]);
		assert_int_equal(order->id, model->order);
		assert_int_equal(order->room, model->room * GM_PAGE_4K);
		if (model->order != 0) {
			assert_int_equal(order->last, model->last);
			assert_int_equal(gm_order_limit(order),
					 (model->spent + model->room) * GM_PAGE_4K);
		}
		n_shared += count(model, GM_PAGE_SHARED);
		n_room += model->room;
	}
	assert_int_equal(w->domain->shared_bytes, n_shared * GM_PAGE_4K);
	assert_int_equal(w->domain->converting_bytes, n_room * GM_PAGE_4K);
}

/* ---- the model ---- */

static uint64_t limit(const struct world *w)
{
	return w->domain->tenant->policy.shared_max / GM_PAGE_4K;
}

static uint64_t granularity(const struct world *w)
{
	return w->domain->tenant->policy.conversion_granularity / GM_PAGE_4K;
}

/* Shared pages, and room of all orders. */
static uint64_t used(const struct world *w)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < N_REGIONS; i++)
		n += count(&w->models[i], GM_PAGE_SHARED) + w->models[i].room;
	return n;
}

static void model_end(struct model *model)
{
	model->order = 0;
	model->room = 0;
}

static void model_renew(const struct world *w, struct model *model)
{
	uint64_t others = used(w) - model->room;
	uint64_t room = others < limit(w) ? (limit(w) - others) / 2 : 0;

	if (model->order != 0 && model->granularity == granularity(w) && room > model->room)
		model->room = room;
}

static void set(struct model *model, uint64_t page, uint64_t n, bool to_shared)
{
	for (uint64_t i = page; i < page + n; i++)
		if (model->pages[i] != GM_PAGE_LOST)
			model->pages[i] = to_shared ? GM_PAGE_SHARED : GM_PAGE_PRIVATE;
}

static void lose(struct model *model, const struct gm_conversion *done, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t page = done[i].range.offset / GM_PAGE_4K;
		uint64_t end = page + done[i].range.length / GM_PAGE_4K;

		for (; end <= PAGES && page < end; page++)
			model->pages[page] = GM_PAGE_LOST;
	}
	model_end(model);
}

/* ---- turns ---- */

static void renew(struct world *w, struct model *model)
{
	bool fresh;

	if (below(4) != 0) {
		gm_book_renew_order(model->region);
		model_renew(w, model);
		return;
	}
	w->last_id++;
	assert_true(gm_book_begin_order(model->region, w->last_id));
	fresh = model->order == 0 || model->granularity != granularity(w);
	if (fresh) {
		model_end(model);
		model->order = w->last_id;
		model->last = model->spent = 0;
		model->granularity = granularity(w);
	}
	model_renew(w, model);
}

static size_t draw(struct gm_conversion done[BATCH])
{
	size_t n = 1 + below(BATCH);

	for (size_t i = 0; i < n; i++) {
		uint64_t page = below(PAGES), length = 1 + below(12);

		/* Now and then beyond the end, and finer than may be. */
		if (below(8) != 0) {
			page &= ~3ull;
			length = (length + 3) & ~3ull;
		}
		if (below(40) != 0 && length > PAGES - page)
			length = PAGES - page;
		done[i] = (struct gm_conversion){
			.range = { page * GM_PAGE_4K, length * GM_PAGE_4K },
			.op = below(2) ? GM_PAGE_OP_TO_SHARED : GM_PAGE_OP_TO_PRIVATE,
		};
	}
	return n;
}

static bool is_covered(const struct model *model, const struct gm_conversion *done)
{
	uint64_t page = done->range.offset / GM_PAGE_4K;
	uint64_t n = done->range.length / GM_PAGE_4K;

	return page + n <= PAGES && page % model->granularity == 0 &&
	       ((page + n) % model->granularity == 0 || page + n == PAGES) &&
	       (done->op != GM_PAGE_OP_TO_SHARED || n <= model->room);
}

static void report_next(struct world *w, struct model *model, const struct gm_conversion *done,
			size_t n)
{
	int r = gm_book_report(model->region, done, n, &w->host.refusal);

	for (size_t i = 0; i < n; i++) {
		uint64_t pages = done[i].range.length / GM_PAGE_4K;
		bool to_shared = done[i].op == GM_PAGE_OP_TO_SHARED;

		if (!is_covered(model, &done[i])) {
			assert_int_equal(r, GM_INVALID);
			lose(model, &done[i], n - i);
			w->n_broken++;
			return;
		}
		set(model, done[i].range.offset / GM_PAGE_4K, pages, to_shared);
		model->room -= to_shared ? pages : 0;
		model->spent += to_shared ? pages : 0;
	}
	assert_int_equal(r, 0);
	model->last++;
	w->n_booked++;
}

static void report(struct world *w, struct model *model)
{
	uint64_t number = model->last + 1 - (below(8) == 0 ? below(3) : 0) + (below(64) == 0);
	uint64_t order = below(64) == 0 ? model->order + 1 : model->order;
	struct gm_conversion done[BATCH];
	size_t n = draw(done);

	switch (gm_book_place_report(model->region, order, number)) {
	case GM_REPORT_NEXT:
		assert_true(model->order != 0 && order == model->order &&
			    number == model->last + 1);
		report_next(w, model, done, n);
		return;
	case GM_REPORT_KNOWN:
		assert_true(number != 0 && number <= model->last);
		return;
	case GM_REPORT_WRONG:
		assert_true(model->order == 0 || order != model->order || number == 0 ||
			    number > model->last + 1);
		assert_int_equal(gm_book_lose_report(model->region, done, n, NULL), GM_INVALID);
		lose(model, done, n);
		return;
	case GM_REPORT_EARLY:
		fail_msg("nothing is being freed");
	}
}

/* Nothing is refused for room that orders have. */
static void ask(struct world *w, struct model *model)
{
	struct gm_range range = { 4 * GM_PAGE_4K * below(PAGES / 8), 4 * GM_PAGE_4K };
	const struct gm_step_spec spec = { .id = ++w->last_id, .deadline_ms = 1 };
	uint64_t page, others = 0, to_share = 0, bytes;
	unsigned before = w->domain->n_rooms_ended;
	int r, want = 0;

	range.length *= 1 + below(8);
	page = range.offset / GM_PAGE_4K;
	for (uint64_t i = page; i < page + range.length / GM_PAGE_4K; i++) {
		want = model->pages[i] == GM_PAGE_LOST ? GM_WRONG_STATE : want;
		to_share += model->pages[i] != GM_PAGE_SHARED;
	}
	for (unsigned i = 0; i < N_REGIONS; i++)
		others += count(&w->models[i], GM_PAGE_SHARED);
	if (want == 0 && to_share > 0 && used(w) + to_share > limit(w)) {
		for (unsigned i = 0; i < N_REGIONS; i++)
			w->models[i].room = 0;
		want = others + to_share > limit(w) ? GM_OVER_LIMIT : 0;
		before++;
		w->n_taken++;
	}
	if (page % granularity(w) != 0 || range.length / GM_PAGE_4K % granularity(w) != 0)
		fail_msg("the policy is finer than that");
	r = gm_book_begin_convert(model->region, GM_PAGE_OP_TO_SHARED, &range, 1, &spec, NULL);
	assert_int_equal(r, want);
	assert_int_equal(w->domain->n_rooms_ended, before);
	if (r != 0)
		return;
	assert_int_equal(gm_book_converted(model->region, &range, 1, 1, &bytes, NULL), 0);
	gm_book_end_step(model->region);
	set(model, page, range.length / GM_PAGE_4K, true);
	w->n_asked++;
}

static void turn(struct world *w)
{
	unsigned i = (unsigned)below(N_REGIONS);
	struct model *model = &w->models[i];
	struct gm_policy *policy = &w->domain->tenant->policy;

	switch (below(16)) {
	case 0:
		ask(w, model);
		break;
	case 1:
		if (below(8) == 0)
			policy->shared_max = (16 + below(PAGES)) * GM_PAGE_4K;
		break;
	case 2:
		if (below(8) == 0)
			policy->conversion_granularity = GM_PAGE_4K << below(3);
		break;
	case 3:
		/* Lost pages never come back: a new region has none. */
		if (count(model, GM_PAGE_LOST) > PAGES / 2) {
			gm_book_remove_region(&w->host.book, model->region);
			open_region(w, i);
		}
		break;
	case 4:
	case 5:
	case 6:
	case 7:
	case 8:
		renew(w, model);
		break;
	default:
		report(w, model);
	}
	compare(w);
}

static void the_books_agree_with_a_byte_for_each_page(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	w.domain->tenant->policy.shared_max = PAGES * GM_PAGE_4K;
	for (unsigned i = 0; i < TURNS; i++)
		turn(&w);
	for (unsigned i = 0; i < N_REGIONS; i++)
		gm_book_remove_region(&w.host.book, w.models[i].region);
	assert_int_equal(w.domain->converting_bytes, 0);
	printf("%lu booked, %lu broken, %lu asked for, %lu times room was taken back\n", w.n_booked,
	       w.n_broken, w.n_asked, w.n_taken);
	assert_true(w.n_booked > 1000 && w.n_broken > 100 && w.n_asked > 100 && w.n_taken > 20);
	host_done(&w.host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(the_books_agree_with_a_byte_for_each_page),
	};

	return gm_test_run("standing orders and a model", tests, GM_ARRAY_SIZE(tests));
}
