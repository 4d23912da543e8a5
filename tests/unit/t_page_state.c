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

	assert_int_equal(gm_page_state_after(from, op, 0, &next, NULL), 0);
	assert_int_equal(next, to);
}

static void assert_forbids(enum gm_page_state from, enum gm_page_op op)
{
	enum gm_page_state next = GM_PAGE_STATE_N_;
	struct gm_refusal refusal = { 0 };

	assert_int_equal(gm_page_state_after(from, op, 0, &next, &refusal), GM_WRONG_STATE);
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

/* ---- kinds with private memory: every state, operation and condition ---- */

#define FORBIDDEN GM_PAGE_STATE_N_

static enum gm_page_state after_discard(enum gm_page_state from, bool running, bool mirrored,
					bool leave)
{
	switch (from) {
	case GM_PAGE_ABSENT:
	case GM_PAGE_SHARED:
		return from;
	case GM_PAGE_PRIVATE:
		return running || !mirrored ? GM_PAGE_ABSENT : FORBIDDEN;
	case GM_PAGE_MEASURED:
		return running && leave ? GM_PAGE_ABSENT : FORBIDDEN;
	case GM_PAGE_UNMEASURED:
		return running ? GM_PAGE_ABSENT : FORBIDDEN;
	case GM_PAGE_LOST:
	case GM_PAGE_STATE_N_:
		break;
	}
	return FORBIDDEN;
}

static enum gm_page_state after_to_shared(enum gm_page_state from, bool running, bool mirrored)
{
	if (from == GM_PAGE_ABSENT || from == GM_PAGE_SHARED)
		return GM_PAGE_SHARED;
	if (from == GM_PAGE_PRIVATE && !mirrored)
		return GM_PAGE_SHARED;
	return running && from != GM_PAGE_LOST ? GM_PAGE_SHARED : FORBIDDEN;
}

static enum gm_page_state after_to_private(enum gm_page_state from, bool running, bool in_place)
{
	if (from == GM_PAGE_LOST)
		return FORBIDDEN;
	if (from == GM_PAGE_SHARED)
		return running || in_place ? GM_PAGE_PRIVATE : GM_PAGE_ABSENT;
	return from == GM_PAGE_ABSENT && running ? GM_PAGE_PRIVATE : from;
}

static enum gm_page_state expected(enum gm_page_state from, enum gm_page_op op, unsigned conditions)
{
	bool running = conditions & GM_PAGE_RUNNING;
	bool mirrored = conditions & GM_PAGE_MIRRORED;
	bool in_place = conditions & GM_PAGE_IN_PLACE;
	bool leave = conditions & GM_PAGE_DISCARD_MEASURED;

	switch (op) {
	case GM_PAGE_OP_ALLOCATE:
		return from == GM_PAGE_LOST ? FORBIDDEN : from;
	case GM_PAGE_OP_DISCARD:
		return after_discard(from, running, mirrored, leave);
	case GM_PAGE_OP_TO_SHARED:
		return after_to_shared(from, running, mirrored);
	case GM_PAGE_OP_TO_PRIVATE:
		return after_to_private(from, running, in_place);
	case GM_PAGE_OP_POPULATE:
		return from == GM_PAGE_ABSENT && !running ? GM_PAGE_MEASURED : FORBIDDEN;
	case GM_PAGE_OP_POPULATE_UNMEASURED:
		return from == GM_PAGE_ABSENT && !running ? GM_PAGE_UNMEASURED : FORBIDDEN;
	case GM_PAGE_OP_POPULATE_IN_PLACE:
		return from == GM_PAGE_SHARED && !running && in_place ? GM_PAGE_MEASURED
								      : FORBIDDEN;
	case GM_PAGE_OP_N_:
		break;
	}
	return FORBIDDEN;
}

static void compare(enum gm_page_state from, enum gm_page_op op, unsigned conditions)
{
	enum gm_page_state to = expected(from, op, conditions);
	enum gm_page_state next = GM_PAGE_STATE_N_;
	struct gm_refusal refusal = { 0 };
	int r = gm_page_state_after(from, op, conditions, &next, &refusal);

	if (r != (to == FORBIDDEN ? GM_WRONG_STATE : 0) || next != to)
		fail_msg("%s of a page that is %s, conditions %#x: %d, %s", gm_page_op_name(op),
			 gm_page_state_name(from), conditions, r, gm_page_state_name(next));
	if (to != FORBIDDEN)
		return;
	assert_int_equal(refusal.rule, GM_RULE_PAGE_STATE);
	assert_non_null(strstr(refusal.text, gm_page_state_name(from)));
	assert_non_null(strstr(refusal.text, gm_page_op_name(op)));
	assert_null(strstr(refusal.text, "(null)"));
}

static void private_memory_follows_the_table_in_every_state_and_condition(void **state)
{
	(void)state;
	for (unsigned conditions = 0; conditions < GM_PAGE_CONDITIONS_END; conditions++) {
		if (!(conditions & GM_PAGE_HAS_PRIVATE))
			continue;
		for (unsigned op = 0; op < GM_PAGE_OP_N_; op++)
			for (unsigned from = 0; from < GM_PAGE_STATE_N_; from++)
				compare(from, op, conditions);
	}
}

static void memory_that_is_not_private_knows_no_conversion_and_no_launch(void **state)
{
	(void)state;
	for (unsigned op = GM_PAGE_OP_JOBS_N_; op < GM_PAGE_OP_N_; op++)
		for (unsigned from = 0; from < GM_PAGE_STATE_N_; from++)
			assert_forbids(from, op);
}

/* ---- kinds that the daemon launches ---- */

static enum gm_page_state after_launched(enum gm_page_state from, enum gm_page_op op, bool running)
{
	bool is_put = from == GM_PAGE_MEASURED || from == GM_PAGE_UNMEASURED;

	if (from == GM_PAGE_LOST || from == GM_PAGE_PRIVATE)
		return FORBIDDEN;
	if (op == GM_PAGE_OP_ALLOCATE)
		return is_put ? from : GM_PAGE_SHARED;
	if (running || is_put)
		return FORBIDDEN;
	if (op == GM_PAGE_OP_DISCARD)
		return GM_PAGE_ABSENT;
	return op == GM_PAGE_OP_POPULATE ? GM_PAGE_MEASURED : FORBIDDEN;
}

static void memory_that_the_daemon_launches_is_put_in_once_and_pinned_in_the_end(void **state)
{
	(void)state;
	for (unsigned op = 0; op < GM_PAGE_OP_N_; op++) {
		for (unsigned from = 0; from < GM_PAGE_STATE_N_; from++) {
			for (unsigned running = 0; running < 2; running++) {
				unsigned conditions =
					GM_PAGE_DAEMON_LAUNCHES | (running ? GM_PAGE_RUNNING : 0);
				enum gm_page_state to = after_launched(from, op, running);
				enum gm_page_state next = GM_PAGE_STATE_N_;
				int r = gm_page_state_after(from, op, conditions, &next, NULL);

				assert_int_equal(r, to == FORBIDDEN ? GM_WRONG_STATE : 0);
				assert_int_equal(next, to);
			}
		}
	}
}

static void the_refusal_names_the_operation_the_state_and_the_reason(void **state)
{
	struct gm_refusal refusal = { 0 };
	enum gm_page_state next;

	(void)state;
	assert_int_equal(gm_page_state_after(GM_PAGE_MEASURED, GM_PAGE_OP_DISCARD,
					     GM_PAGE_HAS_PRIVATE | GM_PAGE_RUNNING, &next,
					     &refusal),
			 GM_WRONG_STATE);
	assert_string_equal(refusal.text,
			    "cannot discard a page that is measured: it is part of the launch "
			    "digest, and DiscardMeasured= does not allow it");
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
		gm_test(private_memory_follows_the_table_in_every_state_and_condition),
		gm_test(memory_that_is_not_private_knows_no_conversion_and_no_launch),
		gm_test(memory_that_the_daemon_launches_is_put_in_once_and_pinned_in_the_end),
		gm_test(the_refusal_names_the_operation_the_state_and_the_reason),
		gm_test(the_states_have_the_names_and_numbers_of_the_wire),
	};

	return gm_test_run("page states", tests, GM_ARRAY_SIZE(tests));
}
