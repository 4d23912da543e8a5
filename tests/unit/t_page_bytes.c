/* SPDX-License-Identifier: Apache-2.0 */
/* GiBs of a page map as bytes. */
#include <errno.h>
#include <string.h>

#include "gm_test.h"
#include "page_map.h"

#define SIZE (2 * GM_GIB + 5 * GM_PAGE_4K)

static unsigned char bytes[GM_PAGE_GIB_BYTES_MAX];
static unsigned char again[GM_PAGE_GIB_BYTES_MAX];

static void mix(struct gm_page_map *map, struct gm_test_rng *rng, unsigned n, unsigned n_states)
{
	while (n-- > 0) {
		uint64_t page = gm_test_random_below(rng, SIZE / GM_PAGE_4K);

		assert_int_equal(gm_page_map_replay(map, page * GM_PAGE_4K, GM_PAGE_4K,
						    gm_test_random_below(rng, n_states)),
				 0);
	}
}

static void copy(struct gm_page_map *to, const struct gm_page_map *from)
{
	assert_int_equal(gm_page_map_init(to, SIZE, GM_PAGE_ABSENT), 0);
	for (uint64_t gib = 0; gib < from->n_gib; gib++) {
		enum gm_page_state state;
		size_t size;

		if (gm_page_map_gib_state(from, gib, &state)) {
			assert_int_equal(gm_page_map_replay(to, gib * GM_GIB,
							    gm_min_u64(GM_GIB, SIZE - gib * GM_GIB),
							    state),
					 0);
			continue;
		}
		size = gm_page_map_export(from, gib, bytes);
		assert_true(size <= sizeof(bytes) && size % 8 == 0);
		assert_int_equal(gm_page_map_import(to, gib, bytes, size), 0);
		assert_int_equal(gm_page_map_export(to, gib, again), size);
		assert_memory_equal(bytes, again, size);
	}
}

static void assert_same(const struct gm_page_map *a, const struct gm_page_map *b)
{
	assert_int_equal(a->heap_bytes, b->heap_bytes);
	assert_memory_equal(a->pages, b->pages, sizeof(a->pages));
	for (uint64_t at = 0; at < SIZE; at += GM_PAGE_4K)
		assert_int_equal(gm_page_map_get(a, at), gm_page_map_get(b, at));
}

static void a_map_read_back_has_the_same_pages_memory_and_bytes(void **state)
{
	struct gm_test_rng rng = { 0 };

	(void)state;
	for (unsigned n_states = 2; n_states <= GM_PAGE_STATE_N_; n_states++) {
		struct gm_page_map map;
		struct gm_page_map back;

		assert_int_equal(gm_page_map_init(&map, SIZE, GM_PAGE_ABSENT), 0);
		mix(&map, &rng, n_states * 700, n_states);
		copy(&back, &map);
		assert_same(&map, &back);
		/* And goes on as the other does. */
		for (uint64_t page = 0; page < 4000; page += 7) {
			assert_int_equal(gm_page_map_replay(&map, page * GM_PAGE_4K, 3 * GM_PAGE_4K,
							    page % n_states),
					 0);
			assert_int_equal(gm_page_map_replay(&back, page * GM_PAGE_4K,
							    3 * GM_PAGE_4K, page % n_states),
					 0);
		}
		assert_same(&map, &back);
		gm_page_map_done(&map);
		gm_page_map_done(&back);
	}
}

/* Whatever comes of a changed byte, it is a map or it is refused. */
static void changed_bytes_are_refused_or_make_a_map_that_adds_up(void **state)
{
	struct gm_test_rng rng = { 0 };
	struct gm_page_map map;
	unsigned refused = 0;
	size_t size;

	(void)state;
	assert_int_equal(gm_page_map_init(&map, SIZE, GM_PAGE_ABSENT), 0);
	mix(&map, &rng, 60, 5);
	size = gm_page_map_export(&map, 0, bytes);
	gm_page_map_done(&map);
	for (unsigned i = 0; i < 4000; i++) {
		size_t at = gm_test_random_below(&rng, i % 2 ? size : 24);
		unsigned char before = bytes[at];
		uint64_t sum = 0;
		int r;

		bytes[at] = (unsigned char)gm_test_random(&rng);
		assert_int_equal(gm_page_map_init(&map, SIZE, GM_PAGE_ABSENT), 0);
		r = gm_page_map_import(&map, 0, bytes, size);
		assert_true(r == 0 || r == -EBADMSG);
		refused += r != 0;
		for (unsigned s = 0; s < GM_PAGE_STATE_N_; s++) {
			assert_int_equal(gm_page_map_count(&map, 0, SIZE, s),
					 map.pages[s] * GM_PAGE_4K);
			sum += map.pages[s];
		}
		assert_int_equal(sum, SIZE / GM_PAGE_4K);
		gm_page_map_done(&map);
		bytes[at] = before;
	}
	assert_true(refused > 500);
}

static void fewer_bytes_than_there_were_are_refused(void **state)
{
	struct gm_test_rng rng = { 0 };
	struct gm_page_map map;
	size_t size;

	(void)state;
	assert_int_equal(gm_page_map_init(&map, SIZE, GM_PAGE_ABSENT), 0);
	mix(&map, &rng, 60, 3);
	size = gm_page_map_export(&map, 1, bytes);
	assert_int_equal(gm_page_map_replay(&map, GM_GIB, GM_GIB, GM_PAGE_ABSENT), 0);
	for (size_t n = 0; n < size; n += 8)
		assert_int_equal(gm_page_map_import(&map, 1, bytes, n), -EBADMSG);
	assert_int_equal(gm_page_map_import(&map, 1, bytes, size), 0);
	gm_page_map_done(&map);
}

static void an_import_that_is_short_of_memory_changes_nothing(void **state)
{
	struct gm_test_rng rng = { 0 };
	struct gm_page_map map;
	size_t size;

	(void)state;
	assert_int_equal(gm_page_map_init(&map, SIZE, GM_PAGE_ABSENT), 0);
	mix(&map, &rng, 60, 3);
	size = gm_page_map_export(&map, 0, bytes);
	assert_int_equal(gm_page_map_replay(&map, 0, SIZE, GM_PAGE_ABSENT), 0);
	for (long nth = 1; nth <= 2; nth++) {
		gm_test_fail_allocation(nth);
		assert_int_equal(gm_page_map_import(&map, 0, bytes, size), -ENOMEM);
		gm_test_fail_allocation(0);
		assert_int_equal(map.pages[GM_PAGE_ABSENT], SIZE / GM_PAGE_4K);
	}
	gm_page_map_done(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_map_read_back_has_the_same_pages_memory_and_bytes),
		gm_test(changed_bytes_are_refused_or_make_a_map_that_adds_up),
		gm_test(fewer_bytes_than_there_were_are_refused),
		gm_test(an_import_that_is_short_of_memory_changes_nothing),
	};

	return gm_test_run("page map as bytes", tests, GM_ARRAY_SIZE(tests));
}
