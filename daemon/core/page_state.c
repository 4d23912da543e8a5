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
	[GM_PAGE_OP_TO_SHARED] = "make shared",
	[GM_PAGE_OP_TO_PRIVATE] = "make private",
	[GM_PAGE_OP_POPULATE] = "populate",
	[GM_PAGE_OP_POPULATE_UNMEASURED] = "populate, unmeasured,",
	[GM_PAGE_OP_POPULATE_IN_PLACE] = "populate in place",
};
static_assert(GM_ARRAY_SIZE(op_names) == GM_PAGE_OP_N_, "a name for every operation");

/* Why not. NONE: it is allowed. */
enum reason {
	NONE,
	NO_PRIVATE,
	IS_LOST,
	IS_GUESTS,
	IS_MEASURED,
	IS_PLACED,
	IS_SHARED,
	IS_NOT_SHARED,
	IS_BEFORE_FINISH,
	IS_MIRRORED,
	IS_AFTER_FINISH,
	NOT_IN_PLACE,
	NO_LEAVE,
	IS_PINNED,
};

static const char *const reasons[] = {
	[NO_PRIVATE] = "this kind of memory has no private pages",
	[IS_LOST] = "the outcome of a step is unknown, only the domain's end frees it",
	[IS_GUESTS] = "its contents belong to the guest",
	[IS_MEASURED] = "it is part of the launch digest",
	[IS_PLACED] = "the launch put it there for the guest",
	[IS_SHARED] = "it has to be private first",
	[IS_NOT_SHARED] = "only what is shared can be populated in place",
	[IS_BEFORE_FINISH] = "the launch is not finished",
	[IS_MIRRORED] = "on this platform that destroys it, and the launch is not finished",
	[IS_AFTER_FINISH] = "the launch is finished",
	[NOT_IN_PLACE] = "the kernel cannot convert in place here",
	[NO_LEAVE] = "it is part of the launch digest, and DiscardMeasured= does not allow it",
	[IS_PINNED] = "the platform has pinned it for the guest",
};

#define OP(name) (1u << GM_PAGE_OP_##name)
#define POPULATES (OP(POPULATE) | OP(POPULATE_UNMEASURED) | OP(POPULATE_IN_PLACE))
#define EVERY_OP ((1u << GM_PAGE_OP_N_) - 1)

#define IN(name) (1u << GM_PAGE_##name)
#define PLACED (IN(MEASURED) | IN(UNMEASURED))
#define EVERY_STATE ((1u << GM_PAGE_STATE_N_) - 1)
#define LAUNCHED GM_PAGE_DAEMON_LAUNCHES

/* As it was. */
#define SAME GM_PAGE_STATE_N_

struct rule {
	unsigned ops;
	unsigned states;
	unsigned with;	  /* conditions that hold, all of them */
	unsigned without; /* conditions that do not, none of them */
	enum reason reason;
	enum gm_page_state next;
};

