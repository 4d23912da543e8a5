/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launch of a guest whose memory the platform measures: what may follow what, on any platform.
 *
 *   READY --start--> STARTING --done--> OPEN --finish--> FINISHING --done--> RUNNING
 *                                       |  ^
 *                              populate v  | done
 *                                   POPULATING
 *
 * Each arrow to a state that ends in -ING is a step of the VMM, and happens once. A step that fails
 * or is lost, and an abort, end in FAILED: a launch is torn down with its domain and never
 * repaired, for a page that is populated again is in the digest twice.
 */
#ifndef GM_LAUNCH_H
#define GM_LAUNCH_H

#include "gm_num.h"
#include "gm_verdict.h"

enum gm_launch_state {
	GM_LAUNCH_NONE, /* the kind has no launch */
	GM_LAUNCH_READY,
	GM_LAUNCH_STARTING,
	GM_LAUNCH_OPEN,
	GM_LAUNCH_POPULATING,
	GM_LAUNCH_FINISHING,
	GM_LAUNCH_RUNNING,
	GM_LAUNCH_FAILED,
	GM_LAUNCH_STATE_N_
};

enum gm_launch_event {
	/* asked for */
	GM_LAUNCH_START,
	GM_LAUNCH_POPULATE,
	GM_LAUNCH_FINISH,
	GM_LAUNCH_ABORT,
	/* of the step under way */
	GM_LAUNCH_STEP_DONE,
	GM_LAUNCH_STEP_FAILED, /* also lost: not reported in time */
	GM_LAUNCH_EVENT_N_
};

/* What the caller has to do. */
enum gm_launch_intent {
	GM_LAUNCH_DO_NOTHING,
	GM_LAUNCH_DO_STEP,	/* order the step that was asked for */
	GM_LAUNCH_DO_BOOK,	/* book the pages and the digest of the population */
	GM_LAUNCH_DO_RUN,	/* the guest may run; devices and sources are given back */
	GM_LAUNCH_DO_TEAR_DOWN, /* only the end of the domain is left */
};

/* "open", ...; never NULL. */
const char *gm_launch_state_name(enum gm_launch_state state);

/*
 * The one table. 0, *ret_next and *ret_intent; or GM_WRONG_STATE (GM_RULE_LAUNCH_STATE), or
 * GM_UNSUPPORTED for a kind without a launch, with the state and the event in the text.
 */
GM_WARN_UNUSED int gm_launch_after(enum gm_launch_state state, enum gm_launch_event event,
				   enum gm_launch_state *ret_next,
				   enum gm_launch_intent *ret_intent, struct gm_refusal *refusal);

#endif
