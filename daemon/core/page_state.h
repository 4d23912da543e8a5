/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a 4 KiB page of guest memory, and what each operation makes of it.
 *
 * Kinds without private memory know two states:
 *
 *   state    allocate  discard
 *   ABSENT   SHARED    ABSENT
 *   SHARED   SHARED    ABSENT
 *
 * Kinds that the daemon launches have one half, which the platform pins and encrypts where it lies:
 *
 *   state     allocate  discard                populate
 *   ABSENT    SHARED    ABSENT before finish   MEASURED before finish
 *   SHARED    SHARED    ABSENT before finish   MEASURED before finish: what was there is
 * overwritten MEASURED  MEASURED  -                      -
 *
 * Kinds with private memory have two halves for each address (or one that is converted in place).
 * A page that is not SHARED is the guest's, also one that is ABSENT: nobody has put anything there
 * as far as is known, and the host can only look at the shared half. "Before finish" is while the
 * launch of the domain is not over; a kind without a launch is past it from the start.
 *
 *   state       allocate    discard           to shared         to private        populate
 *   ABSENT      ABSENT      ABSENT            SHARED            ABSENT, PRIVATE3  MEASURED1
 *   SHARED      SHARED      SHARED            SHARED            PRIVATE, ABSENT4  MEASURED5
 *   PRIVATE     PRIVATE     ABSENT2           SHARED2           PRIVATE           -
 *   MEASURED    MEASURED    ABSENT6           SHARED7           MEASURED          -
 *   UNMEASURED  UNMEASURED  ABSENT7           SHARED7           UNMEASURED        -
 *   LOST        -           -                 -                 -                 -
 *
 *   1  before finish only, exactly once: a page that is populated twice, or punched and populated
 *      again, is in the digest twice. Allocation alone is no population (Linux 6.11: fallocate
 *      does not prepare pages). UNMEASURED where the content is not measured.
 *   2  where the page table is mirrored, only after finish: to zap a page destroys what it holds,
 *      and the guest has to accept it again.
 *   3  after finish the guest has asked for it and uses it.
 *   4  ABSENT before finish where there are two halves: what the shared half held is gone, and the
 *      private one is still to be populated.
 *   5  in place only, where the kernel has it: the content is there already, and the populating
 *      command takes no source.
 *   6  after finish, and with the policy's leave (DiscardMeasured=).
 *   7  after finish only.
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
	GM_PAGE_OP_TO_SHARED,
	GM_PAGE_OP_TO_PRIVATE,
	GM_PAGE_OP_POPULATE,		/* from a source, measured */
	GM_PAGE_OP_POPULATE_UNMEASURED, /* from a source or as zeros, not measured */
	GM_PAGE_OP_POPULATE_IN_PLACE,	/* what the shared page holds, measured */
	GM_PAGE_OP_N_
};

/* Allocate and discard are done by workers, as jobs; all others in steps. */
#define GM_PAGE_OP_JOBS_N_ (GM_PAGE_OP_DISCARD + 1)

/* What besides a page's own state decides. */
enum gm_page_condition {
	GM_PAGE_HAS_PRIVATE = 1 << 0,	   /* the kind has private memory */
	GM_PAGE_RUNNING = 1 << 1,	   /* its launch is finished, or it has none */
	GM_PAGE_MIRRORED = 1 << 2,	   /* to zap a private page destroys what it holds */
	GM_PAGE_IN_PLACE = 1 << 3,	   /* one file for both: no half to give up */
	GM_PAGE_DISCARD_MEASURED = 1 << 4, /* DiscardMeasured= of the policy */
	/* Without GM_PAGE_HAS_PRIVATE; RUNNING is then from the moment on that it is pinned. */
	GM_PAGE_DAEMON_LAUNCHES = 1 << 5,
	GM_PAGE_CONDITIONS_END = 1 << 6
};

/* "absent", "shared", ...; never NULL. */
const char *gm_page_state_name(enum gm_page_state state);

/* "allocate", "discard", ...; never NULL. */
const char *gm_page_op_name(enum gm_page_op op);

/*
 * The one table. 0 and *ret_next when @op may be done under @conditions (enum gm_page_condition
 * bits) to a page in @state, else the verdict (GM_WRONG_STATE, rule GM_RULE_PAGE_STATE) with the
 * page's state and the reason in the text.
 */
GM_WARN_UNUSED int gm_page_state_after(enum gm_page_state state, enum gm_page_op op,
				       unsigned conditions, enum gm_page_state *ret_next,
				       struct gm_refusal *refusal);

#endif
