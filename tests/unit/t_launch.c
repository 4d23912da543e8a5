/* SPDX-License-Identifier: Apache-2.0 */
/* The launch: which event is legal in which state, and that nothing leads out of its end. */
#include <string.h>

#include "gm_test.h"
#include "launch.h"

static const enum gm_launch_event events[] = { GM_LAUNCH_START,	    GM_LAUNCH_POPULATE,
					       GM_LAUNCH_FINISH,    GM_LAUNCH_ABORT,
					       GM_LAUNCH_STEP_DONE, GM_LAUNCH_STEP_FAILED };

static int after(enum gm_launch_state state, enum gm_launch_event event,
		 enum gm_launch_state *ret_next, enum gm_launch_intent *ret_intent)
{
	struct gm_refusal refusal = { 0 };
	int r;

	*ret_next = GM_LAUNCH_STATE_N_;
	*ret_intent = GM_LAUNCH_DO_NOTHING;
	r = gm_launch_after(state, event, ret_next, ret_intent, &refusal);
	if (r != 0) {
		assert_int_equal(refusal.rule, GM_RULE_LAUNCH_STATE);
		assert_int_equal(*ret_next, GM_LAUNCH_STATE_N_);
		if (state != GM_LAUNCH_NONE)
			assert_non_null(strstr(refusal.text, gm_launch_state_name(state)));
	}
	return r;
}

static void a_launch_goes_from_start_over_population_to_finish(void **state)
{
	static const struct {
		enum gm_launch_event event;
		enum gm_launch_state next;
		enum gm_launch_intent intent;
	} path[] = {
		{ GM_LAUNCH_START, GM_LAUNCH_STARTING, GM_LAUNCH_DO_STEP },
		{ GM_LAUNCH_STEP_DONE, GM_LAUNCH_OPEN, GM_LAUNCH_DO_NOTHING },
		{ GM_LAUNCH_POPULATE, GM_LAUNCH_POPULATING, GM_LAUNCH_DO_STEP },
		{ GM_LAUNCH_STEP_DONE, GM_LAUNCH_OPEN, GM_LAUNCH_DO_BOOK },
		{ GM_LAUNCH_POPULATE, GM_LAUNCH_POPULATING, GM_LAUNCH_DO_STEP },
		{ GM_LAUNCH_STEP_DONE, GM_LAUNCH_OPEN, GM_LAUNCH_DO_BOOK },
		{ GM_LAUNCH_FINISH, GM_LAUNCH_FINISHING, GM_LAUNCH_DO_STEP },
		{ GM_LAUNCH_STEP_DONE, GM_LAUNCH_RUNNING, GM_LAUNCH_DO_RUN },
	};
	enum gm_launch_state at = GM_LAUNCH_READY, next;
	enum gm_launch_intent intent;

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(path); i++) {
		assert_int_equal(after(at, path[i].event, &next, &intent), 0);
		assert_int_equal(next, path[i].next);
		assert_int_equal(intent, path[i].intent);
		at = next;
	}
}

/* A set of events as bits: those that are legal in a state. */
static unsigned legal(enum gm_launch_state state)
{
	enum gm_launch_intent intent;
	enum gm_launch_state next;
	unsigned set = 0;

	for (size_t i = 0; i < GM_ARRAY_SIZE(events); i++)
		if (after(state, events[i], &next, &intent) == 0)
			set |= 1u << events[i];
	return set;
}

#define E(name) (1u << GM_LAUNCH_##name)

static void every_other_event_is_refused(void **state)
{
	const unsigned reports = E(STEP_DONE) | E(STEP_FAILED);

	(void)state;
	assert_int_equal(legal(GM_LAUNCH_NONE), 0);
	assert_int_equal(legal(GM_LAUNCH_READY), E(START) | E(ABORT));
	assert_int_equal(legal(GM_LAUNCH_STARTING), E(ABORT) | reports);
	assert_int_equal(legal(GM_LAUNCH_OPEN), E(POPULATE) | E(FINISH) | E(ABORT));
	assert_int_equal(legal(GM_LAUNCH_POPULATING), E(ABORT) | reports);
	assert_int_equal(legal(GM_LAUNCH_FINISHING), E(ABORT) | reports);
	assert_int_equal(legal(GM_LAUNCH_RUNNING), 0);
	assert_int_equal(legal(GM_LAUNCH_FAILED), E(ABORT));
}

static void a_step_that_fails_ends_the_launch(void **state)
{
	static const enum gm_launch_state in_step[] = { GM_LAUNCH_STARTING, GM_LAUNCH_POPULATING,
							GM_LAUNCH_FINISHING };
	enum gm_launch_intent intent;
	enum gm_launch_state next;

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(in_step); i++) {
		assert_int_equal(after(in_step[i], GM_LAUNCH_STEP_FAILED, &next, &intent), 0);
		assert_int_equal(next, GM_LAUNCH_FAILED);
		assert_int_equal(intent, GM_LAUNCH_DO_TEAR_DOWN);
	}
}

static void a_kind_without_a_launch_says_so(void **state)
{
	enum gm_launch_intent intent;
	enum gm_launch_state next;

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(events); i++)
		assert_int_equal(after(GM_LAUNCH_NONE, events[i], &next, &intent), GM_UNSUPPORTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_launch_goes_from_start_over_population_to_finish),
		gm_test(every_other_event_is_refused),
		gm_test(a_step_that_fails_ends_the_launch),
		gm_test(a_kind_without_a_launch_says_so),
	};

	return gm_test_run("launch", tests, GM_ARRAY_SIZE(tests));
}
