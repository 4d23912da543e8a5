/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a layer may ask of the event loop without knowing which library runs it.
 *
 * All callbacks run on the one thread of the loop. A watch may be ended inside its own callback.
 */
#ifndef GM_LOOP_H
#define GM_LOOP_H

#include <stdint.h>

#include "gm_num.h"

struct gm_watch;

typedef void (*gm_watch_fn)(void *arg);

struct gm_loop_ops {
	/* Call @fn whenever @fd (borrowed, must outlive the watch) is readable or hung up. */
	GM_WARN_UNUSED int (*watch_read)(void *loop, int fd, gm_watch_fn fn, void *arg,
					 struct gm_watch **ret_watch);
	/* Call @fn once, @ms milliseconds from now; re-arm with timer_set. */
	GM_WARN_UNUSED int (*timer_new)(void *loop, gm_watch_fn fn, void *arg,
					struct gm_watch **ret_watch);
	void (*timer_set)(struct gm_watch *timer, uint64_t ms);
	/* Ends either. Accepts NULL. */
	void (*watch_free)(struct gm_watch *watch);
	/* CLOCK_BOOTTIME in milliseconds: a suspend of the host counts. */
	uint64_t (*now_ms)(void *loop);
};

struct gm_loop_ref {
	const struct gm_loop_ops *ops;
	void *loop;
};

#endif
