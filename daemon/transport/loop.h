/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop. The only user of libevent, and event_new only: bufferevents drop passed fds.
 */
#ifndef GM_TRANSPORT_LOOP_H
#define GM_TRANSPORT_LOOP_H

#include "gm_loop.h"

struct gm_event_loop;

GM_WARN_UNUSED int gm_event_loop_new(struct gm_event_loop **ret_loop);
/* Every watch, timer and listener of it must be gone. Accepts NULL. */
void gm_event_loop_free(struct gm_event_loop *loop);

struct gm_loop_ref gm_event_loop_ref(struct gm_event_loop *loop);

/* Runs until gm_event_loop_stop; may be run again afterwards. 0 or -errno. */
GM_WARN_UNUSED int gm_event_loop_run(struct gm_event_loop *loop);
void gm_event_loop_stop(struct gm_event_loop *loop);

/*
 * @fn runs on the loop's thread, outside signal context. The signal is blocked from here on, also
 * after the watch has ended. For single-threaded processes.
 */
GM_WARN_UNUSED int gm_event_loop_signal(struct gm_event_loop *loop, int signo, gm_watch_fn fn,
					void *arg, struct gm_watch **ret_watch);

#endif
