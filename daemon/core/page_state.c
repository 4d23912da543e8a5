/* SPDX-License-Identifier: Apache-2.0 */
#include "page_state.h"

#include <assert.h>

static const char *const state_names[] = {
	[GM_PAGE_ABSENT] = "absent",	     [GM_PAGE_SHARED] = "shared",
	[GM_PAGE_PRIVATE] = "private",	     [GM_PAGE_MEASURED] = "measured",
	[GM_PAGE_UNMEASURED] = "unmeasured", [GM_PAGE_LOST] = "lost",
};
static_assert(GM_ARRAY_SIZE(state_names) == GM_PAGE_STATE_N_, "a name for every state");

static const char *const op_names[] = {
	[GM_PAGE_OP_ALLOCATE] = "allocate",
	[GM_PAGE_OP_DISCARD] = "discard",
};
static_assert(GM_ARRAY_SIZE(op_names) == GM_PAGE_OP_N_, "a name for every operation");

/* Why the pages of a state are left alone. */
static const char *const state_reasons[GM_PAGE_STATE_N_] = {
	[GM_PAGE_PRIVATE] = "its contents belong to the guest",
	[GM_PAGE_MEASURED] = "it is part of the launch digest",
	[GM_PAGE_UNMEASURED] = "the launch put it there for the guest",
	[GM_PAGE_LOST] = "the outcome of a step is unknown, only the domain's end frees it",
};

#define REFUSED GM_PAGE_STATE_N_

static const enum gm_page_state transitions[GM_PAGE_OP_N_][GM_PAGE_STATE_N_] = {
	[GM_PAGE_OP_ALLOCATE] = {
		[GM_PAGE_ABSENT] = GM_PAGE_SHARED,
		[GM_PAGE_SHARED] = GM_PAGE_SHARED,
		[GM_PAGE_PRIVATE] = REFUSED,
		[GM_PAGE_MEASURED] = REFUSED,
		[GM_PAGE_UNMEASURED] = REFUSED,
		[GM_PAGE_LOST] = REFUSED,
	},
	[GM_PAGE_OP_DISCARD] = {
		[GM_PAGE_ABSENT] = GM_PAGE_ABSENT,
		[GM_PAGE_SHARED] = GM_PAGE_ABSENT,
		[GM_PAGE_PRIVATE] = REFUSED,
		[GM_PAGE_MEASURED] = REFUSED,
		[GM_PAGE_UNMEASURED] = REFUSED,
		[GM_PAGE_LOST] = REFUSED,
	},
};

const char *gm_page_state_name(enum gm_page_state state)
{
	return (unsigned)state < GM_PAGE_STATE_N_ ? state_names[state] : "unknown";
}

int gm_page_state_after(enum gm_page_state state, enum gm_page_op op, enum gm_page_state *ret_next,
			struct gm_refusal *refusal)
{
	enum gm_page_state next;

	assert((unsigned)state < GM_PAGE_STATE_N_ && (unsigned)op < GM_PAGE_OP_N_);
	next = transitions[op][state];
	if (next == REFUSED)
		return gm_refuse_text(refusal, GM_WRONG_STATE, GM_RULE_PAGE_STATE, "page",
				      "cannot %s a page that is %s: %s", op_names[op],
				      state_names[state], state_reasons[state]);
	*ret_next = next;
	return 0;
}
