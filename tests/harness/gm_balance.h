/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a case has open and allocated: noted before it, compared after it. The harness's own.
 */
#ifndef GM_BALANCE_H
#define GM_BALANCE_H

#include <stddef.h>

void gm_balance_open_fds(void);

/* Prints each fd that is new or gone. Returns how many. */
size_t gm_balance_close_fds(void);

void gm_balance_open_heap(void);

/* Prints each allocation since the opening that still lives. Returns how many. */
size_t gm_balance_close_heap(void);

#endif
