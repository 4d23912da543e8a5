/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest event loop that fits struct gm_loop_ops, so that a layer's tests need no other
 * layer. Aborts on its own failures.
 */
#ifndef POLL_LOOP_H
#define POLL_LOOP_H

#include "gm_loop.h"

struct poll_loop;

struct poll_loop *poll_loop_new(void);
/* All watches must be gone. */
void poll_loop_free(struct poll_loop *loop);
struct gm_loop_ref poll_loop_ref(struct poll_loop *loop);

/* Runs until *@flag or @ms are over; returns *@flag. NULL: just run for @ms. */
bool poll_loop_run(struct poll_loop *loop, const bool *flag, uint64_t ms);

uint64_t poll_loop_now(void);

#endif
