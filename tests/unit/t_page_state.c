/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which operation a page's state allows, and what state it leaves.
 */
#include <string.h>

#include "gm_test.h"
#include "page_state.h"

static void assert_becomes(enum gm_page_state from, enum gm_page_op op, enum gm_page_state to)
{
	enum gm_page_state next = GM_PAGE_STATE_N_;

	assert_int_equal(gm_page_state_after(from, op, &next, NULL), 0);
	assert_int_equal(next, to);
}

static void assert_forbids(enum gm_page_state from, enum gm_page_op op)
{
	enum gm_page_state next = GM_PAGE_STATE_N_;
	struct gm_refusal refusal = { 0 };

	assert_int_equal(gm_page_state_after(from, op, &next, &refusal), GM_WRONG_STATE);
	assert_int_equal(refusal.rule, GM_RULE_PAGE_STATE);
	assert_non_null(strstr(refusal.text, gm_page_state_name(from)));
	assert_int_equal(next, GM_PAGE_STATE_N_);
}

static void allocating_an_absent_page_makes_it_shared(void **state)
{
	(void)state;
	assert_becomes(GM_PAGE_ABSENT, GM_PAGE_OP_ALLOCATE, GM_PAGE_SHARED);
}

static void allocating_a_shared_page_leaves_it_shared(void **state)
{
	(void)state;
	assert_becomes(GM_PAGE_SHARED, GM_PAGE_OP_ALLOCATE, GM_PAGE_SHARED);
}

static void discarding_a_shared_page_makes_it_absent(void **state)
{
	(void)state;
	assert_becomes(GM_PAGE_SHARED, GM_PAGE_OP_DISCARD, GM_PAGE_ABSENT);
}

static void discarding_an_absent_page_leaves_it_absent(void **state)
{
	(void)state;
	assert_becomes(GM_PAGE_ABSENT, GM_PAGE_OP_DISCARD, GM_PAGE_ABSENT);
}

static void a_page_of_the_guest_is_neither_allocated_nor_discarded(void **state)
{
	static const enum gm_page_state states[] = {
		GM_PAGE_PRIVATE,
		GM_PAGE_MEASURED,
		GM_PAGE_UNMEASURED,
	};

	(void)state;
	for (unsigned i = 0; i < GM_ARRAY_SIZE(states); i++)
		for (unsigned op = 0; op < GM_PAGE_OP_N_; op++)
			assert_forbids(states[i], op);
}

static void a_lost_page_allows_nothing(void **state)
{
	(void)state;
	for (unsigned op = 0; op < GM_PAGE_OP_N_; op++)
		assert_forbids(GM_PAGE_LOST, op);
}

static void the_refusal_names_the_operation_the_state_and_the_reason(void **state)
{
	struct gm_refusal refusal = { 0 };
	enum gm_page_state next;

	(void)state;
	assert_int_equal(gm_page_state_after(GM_PAGE_MEASURED, GM_PAGE_OP_DISCARD, &next, &refusal),
			 GM_WRONG_STATE);
	assert_string_equal(
		refusal.text,
		"cannot discard a page that is measured: it is part of the launch digest");
}

static void the_states_have_the_names_and_numbers_of_the_wire(void **state)
{
	static const char *const names[] = { "absent",	 "shared",     "private",
					     "measured", "unmeasured", "lost" };

	(void)state;
	assert_int_equal(GM_ARRAY_SIZE(names), GM_PAGE_STATE_N_);
	for (unsigned i = 0; i < GM_PAGE_STATE_N_; i++)
		assert_string_equal(gm_page_state_name(i), names[i]);
	assert_string_equal(gm_page_state_name(GM_PAGE_STATE_N_), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(allocating_an_absent_page_makes_it_shared),
		gm_test(allocating_a_shared_page_leaves_it_shared),
		gm_test(discarding_a_shared_page_makes_it_absent),
		gm_test(discarding_an_absent_page_leaves_it_absent),
		gm_test(a_page_of_the_guest_is_neither_allocated_nor_discarded),
		gm_test(a_lost_page_allows_nothing),
		gm_test(the_refusal_names_the_operation_the_state_and_the_reason),
		gm_test(the_states_have_the_names_and_numbers_of_the_wire),
	};

	return gm_test_run("page states", tests, GM_ARRAY_SIZE(tests));
}
