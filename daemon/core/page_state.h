/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a 4 KiB page of guest memory, and which operation each allows.
 *
 *   state       operations                    caveats
 *   ABSENT      allocate, populate, convert   the host may touch the shared half of it
 *   SHARED      allocate (no effect),         populate only in place, with no source
 *               discard, convert
 *   PRIVATE     discard, convert              populate would be EEXIST: it is the guest's
 *   MEASURED    discard, after finish and     in the launch digest: exactly once
 *               with the policy's leave
 *   UNMEASURED  discard                       placed by the launch, not in the digest
 *   LOST        none but the domain's end     the VMM died inside a step: outcome unknown
 *
 * Only allocate and discard are there so far, and both take absent and shared pages only: what
 * else is promised here is refused like what is forbidden.
 *
 * Numbers are those of PageState in gmem.proto.
 */
#ifndef GM_PAGE_STATE_H
#define GM_PAGE_STATE_H

#include "gm_num.h"
#include "gm_verdict.h"

enum gm_page_state {
	GM_PAGE_ABSENT,
	GM_PAGE_SHARED,
	GM_PAGE_PRIVATE,
	GM_PAGE_MEASURED,
	GM_PAGE_UNMEASURED,
	GM_PAGE_LOST,
	GM_PAGE_STATE_N_
};

enum gm_page_op {
	GM_PAGE_OP_ALLOCATE,
	GM_PAGE_OP_DISCARD,
	GM_PAGE_OP_N_
};

/* "absent", "shared", ...; never NULL. */
const char *gm_page_state_name(enum gm_page_state state);

/*
 * The one table. 0 and *ret_next when @op may be done to a page in @state, else the verdict
 * (GM_WRONG_STATE, rule GM_RULE_PAGE_STATE) with the state's name in the text.
 */
GM_WARN_UNUSED int gm_page_state_after(enum gm_page_state state, enum gm_page_op op,
				       enum gm_page_state *ret_next, struct gm_refusal *refusal);

#endif
