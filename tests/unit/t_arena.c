/* SPDX-License-Identifier: Apache-2.0 */
/* The arena: a budget that no message outgrows. */
#include "gm_test.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "gm_arena.h"

#define SIZE 1024

static void memory_is_aligned_and_does_not_overlap(void **state)
{
	struct gm_arena arena;
	unsigned char *first, *second;

	(void)state;
	assert_int_equal(gm_arena_init(&arena, SIZE), 0);
	first = gm_arena_alloc(&arena, 1);
	second = gm_arena_alloc(&arena, 17);
	assert_non_null(first);
	assert_non_null(second);
	assert_int_equal((uintptr_t)first % 16, 0);
	assert_int_equal((uintptr_t)second % 16, 0);
	assert_true(second >= first + 1);
	assert_true((unsigned char *)gm_arena_alloc(&arena, 1) >= second + 17);
	gm_arena_done(&arena);
}

static void the_budget_can_be_spent_to_the_last_byte(void **state)
{
	struct gm_arena arena;

	(void)state;
	assert_int_equal(gm_arena_init(&arena, SIZE), 0);
	assert_non_null(gm_arena_alloc(&arena, SIZE - 16));
	assert_non_null(gm_arena_alloc(&arena, 16));
	assert_null(gm_arena_alloc(&arena, 1));
	gm_arena_done(&arena);
}

static void a_size_over_the_budget_is_refused(void **state)
{
	static const size_t sizes[] = { SIZE + 1, SIZE_MAX, SIZE_MAX - 14, SIZE_MAX / 2 };
	struct gm_arena arena;

	(void)state;
	assert_int_equal(gm_arena_init(&arena, SIZE), 0);
	for (size_t i = 0; i < GM_ARRAY_SIZE(sizes); i++)
		assert_null(gm_arena_alloc(&arena, sizes[i]));
	assert_int_equal(arena.used, 0);
	gm_arena_done(&arena);
}

static void padding_counts_against_the_budget(void **state)
{
	struct gm_arena arena;

	(void)state;
	assert_int_equal(gm_arena_init(&arena, 24), 0);
	assert_non_null(gm_arena_alloc(&arena, 1));
	assert_null(gm_arena_alloc(&arena, 8));
	gm_arena_done(&arena);
}

static void cleared_memory_can_be_had_again(void **state)
{
	struct gm_arena arena;
	void *first;

	(void)state;
	assert_int_equal(gm_arena_init(&arena, SIZE), 0);
	first = gm_arena_alloc(&arena, SIZE);
	gm_arena_clear(&arena, false);
	assert_ptr_equal(gm_arena_alloc(&arena, SIZE), first);
	gm_arena_done(&arena);
}

static void a_wipe_leaves_no_secret_behind(void **state)
{
	struct gm_arena arena;
	unsigned char *secret;

	(void)state;
	assert_int_equal(gm_arena_init(&arena, SIZE), 0);
	secret = gm_arena_alloc(&arena, 32);
	memset(secret, 0xa5, 32);
	gm_arena_clear(&arena, true);
	for (size_t i = 0; i < 32; i++)
		assert_int_equal(secret[i], 0);
	gm_arena_done(&arena);
}

static void protobuf_memory_comes_from_the_budget(void **state)
{
	struct gm_arena arena;
	ProtobufCAllocator *allocator = &arena.allocator;
	void *block;

	(void)state;
	assert_int_equal(gm_arena_init(&arena, SIZE), 0);
	block = allocator->alloc(allocator->allocator_data, SIZE);
	assert_non_null(block);
	allocator->free(allocator->allocator_data, block);
	assert_null(allocator->alloc(allocator->allocator_data, 1));
	gm_arena_done(&arena);
}

static void no_memory_is_said_and_done_is_safe_twice(void **state)
{
	struct gm_arena arena;

	(void)state;
	gm_test_fail_allocation(1);
	assert_int_equal(gm_arena_init(&arena, SIZE), -ENOMEM);
	assert_int_equal(gm_arena_init(&arena, SIZE), 0);
	gm_arena_done(&arena);
	gm_arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(memory_is_aligned_and_does_not_overlap),
		gm_test(the_budget_can_be_spent_to_the_last_byte),
		gm_test(a_size_over_the_budget_is_refused),
		gm_test(padding_counts_against_the_budget),
		gm_test(cleared_memory_can_be_had_again),
		gm_test(a_wipe_leaves_no_secret_behind),
		gm_test(protobuf_memory_comes_from_the_budget),
		gm_test(no_memory_is_said_and_done_is_safe_twice),
	};

	return gm_test_run("arena", tests, GM_ARRAY_SIZE(tests));
}
