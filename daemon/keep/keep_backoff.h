/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long to wait before a process that has died is started again: not at all for the first
 * death, then ever longer while it keeps dying young.
 */
#ifndef GM_KEEP_BACKOFF_H
#define GM_KEEP_BACKOFF_H

#include "gm_num.h"

#define GM_KEEP_BACKOFF_FIRST_MS 10U
#define GM_KEEP_BACKOFF_MAX_MS 1000U /* where nothing else is said */
/* Who has lived this long has not died of its start. */
#define GM_KEEP_BACKOFF_RESET_MS 10000U

struct gm_keep_backoff {
	uint32_t next_ms;
	uint32_t max_ms;
};

/* What to wait now, after a life of @alive_ms. */
uint32_t gm_keep_backoff_next(struct gm_keep_backoff *backoff, uint64_t alive_ms);

#endif
