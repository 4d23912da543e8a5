/* SPDX-License-Identifier: Apache-2.0 */
/* The hash table: keys are tenant and id together, and out of memory is an answer. */
#include <errno.h>
#include <stdlib.h>

#include "gm_hash.h"
#include "gm_test.h"

static void clear(struct gm_hash_node **table)
{
	while (*table)
		gm_hash_remove(table, *table);
}

static void an_id_is_found_under_its_own_tenant_only(void **state)
{
	struct gm_hash_node *table = NULL;
	struct gm_hash_node node;

	(void)state;
	assert_int_equal(gm_hash_add(&table, &node, (struct gm_hash_key){ 7, 1 }), 0);
	assert_ptr_equal(gm_hash_find(table, (struct gm_hash_key){ 7, 1 }), &node);
	assert_null(gm_hash_find(table, (struct gm_hash_key){ 7, 2 }));
	assert_null(gm_hash_find(table, (struct gm_hash_key){ 8, 1 }));
	clear(&table);
}

static void an_empty_table_has_nothing(void **state)
{
	(void)state;
	assert_null(gm_hash_find(NULL, (struct gm_hash_key){ 1, 1 }));
	assert_null(gm_hash_next(NULL, NULL));
}

static void a_key_is_booked_once(void **state)
{
	struct gm_hash_node *table = NULL;
	struct gm_hash_node first;
	struct gm_hash_node second;

	(void)state;
	assert_int_equal(gm_hash_add(&table, &first, (struct gm_hash_key){ 7, 1 }), 0);
	assert_int_equal(gm_hash_add(&table, &second, (struct gm_hash_key){ 7, 1 }), -EEXIST);
	assert_ptr_equal(gm_hash_find(table, (struct gm_hash_key){ 7, 1 }), &first);
	clear(&table);
}

static void nodes_are_walked_in_the_order_in_which_they_came(void **state)
{
	enum {
		N = 2000
	};
	static struct gm_hash_node nodes[N];
	struct gm_hash_node *table = NULL;
	const struct gm_hash_node *at = NULL;

	(void)state;
	for (size_t i = 0; i < N; i++)
		assert_int_equal(
			gm_hash_add(&table, &nodes[i], (struct gm_hash_key){ (i * 7919) % N, 0 }),
			0);
	gm_hash_remove(&table, &nodes[5]);
	for (size_t i = 0; i < N; i++) {
		if (i == 5)
			continue;
		at = gm_hash_next(table, at);
		assert_ptr_equal(at, &nodes[i]);
	}
	assert_null(gm_hash_next(table, at));
	clear(&table);
}

/* Table, first buckets, and every growth of the buckets: each is failed once, then retried. */
static void a_table_that_is_short_of_memory_stays_as_it_was(void **state)
{
	enum {
		N = 3000
	};
	static struct gm_hash_node nodes[N];
	struct gm_hash_node *table = NULL;
	size_t failed = 0;

	(void)state;
	for (size_t i = 0; i < N; i++) {
		const struct gm_hash_key key = { i + 1, 0 };
		int r;

		for (long nth = 1;; nth++) {
			gm_test_fail_allocation(nth);
			r = gm_hash_add(&table, &nodes[i], key);
			gm_test_fail_allocation(0);
			if (r == 0)
				break;
			assert_int_equal(r, -ENOMEM);
			failed++;
			assert_null(gm_hash_find(table, key));
			if (i > 0)
				assert_non_null(gm_hash_find(table, (struct gm_hash_key){ i, 0 }));
		}
	}
	/* Two for the table itself; 3000 nodes in buckets of ten make it grow four times at least.
	 */
	assert_true(failed >= 6);
	for (size_t i = 0; i < N; i++)
		assert_ptr_equal(gm_hash_find(table, (struct gm_hash_key){ i + 1, 0 }), &nodes[i]);
	clear(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(an_id_is_found_under_its_own_tenant_only),
		gm_test(an_empty_table_has_nothing),
		gm_test(a_key_is_booked_once),
		gm_test(nodes_are_walked_in_the_order_in_which_they_came),
		gm_test(a_table_that_is_short_of_memory_stays_as_it_was),
	};

	return gm_test_run("gm_hash", tests, GM_ARRAY_SIZE(tests));
}