/* The first row that fits decides. The last ones of each operation fit every state that is left. */
static const struct rule rules[] = {
	{ EVERY_OP, IN(LOST), 0, 0, IS_LOST, SAME },

	{ OP(DISCARD), EVERY_STATE, LAUNCHED | GM_PAGE_RUNNING, GM_PAGE_HAS_PRIVATE, IS_PINNED,
	  SAME },
	{ OP(DISCARD), PLACED, LAUNCHED, GM_PAGE_HAS_PRIVATE, IS_BEFORE_FINISH, SAME },
	{ OP(ALLOCATE), PLACED, LAUNCHED, GM_PAGE_HAS_PRIVATE, NONE, SAME },
	{ OP(POPULATE), EVERY_STATE, LAUNCHED | GM_PAGE_RUNNING, GM_PAGE_HAS_PRIVATE,
	  IS_AFTER_FINISH, SAME },
	{ OP(POPULATE), IN(ABSENT) | IN(SHARED), LAUNCHED, GM_PAGE_HAS_PRIVATE, NONE,
	  GM_PAGE_MEASURED },
	{ OP(POPULATE), PLACED, LAUNCHED, GM_PAGE_HAS_PRIVATE, IS_MEASURED, SAME },

	{ OP(ALLOCATE), IN(ABSENT) | IN(SHARED), 0, GM_PAGE_HAS_PRIVATE, NONE, GM_PAGE_SHARED },
	{ OP(DISCARD), IN(ABSENT) | IN(SHARED), 0, GM_PAGE_HAS_PRIVATE, NONE, GM_PAGE_ABSENT },
	{ EVERY_OP, EVERY_STATE, 0, GM_PAGE_HAS_PRIVATE, NO_PRIVATE, SAME },

	{ OP(ALLOCATE), EVERY_STATE, 0, 0, NONE, SAME },

	{ OP(DISCARD), IN(ABSENT) | IN(SHARED), 0, 0, NONE, SAME },
	{ OP(DISCARD), IN(PRIVATE), GM_PAGE_MIRRORED, GM_PAGE_RUNNING, IS_MIRRORED, SAME },
	{ OP(DISCARD), PLACED, 0, GM_PAGE_RUNNING, IS_BEFORE_FINISH, SAME },
	{ OP(DISCARD), IN(MEASURED), 0, GM_PAGE_DISCARD_MEASURED, NO_LEAVE, SAME },
	{ OP(DISCARD), EVERY_STATE, 0, 0, NONE, GM_PAGE_ABSENT },

	{ OP(TO_SHARED), IN(PRIVATE), GM_PAGE_MIRRORED, GM_PAGE_RUNNING, IS_MIRRORED, SAME },
	{ OP(TO_SHARED), PLACED, 0, GM_PAGE_RUNNING, IS_BEFORE_FINISH, SAME },
	{ OP(TO_SHARED), EVERY_STATE, 0, 0, NONE, GM_PAGE_SHARED },

	{ OP(TO_PRIVATE), IN(SHARED), GM_PAGE_IN_PLACE, 0, NONE, GM_PAGE_PRIVATE },
	{ OP(TO_PRIVATE), IN(ABSENT) | IN(SHARED), GM_PAGE_RUNNING, 0, NONE, GM_PAGE_PRIVATE },
	{ OP(TO_PRIVATE), IN(SHARED), 0, 0, NONE, GM_PAGE_ABSENT },
	{ OP(TO_PRIVATE), EVERY_STATE, 0, 0, NONE, SAME },

	{ POPULATES, EVERY_STATE, GM_PAGE_RUNNING, 0, IS_AFTER_FINISH, SAME },
	{ OP(POPULATE_IN_PLACE), EVERY_STATE, 0, GM_PAGE_IN_PLACE, NOT_IN_PLACE, SAME },
	{ OP(POPULATE_IN_PLACE), IN(SHARED), 0, 0, NONE, GM_PAGE_MEASURED },
	{ OP(POPULATE_IN_PLACE), EVERY_STATE, 0, 0, IS_NOT_SHARED, SAME },
	{ OP(POPULATE), IN(ABSENT), 0, 0, NONE, GM_PAGE_MEASURED },
	{ OP(POPULATE_UNMEASURED), IN(ABSENT), 0, 0, NONE, GM_PAGE_UNMEASURED },
	{ POPULATES, IN(SHARED), 0, 0, IS_SHARED, SAME },
	{ POPULATES, IN(PRIVATE), 0, 0, IS_GUESTS, SAME },
	{ POPULATES, IN(MEASURED), 0, 0, IS_MEASURED, SAME },
	{ POPULATES, IN(UNMEASURED), 0, 0, IS_PLACED, SAME },
};

static const struct rule *find_rule(enum gm_page_state state, enum gm_page_op op,
				    unsigned conditions)
{
	const struct rule *rule = rules;

	while (!(rule->ops & 1u << op) || !(rule->states & 1u << state) ||
	       (conditions & rule->with) != rule->with || (conditions & rule->without) != 0)
		rule++;
	assert(rule < rules + GM_ARRAY_SIZE(rules));
	return rule;
}

const char *gm_page_state_name(enum gm_page_state state)
{
	return (unsigned)state < GM_PAGE_STATE_N_ ? state_names[state] : "unknown";
}

const char *gm_page_op_name(enum gm_page_op op)
{
	return (unsigned)op < GM_PAGE_OP_N_ ? op_names[op] : "unknown";
}

int gm_page_state_after(enum gm_page_state state, enum gm_page_op op, unsigned conditions,
			enum gm_page_state *ret_next, struct gm_refusal *refusal)
{
	const struct rule *rule;

	assert((unsigned)state < GM_PAGE_STATE_N_ && (unsigned)op < GM_PAGE_OP_N_);
	assert(conditions < GM_PAGE_CONDITIONS_END);
	rule = find_rule(state, op, conditions);
	if (rule->reason != NONE)
		return gm_refuse_text(refusal, GM_WRONG_STATE, GM_RULE_PAGE_STATE, "page",
				      "cannot %s a page that is %s: %s", op_names[op],
				      state_names[state], reasons[rule->reason]);
	*ret_next = rule->next == SAME ? state : rule->next;
	return 0;
}
