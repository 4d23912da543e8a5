/* SPDX-License-Identifier: Apache-2.0 */
#include "launch.h"

#include <assert.h>

static const char *const state_names[] = {
	[GM_LAUNCH_NONE] = "none",
	[GM_LAUNCH_READY] = "ready",
	[GM_LAUNCH_STARTING] = "starting",
	[GM_LAUNCH_OPEN] = "open",
	[GM_LAUNCH_POPULATING] = "populating",
	[GM_LAUNCH_FINISHING] = "finishing",
	[GM_LAUNCH_RUNNING] = "running",
	[GM_LAUNCH_FAILED] = "failed",
};
static_assert(GM_ARRAY_SIZE(state_names) == GM_LAUNCH_STATE_N_, "a name for every state");

static const char *const event_names[] = {
	[GM_LAUNCH_START] = "start it",		 [GM_LAUNCH_POPULATE] = "populate",
	[GM_LAUNCH_FINISH] = "finish it",	 [GM_LAUNCH_ABORT] = "abort it",
	[GM_LAUNCH_STEP_DONE] = "report a step", [GM_LAUNCH_STEP_FAILED] = "report a step",
};
static_assert(GM_ARRAY_SIZE(event_names) == GM_LAUNCH_EVENT_N_, "a name for every event");

struct arrow {
	bool is_there;
	enum gm_launch_state next;
	enum gm_launch_intent intent;
};

#define TO(state, what)                                      \
	{                                                    \
		true, GM_LAUNCH_##state, GM_LAUNCH_DO_##what \
	}

static const struct arrow arrows[GM_LAUNCH_STATE_N_][GM_LAUNCH_EVENT_N_] = {
	[GM_LAUNCH_READY] = {
		[GM_LAUNCH_START] = TO(STARTING, STEP),
		[GM_LAUNCH_ABORT] = TO(FAILED, TEAR_DOWN),
	},
	[GM_LAUNCH_STARTING] = {
		[GM_LAUNCH_ABORT] = TO(FAILED, TEAR_DOWN),
		[GM_LAUNCH_STEP_DONE] = TO(OPEN, NOTHING),
		[GM_LAUNCH_STEP_FAILED] = TO(FAILED, TEAR_DOWN),
	},
	[GM_LAUNCH_OPEN] = {
		[GM_LAUNCH_POPULATE] = TO(POPULATING, STEP),
		[GM_LAUNCH_FINISH] = TO(FINISHING, STEP),
		[GM_LAUNCH_ABORT] = TO(FAILED, TEAR_DOWN),
	},
	[GM_LAUNCH_POPULATING] = {
		[GM_LAUNCH_ABORT] = TO(FAILED, TEAR_DOWN),
		[GM_LAUNCH_STEP_DONE] = TO(OPEN, BOOK),
		[GM_LAUNCH_STEP_FAILED] = TO(FAILED, TEAR_DOWN),
	},
	[GM_LAUNCH_FINISHING] = {
		[GM_LAUNCH_ABORT] = TO(FAILED, TEAR_DOWN),
		[GM_LAUNCH_STEP_DONE] = TO(RUNNING, RUN),
		[GM_LAUNCH_STEP_FAILED] = TO(FAILED, TEAR_DOWN),
	},
	[GM_LAUNCH_FAILED] = {
		[GM_LAUNCH_ABORT] = TO(FAILED, NOTHING),
	},
};

const char *gm_launch_state_name(enum gm_launch_state state)
{
	return (unsigned)state < GM_LAUNCH_STATE_N_ ? state_names[state] : "unknown";
}

int gm_launch_after(enum gm_launch_state state, enum gm_launch_event event,
		    enum gm_launch_state *ret_next, enum gm_launch_intent *ret_intent,
		    struct gm_refusal *refusal)
{
	const struct arrow *arrow;

	assert((unsigned)state < GM_LAUNCH_STATE_N_ && (unsigned)event < GM_LAUNCH_EVENT_N_);
	arrow = &arrows[state][event];
	if (state == GM_LAUNCH_NONE)
		return gm_refuse_text(refusal, GM_UNSUPPORTED, GM_RULE_LAUNCH_STATE, "domain",
				      "cannot %s: this kind of memory has no launch",
				      event_names[event]);
	if (!arrow->is_there)
		return gm_refuse_text(refusal, GM_WRONG_STATE, GM_RULE_LAUNCH_STATE, "domain",
				      "cannot %s: the launch is %s", event_names[event],
				      state_names[state]);
	*ret_next = arrow->next;
	*ret_intent = arrow->intent;
	return 0;
}
