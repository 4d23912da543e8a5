/* SPDX-License-Identifier: Apache-2.0 */
/* Pages hashed over threads: the same digests as one by one, told in order. */
#include <stdlib.h>
#include <string.h>

#include "gm_page_hash.h"
#include "gm_test.h"

#define N_PAGES 1000

struct seen {
	size_t end;
	bool in_order;
};

static void see(void *data, size_t first, size_t end)
{
	struct seen *seen = data;

	seen->in_order = seen->in_order && first == seen->end && end > first;
	seen->end = end;
}

static void digests_do_not_depend_on_threads(void **state)
{
	size_t n_bytes = N_PAGES * GM_PAGE_4K - 5000;
	uint8_t *bytes = calloc(N_PAGES, GM_PAGE_4K);
	uint8_t(*digests)[GM_SHA384_SIZE] = calloc(N_PAGES, GM_SHA384_SIZE);
	uint8_t wanted[GM_SHA384_SIZE];

	(void)state;
	for (size_t i = 0; i < n_bytes; i++)
		bytes[i] = (uint8_t)(i * 2654435761U >> 13);
	for (unsigned n_threads = 0; n_threads < 9; n_threads += 4) {
		struct seen seen = { .in_order = true };
		struct gm_hash_ready ready = { see, &seen };

		memset(digests, 0, N_PAGES * GM_SHA384_SIZE);
		assert_int_equal(gm_hash_pages(bytes, n_bytes, N_PAGES, n_threads, &ready, digests),
				 0);
		assert_true(seen.in_order);
		assert_int_equal(seen.end, N_PAGES);
		for (size_t i = 0; i < N_PAGES; i++) {
			gm_hash_bytes(GM_HASH_SHA384, bytes + i * GM_PAGE_4K, GM_PAGE_4K, wanted);
			assert_memory_equal(digests[i], wanted, sizeof(wanted));
		}
	}
	free(bytes);
	free(digests);
}

static void pages_without_bytes_are_zeros(void **state)
{
	uint8_t zeros[GM_PAGE_4K] = { 0 };
	uint8_t wanted[GM_SHA384_SIZE], digests[3][GM_SHA384_SIZE];

	(void)state;
	gm_hash_bytes(GM_HASH_SHA384, zeros, sizeof(zeros), wanted);
	assert_int_equal(gm_hash_pages(NULL, 0, 3, 4, NULL, digests), 0);
	for (size_t i = 0; i < 3; i++)
		assert_memory_equal(digests[i], wanted, sizeof(wanted));
}

static void bytes_past_the_pages_are_not_looked_at(void **state)
{
	uint8_t bytes[2 * GM_PAGE_4K] = { 1 };
	uint8_t wanted[GM_SHA384_SIZE], digests[2][GM_SHA384_SIZE] = { 0 };

	(void)state;
	gm_hash_bytes(GM_HASH_SHA384, bytes, GM_PAGE_4K, wanted);
	assert_int_equal(gm_hash_pages(bytes, sizeof(bytes), 1, 4, NULL, digests), 0);
	assert_memory_equal(digests[0], wanted, sizeof(wanted));
	memset(wanted, 0, sizeof(wanted));
	assert_memory_equal(digests[1], wanted, sizeof(wanted));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(digests_do_not_depend_on_threads),
		gm_test(pages_without_bytes_are_zeros),
		gm_test(bytes_past_the_pages_are_not_looked_at),
	};

	return gm_test_run("page_hash", tests, GM_ARRAY_SIZE(tests));
}
