/* SPDX-License-Identifier: Apache-2.0 */
#include "keep_backoff.h"

uint32_t gm_keep_backoff_next(struct gm_keep_backoff *backoff, uint64_t alive_ms)
{
	uint32_t now_ms = alive_ms >= GM_KEEP_BACKOFF_RESET_MS ? 0 : backoff->next_ms;
	uint64_t doubled_ms = gm_max_u64(GM_KEEP_BACKOFF_FIRST_MS, (uint64_t)now_ms * 2);

	backoff->next_ms = (uint32_t)gm_min_u64(doubled_ms, backoff->max_ms);
	return now_ms;
}
